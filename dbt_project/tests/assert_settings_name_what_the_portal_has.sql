-- A stage, pipeline, user field or source that the settings name and the portal never had would
-- silently change nothing: the figures would be wrong without a word.
with stages as (
    select * from {{ ref('dim_stages') }}
),

pipelines as (
    select * from {{ ref('dim_pipelines') }}
),

fields as (
    select * from {{ ref('stg_bitrix24__fields') }}
),

sources as (
    select * from {{ ref('dim_sources') }}
),

{% set named = [] -%}
{%- for stage in var('paid_stages') or [] -%}
    {%- do named.append(('paid_stages', 'deal', stage)) -%}
{%- endfor -%}
{%- for stage in var('lead_stage_outcomes') or {} -%}
    {%- do named.append(('lead_stage_outcomes', 'lead', stage)) -%}
{%- endfor -%}
{%- for rule in var('legacy_rules') or [] -%}
    {%- for stage in rule.get('stages') or [] -%}
        {%- do named.append(('legacy_rules', rule.get('entity', 'both'), stage)) -%}
    {%- endfor -%}
{%- endfor -%}
{%- for pipeline in var('sales_pipelines') or [] -%}
    {%- do named.append(('sales_pipelines', 'pipeline', pipeline)) -%}
{%- endfor -%}
{%- for field in (var('user_fields') or []) + ([var('city_field')] if var('city_field') else []) -%}
    {%- do named.append(('user_fields or city_field', 'field', field)) -%}
{%- endfor -%}
{%- for rule in var('spend_rules') or [] -%}
    {%- do named.append(('spend_rules', 'source', rule['source'])) -%}
{%- endfor -%}
named as (
    select
        cast(null as string) as setting,
        cast(null as string) as what,
        cast(null as string) as code
    {%- for setting, what, code in named %}
    union all
    select
        '{{ setting }}' as setting,
        '{{ what }}' as what,
        {{ text_list([code]) }} as code
    {%- endfor %}
),

known as (
    select
        entity as what,
        stage_id as code
    from stages
    union all
    select
        'both' as what,
        stage_id as code
    from stages
    union all
    select
        'pipeline' as what,
        cast(pipeline_id as string) as code
    from pipelines
    union all
    select
        'source' as what,
        source_id as code
    from sources
    union all
    select
        'field' as what,
        field_name as code
    from fields
    where entity in ('lead', 'deal')
)

select
    named.setting,
    named.code
from named
where
    named.setting is not null
    and not exists (
        select 1
        from known
        where
            known.what = named.what
            and known.code = named.code
    )

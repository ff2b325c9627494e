-- Names that do not tell one thing from another by themselves, and unknown sources.
-- Grain: one row per kind, entity and source, label with its value in lower case, or ID.
with leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

sources as (
    select * from {{ ref('dim_sources') }}
),

pipelines as (
    select * from {{ ref('dim_pipelines') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

users as (
    select * from {{ ref('int_users__named') }}
),

departments as (
    select * from {{ ref('int_departments__named') }}
),

user_fields as (
    select * from {{ ref('int_user_fields__named') }}
),

field_items as (
    select * from {{ ref('int_field_items__exploded') }}
),

counted_items as (
    select
        'lead' as entity,
        source_id,
        cast(null as decimal(20, 2)) as base_amount,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_content,
        utm_term
    from leads
    where is_counted
    union all
    select
        'deal' as entity,
        source_id,
        base_amount,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_content,
        utm_term
    from deals
    where is_counted
),

unknown_source as (
    select
        'unknown_source' as kind,
        counted_items.entity,
        sources.source_id as record_key,
        count(*) as records_count,
        sum(counted_items.base_amount) as base_amount,
        'Источника ' || sources.source_id || ' нет в справочнике'
        || case
            when sources.other_case_source_id is not null
                then ', есть ' || sources.other_case_source_id
            else ''
        end as explanation_ru,
        'Source ' || sources.source_id || ' is not in the directory'
        || case
            when sources.other_case_source_id is not null
                then '; it has ' || sources.other_case_source_id
            else ''
        end as explanation_en
    from counted_items
    inner join sources
        on
            counted_items.source_id = sources.source_id
            and sources.is_deleted
    group by
        counted_items.entity,
        sources.source_id,
        sources.other_case_source_id
),

utm_values as (
    {%- for label in ['utm_source', 'utm_medium', 'utm_campaign', 'utm_content', 'utm_term'] %}
        select
            entity,
            '{{ label }}' as utm_label,
            {{ label }} as utm_value
        from counted_items
        {{ 'union all' if not loop.last }}
    {%- endfor %}
),

utm_case as (
    select
        'utm_case' as kind,
        entity,
        utm_label || ': ' || lower(utm_value) as record_key,
        count(*) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        utm_label || ': написаний ' || cast(count(distinct utm_value) as string) || ', например «'
        || min(utm_value) || '» и «' || max(utm_value) || '»' as explanation_ru,
        utm_label || ': ' || cast(count(distinct utm_value) as string) || ' spellings, such as "'
        || min(utm_value) || '" and "' || max(utm_value) || '"' as explanation_en
    from utm_values
    where utm_value is not null
    group by
        entity,
        utm_label,
        lower(utm_value)
    having count(distinct utm_value) > 1
),

-- By the raw table in which they stand.
names as (
    select
        'users' as entity,
        cast(user_id as string) as record_key,
        user_name as shown_name
    from users
    where is_name_with_id
    union all
    select
        'departments' as entity,
        cast(department_id as string) as record_key,
        department_name as shown_name
    from departments
    where is_name_with_id
    union all
    select
        'categories' as entity,
        cast(pipeline_id as string) as record_key,
        pipeline_name as shown_name
    from pipelines
    where is_name_with_id
    union all
    select
        'statuses' as entity,
        'source: ' || source_id as record_key,
        source_name as shown_name
    from sources
    where is_name_with_id
    union all
    select
        'statuses' as entity,
        entity || ': ' || stage_id as record_key,
        coalesce(pipeline_name || ' / ', '') || stage_name as shown_name
    from stages
    where is_name_with_id
    union all
    select
        'fields' as entity,
        entity || ': ' || field_name as record_key,
        field_label as shown_name
    from user_fields
    where is_name_with_id
    union all
    select
        'fields' as entity,
        field_items.entity || ': ' || field_items.field_name || ': ' || field_items.item_id
            as record_key,
        user_fields.field_label || ' / ' || field_items.item_value as shown_name
    from field_items
    inner join user_fields
        on
            field_items.entity = user_fields.entity
            and field_items.field_name = user_fields.field_name
    where field_items.is_name_with_id
),

name_not_unique as (
    select
        'name_not_unique' as kind,
        entity,
        record_key,
        cast(1 as bigint) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        'В отчётах: ' || shown_name as explanation_ru,
        'In the reports: ' || shown_name as explanation_en
    from names
),

final as (
    select * from unknown_source
    union all
    select * from utm_case
    union all
    select * from name_not_unique
)

select * from final

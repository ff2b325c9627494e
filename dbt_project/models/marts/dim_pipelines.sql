-- Pipelines of deals: the reference data, and every one that deals or their history name.
-- Grain: one row per pipeline.
with categories as (
    select * from {{ ref('stg_bitrix24__categories') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

stages as (
    select * from {{ ref('int_stages__unioned') }}
),

visits as (
    select * from {{ ref('int_stage_visits__spanned') }}
),

compared as (
    select
        *,
        {{ needs_id('pipeline_name', ['nameless', 'deleted_pipeline']) }}
            as is_name_with_id
    from categories
),

named as (
    select
        pipeline_id,
        coalesce(
            {{ name_with_id('pipeline_name', 'pipeline_id', 'is_name_with_id') }},
            {{ label('nameless', with='pipeline_id') }}
        ) as pipeline_name,
        sort_order,
        is_name_with_id
    from compared
),

seen as (
    select pipeline_id from categories
    union
    select pipeline_id from deals
    union
    select pipeline_id from stages
    where pipeline_id is not null
    union
    select pipeline_id from visits
    where pipeline_id is not null
),

final as (
    select
        seen.pipeline_id,
        coalesce(
            named.pipeline_name,
            {{ label('deleted_pipeline', with='seen.pipeline_id') }}
        ) as pipeline_name,
        named.sort_order,
        {{ is_sales_pipeline('seen.pipeline_id') }} as is_sales_pipeline,
        named.pipeline_id is null as is_deleted,
        coalesce(named.is_name_with_id, false) as is_name_with_id
    from seen
    left join named
        on seen.pipeline_id = named.pipeline_id
)

select * from final

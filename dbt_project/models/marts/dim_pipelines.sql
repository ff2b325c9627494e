-- Pipelines of deals: the directory, and every one that deals or their history still name.
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
            categories.pipeline_name,
            {{ label('deleted_pipeline', with='seen.pipeline_id') }}
        ) as pipeline_name,
        categories.sort_order,
        {{ is_sales_pipeline('seen.pipeline_id') }} as is_sales_pipeline,
        categories.pipeline_id is null as is_deleted
    from seen
    left join categories
        on seen.pipeline_id = categories.pipeline_id
)

select * from final

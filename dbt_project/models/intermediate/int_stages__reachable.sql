-- Stages that an item of a pipeline could have stood on: those of today, and those that living
-- items have stood on.
-- Grain: one row per entity, pipeline and stage.
with visits as (
    select * from {{ ref('int_stage_visits__spanned') }}
),

stages as (
    select * from {{ ref('int_stages__unioned') }}
),

unioned as (
    select
        entity,
        -- Pipelines are numbered from 0; leads have none.
        coalesce(pipeline_id, -1) as pipeline_key,
        stage_id
    from stages
    where not is_deleted
    union
    select
        entity,
        coalesce(pipeline_id, -1) as pipeline_key,
        stage_id
    from visits
)

select * from unioned

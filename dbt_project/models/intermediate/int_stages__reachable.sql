-- Stages that an item of a pipeline could have stood on: those of today, and those that living
-- items have stood on.
-- Grain: one row per entity, pipeline and stage; the pipeline of leads is -1.
with visits as (
    select * from {{ ref('fct_stage_visits') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

unioned as (
    select
        entity,
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

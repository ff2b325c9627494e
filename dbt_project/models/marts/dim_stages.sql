-- Stages of leads and deals, with what they mean in the reports.
-- Grain: one row per entity and stage.
with stages as (
    select * from {{ ref('int_stages__unioned') }}
),

pipelines as (
    select * from {{ ref('dim_pipelines') }}
),

final as (
    select
        stages.entity,
        stages.stage_id,
        stages.stage_name,
        stages.pipeline_id,
        pipelines.pipeline_name,
        stages.sort_order,
        coalesce(stages.semantics, 'P') as semantics,
        case stages.entity
            when 'lead' then {{ lead_state('stages.stage_id', 'stages.semantics') }}
            else {{ deal_state('stages.stage_id', 'stages.semantics') }}
        end as stage_state,
        stages.color,
        stages.is_first,
        stages.is_deleted,
        stages.is_name_with_id
    from stages
    left join pipelines
        on
            stages.entity = 'deal'
            and stages.pipeline_id = pipelines.pipeline_id
)

select * from final

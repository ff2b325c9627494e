-- Moves from stage to stage of the leads and deals created in the period.
-- Grain: one row per stage, next stage and direction.
select
    entity,
    pipeline_name,
    stage_name,
    next_stage_name,
    next_pipeline_name,
    count(*) as transitions,
    is_back_move
from marts.fct_stage_visits
left join marts.dim_pipelines using (pipeline_id)
where
    is_counted
    and not is_current
    and item_created_date between getvariable('period_start') and getvariable('period_end')
group by
    entity,
    pipeline_id,
    pipeline_name,
    stage_id,
    stage_name,
    next_stage_id,
    next_stage_name,
    next_pipeline_name,
    is_back_move
order by
    entity desc,
    min(dim_pipelines.sort_order) asc nulls last,
    pipeline_name asc,
    transitions desc,
    stage_name asc,
    next_stage_name asc,
    next_pipeline_name asc

-- Stages of leads and of deals, those that nobody stood on too.
-- Grain: one row per entity and stage.
select
    entity,
    pipeline_name,
    stage_name,
    sort_order as stage_order,
    stage_state,
    is_deleted,
from published.dim_stages
order by entity, pipeline_name, sort_order, stage_name

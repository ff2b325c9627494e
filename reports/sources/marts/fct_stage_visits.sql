-- Visits to stages for the pages; filters come from the visiting lead or deal.
-- Grain: one row per visit of a counted lead or deal to a stage.
select
    visits.entity,
    visits.item_id,
    pipelines.pipeline_name,
    visits.stage_name,
    visits.sort_order as stage_order,
    visits.next_stage_name,
    visits.next_pipeline_name,
    visits.is_open,
    visits.is_current,
    visits.is_forwarded,
    visits.is_back_move,
    visits.is_drop,
    visits.finished_days,
    visits.days_on_stage_now,
    visits.item_created_date,
from published.fct_stage_visits as visits
left join published.dim_pipelines as pipelines
    using (pipeline_id)
where visits.is_counted
order by visits.item_created_date, visits.entity, visits.item_id, visits.visit_number

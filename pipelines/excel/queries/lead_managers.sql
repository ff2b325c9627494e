-- Leads created in the period by present stage and manager, with totals of both (nulls).
-- Grain: one row per stage and manager.
with leads as (
    select
        leads.*,
        stages.sort_order,
        visits.days_on_stage_now
    from marts.fct_leads as leads
    left join marts.dim_stages as stages
        on stages.entity = 'lead' and leads.stage_id = stages.stage_id
    left join marts.fct_stage_visits as visits
        on leads.lead_id = visits.lead_id and visits.is_current
    where
        leads.is_counted
        and created_date between getvariable('period_start') and getvariable('period_end')
)

select
    null as pipeline_name,
    stage_name,
    manager_name,
    count(*) as leads_received,
    avg(days_on_stage_now) as days_on_stage_now,
    grouping(stage_name) = 1 as is_total
from leads
group by grouping sets ( -- noqa: PRS
    (stage_name, manager_name), (stage_name), (manager_name), ()
)
order by is_total, min(sort_order) nulls last, stage_name, manager_name nulls last

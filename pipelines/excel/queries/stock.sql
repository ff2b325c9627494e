-- What is in work now, whenever it was created.
-- Grain: one row.
select
    leads.*,
    deals.*
from (
    select
        count(*) filter (where is_in_work) as leads_in_work,
        count(*) filter (where is_forgotten) as leads_forgotten,
        count(*) filter (where is_idle_without_plan) as leads_forgotten_without_plan,
        count(*) filter (where is_without_planned_activity) as leads_without_planned_activity,
        count(*) filter (where is_overdue) as leads_overdue,
        metrics.known_sum(opportunity_amount, is_amount_unknown, is_overdue)
            as leads_overdue_amount,
        count(*) filter (where is_overdue and is_amount_unknown) as leads_overdue_amount_unknown
    from marts.fct_leads
    where is_counted
) as leads
cross join (
    select
        count(*) filter (where is_in_work) as deals_in_work,
        metrics.known_sum(base_amount, is_amount_unknown, is_in_work) as potential_amount,
        count(*) filter (where is_in_work and is_amount_unknown) as potential_amount_unknown,
        count(*) filter (where is_forgotten) as deals_forgotten,
        count(*) filter (where is_idle_without_plan) as deals_forgotten_without_plan,
        count(*) filter (where is_without_planned_activity) as deals_without_planned_activity,
        count(*) filter (where is_overdue) as deals_overdue,
        metrics.known_sum(base_amount, is_amount_unknown, is_overdue) as deals_overdue_amount,
        count(*) filter (where is_overdue and is_amount_unknown) as deals_overdue_amount_unknown
    from marts.fct_deals
    where is_counted
) as deals

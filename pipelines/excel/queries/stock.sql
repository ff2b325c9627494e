-- What is in work now, whenever it was created.
-- Grain: one row.
select
    leads.*,
    deals.*,
from (
    select
        count(*) filter (where is_in_work) as leads_in_work,
        count(*) filter (where is_forgotten) as leads_forgotten,
        count(*) filter (where is_idle_without_plan) as leads_forgotten_without_plan,
        count(*) filter (where is_without_planned_activity) as leads_without_planned_activity,
    from marts.fct_leads
    where is_counted
) as leads
cross join (
    select
        count(*) filter (where is_in_work) as deals_in_work,
        case when deals_in_work = 0 then 0 else sum(base_amount) filter (where is_in_work) end
            as potential_amount,
        count(*) filter (where is_forgotten) as deals_forgotten,
        count(*) filter (where is_idle_without_plan) as deals_forgotten_without_plan,
        count(*) filter (where is_without_planned_activity) as deals_without_planned_activity,
    from marts.fct_deals
    where is_counted
) as deals

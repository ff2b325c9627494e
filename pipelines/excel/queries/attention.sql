-- Leads and deals in work, whenever created, that are forgotten or have no planned activity, by
-- manager; the last row is the total.
-- Grain: one row per manager.
with items as (
    select
        'lead' as entity,
        manager_name,
        is_in_work,
        is_forgotten,
        is_without_planned_activity,
        null as base_amount,
    from marts.fct_leads
    where is_counted
    union all
    select
        'deal' as entity,
        manager_name,
        is_in_work,
        is_forgotten,
        is_without_planned_activity,
        base_amount,
    from marts.fct_deals
    where is_counted
)

select
    manager_name,
    count(*) filter (where entity = 'lead') as leads_in_work,
    count(*) filter (where entity = 'lead' and is_forgotten) as leads_forgotten,
    count(*) filter (where entity = 'lead' and is_without_planned_activity)
        as leads_without_planned_activity,
    count(*) filter (where entity = 'deal') as deals_in_work,
    sum(base_amount) as potential_amount,
    count(*) filter (where entity = 'deal' and is_forgotten) as deals_forgotten,
    sum(base_amount) filter (where is_forgotten) as forgotten_amount,
    count(*) filter (where entity = 'deal' and is_without_planned_activity)
        as deals_without_planned_activity,
    sum(base_amount) filter (where is_without_planned_activity) as unplanned_amount,
    grouping(manager_name) = 1 as is_total,
from items
where is_in_work
group by grouping sets ((manager_name), ())
order by is_total, forgotten_amount desc nulls last, leads_forgotten desc, manager_name

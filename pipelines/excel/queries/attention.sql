-- Leads and deals in work, whenever created, that are forgotten or have no planned activity, by
-- manager; the last row is the total. Beside the forgotten stand all that are idle for as long:
-- with the setting planned_is_not_forgotten those with a planned activity are not forgotten.
-- Grain: one row per manager.
with items as (
    select
        'lead' as entity,
        manager_name,
        is_in_work,
        is_forgotten,
        is_idle,
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
        is_idle,
        is_without_planned_activity,
        base_amount,
    from marts.fct_deals
    where is_counted
)

select
    manager_name,
    count(*) filter (where entity = 'lead') as leads_in_work,
    count(*) filter (where entity = 'lead' and is_forgotten) as leads_forgotten,
    count(*) filter (where entity = 'lead' and is_idle) as leads_inactive,
    count(*) filter (where entity = 'lead' and is_without_planned_activity)
        as leads_without_planned_activity,
    count(*) filter (where entity = 'deal') as deals_in_work,
    case when deals_in_work = 0 then 0 else sum(base_amount) end as potential_amount,
    count(*) filter (where entity = 'deal' and is_forgotten) as deals_forgotten,
    case when deals_forgotten = 0 then 0 else sum(base_amount) filter (where is_forgotten) end
        as forgotten_amount,
    count(*) filter (where entity = 'deal' and is_idle) as deals_inactive,
    count(*) filter (where entity = 'deal' and is_without_planned_activity)
        as deals_without_planned_activity,
    case
        when deals_without_planned_activity = 0 then 0
        else sum(base_amount) filter (where is_without_planned_activity)
    end as unplanned_amount,
    grouping(manager_name) = 1 as is_total,
from items
where is_in_work
group by grouping sets ((manager_name), ())
order by is_total, coalesce(forgotten_amount, 0) desc, leads_forgotten desc, manager_name

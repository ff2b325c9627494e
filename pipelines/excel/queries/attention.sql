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
        is_overdue,
        opportunity_amount as base_amount,
        is_amount_unknown
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
        is_overdue,
        base_amount,
        is_amount_unknown
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
    count(*) filter (where entity = 'lead' and is_overdue) as leads_overdue,
    metrics.known_sum(base_amount, is_amount_unknown, entity = 'lead' and is_overdue)
        as leads_overdue_amount,
    count(*) filter (where entity = 'lead' and is_overdue and is_amount_unknown)
        as leads_overdue_amount_unknown,
    count(*) filter (where entity = 'deal') as deals_in_work,
    metrics.known_sum(base_amount, is_amount_unknown, entity = 'deal') as potential_amount,
    count(*) filter (where entity = 'deal' and is_amount_unknown) as potential_amount_unknown,
    count(*) filter (where entity = 'deal' and is_forgotten) as deals_forgotten,
    metrics.known_sum(base_amount, is_amount_unknown, entity = 'deal' and is_forgotten)
        as deals_forgotten_amount,
    count(*) filter (where entity = 'deal' and is_forgotten and is_amount_unknown)
        as deals_forgotten_amount_unknown,
    count(*) filter (where entity = 'deal' and is_idle) as deals_inactive,
    count(*) filter (where entity = 'deal' and is_without_planned_activity)
        as deals_without_planned_activity,
    metrics.known_sum(
        base_amount, is_amount_unknown, entity = 'deal' and is_without_planned_activity
    ) as deals_without_planned_activity_amount,
    count(*) filter (where entity = 'deal' and is_without_planned_activity and is_amount_unknown)
        as deals_without_planned_activity_amount_unknown,
    count(*) filter (where entity = 'deal' and is_overdue) as deals_overdue,
    metrics.known_sum(base_amount, is_amount_unknown, entity = 'deal' and is_overdue)
        as deals_overdue_amount,
    count(*) filter (where entity = 'deal' and is_overdue and is_amount_unknown)
        as deals_overdue_amount_unknown,
    grouping(manager_name) = 1 as is_total
from items
where is_in_work
group by grouping sets ((manager_name), ()) -- noqa: PRS
order by is_total, coalesce(deals_forgotten_amount, 0) desc, leads_forgotten desc, manager_name

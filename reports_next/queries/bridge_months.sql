-- Our count and the portal's, and the conversions, by the month.
with months as (
    select first_day, least([[as_of_date]], last_day(first_day)) as last_day
    from (
        select cast(unnest(generate_series(date '2000-01-01', [[as_of_date]], interval 1 month)) as date) as first_day
    ) as months
    where [[window first_day]]
),

items as (
    select *
    from ${bridge_items}
    where bridge_kind in ('counted', 'legacy', 'other_pipeline')
),

counted as (
    select
        months.first_day,
        count(items.item_id) as portal,
        count(*) filter (
            where items.bridge_kind = 'counted' and items.created_date >= months.first_day
        ) as ours,
        count(*) filter (
            where items.our_state in ('quality', 'sale') and items.created_date >= months.first_day
        ) as cohort_successes,
        count(*) filter (
            where items.portal_state = 'success' and items.portal_closed_date <= months.last_day
        ) as portal_successes
    from months
    left join items
        on items.created_date <= months.last_day
        and (items.portal_closed_date is null or items.portal_closed_date >= months.first_day)
    group by months.first_day, months.last_day
)

select
    first_day,
    ours,
    portal,
    cohort_successes / nullif(ours, 0) as cohort_rate,
    portal_successes / nullif(portal, 0) as portal_rate
from counted
order by first_day

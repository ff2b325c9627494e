-- The conversion of the period in three ways of counting.
with counted as (
    select
        count(*) filter (
            where bridge_kind = 'counted' and created_date between [[period_start]] and [[period_end]]
        ) as ours,
        count(*) filter (
            where our_state in ('quality', 'sale') and created_date between [[period_start]] and [[period_end]]
        ) as cohort_successes,
        count(*) filter (where is_ours) as period_successes,
        count(*) filter (where is_portals) as portal_successes,
        count(*) filter (
            where bridge_kind in ('counted', 'legacy', 'other_pipeline')
                and created_date <= [[period_end]]
                and (portal_closed_date is null or portal_closed_date >= [[period_start]])
        ) as portal
    from ${bridge_items}
)

select
    *,
    cohort_successes / nullif(ours, 0) as cohort_rate,
    period_successes / nullif(ours, 0) as period_rate,
    portal_successes / nullif(portal, 0) as portal_rate
from counted

-- Money still to come from the deals in work of leads, by source and month of the lead's creation,
-- with totals of both (nulls); the largest source first.
-- Grain: one row per source and month.
select
    source_name,
    created_month,
    sum(potential_amount_unknown_count) as leads_potential_amount_unknown,
    metrics.known_amount(
        sum(potential_amount) filter (where deals_in_work_count > potential_amount_unknown_count),
        leads_potential_amount_unknown
    ) as leads_potential_amount,
    grouping(source_name) = 1 as is_total
from marts.fct_leads
where is_counted
group by grouping sets ( -- noqa: PRS
    (source_name, created_month), (source_name), (created_month), ()
)
order by
    is_total,
    max(leads_potential_amount) over (partition by source_name, is_total) desc nulls last,
    source_name,
    created_month nulls last

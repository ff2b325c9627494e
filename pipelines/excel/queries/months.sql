-- Leads, deals and sales of every month; the last row is the total.
-- The 0 of a month without records of an amount does not make those of others known.
-- Grain: one row per month.
select
    metric_time__month as month,
    sum(leads_received) as leads_received,
    sum(leads_quality_cohort) as leads_quality_cohort,
    sum(leads_in_progress) as leads_in_progress,
    sum(leads_new) as leads_new,
    sum(leads_junk) as leads_junk,
    sum(leads_quality_cohort) / nullif(sum(leads_received), 0) as lead_to_quality_rate_cohort,
    sum(leads_with_sale_cohort) / nullif(sum(leads_received), 0) as lead_to_sale_rate_cohort,
    sum(leads_with_sale_period) / nullif(sum(leads_received), 0) as lead_to_sale_rate_period,
    sum(deals_created) as deals_created,
    sum(deals_failed_period) as deals_failed_period,
    sum(sales_period) as sales_period,
    sum(sales_new_period) as sales_new_period,
    sum(sales_repeat_period) as sales_repeat_period,
    sum(sales_unknown_period) as sales_unknown_period,
    metrics.known_amount(
        sum(sales_amount_period) filter (where sales_period > 0), sum(sales_amount_period_unknown)
    ) as sales_amount_period,
    sum(sales_amount_period_unknown) as sales_amount_period_unknown,
    metrics.known_amount(
        sum(sales_new_amount_period) filter (where sales_new_period > 0),
        sum(sales_new_amount_period_unknown)
    ) as sales_new_amount_period,
    sum(sales_new_amount_period_unknown) as sales_new_amount_period_unknown,
    metrics.known_amount(
        sum(sales_repeat_amount_period) filter (where sales_repeat_period > 0),
        sum(sales_repeat_amount_period_unknown)
    ) as sales_repeat_amount_period,
    sum(sales_repeat_amount_period_unknown) as sales_repeat_amount_period_unknown,
    metrics.known_amount(
        sum(sales_unknown_amount_period) filter (where sales_unknown_period > 0),
        sum(sales_unknown_amount_period_unknown)
    ) as sales_unknown_amount_period,
    sum(sales_unknown_amount_period_unknown) as sales_unknown_amount_period_unknown,
    sum(sales_amount_period) / nullif(sum(sales_with_amount_period), 0) as average_sale_period,
    metrics.known_amount(
        sum(potential_amount) filter (where deals_in_work > 0), sum(potential_amount_unknown)
    ) as potential_amount,
    sum(potential_amount_unknown) as potential_amount_unknown,
    grouping(metric_time__month) = 1 as is_total
from metrics.sales_dynamics
group by grouping sets ((metric_time__month), ()) -- noqa: PRS
order by is_total, month

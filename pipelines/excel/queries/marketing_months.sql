-- Leads of every month, and the money that they brought; the last row is the total.
-- The 0 of a month without records of an amount does not make those of others known.
-- Grain: one row per month.
select
    metric_time__month as month,
    sum(leads_received) as leads_received,
    sum(leads_junk) as leads_junk,
    sum(leads_new) as leads_new,
    sum(leads_in_progress) as leads_in_progress,
    sum(leads_quality_cohort) as leads_quality_cohort,
    sum(leads_with_deal_cohort) as leads_with_deal_cohort,
    sum(leads_with_sale_cohort) as leads_with_sale_cohort,
    sum(leads_quality_cohort) / nullif(sum(leads_received), 0) as lead_to_quality_rate_cohort,
    sum(leads_with_deal_cohort) / nullif(sum(leads_received), 0) as lead_to_deal_rate_cohort,
    sum(leads_with_sale_cohort) / nullif(sum(leads_received), 0) as lead_to_sale_rate_cohort,
    metrics.known_amount(
        sum(sales_amount_of_leads_cohort) filter (where leads_with_sale_cohort > 0),
        sum(sales_amount_of_leads_cohort_unknown)
    ) as sales_amount_of_leads_cohort,
    sum(sales_amount_of_leads_cohort_unknown) as sales_amount_of_leads_cohort_unknown,
    metrics.known_amount(
        sum(sales_amount_of_leads_cohort) filter (where leads_with_sale_cohort > 0),
        sum(sales_amount_of_leads_cohort_unknown)
    ) / nullif(sum(leads_received), 0) as revenue_per_lead_cohort,
    sum(leads_with_sale_period) as leads_with_sale_period,
    sum(leads_with_sale_period) / nullif(sum(leads_received), 0) as lead_to_sale_rate_period,
    metrics.known_amount(
        sum(sales_amount_of_leads_period) filter (where sales_of_leads_period > 0),
        sum(sales_amount_of_leads_period_unknown)
    ) as sales_amount_of_leads_period,
    sum(sales_amount_of_leads_period_unknown) as sales_amount_of_leads_period_unknown,
    metrics.known_amount(
        sum(sales_amount_of_leads_period) filter (where sales_of_leads_period > 0),
        sum(sales_amount_of_leads_period_unknown)
    ) / nullif(sum(leads_received), 0) as revenue_per_lead_period,
    grouping(metric_time__month) = 1 as is_total
from metrics.sales_dynamics
group by grouping sets ((metric_time__month), ()) -- noqa: PRS
order by is_total, month

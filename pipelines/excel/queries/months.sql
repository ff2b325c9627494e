-- Leads, deals and sales of every month; the last row is the total.
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
    case when sum(sales_period) = 0 then 0 else sum(sales_amount_period) end
        as sales_amount_period,
    case when sum(sales_new_period) = 0 then 0 else sum(sales_new_amount_period) end
        as sales_new_amount_period,
    case when sum(sales_repeat_period) = 0 then 0 else sum(sales_repeat_amount_period) end
        as sales_repeat_amount_period,
    sum(sales_amount_period) / nullif(sum(sales_period), 0) as average_sale_period,
    case when sum(deals_in_work) = 0 then 0 else sum(potential_amount) end as potential_amount,
    grouping(metric_time__month) = 1 as is_total,
from metrics.sales_dynamics
group by grouping sets ((metric_time__month), ())
order by is_total, month

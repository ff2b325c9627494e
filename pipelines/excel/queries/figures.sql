-- Figures of the period and of the one before it. The amount of nothing is 0; that of deals
-- of which no amount is known is null.
-- Grain: one row per period.
with periods as (
    select
        1 as period,
        getvariable('period_start') as first_day,
        getvariable('period_end') as last_day,
    union all
    select
        2 as period,
        getvariable('previous_start') as first_day,
        getvariable('previous_end') as last_day,
),

leads as (
    select * from marts.fct_leads
    where is_counted
),

deals as (
    select * from marts.fct_deals
    where is_counted
),

leads_created as (
    select
        period,
        count(lead_id) as leads_received,
        count(lead_id) filter (where is_junk) as leads_junk,
        count(lead_id) filter (where is_quality) as leads_quality_cohort,
        count(lead_id) filter (where is_in_work) as leads_in_work,
        count(lead_id) filter (where is_new) as leads_new,
        count(lead_id) filter (where is_in_progress) as leads_in_progress,
        count(lead_id) filter (where is_forgotten) as leads_forgotten,
        count(lead_id) filter (where is_without_planned_activity) as leads_without_planned_activity,
        count(lead_id) filter (where is_repeat) as leads_repeat,
        count(lead_id) filter (where not is_repeat) as leads_first_time,
        count(lead_id) filter (where has_deal) as leads_with_deal_cohort,
        count(lead_id) filter (where has_sale) as leads_with_sale_cohort,
        count(lead_id) filter (where is_quality and has_deal) as leads_quality_with_deal_cohort,
        count(lead_id) filter (where is_quality and has_sale) as leads_quality_with_sale_cohort,
        count(lead_id) filter (where has_sale and not is_quality)
            as leads_with_sale_not_quality_cohort,
        avg(processing_days) as processing_days_avg,
        median(processing_days) as processing_days_median,
        sum(sales_amount) as sales_amount_of_leads_cohort,
    from periods
    left join leads on leads.created_date between first_day and last_day
    group by period
),

leads_quality as (
    select
        period,
        count(lead_id) as leads_quality_period,
    from periods
    left join leads on leads.quality_date between first_day and last_day
    group by period
),

leads_with_deal as (
    select
        period,
        count(lead_id) as leads_with_deal_period,
    from periods
    left join leads on leads.first_deal_date between first_day and last_day
    group by period
),

leads_with_sale as (
    select
        period,
        count(lead_id) as leads_with_sale_period,
    from periods
    left join leads on leads.first_sold_date between first_day and last_day
    group by period
),

deals_created as (
    select
        period,
        count(deal_id) as deals_created,
        count(deal_id) filter (where is_in_work) as deals_in_work,
        count(deal_id) filter (where is_failed) as deals_failed_cohort,
        count(deal_id) filter (where is_forgotten) as deals_forgotten,
        count(deal_id) filter (where is_without_planned_activity) as deals_without_planned_activity,
        sum(base_amount) filter (where is_in_work) as potential_amount,
        count(deal_id) filter (where is_sale) as sales_cohort,
        sum(base_amount) filter (where is_sale) as sales_amount_cohort,
        count(deal_id) filter (where is_sale and is_new_customer) as sales_new_cohort,
        sum(base_amount) filter (where is_sale and is_new_customer) as sales_new_amount_cohort,
        count(deal_id) filter (where is_sale and is_repeat_customer) as sales_repeat_cohort,
        sum(base_amount) filter (where is_sale and is_repeat_customer)
            as sales_repeat_amount_cohort,
        avg(days_to_close) as days_to_close_avg_cohort,
        median(days_to_close) as days_to_close_median_cohort,
    from periods
    left join deals on deals.created_date between first_day and last_day
    group by period
),

deals_sold as (
    select
        period,
        count(deal_id) as sales_period,
        sum(base_amount) as sales_amount_period,
        count(deal_id) filter (where is_new_customer) as sales_new_period,
        sum(base_amount) filter (where is_new_customer) as sales_new_amount_period,
        count(deal_id) filter (where is_repeat_customer) as sales_repeat_period,
        sum(base_amount) filter (where is_repeat_customer) as sales_repeat_amount_period,
        count(deal_id) filter (where has_counted_lead) as sales_of_leads_period,
        sum(base_amount) filter (where has_counted_lead) as sales_amount_of_leads_period,
    from periods
    left join deals on deals.is_sale and deals.sold_date between first_day and last_day
    group by period
),

deals_closed as (
    select
        period,
        count(deal_id) filter (where is_failed) as deals_failed_period,
        avg(days_to_close) as days_to_close_avg_period,
        median(days_to_close) as days_to_close_median_period,
    from periods
    left join deals
        on coalesce(deals.sold_date, deals.failed_date) between first_day and last_day
    group by period
)

select
    * exclude (period)
    replace (
        case when leads_with_sale_cohort = 0 then 0 else sales_amount_of_leads_cohort end
            as sales_amount_of_leads_cohort,
        case when deals_in_work = 0 then 0 else potential_amount end as potential_amount,
        case when sales_cohort = 0 then 0 else sales_amount_cohort end as sales_amount_cohort,
        case when sales_new_cohort = 0 then 0 else sales_new_amount_cohort end
            as sales_new_amount_cohort,
        case when sales_repeat_cohort = 0 then 0 else sales_repeat_amount_cohort end
            as sales_repeat_amount_cohort,
        case when sales_period = 0 then 0 else sales_amount_period end as sales_amount_period,
        case when sales_new_period = 0 then 0 else sales_new_amount_period end
            as sales_new_amount_period,
        case when sales_repeat_period = 0 then 0 else sales_repeat_amount_period end
            as sales_repeat_amount_period
    ),
    leads_junk / nullif(leads_received, 0) as leads_junk_share,
    leads_in_work / nullif(leads_received, 0) as leads_in_work_share,
    leads_new / nullif(leads_received, 0) as leads_new_share,
    leads_in_progress / nullif(leads_received, 0) as leads_in_progress_share,
    leads_forgotten / nullif(leads_received, 0) as leads_forgotten_share,
    leads_without_planned_activity / nullif(leads_received, 0)
        as leads_without_planned_activity_share,
    leads_repeat / nullif(leads_received, 0) as leads_repeat_share,
    leads_first_time / nullif(leads_received, 0) as leads_first_time_share,
    leads_quality_cohort / nullif(leads_received, 0) as lead_to_quality_rate_cohort,
    leads_with_deal_cohort / nullif(leads_received, 0) as lead_to_deal_rate_cohort,
    leads_with_sale_cohort / nullif(leads_received, 0) as lead_to_sale_rate_cohort,
    leads_quality_period / nullif(leads_received, 0) as lead_to_quality_rate_period,
    leads_with_deal_period / nullif(leads_received, 0) as lead_to_deal_rate_period,
    leads_with_sale_period / nullif(leads_received, 0) as lead_to_sale_rate_period,
    leads_quality_with_deal_cohort / nullif(leads_received, 0)
        as leads_quality_with_deal_cohort_of_received,
    leads_quality_with_deal_cohort / nullif(leads_quality_cohort, 0)
        as leads_quality_with_deal_cohort_of_quality,
    leads_quality_with_sale_cohort / nullif(leads_received, 0)
        as leads_quality_with_sale_cohort_of_received,
    leads_quality_with_sale_cohort / nullif(leads_quality_cohort, 0)
        as leads_quality_with_sale_cohort_of_quality,
    leads_quality_with_sale_cohort / nullif(leads_quality_with_deal_cohort, 0)
        as leads_quality_with_sale_cohort_of_deal,
    leads_with_deal_period / nullif(leads_quality_period, 0) as leads_with_deal_period_of_quality,
    leads_with_sale_period / nullif(leads_quality_period, 0) as leads_with_sale_period_of_quality,
    leads_with_sale_period / nullif(leads_with_deal_period, 0) as leads_with_sale_period_of_deal,
    sales_amount_of_leads_cohort / nullif(leads_received, 0) as revenue_per_lead_cohort,
    case when sales_of_leads_period = 0 then 0 else sales_amount_of_leads_period end
    / nullif(leads_received, 0) as revenue_per_lead_period,
    deals_in_work / nullif(deals_created, 0) as deals_in_work_share,
    deals_failed_cohort / nullif(deals_created, 0) as deals_failed_cohort_share,
    deals_forgotten / nullif(deals_created, 0) as deals_forgotten_share,
    deals_without_planned_activity / nullif(deals_created, 0)
        as deals_without_planned_activity_share,
    sales_cohort / nullif(deals_created, 0) as sales_cohort_share,
    sales_amount_cohort / nullif(sales_cohort, 0) as average_sale_cohort,
    sales_amount_period / nullif(sales_period, 0) as average_sale_period,
from leads_created
inner join leads_quality using (period)
inner join leads_with_deal using (period)
inner join leads_with_sale using (period)
inner join deals_created using (period)
inner join deals_sold using (period)
inner join deals_closed using (period)
order by period

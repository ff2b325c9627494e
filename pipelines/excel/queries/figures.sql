-- Figures of the period and of the one before it, which ends at the time of day of the data where
-- the period does. Beside each amount stands how many records it leaves out.
-- Grain: one row per period.
with periods as (
    select
        1 as period,
        getvariable('period_start') as first_day,
        getvariable('period_end') as last_day,
        timestamptz 'infinity' as until
    union all
    select
        2 as period,
        getvariable('previous_start') as first_day,
        getvariable('previous_end') as last_day,
        getvariable('previous_until') as until
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
        count(lead_id) filter (where is_overdue) as leads_overdue,
        metrics.known_sum(opportunity_amount, is_amount_unknown, is_overdue)
            as leads_overdue_amount,
        count(*) filter (where is_overdue and is_amount_unknown) as leads_overdue_amount_unknown,
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
        coalesce(sum(sales_amount_unknown_count), 0) as sales_amount_of_leads_cohort_unknown,
        -- The 0 of a lead without sales does not make those of others known.
        metrics.known_amount(
            sum(sales_amount) filter (where sales_count > sales_amount_unknown_count),
            sales_amount_of_leads_cohort_unknown
        ) as sales_amount_of_leads_cohort
    from periods
    left join leads
        on
            leads.created_date between first_day and last_day
            and leads.created_at <= until
    group by period
),

leads_quality as (
    select
        period,
        count(lead_id) as leads_quality_period
    from periods
    left join leads
        on
            leads.quality_date between first_day and last_day
            and leads.quality_at <= until
    group by period
),

leads_with_deal as (
    select
        period,
        count(lead_id) as leads_with_deal_period
    from periods
    left join leads
        on
            leads.first_deal_date between first_day and last_day
            and leads.first_deal_at <= until
    group by period
),

leads_with_sale as (
    select
        period,
        count(lead_id) as leads_with_sale_period
    from periods
    left join leads
        on
            leads.first_sold_date between first_day and last_day
            and leads.first_sold_at <= until
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
        count(deal_id) filter (where is_overdue) as deals_overdue,
        metrics.known_sum(base_amount, is_amount_unknown, is_overdue) as deals_overdue_amount,
        count(*) filter (where is_overdue and is_amount_unknown) as deals_overdue_amount_unknown,
        metrics.known_sum(base_amount, is_amount_unknown, is_in_work) as potential_amount,
        count(*) filter (where is_in_work and is_amount_unknown) as potential_amount_unknown,
        count(deal_id) filter (where is_sale) as sales_cohort,
        count(deal_id) filter (where is_sale and not is_amount_unknown) as sales_with_amount_cohort,
        metrics.known_sum(base_amount, is_amount_unknown, is_sale) as sales_amount_cohort,
        count(*) filter (where is_sale and is_amount_unknown) as sales_amount_cohort_unknown,
        count(deal_id) filter (where is_sale and is_new_customer) as sales_new_cohort,
        metrics.known_sum(base_amount, is_amount_unknown, is_sale and is_new_customer)
            as sales_new_amount_cohort,
        count(*) filter (where is_sale and is_new_customer and is_amount_unknown)
            as sales_new_amount_cohort_unknown,
        count(deal_id) filter (where is_sale and is_repeat_customer) as sales_repeat_cohort,
        metrics.known_sum(base_amount, is_amount_unknown, is_sale and is_repeat_customer)
            as sales_repeat_amount_cohort,
        count(*) filter (where is_sale and is_repeat_customer and is_amount_unknown)
            as sales_repeat_amount_cohort_unknown,
        count(deal_id) filter (where is_sale and customer_kind = 'unknown') as sales_unknown_cohort,
        metrics.known_sum(base_amount, is_amount_unknown, is_sale and customer_kind = 'unknown')
            as sales_unknown_amount_cohort,
        count(*) filter (where is_sale and customer_kind = 'unknown' and is_amount_unknown)
            as sales_unknown_amount_cohort_unknown,
        avg(days_to_close) as days_to_close_avg_cohort,
        median(days_to_close) as days_to_close_median_cohort
    from periods
    left join deals
        on
            deals.created_date between first_day and last_day
            and deals.created_at <= until
    group by period
),

deals_sold as (
    select
        period,
        count(deal_id) as sales_period,
        count(deal_id) filter (where not is_amount_unknown) as sales_with_amount_period,
        metrics.known_sum(base_amount, is_amount_unknown, true) as sales_amount_period,
        count(*) filter (where is_amount_unknown) as sales_amount_period_unknown,
        count(deal_id) filter (where is_new_customer) as sales_new_period,
        metrics.known_sum(base_amount, is_amount_unknown, is_new_customer)
            as sales_new_amount_period,
        count(*) filter (where is_new_customer and is_amount_unknown)
            as sales_new_amount_period_unknown,
        count(deal_id) filter (where is_repeat_customer) as sales_repeat_period,
        metrics.known_sum(base_amount, is_amount_unknown, is_repeat_customer)
            as sales_repeat_amount_period,
        count(*) filter (where is_repeat_customer and is_amount_unknown)
            as sales_repeat_amount_period_unknown,
        count(deal_id) filter (where customer_kind = 'unknown') as sales_unknown_period,
        metrics.known_sum(base_amount, is_amount_unknown, customer_kind = 'unknown')
            as sales_unknown_amount_period,
        count(*) filter (where customer_kind = 'unknown' and is_amount_unknown)
            as sales_unknown_amount_period_unknown,
        count(deal_id) filter (where has_counted_lead) as sales_of_leads_period,
        metrics.known_sum(base_amount, is_amount_unknown, has_counted_lead)
            as sales_amount_of_leads_period,
        count(*) filter (where has_counted_lead and is_amount_unknown)
            as sales_amount_of_leads_period_unknown
    from periods
    left join deals
        on
            deals.is_sale
            and deals.sold_date between first_day and last_day
            and deals.sold_at <= until
    group by period
),

deals_closed as (
    select
        period,
        count(deal_id) filter (where is_failed) as deals_failed_period,
        avg(days_to_close) as days_to_close_avg_period,
        median(days_to_close) as days_to_close_median_period
    from periods
    left join deals
        on
            coalesce(deals.sold_date, deals.failed_date) between first_day and last_day
            and coalesce(deals.sold_at, deals.failed_at) <= until
    group by period
)

select
    * exclude (period),
    leads_junk / nullif(leads_received, 0) as leads_junk_share,
    leads_in_work / nullif(leads_received, 0) as leads_in_work_share,
    leads_new / nullif(leads_received, 0) as leads_new_share,
    leads_in_progress / nullif(leads_received, 0) as leads_in_progress_share,
    leads_forgotten / nullif(leads_received, 0) as leads_forgotten_share,
    leads_without_planned_activity / nullif(leads_received, 0)
        as leads_without_planned_activity_share,
    leads_overdue / nullif(leads_received, 0) as leads_overdue_share,
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
    sales_amount_of_leads_period / nullif(leads_received, 0) as revenue_per_lead_period,
    deals_in_work / nullif(deals_created, 0) as deals_in_work_share,
    deals_failed_cohort / nullif(deals_created, 0) as deals_failed_cohort_share,
    deals_forgotten / nullif(deals_created, 0) as deals_forgotten_share,
    deals_without_planned_activity / nullif(deals_created, 0)
        as deals_without_planned_activity_share,
    deals_overdue / nullif(deals_created, 0) as deals_overdue_share,
    sales_cohort / nullif(deals_created, 0) as sales_cohort_share,
    sales_amount_cohort / nullif(sales_with_amount_cohort, 0) as average_sale_cohort,
    sales_amount_period / nullif(sales_with_amount_period, 0) as average_sale_period
from leads_created
inner join leads_quality using (period)
inner join leads_with_deal using (period)
inner join leads_with_sale using (period)
inner join deals_created using (period)
inner join deals_sold using (period)
inner join deals_closed using (period)
order by period

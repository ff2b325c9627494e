-- How long deals took to close: of those created in the period, and of those closed in it.
-- Grain: one row per span of days.
with bins as (
    select
        days_to_close_bin,
        is_sale,
        is_failed,
        base_amount,
        is_amount_unknown,
        days_to_close,
        created_date between getvariable('period_start') and getvariable('period_end')
            as is_created_in_period,
        coalesce(sold_date, failed_date)
        between getvariable('period_start') and getvariable('period_end') as is_closed_in_period
    from marts.fct_deals
    where is_counted and days_to_close_bin is not null
)

select
    days_to_close_bin,
    count(*) filter (where is_created_in_period) as deals_closed_cohort,
    count(*) filter (where is_created_in_period and is_sale) as sales_cohort,
    metrics.known_sum(base_amount, is_amount_unknown, is_created_in_period and is_sale)
        as sales_amount_cohort,
    count(*) filter (where is_created_in_period and is_sale and is_amount_unknown)
        as sales_amount_cohort_unknown,
    count(*) filter (where is_created_in_period and is_failed) as deals_failed_cohort,
    count(*) filter (where is_closed_in_period) as deals_closed_period,
    count(*) filter (where is_closed_in_period and is_sale) as sales_period,
    metrics.known_sum(base_amount, is_amount_unknown, is_closed_in_period and is_sale)
        as sales_amount_period,
    count(*) filter (where is_closed_in_period and is_sale and is_amount_unknown)
        as sales_amount_period_unknown,
    count(*) filter (where is_closed_in_period and is_failed) as deals_failed_period,
    grouping(days_to_close_bin) = 1 as is_total
from bins
group by grouping sets ((days_to_close_bin), ()) -- noqa: PRS
order by is_total, min(days_to_close)

-- Deals and money by the first source: that of the lead. Deals without a lead that counts stand in
-- rows of their own at the end; the last row is the total.
-- Grain: one row per source of the lead.
with deals as (
    select
        *,
        created_date between getvariable('period_start') and getvariable('period_end')
            as is_created,
        is_sale and sold_date between getvariable('period_start') and getvariable('period_end')
            as is_sold
    from marts.fct_deals
    where is_counted
)

select
    lead_source_name,
    count(*) filter (where is_created) as deals_created,
    count(*) filter (where is_created and is_in_work) as deals_in_work,
    metrics.known_sum(base_amount, is_amount_unknown, is_created and is_in_work)
        as potential_amount,
    count(*) filter (where is_created and is_in_work and is_amount_unknown)
        as potential_amount_unknown,
    count(*) filter (where is_created and is_failed) as deals_failed_cohort,
    count(*) filter (where is_created and is_sale) as sales_cohort,
    metrics.known_sum(base_amount, is_amount_unknown, is_created and is_sale)
        as sales_amount_cohort,
    count(*) filter (where is_created and is_sale and is_amount_unknown)
        as sales_amount_cohort_unknown,
    count(*) filter (where is_sold) as sales_period,
    metrics.known_sum(base_amount, is_amount_unknown, is_sold) as sales_amount_period,
    count(*) filter (where is_sold and is_amount_unknown) as sales_amount_period_unknown,
    sales_amount_period / nullif(sales_period - sales_amount_period_unknown, 0)
        as average_sale_period,
    grouping(lead_source_name) = 1 as is_total
from deals
where is_created or is_sold
group by grouping sets ((has_counted_lead, lead_source_name), ()) -- noqa: PRS
order by
    is_total, has_counted_lead desc, sales_amount_period desc nulls last, deals_created desc,
    lead_source_name

-- Deals created in the period by pipeline; the last row is the total.
-- Grain: one row per pipeline.
select
    pipeline_name,
    count(*) as deals_created,
    count(*) filter (where is_in_work) as deals_in_work,
    count(*) filter (where is_forgotten) as deals_forgotten,
    count(*) filter (where is_failed) as deals_failed_cohort,
    count(*) filter (where is_sale) as sales_cohort,
    case when sales_cohort = 0 then 0 else sum(base_amount) filter (where is_sale) end
        as sales_amount_cohort,
    grouping(pipeline_name) = 1 as is_total,
from marts.fct_deals
where
    is_counted
    and created_date between getvariable('period_start') and getvariable('period_end')
group by grouping sets ((pipeline_name), ())
order by is_total, deals_created desc, pipeline_name

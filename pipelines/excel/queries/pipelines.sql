-- Deals created in the period by pipeline; the last row is the total.
-- Deals handed over stand in the pipeline that sold them. Grain: one row per pipeline.
with deals as (
    select
        * replace (
            case when is_handed_over then sale_pipeline_name else pipeline_name end as pipeline_name
        )
    from marts.fct_deals
)

select
    pipeline_name,
    count(*) as deals_created,
    count(*) filter (where is_in_work) as deals_in_work,
    metrics.known_sum(base_amount, is_amount_unknown, is_in_work) as potential_amount,
    count(*) filter (where is_in_work and is_amount_unknown) as potential_amount_unknown,
    count(*) filter (where is_forgotten) as deals_forgotten,
    count(*) filter (where is_overdue) as deals_overdue,
    count(*) filter (where is_failed) as deals_failed_cohort,
    count(*) filter (where is_sale) as sales_cohort,
    metrics.known_sum(base_amount, is_amount_unknown, is_sale) as sales_amount_cohort,
    count(*) filter (where is_sale and is_amount_unknown) as sales_amount_cohort_unknown,
    grouping(pipeline_name) = 1 as is_total
from deals
where
    is_counted
    and created_date between getvariable('period_start') and getvariable('period_end')
group by grouping sets ((pipeline_name), ()) -- noqa: PRS
order by is_total, deals_created desc, pipeline_name

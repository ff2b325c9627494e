-- Deals created in the period by present stage (handed over: by that of the sale) and manager, with
-- totals of both (nulls).
-- Grain: one row per stage and manager.
with placed as (
    select
        * replace (
            case when is_handed_over then sale_pipeline_id else pipeline_id end as pipeline_id,
            case when is_handed_over then sale_pipeline_name else pipeline_name end
                as pipeline_name,
            case when is_handed_over then sale_stage_id else stage_id end as stage_id,
            case when is_handed_over then sale_stage_name else stage_name end as stage_name
        )
    from marts.fct_deals
),

deals as (
    select
        deals.*,
        stages.sort_order,
        pipelines.sort_order as pipeline_order
    from placed as deals
    left join marts.dim_stages as stages
        on stages.entity = 'deal' and deals.stage_id = stages.stage_id
    left join marts.dim_pipelines as pipelines on deals.pipeline_id = pipelines.pipeline_id
    where
        is_counted
        and created_date between getvariable('period_start') and getvariable('period_end')
)

select
    pipeline_name,
    stage_id,
    stage_name,
    manager_name,
    count(*) as deals_created,
    metrics.known_sum(deals.base_amount, is_amount_unknown, true) as base_amount,
    count(*) filter (where is_amount_unknown) as base_amount_unknown,
    grouping(stage_id) = 1 as is_total
from deals
group by grouping sets ( -- noqa: PRS
    (pipeline_name, stage_id, stage_name, manager_name),
    (pipeline_name, stage_id, stage_name),
    (manager_name),
    ()
)
order by
    is_total,
    min(pipeline_order) nulls last,
    pipeline_name,
    min(sort_order) nulls last,
    stage_name,
    stage_id,
    manager_name nulls last

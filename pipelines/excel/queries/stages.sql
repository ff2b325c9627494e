-- Stages of the leads and deals created in the period: who came, went on, fell out, how long it took.
-- Grain: one row per stage.
with reach as (
    select * from marts.fct_stage_reach
    where
        is_counted
        and item_created_date between getvariable('period_start') and getvariable('period_end')
),

pipelines as (
    select * from marts.dim_pipelines
)

select
    reach.entity,
    reach.pipeline_name,
    reach.stage_name,
    count(distinct item_key) filter (where is_visited) as visited,
    count(distinct item_key) filter (where is_visited)
    / nullif(count(distinct item_key) filter (where stage_id is not null), 0) as stage_pass_rate,
    count(distinct item_key) filter (where is_forwarded) as visitors_forwarded,
    count(distinct item_key) filter (where is_forwarded)
    / nullif(count(distinct item_key) filter (where is_visited), 0) as stage_forward_rate,
    avg(finished_days) as stage_days_avg,
    median(finished_days) as stage_days_median,
    count(distinct item_key) filter (where is_drop) as dropped,
    sum(item_amount) filter (where is_drop) as dropped_amount,
    count(distinct item_key) filter (where is_drop and is_visited)
    / nullif(count(distinct item_key) filter (where is_visited), 0) as dropped_share,
from reach
left join pipelines on reach.pipeline_id = pipelines.pipeline_id
group by
    reach.entity,
    reach.pipeline_name,
    reach.stage_name,
    reach.stage_id,
    reach.sort_order,
    pipelines.sort_order
order by
    reach.entity desc,
    pipelines.sort_order nulls last,
    reach.pipeline_name,
    reach.stage_id is null,
    reach.sort_order nulls last,
    reach.stage_name

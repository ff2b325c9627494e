-- Stages of the leads and deals created in the period: who came, went on, fell out, how long it
-- took.
-- Grain: one row per stage.
with reach as (
    select * from marts.fct_stage_reach
    where
        is_counted
        and item_created_date between getvariable('period_start') and getvariable('period_end')
),

-- One row per stage and item: an item may come to a stage several times.
items as (
    select
        entity,
        pipeline_id,
        stage_id,
        item_id,
        bool_or(is_visited) as is_visited,
        bool_or(is_forwarded) as is_forwarded,
        bool_or(is_drop) as is_drop,
        any_value(item_amount) as item_amount,
        bool_or(is_item_amount_unknown) as is_item_amount_unknown
    from reach
    group by entity, pipeline_id, stage_id, item_id
),

names as (
    select
        entity,
        pipeline_id,
        stage_id,
        any_value(pipeline_name) as pipeline_name,
        any_value(stage_name) as stage_name,
        any_value(sort_order) as sort_order,
        avg(finished_days) as stage_days_avg,
        median(finished_days) as stage_days_median
    from reach
    group by entity, pipeline_id, stage_id
),

stages as (
    select
        entity,
        pipeline_id,
        stage_id,
        count(*) as stage_items,
        count(*) filter (where is_visited) as visited,
        count(*) filter (where is_forwarded) as visitors_forwarded,
        count(*) filter (where is_drop) as dropped,
        metrics.known_sum(item_amount, is_item_amount_unknown, is_drop) as dropped_amount,
        count(*) filter (where is_drop and is_item_amount_unknown) as dropped_amount_unknown,
        count(*) filter (where is_drop and is_visited) as visitors_dropped
    from items
    group by entity, pipeline_id, stage_id
)

select
    stages.entity,
    names.pipeline_name,
    names.stage_name,
    visited,
    -- Items that were created as failed stand on no stage.
    case when stages.stage_id is not null then visited / stage_items end as stage_pass_rate,
    visitors_forwarded,
    visitors_forwarded / nullif(visited, 0) as stage_forward_rate,
    stage_days_avg,
    stage_days_median,
    dropped,
    dropped_amount,
    dropped_amount_unknown,
    visitors_dropped / nullif(visited, 0) as dropped_share
from stages
inner join names
    on
        stages.entity = names.entity
        and stages.pipeline_id is not distinct from names.pipeline_id
        and stages.stage_id is not distinct from names.stage_id
left join marts.dim_pipelines as pipelines on stages.pipeline_id = pipelines.pipeline_id
order by
    stages.entity desc,
    pipelines.sort_order asc nulls last,
    names.pipeline_name asc,
    stages.stage_id is null asc,
    names.sort_order asc nulls last,
    names.stage_name asc

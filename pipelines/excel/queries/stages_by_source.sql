-- Share of the leads created in the period that ever stood on each stage, by source, with the row
-- of all sources (null).
-- Grain: one row per source and stage.
with leads as (
    select
        lead_id,
        source_name
    from marts.fct_leads
    where
        is_counted
        and created_date between getvariable('period_start') and getvariable('period_end')
),

-- One row per stage and lead: a lead may come to a stage several times.
reach as (
    select
        lead_id,
        stage_name,
        min(sort_order) as sort_order,
        bool_or(is_visited) as is_visited
    from marts.fct_stage_reach
    where
        is_counted
        and entity = 'lead'
        and stage_id is not null
        and item_created_date between getvariable('period_start') and getvariable('period_end')
    group by lead_id, stage_name
)

select
    source_name,
    stage_name,
    count(*) as leads_received,
    count(*) filter (where is_visited) / nullif(count(*), 0) as stage_pass_rate,
    grouping(source_name) = 1 as is_total
from leads
inner join reach using (lead_id)
group by grouping sets ((source_name, stage_name), (stage_name)) -- noqa: PRS
order by is_total, leads_received desc, source_name, min(sort_order) nulls last, stage_name

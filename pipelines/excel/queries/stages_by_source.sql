-- Share of the leads created in the period that ever stood on each stage, by source, with the row
-- of all sources (null).
-- Grain: one row per source and stage.
with reach as (
    select
        reach.*,
        leads.source_name,
    from marts.fct_stage_reach as reach
    inner join marts.fct_leads as leads on reach.lead_id = leads.lead_id
    where
        reach.is_counted
        and reach.stage_id is not null
        and reach.item_created_date
        between getvariable('period_start') and getvariable('period_end')
)

select
    source_name,
    stage_name,
    count(distinct item_key) as leads_received,
    count(distinct item_key) filter (where is_visited)
    / nullif(count(distinct item_key), 0) as stage_pass_rate,
    grouping(source_name) = 1 as is_total,
from reach
group by grouping sets (
    (source_name, stage_name), (stage_name)
)
order by is_total, leads_received desc, source_name, min(sort_order) nulls last, stage_name

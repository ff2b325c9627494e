-- From our count to the portal's: what each of its lines adds.
with lines as (
    select unnest(['ours', 'backlog', 'legacy', 'other_pipeline']) as line, unnest([1, 2, 3, 4]) as sort_order
),

items as (
    select *
    from ${bridge_items}
    where bridge_kind in ('counted', 'legacy', 'other_pipeline')
        and created_date <= [[period_end]]
        and (portal_closed_date is null or portal_closed_date >= [[period_start]])
)

select
    lines.line,
    count(items.item_id) as records,
    sum(items.base_amount) as base_amount
from lines
left join items on lines.line = items.line
where lines.line <> 'other_pipeline' or 'deal' = case when (select crm_mode from quality.refreshes) = 'simple' then 'deal' else '${inputs.bridge_entity}' end
group by lines.line, lines.sort_order
order by lines.sort_order

-- Leads and deals of the known sources, and those without a source, are all of them.
with leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

sources as (
    select * from {{ ref('dim_sources') }}
),

items as (
    select
        'lead' as entity,
        source_id,
        sales_amount as amount
    from leads
    union all
    select
        'deal' as entity,
        source_id,
        base_amount as amount
    from deals
),

parts as (
    select
        items.entity,
        items.amount
    from items
    inner join sources
        on items.source_id = sources.source_id
    union all
    select
        entity,
        amount
    from items
    where source_id is null
),

added_up as (
    select
        entity,
        count(*) as item_count,
        coalesce(sum(amount), 0) as amount
    from parts
    group by entity
),

total as (
    select
        entity,
        count(*) as item_count,
        coalesce(sum(amount), 0) as amount
    from items
    group by entity
)

select
    total.entity,
    total.item_count,
    added_up.item_count as item_count_of_sources
from total
left join added_up
    on total.entity = added_up.entity
where
    added_up.item_count is distinct from total.item_count
    or added_up.amount is distinct from total.amount

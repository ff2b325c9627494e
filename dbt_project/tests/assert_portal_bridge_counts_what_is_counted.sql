-- The bridge holds each living lead and deal, and the metrics count those that it calls counted.
with leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

portal_bridge as (
    select * from {{ ref('fct_portal_bridge') }}
),

facts as (
    select
        'lead' as entity,
        lead_id as item_id,
        is_counted
    from leads
    union all
    select
        'deal' as entity,
        deal_id as item_id,
        is_counted
    from deals
),

living as (
    select *
    from portal_bridge
    where bridge_kind not in ('template', 'deleted')
)

select
    facts.entity,
    facts.item_id,
    facts.is_counted,
    living.item_id as bridge_item_id,
    living.bridge_kind,
    living.our_state
from facts
full join living
    on
        facts.entity = living.entity
        and facts.item_id = living.item_id
where
    facts.item_id is null
    or living.item_id is null
    or facts.is_counted <> (living.bridge_kind = 'counted')
    or facts.is_counted <> (living.our_state is not null)

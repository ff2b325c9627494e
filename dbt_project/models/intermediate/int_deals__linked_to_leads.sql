-- The lead that a deal came from.
-- Grain: one row per living deal that is not a recurring template.
with stg_deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

deals as (
    select * from {{ ref('int_deals__classified') }}
),

leads as (
    select * from {{ ref('int_leads__classified') }}
),

customers as (
    select * from {{ ref('int_customers__exploded') }}
),

-- Only with attribution by customer: leads of the deal's company or contacts, in the order of time.
-- At one instant the deal stands first, as only a lead created before it counts.
customer_events as (
    select
        customers.customer_type,
        customers.customer_id,
        customers.item_id,
        customers.entity = 'lead' as is_lead,
        leads.created_at
    from customers
    inner join leads
        on customers.item_id = leads.lead_id
    where
        customers.entity = 'lead'
        and '{{ var("attribution") }}' = 'customer'
    union all
    select
        customers.customer_type,
        customers.customer_id,
        customers.item_id,
        customers.entity = 'lead' as is_lead,
        stg_deals.created_at
    from customers
    inner join stg_deals
        on customers.item_id = stg_deals.deal_id
    where
        customers.entity = 'deal'
        and stg_deals.portal_lead_id is null
        and '{{ var("attribution") }}' = 'customer'
),

sequenced as (
    select
        customer_type,
        customer_id,
        item_id,
        is_lead,
        created_at,
        count(case when is_lead then 1 end) over (
            partition by customer_type, customer_id
            order by created_at nulls last, is_lead, item_id
            rows between unbounded preceding and current row
        ) as lead_number
    from customer_events
),

customer_leads as (
    select
        deal_events.item_id as deal_id,
        lead_events.item_id as lead_id,
        row_number() over (
            partition by deal_events.item_id
            order by lead_events.created_at desc nulls last, lead_events.item_id desc
        ) as recency
    from sequenced as deal_events
    inner join sequenced as lead_events
        on
            deal_events.customer_type = lead_events.customer_type
            and deal_events.customer_id = lead_events.customer_id
            and deal_events.lead_number = lead_events.lead_number
            and lead_events.is_lead
    where not deal_events.is_lead
),

final as (
    select
        deals.deal_id,
        stg_deals.portal_lead_id,
        coalesce(direct_leads.lead_id, customer_leads.lead_id) as lead_id,
        case
            when direct_leads.lead_id is not null then 'direct'
            when stg_deals.portal_lead_id is not null then 'deleted'
            when customer_leads.lead_id is not null then 'customer'
            else 'none'
        end as lead_link
    from deals
    inner join stg_deals
        on deals.deal_id = stg_deals.deal_id
    left join leads as direct_leads
        on stg_deals.portal_lead_id = direct_leads.lead_id
    left join customer_leads
        on
            deals.deal_id = customer_leads.deal_id
            and customer_leads.recency = 1
)

select * from final

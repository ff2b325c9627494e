-- What a deal's company or contacts had bought or asked for before it.
-- Grain: one row per living deal with a company or a contact.
with deals as (
    select * from {{ ref('int_deals__classified') }}
),

customers as (
    select * from {{ ref('int_customers__exploded') }}
),

-- A legacy deal counts as earlier than any other deal of that customer.
sequenced as (
    select
        deals.deal_id,
        deals.created_at,
        count(*) over earlier_deals as earlier_deals_count,
        bool_or(deals.state = 'sale' and deals.is_legacy) over earlier_deals as has_legacy_sale,
        min(deals.sold_at) over earlier_deals as first_sold_at
    from deals
    inner join customers
        on
            deals.deal_id = customers.item_id
            and customers.entity = 'deal'
    window
        earlier_deals as (
            partition by customers.customer_type, customers.customer_id
            order by deals.is_legacy desc, deals.created_at asc nulls last, deals.deal_id asc
            rows between unbounded preceding and 1 preceding
        )
),

final as (
    select
        deal_id,
        bool_or(earlier_deals_count > 0) as has_earlier_deal,
        coalesce(bool_or(has_legacy_sale or first_sold_at < created_at), false) as has_earlier_sale
    from sequenced
    group by deal_id
)

select * from final

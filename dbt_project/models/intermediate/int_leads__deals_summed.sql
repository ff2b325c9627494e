-- Deals of a lead that count: in sales pipelines, not legacy unless the settings count those.
-- Grain: one row per lead with such deals.
with deals as (
    select * from {{ ref('int_deals__classified') }}
),

links as (
    select * from {{ ref('int_deals__linked_to_leads') }}
),

final as (
    select
        links.lead_id,
        count(*) as deals_count,
        count(*) filter (where deals.state = 'sale') as sales_count,
        sum(deals.base_amount) filter (where deals.state = 'sale') as sales_amount,
        count(*) filter (where deals.state = 'sale' and deals.is_amount_unknown)
            as sales_amount_unknown_count,
        count(*) filter (where deals.state = 'in_work') as deals_in_work_count,
        sum(deals.base_amount) filter (where deals.state = 'in_work') as potential_amount,
        count(*) filter (where deals.state = 'in_work' and deals.is_amount_unknown)
            as potential_amount_unknown_count,
        min(deals.created_at) as first_deal_at,
        min(deals.sold_at) as first_sold_at
    from deals
    inner join links
        on deals.deal_id = links.deal_id
    where
        deals.is_counted
        and links.lead_id is not null
    group by links.lead_id
)

select * from final

-- Sales of the leads that count, and sales without a lead, of deleted leads and of imported leads,
-- are all sales that count, in number and amount.
with leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

sales as (
    select
        deal_id,
        lead_id,
        lead_link,
        base_amount
    from deals
    where
        is_counted
        and is_sale
),

parts as (
    select
        sales_count as sales,
        sales_amount
    from leads
    where is_counted
    union all
    select
        1 as sales,
        base_amount as sales_amount
    from sales
    where lead_link in ('none', 'deleted')
    union all
    select
        1 as sales,
        sales.base_amount as sales_amount
    from sales
    inner join leads
        on sales.lead_id = leads.lead_id
    where
        leads.is_legacy
        and not leads.is_counted
),

added_up as (
    select
        coalesce(sum(sales), 0) as sales,
        coalesce(sum(sales_amount), 0) as sales_amount
    from parts
),

total as (
    select
        count(*) as sales,
        coalesce(sum(base_amount), 0) as sales_amount
    from sales
)

select
    added_up.sales as sales_of_the_parts,
    total.sales
from added_up
cross join total
where
    added_up.sales <> total.sales
    or added_up.sales_amount <> total.sales_amount

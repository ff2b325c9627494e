-- Sales that leads carry and sales without a lead that counts are all sales, in count and amount.
with leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

of_leads as (
    select
        coalesce(sum(sales_count), 0) as sales,
        coalesce(sum(sales_amount), 0) as sales_amount
    from leads
    where is_counted
),

without_lead as (
    select
        count(*) as sales,
        coalesce(sum(base_amount), 0) as sales_amount
    from deals
    where
        is_counted
        and is_sale
        and not has_counted_lead
),

of_deals as (
    select
        count(*) as sales,
        coalesce(sum(base_amount), 0) as sales_amount
    from deals
    where
        is_counted
        and is_sale
)

select
    of_leads.sales as sales_of_leads,
    without_lead.sales as sales_without_lead,
    of_deals.sales as sales_of_deals
from of_leads
cross join without_lead
cross join of_deals
where
    of_leads.sales + without_lead.sales <> of_deals.sales
    or of_leads.sales_amount + without_lead.sales_amount <> of_deals.sales_amount

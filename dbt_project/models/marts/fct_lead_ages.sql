-- Leads at the ages of 7 to 180 days, and what had become of them by then. A view: six rows for
-- each lead are made only when they are asked for.
-- Grain: one row per living lead of known creation time and age.
{{ config(materialized='view') }}
with leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

ages as (
    {%- for age in cohort_ages() %}
        select {{ age }} as age_days
        {{- ' union all' if not loop.last }}
    {%- endfor %}
),

sold as (
    select
        deals.lead_id,
        ages.age_days,
        sum(deals.base_amount) as sales_amount,
        count(*) filter (where deals.is_amount_unknown) as sales_amount_unknown_count
    from deals
    inner join ages
        on deals.lead_to_sale_days <= ages.age_days
    where
        deals.is_counted
        and deals.is_sale
    group by
        deals.lead_id,
        ages.age_days
),

final as (
    select
        leads.lead_id,
        ages.age_days,
        leads.is_counted,
        leads.reached_age_days >= ages.age_days as is_reached,
        leads.is_quality and coalesce(leads.processing_days <= ages.age_days, false) as is_quality,
        coalesce(leads.lead_to_deal_days <= ages.age_days, false) as has_deal,
        coalesce(leads.lead_to_sale_days <= ages.age_days, false) as has_sale,
        cast(sold.sales_amount as decimal(38, 2)) as sales_amount,
        coalesce(sold.sales_amount_unknown_count, 0) as sales_amount_unknown_count,
        leads.created_at,
        leads.created_date
    from leads
    cross join ages
    left join sold
        on
            leads.lead_id = sold.lead_id
            and ages.age_days = sold.age_days
    where leads.reached_age_days is not null
)

select * from final

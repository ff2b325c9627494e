-- Records that count and of which no amount in base currency is known: sums leave them out.
-- Grain: one row per kind of records.
with unknown as (
    select
        'sales_period' as left_out_kind,
        1 as place,
        coalesce(currency_code, '') as currency_code
    from marts.fct_deals
    where
        is_counted
        and is_sale
        and is_amount_unknown
        and sold_date between getvariable('period_start') and getvariable('period_end')
    union all
    select
        'deals_created' as left_out_kind,
        2 as place,
        coalesce(currency_code, '') as currency_code
    from marts.fct_deals
    where
        is_counted
        and is_amount_unknown
        and created_date between getvariable('period_start') and getvariable('period_end')
    union all
    select
        'deals_in_work' as left_out_kind,
        3 as place,
        coalesce(currency_code, '') as currency_code
    from marts.fct_deals
    where is_counted and is_in_work and is_amount_unknown
    union all
    select
        'leads_received' as left_out_kind,
        4 as place,
        coalesce(currency_code, '') as currency_code
    from marts.fct_leads
    where
        is_counted
        and is_amount_unknown
        and created_date between getvariable('period_start') and getvariable('period_end')
)

select
    left_out_kind,
    count(*) as records,
    list(distinct currency_code order by currency_code) as currencies
from unknown
group by left_out_kind, place
order by place

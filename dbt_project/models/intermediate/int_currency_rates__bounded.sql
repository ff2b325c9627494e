-- The first known and the latest rate of each currency.
-- Grain: one row per currency.
with currency_rates as (
    select * from {{ ref('stg_bitrix24__currency_rates') }}
),

final as (
    select
        currency_code,
        max(rate_amount) filter (where is_first) as first_rate_amount,
        max(rate_units) filter (where is_first) as first_rate_units,
        max(rate_amount) filter (where is_latest) as latest_rate_amount,
        max(rate_units) filter (where is_latest) as latest_rate_units
    from currency_rates
    group by currency_code
)

select * from final

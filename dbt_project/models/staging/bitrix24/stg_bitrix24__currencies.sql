-- Currencies of the portal with today's rates.
-- Grain: one row per currency.
with source as (
    {{ current_versions('currencies', key='currency') }}
),

renamed as (
    select
        currency as currency_code,
        {{ one_line('full_name') }} as currency_name,
        amount as rate_amount,
        amount_cnt as rate_units,
        sort as sort_order,
        decimals,
        coalesce(base = 'Y', false) as is_base
    from source
)

select * from renamed

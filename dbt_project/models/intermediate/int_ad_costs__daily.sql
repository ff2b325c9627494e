-- Costs of the spend files by day: a row of several days is spread over them, what does not divide
-- falls on the first ones.
-- Grain: one row per row of a spend file and day.
with ad_costs as (
    select * from {{ ref('stg_spend__ad_costs') }}
),

currency_rates as (
    select * from {{ ref('stg_bitrix24__currency_rates') }}
),

bounded_rates as (
    select * from {{ ref('int_currency_rates__bounded') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

last_refresh as (
    select base_currency
    from refreshes
    where is_last
),

counted as (
    select
        ad_costs.file,
        ad_costs.line_number,
        coalesce(ad_costs.currency_code, last_refresh.base_currency) as currency_code,
        ad_costs.cost,
        cast(floor(cast(abs(ad_costs.cost) as decimal(38, 6)) * 100) as bigint) as kopecks,
        cast(coalesce(ad_costs.vat_percent, 0) as decimal(5, 2)) as vat_percent,
        ad_costs.clicks,
        {{ days_from_to('ad_costs.date_from', 'ad_costs.date_to') }} + 1 as days_count,
        ad_costs.date_from,
        ad_costs.date_to
    from ad_costs
    cross join last_refresh
),

days as (
    select
        *,
        {{ day_series('date_from', 'date_to') }} as cost_date
    from counted
),

numbered as (
    select
        *,
        {{ days_from_to('date_from', 'cost_date') }} as day_number
    from days
),

-- Below a kopeck a file may state up to six decimals.
spread as (
    select
        file,
        line_number,
        currency_code,
        cast(
            (
                cast({{ whole_share('kopecks', 'days_count', 'day_number') }} as decimal(20, 0))
                * cast(0.01 as decimal(3, 2))
                + case
                    when day_number = 0
                        then
                            abs(cost)
                            - cast(kopecks as decimal(20, 0)) * cast(0.01 as decimal(3, 2))
                    else 0
                end
            ) * case when cost < 0 then -1 else 1 end
            as decimal(18, 6)
        ) as cost,
        vat_percent,
        {{ whole_share('clicks', 'days_count', 'day_number') }} as clicks,
        cost_date,
        {{ start_of_portal_day(dbt.dateadd('day', 1, 'cost_date')) }} as day_ends_at
    from numbered
),

-- The rate of a day is the last one in force on it.
with_rates as (
    select
        spread.*,
        cast(spread.cost as decimal(20, 6)) * cast(100 + spread.vat_percent as decimal(8, 2))
            as percents_of_cost,
        coalesce(currency_rates.rate_amount, bounded_rates.first_rate_amount) as rate_amount,
        coalesce(currency_rates.rate_units, bounded_rates.first_rate_units) as rate_units
    from spread
    left join bounded_rates
        on spread.currency_code = bounded_rates.currency_code
    left join currency_rates
        on
            spread.currency_code = currency_rates.currency_code
            and spread.day_ends_at > currency_rates.valid_from
            and (
                currency_rates.valid_to is null
                or spread.day_ends_at <= currency_rates.valid_to
            )
),

final as (
    select
        file,
        line_number,
        currency_code,
        cost,
        vat_percent,
        -- Nothing is nothing in any currency.
        case
            when cost = 0 then cast(0 as decimal(20, 2))
            else
                {{
                    to_base_amount('percents_of_cost', 'rate_amount', '(100 * rate_units)', scale=8)
                }}
        end as base_cost,
        clicks,
        cost_date
    from with_rates
)

select * from final

-- Log of rates: crm.currency.list knows only today's, so every change seen is kept with its time.
-- Grain: one row per currency and refresh in which its rate changed.
with source as (
    select * from {{ source('raw', 'currencies') }}
),

refreshes as (
    select * from {{ source('raw', 'refreshes') }}
),

completed as (
    select
        refresh_no,
        max(base_currency) as base_currency,
        max(as_of) as as_of
    from refreshes
    where completed
    group by refresh_no
),

clocked as (
    select
        refresh_no,
        base_currency,
        {{ refresh_clock() }} as clock_at
    from completed
),

versions as (
    select
        source.currency as currency_code,
        source.refresh_no,
        source.amount as rate_amount,
        source.amount_cnt as rate_units,
        coalesce(source.is_deleted, false) as is_deleted,
        clocked.base_currency,
        clocked.clock_at as valid_from
    from source
    inner join clocked
        on source.refresh_no = clocked.refresh_no
    qualify row_number() over (
            partition by source.currency, source.refresh_no
            order by source._dlt_load_id desc nulls last
        ) = 1
),

with_latest as (
    select
        currency_code,
        refresh_no,
        rate_amount,
        rate_units,
        is_deleted,
        base_currency,
        lead(refresh_no) over (
            partition by currency_code
            order by refresh_no nulls last
        ) is null as is_latest,
        valid_from
    from versions
),

-- Rates against a base currency that the portal has since left say nothing about today's base.
usable as (
    select *
    from with_latest
    where
        not is_deleted
        and rate_amount > 0
        and rate_units > 0
        and (
            is_latest
            or base_currency is not distinct from (
                select max_by(completed.base_currency, completed.refresh_no) from completed
            )
        )
),

final as (
    select
        currency_code,
        refresh_no,
        rate_amount,
        rate_units,
        row_number() over (
            partition by currency_code
            order by refresh_no nulls last
        ) = 1 as is_first,
        is_latest,
        valid_from,
        lead(valid_from) over (
            partition by currency_code
            order by refresh_no nulls last
        ) as valid_to
    from usable
)

select * from final

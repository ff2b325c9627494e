-- Completed refreshes: the clock and the address that every model reads.
-- Grain: one row per completed refresh.
with source as (
    select * from {{ source('raw', 'refreshes') }}
),

-- Two identical rows of one refresh remain after a crash between writing and noting it.
completed as (
    select distinct
        refresh_no,
        kind,
        portal_url,
        crm_mode,
        base_currency,
        utc_offset,
        as_of,
        started_at,
        history_from
    from source
    where completed
),

renamed as (
    select
        refresh_no,
        kind,
        portal_url,
        case crm_mode when 1 then 'classic' when 2 then 'simple' end as crm_mode,
        base_currency,
        utc_offset,
        refresh_no = max(refresh_no) over () as is_last,
        as_of,
        {{ portal_date('as_of') }} as as_of_date,
        {{ refresh_clock() }} as clock_at,
        started_at,
        history_from,
        {{ portal_date('history_from') }} as history_from_date
    from completed
)

select * from renamed

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
        history_from,
        written_times
    from source
    where completed
),

-- Offsets that the portal wrote before its last full read may be fixed by now.
written_times as (
    select {{ explode(json_text_list('written_times', "'times'")) }} as written_time
    from completed
    where
        written_times is not null
        and refresh_no >= (
            select max(full_readings.refresh_no)
            from completed as full_readings
            where full_readings.kind = 'full'
        )
),

-- Times that the portal writes with another offset than the timezone of the reports has then.
offset_differences as (
    select
        written_time,
        cast(written_time as {{ type_instant() }}) as written_at
    from written_times
    where
        substring(written_time, 9, 2) || '.' || substring(written_time, 6, 2) || '.'
        || substring(written_time, 1, 4) || ' ' || substring(written_time, 12, 5)
        <> {{ portal_time_text('cast(written_time as ' ~ type_instant() ~ ')') }}
),

offset_differences_numbered as (
    select
        written_time,
        written_at,
        min(written_at) over () as first_written_at,
        count(*) over () as differences_count,
        row_number() over (order by written_at desc, written_time asc) as recency
    from offset_differences
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
),

final as (
    select
        renamed.*,
        offset_differences_numbered.written_time as offset_difference_written,
        coalesce(offset_differences_numbered.differences_count, 0) as offset_differences_count,
        offset_differences_numbered.written_at as offset_difference_at,
        offset_differences_numbered.first_written_at as first_offset_difference_at
    from renamed
    left join offset_differences_numbered
        on offset_differences_numbered.recency = 1
)

select * from final

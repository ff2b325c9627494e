-- Days of the portal's calendar, from the year of the first item to the end of the year of as_of.
-- Grain: one row per day.
with refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

last_refresh as (
    select as_of_date
    from refreshes
    where is_last
),

created as (
    select min(created_date) as first_date from leads
    union all
    select min(created_date) as first_date from deals
    union all
    select as_of_date as first_date from last_refresh
),

bounds as (
    select
        cast(date_trunc('year', min(created.first_date)) as date) as first_date,
        max(make_date(cast(extract(year from last_refresh.as_of_date) as integer), 12, 31))
            as last_date
    from created
    cross join last_refresh
),

days as (
    select {{ day_series('first_date', 'last_date') }} as date_day
    from bounds
    where first_date is not null
),

final as (
    select
        days.date_day,
        cast(date_trunc('week', days.date_day) as date) as week_start,
        cast(date_trunc('month', days.date_day) as date) as month_start,
        cast(date_trunc('quarter', days.date_day) as date) as quarter_start,
        cast(date_trunc('year', days.date_day) as date) as year_start,
        cast(extract(year from days.date_day) as integer) as year_number,
        cast(extract(quarter from days.date_day) as integer) as quarter_number,
        cast(extract(month from days.date_day) as integer) as month_number,
        cast(extract(day from days.date_day) as integer) as day_of_month,
        {{ iso_weekday('days.date_day') }} as day_of_week,
        {{ iso_weekday('days.date_day') }} >= 6 as is_weekend,
        days.date_day > last_refresh.as_of_date as is_future
    from days
    cross join last_refresh
)

select * from final

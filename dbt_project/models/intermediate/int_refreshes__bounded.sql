-- The span of the portal's clock that each completed refresh was the first to see.
-- Grain: one row per completed refresh.

{#- Hours by which the checks of the raw rows let the portal's clock be set back. #}
{%- set clock_back_hours = 1 %}
with refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

with_previous as (
    select
        refresh_no,
        is_last,
        (
            as_of < clock_at
            or lag(as_of < clock_at, 1, false) over (order by refresh_no nulls last)
        ) as is_clock_set_back,
        lag(clock_at) over (order by refresh_no nulls last) as previous_clock_at,
        clock_at
    from refreshes
),

-- What happened after the clock was set back bears times that were before.
final as (
    select
        refresh_no,
        is_last,
        case
            when is_clock_set_back then previous_clock_at - interval {{ clock_back_hours }} hour
            else previous_clock_at
        end as unseen_since,
        previous_clock_at,
        clock_at
    from with_previous
)

select * from final

-- The span of the portal's clock that each completed refresh was the first to see.
-- Grain: one row per completed refresh.
with refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

final as (
    select
        refresh_no,
        is_last,
        as_of,
        lag(as_of) over (order by refresh_no nulls last) as previous_as_of
    from refreshes
)

select * from final

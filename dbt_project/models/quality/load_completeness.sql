-- What the portal counts against what the last completed refresh holds.
-- Grain: one row per entity.
with load_completeness as (
    select * from {{ ref('stg_bitrix24__load_completeness') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

final as (
    select
        load_completeness.entity,
        load_completeness.refresh_no,
        load_completeness.portal_total + coalesce(load_completeness.rows_unread, 0) as portal_total,
        load_completeness.rows_read,
        load_completeness.rows_appended,
        load_completeness.rows_living,
        load_completeness.rows_deleted,
        load_completeness.requests,
        load_completeness.rows_unread,
        load_completeness.portal_total - load_completeness.rows_living as rows_missing,
        refreshes.as_of
    from load_completeness
    inner join refreshes
        on
            load_completeness.refresh_no = refreshes.refresh_no
            and refreshes.is_last
)

select * from final

-- What the portal counts against what was loaded, of every completed refresh.
-- Grain: one row per refresh and entity.
with source as (
    select * from {{ source('raw', 'load_completeness') }}
),

refreshes as (
    select * from {{ source('raw', 'refreshes') }}
),

-- Identical rows of one refresh remain after a crash between writing and noting it.
completed as (
    select distinct
        refresh_no,
        entity,
        portal_total,
        rows_read,
        rows_appended,
        rows_living,
        rows_deleted,
        requests,
        rows_unread
    from source
    where refresh_no in (
            select refreshes.refresh_no from refreshes
            where refreshes.completed
        )
)

select * from completed

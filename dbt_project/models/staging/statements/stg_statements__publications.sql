-- Publications in their order, and the one that the build is for.
-- Grain: one row per publication.
{{ config(materialized='view') }}

with publications as (
    select * from {{ source('statements', 'publications') }}
),

final as (
    select
        publication_no,
        is_published,
        refresh_no,
        as_of,
        stated_until,
        changed_settings,
        is_upgraded
    from publications
)

select * from final

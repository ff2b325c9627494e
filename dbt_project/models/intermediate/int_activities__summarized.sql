-- Open activities of leads and deals.
-- Grain: one row per entity and item with open activities.
with activities as (
    select * from {{ ref('stg_bitrix24__activities') }}
),

final as (
    select
        entity,
        item_id,
        count(*) as open_activities_count,
        min(deadline_at) as next_activity_at
    from activities
    where entity is not null
    group by
        entity,
        item_id
)

select * from final

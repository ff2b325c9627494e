-- Open activities: those done are not kept.
-- Grain: one row per open activity.
with source as (
    {{ current_versions('activities', key='id', created='created') }}
),

renamed as (
    select
        id as activity_id,
        {{ activity_entity() }} as entity,
        owner_id as item_id,
        type_id,
        {{ trimmed('provider_id') }} as provider_id,
        nullif(responsible_id, 0) as manager_id,
        {{ possible_time('created') }} as created_at,
        -- An activity without a deadline has 31.12.9999, which Bitrix24 itself tells by its year
        -- (CCrmDateTimeHelper::IsMaxDatabaseDate).
        case when extract(year from deadline) < 9999 then deadline end as deadline_at
    from source
)

select * from renamed

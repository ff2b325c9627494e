-- Users of the portal under names that no other user has.
-- Grain: one row per user.
with users as (
    select * from {{ ref('stg_bitrix24__users') }}
),

compared as (
    select
        *,
        {{ needs_id('user_name', ['no_manager', 'unknown_user']) }} as is_name_with_id
    from users
),

final as (
    select
        user_id,
        department_id,
        coalesce(
            {{ name_with_id('user_name', 'user_id', 'is_name_with_id') }},
            {{ label('unknown_user', with='user_id') }}
        ) as user_name,
        work_position,
        is_active,
        is_name_with_id
    from compared
)

select * from final

-- Users of the portal, dismissed ones included.
-- Grain: one row per user.
with source as (
    {{ current_versions('users', key='id') }}
),

renamed as (
    select
        id as user_id,
        {{ json_first_int('department_ids') }} as department_id,
        nullif(
            concat_ws(' ', nullif(trim(name), ''), nullif(trim(last_name), '')), ''
        ) as user_name,
        nullif(trim(work_position), '') as work_position,
        coalesce(active, false) as is_active
    from source
)

select * from renamed

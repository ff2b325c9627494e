-- Users of the portal, dismissed ones included.
-- Grain: one row per user.
with source as (
    {{ current_versions('users', key='id') }}
),

renamed as (
    select
        id as user_id,
        {{ json_first_int('department_ids') }} as department_id,
        {{ one_line("concat_ws(' ', name, last_name)") }} as user_name,
        {{ one_line('work_position') }} as work_position,
        coalesce(active, false) as is_active
    from source
)

select * from renamed

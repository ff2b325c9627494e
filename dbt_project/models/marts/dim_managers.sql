-- Users of the portal, and every id that items still name (bots, integrators, deleted users).
-- Grain: one row per user.
with users as (
    select * from {{ ref('int_users__named') }}
),

departments as (
    select * from {{ ref('int_departments__named') }}
),

leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

seen as (
    select user_id as manager_id from users
    union
    select manager_id from leads
    where manager_id is not null
    union
    select manager_id from deals
    where manager_id is not null
),

final as (
    select
        seen.manager_id,
        users.department_id,
        coalesce(
            users.user_name,
            {{ label('unknown_user', with='seen.manager_id') }}
        ) as manager_name,
        case
            when users.department_id is null then {{ label('no_department') }}
            else coalesce(
                    departments.department_name,
                    {{ label('deleted_department', with='users.department_id') }}
                )
        end as department_name,
        users.work_position,
        coalesce(users.is_active, false) as is_active,
        users.user_id is null as is_unknown,
        coalesce(users.is_name_with_id, false) as is_name_with_id
    from seen
    left join users
        on seen.manager_id = users.user_id
    left join departments
        on users.department_id = departments.department_id
)

select * from final

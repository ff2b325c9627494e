-- Departments of the company under names that no other department has.
-- Grain: one row per department.
with departments as (
    select * from {{ ref('stg_bitrix24__departments') }}
),

compared as (
    select
        *,
        {{
            needs_id(
                'department_name',
                ['no_department', 'nameless', 'deleted_department']
            )
        }} as is_name_with_id
    from departments
),

final as (
    select
        department_id,
        coalesce(
            {{ name_with_id('department_name', 'department_id', 'is_name_with_id') }},
            {{ label('nameless', with='department_id') }}
        ) as department_name,
        is_name_with_id
    from compared
)

select * from final

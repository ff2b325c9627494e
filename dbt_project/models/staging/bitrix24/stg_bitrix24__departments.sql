-- Departments of the company.
-- Grain: one row per department.
with source as (
    {{ current_versions('departments', key='id') }}
),

renamed as (
    select
        id as department_id,
        nullif(parent_id, 0) as parent_department_id,
        {{ one_line('name') }} as department_name,
        sort as sort_order
    from source
)

select * from renamed

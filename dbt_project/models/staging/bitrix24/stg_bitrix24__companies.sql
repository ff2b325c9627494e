-- Companies as they stand in the last completed refresh, own legal entities included and marked.
-- Grain: one row per living company.
with source as (
    {{ current_versions('companies', key='id', created='created_time') }}
),

renamed as (
    select
        id as company_id,
        nullif(lead_id, 0) as lead_id,
        nullif(assigned_by_id, 0) as manager_id,
        coalesce(is_my_company = 'Y', false) as is_own,
        {{ possible_time('created_time') }} as created_at,
        {{ possible_time('updated_time') }} as updated_at,
        user_fields
    from source
)

select * from renamed

-- Contacts as they stand in the last completed refresh; no personal data.
-- Grain: one row per living contact.
with source as (
    {{ current_versions('contacts', key='id', created='created_time') }}
),

renamed as (
    select
        id as contact_id,
        nullif(company_id, 0) as company_id,
        nullif(lead_id, 0) as lead_id,
        nullif(assigned_by_id, 0) as manager_id,
        {{ trimmed('source_id') }} as source_id,
        {{ possible_time('created_time') }} as created_at,
        {{ possible_time('updated_time') }} as updated_at,
        user_fields
    from source
)

select * from renamed

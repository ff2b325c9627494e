-- Cities of leads: crm.lead.list alone gives them.
-- Grain: one row per living lead with an address record.
with source as (
    {{ current_versions('lead_addresses', key='id') }}
),

renamed as (
    select
        id as lead_id,
        {{ one_line('address_city') }} as city
    from source
)

select * from renamed

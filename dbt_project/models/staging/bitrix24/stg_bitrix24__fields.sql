-- User fields of the portal: type and label. System fields are not needed here.
-- Grain: one row per entity and user field.
with source as (
    {{ current_versions('fields', key='entity_type_id, field_name') }}
),

renamed as (
    select
        case entity_type_id
            when 1 then 'lead'
            when 2 then 'deal'
            when 3 then 'contact'
            when 4 then 'company'
        end as entity,
        field_name,
        coalesce({{ one_line('label') }}, field_name) as field_label,
        type as field_type,
        coalesce(is_multiple, false) as is_multiple,
        items
    from source
    where coalesce(is_dynamic, false)
)

select * from renamed

-- User fields that the settings name (user_fields, city_field) under labels that no other of their
-- entity has.
-- Grain: one row per entity and user field.
{%- set names = (var('user_fields') or []) + ([var('city_field')] if var('city_field') else []) %}
with fields as (
    select * from {{ ref('stg_bitrix24__fields') }}
),

compared as (
    select
        *,
        {{ needs_id('field_label', [], within='entity') }} as is_name_with_id
    from fields
    where field_name in ({{ text_list(names) or "null" }})
),

final as (
    select
        entity,
        field_name,
        {{ name_with_id('field_label', 'field_name', 'is_name_with_id') }} as field_label,
        field_type,
        is_name_with_id
    from compared
)

select * from final

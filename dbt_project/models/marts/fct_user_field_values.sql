-- Values of the user fields that the settings name, decoded: a filter, a column, a breakdown.
-- Grain: one row per entity, item, user field and value.
with user_fields as (
    select * from {{ ref('int_user_fields__decoded') }}
),

final as (
    select
        entity,
        item_id,
        case when entity = 'lead' then item_id end as lead_id,
        case when entity = 'deal' then item_id end as deal_id,
        field_name,
        field_label,
        cast(value_number as bigint) as value_number,
        field_value
    from user_fields
    where field_name in ({{ text_list(var('user_fields') or []) or "null" }})
)

select * from final

-- Items of list user fields.
-- Grain: one row per entity, user field and list item.
with fields as (
    select * from {{ ref('stg_bitrix24__fields') }}
),

exploded as (
    select
        entity,
        field_name,
        {{ explode(json_items_list('items')) }} as list_item
    from fields
    where items is not null
),

final as (
    select
        exploded.entity,
        exploded.field_name,
        exploded.list_item.id as item_id,
        exploded.list_item.value as item_value
    from exploded
)

select * from final

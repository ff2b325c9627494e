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
),

items as (
    select
        exploded.entity,
        exploded.field_name,
        exploded.list_item.id as item_id,
        coalesce({{ one_line('exploded.list_item.value') }}, exploded.list_item.id) as item_value
    from exploded
),

compared as (
    select
        *,
        {{ needs_id('item_value', ['deleted_value'], within='entity, field_name') }}
            as is_name_with_id
    from items
),

final as (
    select
        entity,
        field_name,
        item_id,
        {{ name_with_id('item_value', 'item_id', 'is_name_with_id') }} as item_value,
        is_name_with_id
    from compared
)

select * from final

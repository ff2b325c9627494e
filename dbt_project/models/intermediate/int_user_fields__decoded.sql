-- Values of the user fields that the settings name (user_fields, city_field), decoded to text.
-- Grain: one row per entity, item, user field and value.
with leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

named_fields as (
    select * from {{ ref('int_user_fields__named') }}
),

field_items as (
    select * from {{ ref('int_field_items__exploded') }}
),

users as (
    select * from {{ ref('int_users__named') }}
),

items as (
    select
        'lead' as entity,
        lead_id as item_id,
        user_fields
    from leads
    union all
    select
        'deal' as entity,
        deal_id as item_id,
        user_fields
    from deals
    where not is_template
),

listed as (
    select
        items.entity,
        items.item_id,
        named_fields.field_name,
        named_fields.field_label,
        named_fields.field_type,
        {{ json_text_list('items.user_fields', 'named_fields.field_name') }} as field_values
    from items
    inner join named_fields
        on items.entity = named_fields.entity
),

exploded as (
    select
        entity,
        item_id,
        field_name,
        field_label,
        field_type,
        {{ explode('field_values') }} as raw_value
    from listed
),

with_moments as (
    select
        *,
        case
            when field_type = 'datetime' then try_cast(raw_value as {{ type_instant() }})
        end as moment
    from exploded
),

decoded as (
    select distinct
        exploded.entity,
        exploded.item_id,
        exploded.field_name,
        exploded.field_label,
        case
            when exploded.field_type = 'enumeration'
                then coalesce(
                        field_items.item_value,
                        {{ label('deleted_value', with='exploded.raw_value') }}
                    )
            when exploded.field_type = 'boolean'
                then case
                        when exploded.raw_value in ('1', 'Y', 'true') then {{ label('yes') }}
                        else {{ label('no') }}
                    end
            when exploded.field_type = 'employee'
                then coalesce(
                        users.user_name,
                        {{ label('unknown_user', with='exploded.raw_value') }}
                    )
            when exploded.field_type = 'datetime'
                then coalesce(
                        cast({{ portal_date('exploded.moment') }} as string),
                        {{ one_line('exploded.raw_value') }}
                    )
            when exploded.field_type = 'date' then substr(exploded.raw_value, 1, 10)
            when exploded.field_type in ('file', 'disk_file')
                then {{ label('file', with='exploded.raw_value') }}
            when exploded.field_type in ('iblock_element', 'hlblock')
                then {{ label('element', with='exploded.raw_value') }}
            when exploded.field_type = 'iblock_section'
                then {{ label('section', with='exploded.raw_value') }}
            when exploded.field_type = 'resourcebooking'
                then {{ label('resource', with='exploded.raw_value') }}
            when exploded.field_type = 'crm'
                then {{ crm_element_name('exploded.raw_value') }}
            else {{ one_line('exploded.raw_value') }}
        end as field_value
    from with_moments as exploded
    left join field_items
        on
            exploded.entity = field_items.entity
            and exploded.field_name = field_items.field_name
            and exploded.raw_value = field_items.item_id
    left join users
        on
            exploded.field_type = 'employee'
            and exploded.raw_value = cast(users.user_id as string)
    where
        {{ one_line('exploded.raw_value') }} is not null
        -- An empty list field is 0 or false in some answers of the API.
        and not (
            exploded.field_type in ('enumeration', 'employee')
            and exploded.raw_value in ('0', 'false')
        )
),

final as (
    select
        entity,
        item_id,
        field_name,
        field_label,
        row_number() over (
            partition by entity, item_id, field_name
            order by field_value nulls last
        ) as value_number,
        field_value
    from decoded
)

select * from final

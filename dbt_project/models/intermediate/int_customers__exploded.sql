-- Companies and contacts of leads and deals, by direct link; own legal entities are no company.
-- Grain: one row per entity, item and customer (company or contact).
with leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

companies as (
    select * from {{ ref('stg_bitrix24__companies') }}
),

items as (
    select
        'lead' as entity,
        lead_id as item_id,
        company_id,
        contact_id,
        contact_ids
    from leads
    union all
    select
        'deal' as entity,
        deal_id as item_id,
        company_id,
        contact_id,
        contact_ids
    from deals
    where not is_template
),

linked as (
    select
        items.entity,
        items.item_id,
        'company' as customer_type,
        items.company_id as customer_id
    from items
    left join companies
        on items.company_id = companies.company_id
    where not coalesce(companies.is_own, false)
    union all
    select
        items.entity,
        items.item_id,
        'contact' as customer_type,
        items.contact_id as customer_id
    from items
    union all
    select
        items.entity,
        items.item_id,
        'contact' as customer_type,
        {{ explode(json_int_list('items.contact_ids')) }} as customer_id
    from items
    where items.contact_ids <> '[]'
),

final as (
    select distinct
        entity,
        item_id,
        customer_type,
        customer_id
    from linked
    where customer_id <> 0
)

select * from final

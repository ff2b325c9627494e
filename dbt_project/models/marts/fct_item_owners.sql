-- Who held a lead or deal when it was created, when it was sold, and who holds it now.
-- Grain: one row per living lead or deal.
with versions as (
    select * from {{ ref('int_item_versions__spanned') }}
),

refreshes as (
    select * from {{ ref('int_refreshes__bounded') }}
),

leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

managers as (
    select * from {{ ref('dim_managers') }}
),

items as (
    select
        'lead' as entity,
        lead_id as item_id,
        manager_id,
        manager_name,
        is_counted,
        created_at,
        cast(null as {{ type_instant() }}) as sold_at
    from leads
    union all
    select
        'deal' as entity,
        deal_id as item_id,
        manager_id,
        manager_name,
        is_counted,
        created_at,
        sold_at
    from deals
),

-- A change of owner is told from the version before it; a hidden item that came back is none.
sequenced as (
    select
        *,
        (
            version_number > 1
            and manager_id is distinct from lag(manager_id) over (
                partition by entity, item_id
                order by version_number
            )
        ) as is_owner_change
    from versions
),

seen as (
    select
        entity,
        item_id,
        count(*) filter (where is_owner_change) as owner_changes_count,
        min(valid_from) as first_seen_at
    from sequenced
    group by
        entity,
        item_id
),

-- The first version says who held the item at its creation only where a refresh saw it soon: none
-- came in between, or nothing was changed since.
at_creation as (
    select
        items.entity,
        items.item_id,
        versions.manager_id
    from items
    inner join versions
        on
            items.entity = versions.entity
            and items.item_id = versions.item_id
            and versions.version_number = 1
    where
        items.created_at > versions.previous_clock_at
        or items.created_at >= versions.updated_at
),

-- The refresh that was the first to see the sale.
sales as (
    select
        items.item_id,
        items.sold_at,
        refreshes.clock_at,
        refreshes.previous_clock_at
    from items
    inner join refreshes
        on {{ is_in_span_of('refreshes', 'items.sold_at') }}
    where items.sold_at is not null
),

at_sale as (
    select
        sales.item_id,
        versions.manager_id
    from sales
    inner join versions
        on
            sales.item_id = versions.item_id
            and versions.entity = 'deal'
            and sales.clock_at >= versions.valid_from
            and (sales.clock_at < versions.valid_to or versions.valid_to is null)
    where
        sales.previous_clock_at is not null
        or sales.sold_at >= versions.updated_at
),

final as (
    select
        items.entity,
        items.item_id,
        at_creation.manager_id as manager_at_creation_id,
        case
            when at_creation.manager_id is not null
                then coalesce(
                        creation_managers.manager_name,
                        {{ label('unknown_user', with='at_creation.manager_id') }}
                    )
            when at_creation.item_id is not null then {{ label('no_manager') }}
        end as manager_at_creation_name,
        at_sale.manager_id as manager_at_sale_id,
        case
            when at_sale.manager_id is not null
                then coalesce(
                        sale_managers.manager_name,
                        {{ label('unknown_user', with='at_sale.manager_id') }}
                    )
            when at_sale.item_id is not null then {{ label('no_manager') }}
        end as manager_at_sale_name,
        items.manager_id,
        items.manager_name,
        items.is_counted,
        at_creation.item_id is not null as is_manager_at_creation_known,
        at_sale.item_id is not null as is_manager_at_sale_known,
        seen.owner_changes_count,
        items.created_at,
        items.sold_at,
        seen.first_seen_at
    from items
    inner join seen
        on
            items.entity = seen.entity
            and items.item_id = seen.item_id
    left join at_creation
        on
            items.entity = at_creation.entity
            and items.item_id = at_creation.item_id
    left join at_sale
        on
            items.entity = 'deal'
            and items.item_id = at_sale.item_id
    left join managers as creation_managers
        on at_creation.manager_id = creation_managers.manager_id
    left join managers as sale_managers
        on at_sale.manager_id = sale_managers.manager_id
)

select * from final

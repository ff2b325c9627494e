-- What the portal counts against what the last completed refresh holds.
-- Grain: one row per entity.
with load_completeness as (
    select * from {{ ref('stg_bitrix24__load_completeness') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

item_versions as (
    select * from {{ ref('int_item_versions__spanned') }}
),

rates as (
    select * from {{ ref('int_currency_rates__bounded') }}
),

deleted_items as (
    select
        case item_versions.entity when 'lead' then 'leads' else 'deals' end as entity,
        item_versions.refresh_no,
        sum(
            {{
                to_base_amount(
                    'item_versions.amount', 'rates.latest_rate_amount', 'rates.latest_rate_units'
                )
            }}
        ) as base_amount
    from item_versions
    left join rates
        on item_versions.currency_code = rates.currency_code
    where item_versions.is_deleted
    group by
        item_versions.entity,
        item_versions.refresh_no
),

final as (
    select
        load_completeness.entity,
        load_completeness.refresh_no,
        load_completeness.portal_total + coalesce(load_completeness.rows_unread, 0) as portal_total,
        load_completeness.rows_read,
        load_completeness.rows_appended,
        load_completeness.rows_living,
        load_completeness.rows_deleted,
        cast(deleted_items.base_amount as decimal(38, 2)) as deleted_base_amount,
        load_completeness.requests,
        load_completeness.rows_unread,
        load_completeness.portal_total - load_completeness.rows_living as rows_missing,
        refreshes.as_of
    from load_completeness
    inner join refreshes
        on
            load_completeness.refresh_no = refreshes.refresh_no
            and refreshes.is_last
    left join deleted_items
        on
            load_completeness.entity = deleted_items.entity
            and load_completeness.refresh_no = deleted_items.refresh_no
)

select * from final

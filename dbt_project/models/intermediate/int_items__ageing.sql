-- Items that may be other than they were built last though nothing of them has changed since: leads
-- and deals in work grow older, leads reach an age of the cohorts, and times to come pass. A build
-- of changed items alone asks this before it builds anything.
-- Grain: one row per entity, item and whether it is by its age.
with items as (
    select * from {{ ref('int_items__classified') }}
),

leads as (
    select * from {{ ref('fct_leads') }}
),

last_refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

raw_refreshes as (
    select * from {{ source('raw', 'refreshes') }}
),

raw_leads as (
    select * from {{ source('raw', 'leads') }}
),

raw_deals as (
    select * from {{ source('raw', 'deals') }}
),

lead_stage_history as (
    select * from {{ source('raw', 'lead_stage_history') }}
),

deal_stage_history as (
    select * from {{ source('raw', 'deal_stage_history') }}
),

activities as (
    select * from {{ source('raw', 'activities') }}
),

contacts as (
    select * from {{ source('raw', 'contacts') }}
),

companies as (
    select * from {{ source('raw', 'companies') }}
),

-- The refresh of the last build, and that of now.
clocks as (
    select
        last_refreshes.as_of as built_as_of,
        max_by(raw_refreshes.as_of, raw_refreshes.refresh_no) as as_of
    from last_refreshes
    cross join raw_refreshes
    where
        last_refreshes.is_last
        and raw_refreshes.completed
    group by last_refreshes.as_of
),

times as (
    select
        'lead' as entity,
        id as item_id,
        greatest(created_time, updated_time, moved_time, date_closed, last_activity_time)
            as latest_at
    from raw_leads
    union all
    select
        'deal' as entity,
        id as item_id,
        greatest(
            created_time, updated_time, moved_time, last_activity_time,
            {{ start_of_portal_day('closedate') }}
        ) as latest_at
    from raw_deals
    union all
    select
        'lead' as entity,
        owner_id as item_id,
        created_time as latest_at
    from lead_stage_history
    union all
    select
        'deal' as entity,
        owner_id as item_id,
        created_time as latest_at
    from deal_stage_history
    union all
    select
        coalesce({{ activity_entity() }}, 'other') as entity,
        owner_id as item_id,
        created as latest_at
    from activities
    union all
    select
        'contact' as entity,
        id as item_id,
        greatest(created_time, updated_time) as latest_at
    from contacts
    union all
    select
        'company' as entity,
        id as item_id,
        greatest(created_time, updated_time) as latest_at
    from companies
),

final as (
    select
        entity,
        item_id,
        true as is_by_age
    from items
    where state = 'in_work'
    union
    select
        'lead' as entity,
        leads.lead_id as item_id,
        true as is_by_age
    from leads
    cross join clocks
    where
        leads.reached_age_days
        <> {{ reached_age(days_between('leads.created_at', 'clocks.as_of')) }}
    union
    select
        times.entity,
        times.item_id,
        false as is_by_age
    from times
    cross join clocks
    where times.latest_at > clocks.built_as_of
)

select * from final

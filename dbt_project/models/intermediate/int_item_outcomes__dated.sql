-- Since when leads and deals stand in their present outcome, and what says so. An import writes its
-- row of the history when it runs, so such rows date no outcome.
-- Grain: one row per entity and living item.

{#- The portal writes a row of the history within seconds of the move. #}
{%- set import_seconds = 3600 %}
{#- What was created so long before its history begins was there before it. #}
{%- set import_created_seconds = 86400 %}
with leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

items as (
    select * from {{ ref('int_items__classified') }}
),

visits as (
    select * from {{ ref('int_stage_visits__summarized') }}
),

deal_sales as (
    select * from {{ ref('int_deal_sales__followed') }}
),

item_versions as (
    select * from {{ ref('stg_bitrix24__item_versions') }}
),

stages as (
    select * from {{ ref('int_stages__unioned') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

last_refresh as (
    select as_of
    from refreshes
    where is_last
),

closings as (
    select
        'lead' as entity,
        lead_id as item_id,
        'date_closed' as close_source,
        true as is_closed,
        closed_at as close_at,
        {{ portal_date('closed_at') }} as close_date
    from leads
    union all
    select
        'deal' as entity,
        deal_id as item_id,
        'close_date' as close_source,
        is_closed,
        {{ start_of_portal_day('close_date') }} as close_at,
        close_date
    from deals
),

-- A sale that was handed over is dated by its own beginning.
joined as (
    select
        items.entity,
        items.item_id,
        case when deal_sales.deal_id is not null then 'success' else items.state end as state,
        deal_sales.deal_id is not null as is_sold_elsewhere,
        items.semantics,
        closings.close_source,
        closings.is_closed,
        -- The outcome began with the first row of the history.
        case
            when deal_sales.deal_id is not null
                then deal_sales.is_sold_by_first_row
            else visits.is_state_since_first_row and items.state <> 'in_work'
        end as is_first_row_outcome,
        items.created_at,
        {{ portal_date('items.created_at') }} as created_date,
        items.moved_at,
        visits.first_history_at,
        case
            when deal_sales.deal_id is not null then deal_sales.sold_at
            else visits.state_since
        end as state_since,
        case
            when deal_sales.sale_evidence in ('moved_time', 'refresh')
                then deal_sales.sale_evidence
            else 'history'
        end as state_since_source,
        visits.semantics_since,
        closings.close_date,
        {{ possible_time('closings.close_at', 'last_refresh.as_of') }} as close_at,
        last_refresh.as_of
    from items
    cross join last_refresh
    inner join closings
        on
            items.entity = closings.entity
            and items.item_id = closings.item_id
    left join visits
        on
            items.entity = visits.entity
            and items.item_id = visits.item_id
    left join deal_sales
        on
            items.entity = 'deal'
            and items.item_id = deal_sales.deal_id
            and deal_sales.is_standing
),

-- Moved on since the history began, if it ever began with a move: only the log may know when.
moved_since as (
    select
        entity,
        item_id,
        state,
        is_sold_elsewhere
    from joined
    where
        is_first_row_outcome
        and (moved_at is null or moved_at > first_history_at)
),

version_states as (
    select
        item_versions.entity,
        item_versions.item_id,
        item_versions.refresh_no,
        item_versions.stage_id,
        coalesce(item_versions.semantics, stages.semantics) as semantics,
        moved_since.state,
        moved_since.is_sold_elsewhere,
        item_versions.moved_at
    from item_versions
    inner join moved_since
        on
            item_versions.entity = moved_since.entity
            and item_versions.item_id = moved_since.item_id
    left join stages
        on
            item_versions.entity = stages.entity
            and item_versions.stage_id = stages.stage_id
    where not item_versions.is_deleted
),

version_meanings as (
    select
        *,
        case entity
            when 'lead' then {{ lead_state('stage_id', 'semantics') }}
            else {{ deal_state('stage_id', 'semantics') }}
        end as version_state
    from version_states
),

-- Of a sale that stands in another pipeline every version that shows it sold tells.
versions_of_stays as (
    select
        entity,
        item_id,
        moved_at,
        is_sold_elsewhere,
        state = version_state as is_of_state,
        bool_or(state <> version_state) over (
            partition by entity, item_id
            order by refresh_no desc
            rows between unbounded preceding and current row
        ) as is_other_since
    from version_meanings
),

earliest_moves as (
    select
        entity,
        item_id,
        min(moved_at) as moved_at
    from versions_of_stays
    where
        not is_other_since
        or (is_sold_elsewhere and is_of_state)
    group by
        entity,
        item_id
),

with_evidence as (
    select
        joined.*,
        case when joined.is_closed then joined.close_at end as closed_at,
        earliest_moves.moved_at as earliest_moved_at,
        case
            when not joined.is_first_row_outcome then null
            when
                {{ seconds_between('joined.moved_at', 'joined.first_history_at') }}
                > {{ import_seconds }}
                then 'moved_time'
            when joined.moved_at <= joined.first_history_at then null
            when
                {{ seconds_between('earliest_moves.moved_at', 'joined.first_history_at') }}
                > {{ import_seconds }}
                then 'earlier_moved_time'
            when earliest_moves.moved_at <= joined.first_history_at then null
            when
                {{ seconds_between('joined.created_at', 'joined.first_history_at') }}
                > {{ import_created_seconds }}
                then 'created_time'
        end as import_evidence
    from joined
    left join earliest_moves
        on
            joined.entity = earliest_moves.entity
            and joined.item_id = earliest_moves.item_id
),

dated as (
    select
        *,
        case
            when import_evidence = 'moved_time' then moved_at
            when import_evidence = 'earlier_moved_time' then earliest_moved_at
            when import_evidence = 'created_time' then close_at
            else coalesce(state_since, moved_at, closed_at)
        end as read_at,
        case
            when import_evidence in ('moved_time', 'earlier_moved_time') then 'moved_time'
            when import_evidence = 'created_time' then close_source
            when state_since is not null then state_since_source
            when moved_at is not null then 'moved_time'
            else close_source
        end as read_from,
        case
            when semantics in ('S', 'F') then coalesce(semantics_since, moved_at, closed_at)
        end as portal_read_at
    from with_evidence
),

-- A time in the future is a plan.
final as (
    select
        entity,
        item_id,
        case when read_at <= as_of then read_from else 'none' end as outcome_at_source,
        case
            when import_evidence is not null then import_evidence
            when is_first_row_outcome and close_date < created_date then 'close_date'
        end as import_evidence,
        first_history_at,
        case when read_at <= as_of then read_at end as outcome_at,
        case when portal_read_at <= as_of then portal_read_at end as portal_closed_at
    from dated
)

select * from final

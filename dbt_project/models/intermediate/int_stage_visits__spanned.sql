-- Visits of living items to stages, from the stage history and, where it lacks the present stay,
-- from the time of the last move.
-- Grain: one row per entity, item and visit.
with items as (
    select * from {{ ref('int_items__classified') }}
),

stages as (
    select * from {{ ref('int_stages__unioned') }}
),

lead_stage_history as (
    select * from {{ ref('stg_bitrix24__lead_stage_history') }}
),

deal_stage_history as (
    select * from {{ ref('stg_bitrix24__deal_stage_history') }}
),

history as (
    select
        'lead' as entity,
        lead_id as item_id,
        history_id,
        cast(null as bigint) as pipeline_id,
        stage_id,
        semantics,
        created_at
    from lead_stage_history
    where stage_id is not null
    union all
    select
        'deal' as entity,
        deal_id as item_id,
        history_id,
        pipeline_id,
        stage_id,
        semantics,
        created_at
    from deal_stage_history
    where stage_id is not null
),

ordered as (
    select
        entity,
        item_id,
        history_id,
        pipeline_id,
        stage_id,
        semantics,
        created_at,
        lag(stage_id) over (
            partition by entity, item_id
            order by created_at nulls last, history_id
        ) as previous_stage_id,
        lead(history_id) over (
            partition by entity, item_id
            order by created_at nulls last, history_id
        ) is null as is_last
    from history
),

-- Consecutive rows on one stage are one visit: only the row that begins it is kept.
visits_by_history as (
    select
        ordered.entity,
        ordered.item_id,
        ordered.history_id,
        ordered.pipeline_id,
        ordered.stage_id,
        ordered.semantics,
        items.state as item_state,
        ordered.created_at as entered_at,
        true as is_from_history
    from ordered
    inner join items
        on
            ordered.entity = items.entity
            and ordered.item_id = items.item_id
    where ordered.stage_id is distinct from ordered.previous_stage_id
),

present_visits as (
    select
        items.entity,
        items.item_id,
        cast(null as bigint) as history_id,
        items.pipeline_id,
        items.stage_id,
        items.semantics,
        items.state as item_state,
        coalesce(items.moved_at, items.created_at) as entered_at,
        false as is_from_history
    from items
    left join ordered
        on
            items.entity = ordered.entity
            and items.item_id = ordered.item_id
            and ordered.is_last
    where
        items.stage_id is not null
        and items.stage_id is distinct from ordered.stage_id
),

visits as (
    select * from visits_by_history
    union all
    select * from present_visits
),

described as (
    select
        visits.entity,
        visits.item_id,
        visits.history_id,
        case
            when visits.entity = 'deal'
                then coalesce(visits.pipeline_id, stages.pipeline_id, 0)
        end as pipeline_id,
        visits.stage_id,
        coalesce(visits.semantics, stages.semantics, 'P') as semantics,
        stages.sort_order,
        visits.item_state,
        visits.entered_at,
        visits.is_from_history
    from visits
    left join stages
        on
            visits.entity = stages.entity
            and visits.stage_id = stages.stage_id
),

numbered as (
    select
        entity,
        item_id,
        row_number() over (
            partition by entity, item_id
            order by is_from_history desc, entered_at asc nulls last, history_id asc nulls last
        ) as visit_number,
        pipeline_id,
        stage_id,
        semantics,
        case entity
            when 'lead' then {{ lead_state('stage_id', 'semantics') }}
            else {{ deal_state('stage_id', 'semantics') }}
        end as row_state,
        item_state,
        sort_order,
        is_from_history,
        entered_at,
        lead(entered_at) over (
            partition by entity, item_id
            order by is_from_history desc, entered_at asc nulls last, history_id asc nulls last
        ) as left_at,
        lead(stage_id) over (
            partition by entity, item_id
            order by is_from_history desc, entered_at asc nulls last, history_id asc nulls last
        ) as next_stage_id
    from described
),

final as (
    select
        entity,
        item_id,
        visit_number,
        pipeline_id,
        stage_id,
        semantics,
        row_state,
        -- The present visit means what the item means now.
        case when next_stage_id is null then item_state else row_state end as stage_state,
        sort_order,
        next_stage_id,
        is_from_history,
        next_stage_id is null as is_current,
        entered_at,
        left_at
    from numbered
)

select * from final

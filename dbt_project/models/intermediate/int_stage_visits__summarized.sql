-- What the history and the visits of an item say about its present state.
-- Grain: one row per entity and living item.
with items as (
    select * from {{ ref('int_items__classified') }}
),

history as (
    select * from {{ ref('int_stage_history__unioned') }}
),

visits as (
    select * from {{ ref('int_stage_visits__spanned') }}
),

history_summarized as (
    select
        items.entity,
        items.item_id,
        coalesce(
            max(history.row_number) filter (where history.row_state <> items.state), 0
        ) as last_other_row_number,
        coalesce(
            max(history.row_number) filter (where history.semantics <> items.semantics), 0
        ) as last_other_semantics_row_number,
        bool_or(history.row_number = 1 and history.semantics in ('S', 'F'))
            as is_first_history_final,
        max(history.created_at) filter (where history.row_number = 1) as first_history_at
    from items
    inner join history
        on
            items.entity = history.entity
            and items.item_id = history.item_id
    group by
        items.entity,
        items.item_id
),

visits_summarized as (
    select
        entity,
        item_id,
        max(visit_number) filter (
            where stage_state = 'in_work' and not is_current
        ) as last_open_visit_number,
        max_by(stage_id, visit_number) filter (
            where stage_state = 'in_work' and not is_current
        ) as last_open_stage_id,
        max(visit_number) filter (where stage_state = 'success') as last_success_visit_number
    from visits
    group by
        entity,
        item_id
),

final as (
    select
        items.entity,
        items.item_id,
        items.state as item_state,
        visits_summarized.last_success_visit_number,
        visits_summarized.last_open_visit_number,
        visits_summarized.last_open_stage_id,
        coalesce(history_summarized.is_first_history_final, false) as is_first_history_final,
        history.stage_id as state_since_stage_id,
        coalesce(history_summarized.last_other_row_number = 0, false) as is_state_since_first_row,
        history_summarized.first_history_at,
        history.created_at as state_since,
        semantics_stays.created_at as semantics_since
    from items
    left join visits_summarized
        on
            items.entity = visits_summarized.entity
            and items.item_id = visits_summarized.item_id
    left join history_summarized
        on
            items.entity = history_summarized.entity
            and items.item_id = history_summarized.item_id
    left join history
        on
            items.entity = history.entity
            and items.item_id = history.item_id
            and history_summarized.last_other_row_number + 1 = history.row_number
    left join history as semantics_stays
        on
            items.entity = semantics_stays.entity
            and items.item_id = semantics_stays.item_id
            and history_summarized.last_other_semantics_row_number + 1
            = semantics_stays.row_number
)

select * from final

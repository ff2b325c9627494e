-- What the visits of an item say about its present state.
-- Grain: one row per entity and living item.
with items as (
    select * from {{ ref('int_items__classified') }}
),

visits as (
    select * from {{ ref('int_stage_visits__spanned') }}
),

summarized as (
    select
        items.entity,
        items.item_id,
        items.state as item_state,
        coalesce(
            max(visits.visit_number) filter (
                where visits.is_from_history and visits.row_state <> items.state
            ),
            0
        ) as last_other_visit_number,
        max(visits.visit_number) filter (
            where visits.stage_state = 'in_work' and not visits.is_current
        ) as last_open_visit_number,
        max(visits.visit_number) filter (
            where visits.stage_state = 'success'
        ) as last_success_visit_number,
        coalesce(
            bool_or(
                visits.visit_number = 1
                and visits.is_from_history
                and visits.semantics in ('S', 'F')
            ),
            false
        ) as is_first_history_final
    from items
    left join visits
        on
            items.entity = visits.entity
            and items.item_id = visits.item_id
    group by
        items.entity,
        items.item_id,
        items.state
),

final as (
    select
        summarized.entity,
        summarized.item_id,
        summarized.item_state,
        summarized.last_success_visit_number,
        summarized.last_open_visit_number,
        summarized.is_first_history_final,
        visits.entered_at as state_since
    from summarized
    left join visits
        on
            summarized.entity = visits.entity
            and summarized.item_id = visits.item_id
            and visits.visit_number = summarized.last_other_visit_number + 1
            and visits.is_from_history
)

select * from final

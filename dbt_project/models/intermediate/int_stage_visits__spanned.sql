-- Visits of living items to stages, from the stage history and, where it lacks the present stay,
-- from the time of the last move.
-- Grain: one row per entity, item and visit.
with items as (
    select * from {{ ref('int_items__classified') }}
),

stages as (
    select * from {{ ref('int_stages__unioned') }}
),

history as (
    select * from {{ ref('int_stage_history__unioned') }}
),

-- A visit means what its last row says: by then the portal may know better.
visits_by_history as (
    select
        entity,
        item_id,
        visit_number,
        stage_id,
        max_by(pipeline_id, row_number) as pipeline_id,
        max_by(semantics, row_number) as semantics,
        max_by(row_state, row_number) as stage_state,
        min(created_at) as entered_at
    from history
    group by
        entity,
        item_id,
        visit_number,
        stage_id
),

last_visits as (
    select
        entity,
        item_id,
        max(visit_number) as visit_number,
        max_by(stage_id, visit_number) as stage_id
    from visits_by_history
    group by
        entity,
        item_id
),

visits as (
    select
        entity,
        item_id,
        visit_number,
        pipeline_id,
        stage_id,
        semantics,
        stage_state,
        true as is_from_history,
        entered_at
    from visits_by_history
    union all
    select
        items.entity,
        items.item_id,
        coalesce(last_visits.visit_number, 0) + 1 as visit_number,
        items.pipeline_id,
        items.stage_id,
        items.semantics,
        items.state as stage_state,
        false as is_from_history,
        coalesce(items.moved_at, items.created_at) as entered_at
    from items
    left join last_visits
        on
            items.entity = last_visits.entity
            and items.item_id = last_visits.item_id
    where
        items.stage_id is not null
        and items.stage_id is distinct from last_visits.stage_id
),

placed as (
    select
        visits.*,
        stages.sort_order
    from visits
    left join stages
        on
            visits.entity = stages.entity
            and visits.stage_id = stages.stage_id
),

followed as (
    select
        *,
        lead(stage_id) over item_visits as next_stage_id,
        lead(stage_id, 2) over item_visits as second_next_stage_id,
        lead(pipeline_id) over item_visits as next_pipeline_id,
        lead(stage_state) over item_visits as next_stage_state,
        lead(sort_order) over item_visits as next_sort_order,
        lead(entered_at) over item_visits as left_at
    from placed
    window item_visits as (
        partition by entity, item_id
        order by visit_number
    )
),

-- The present visit means what the item means now.
final as (
    select
        followed.entity,
        followed.item_id,
        followed.visit_number,
        followed.pipeline_id,
        followed.stage_id,
        followed.semantics,
        case
            when followed.next_stage_id is null then items.state
            else followed.stage_state
        end as stage_state,
        followed.sort_order,
        followed.next_stage_id,
        followed.next_pipeline_id,
        case
            when followed.next_stage_id is not null and followed.second_next_stage_id is null
                then items.state
            else followed.next_stage_state
        end as next_stage_state,
        followed.next_sort_order,
        followed.is_from_history,
        followed.next_stage_id is null as is_current,
        followed.entered_at,
        followed.left_at
    from followed
    inner join items
        on
            followed.entity = items.entity
            and followed.item_id = items.item_id
)

select * from final

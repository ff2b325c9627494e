-- Stage history of living items: each row with what it meant by its own semantics.
-- Grain: one row per entity and history record of a living item.
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

-- A row whose time cannot be stands behind those that were written before it.
placed as (
    select
        *,
        coalesce(
            created_at,
            max(created_at) over (
                partition by entity, item_id
                order by history_id
                rows between unbounded preceding and current row
            )
        ) as placed_at
    from history
),

described as (
    select
        history.entity,
        history.item_id,
        history.history_id,
        row_number() over item_rows as row_number,
        lag(history.stage_id) over item_rows as previous_stage_id,
        case
            when history.entity = 'deal'
                then coalesce(history.pipeline_id, stages.pipeline_id, 0)
        end as pipeline_id,
        history.stage_id,
        coalesce(history.semantics, stages.semantics, 'P') as semantics,
        history.placed_at,
        history.created_at
    from placed as history
    inner join items
        on
            history.entity = items.entity
            and history.item_id = items.item_id
    left join stages
        on
            history.entity = stages.entity
            and history.stage_id = stages.stage_id
    window item_rows as (
        partition by history.entity, history.item_id
        order by history.placed_at nulls first, history.history_id
    )
),

final as (
    select
        entity,
        item_id,
        history_id,
        row_number,
        -- Consecutive rows on one stage are one visit.
        count(case when stage_id is distinct from previous_stage_id then 1 end) over (
            partition by entity, item_id
            order by row_number
            rows between unbounded preceding and current row
        ) as visit_number,
        pipeline_id,
        stage_id,
        semantics,
        case entity
            when 'lead' then {{ lead_state('stage_id', 'semantics') }}
            else {{ deal_state('stage_id', 'semantics') }}
        end as row_state,
        placed_at,
        created_at
    from described
)

select * from final

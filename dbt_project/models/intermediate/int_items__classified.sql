-- Leads and deals as they stand now: semantics and state. Recurring templates are left out.
-- Grain: one row per entity and living item.
with leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

stages as (
    select * from {{ ref('int_stages__unioned') }}
),

unioned as (
    select
        'lead' as entity,
        lead_id as item_id,
        cast(null as bigint) as pipeline_id,
        stage_id,
        semantics,
        created_at,
        moved_at
    from leads
    union all
    select
        'deal' as entity,
        deal_id as item_id,
        pipeline_id,
        stage_id,
        semantics,
        created_at,
        moved_at
    from deals
    where not is_template
),

with_semantics as (
    select
        unioned.entity,
        unioned.item_id,
        unioned.pipeline_id,
        unioned.stage_id,
        coalesce(unioned.semantics, stages.semantics, 'P') as semantics,
        case
            when unioned.semantics is not null then 'own'
            when stages.semantics is not null then 'directory'
            else 'default'
        end as semantics_source,
        unioned.created_at,
        unioned.moved_at
    from unioned
    left join stages
        on
            unioned.entity = stages.entity
            and unioned.stage_id = stages.stage_id
),

final as (
    select
        entity,
        item_id,
        pipeline_id,
        stage_id,
        semantics,
        semantics_source,
        case entity
            when 'lead' then {{ lead_state('stage_id', 'semantics') }}
            else {{ deal_state('stage_id', 'semantics') }}
        end as state,
        created_at,
        moved_at
    from with_semantics
)

select * from final

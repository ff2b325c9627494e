-- Visits to stages and, beside them, the stages that an item never stood on: the base of
-- conversions by stage.
-- Grain: one row per visit of a lead or deal to a stage, and per stage never visited.
with visits as (
    select * from {{ ref('fct_stage_visits') }}
),

leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

reachable_stages as (
    select * from {{ ref('int_stages__reachable') }}
),

pipelines as (
    select * from {{ ref('dim_pipelines') }}
),

keyed_visits as (
    select
        *,
        -- Pipelines are numbered from 0; leads have none.
        coalesce(pipeline_id, -1) as pipeline_key
    from visits
),

repeated_visits as (
    select
        entity,
        item_id,
        stage_id
    from keyed_visits
    group by
        entity,
        item_id,
        stage_id
    having count(*) > 1
),

deals_of_pipelines as (
    select item_id as deal_id
    from keyed_visits
    where entity = 'deal'
    group by item_id
    having count(distinct pipeline_key) > 1
),

items as (
    select
        'lead' as entity,
        lead_id as item_id,
        cast(-1 as bigint) as pipeline_key,
        true as is_of_one_pipeline,
        is_counted,
        is_legacy,
        is_junk as is_failed,
        opportunity_amount as item_amount,
        is_amount_unknown as is_item_amount_unknown,
        created_date as item_created_date
    from leads
    union all
    select
        'deal' as entity,
        deals.deal_id as item_id,
        deals.pipeline_id as pipeline_key,
        deals_of_pipelines.deal_id is null as is_of_one_pipeline,
        deals.is_counted,
        deals.is_legacy,
        deals.is_failed,
        deals.base_amount as item_amount,
        deals.is_amount_unknown as is_item_amount_unknown,
        deals.created_date as item_created_date
    from deals
    left join deals_of_pipelines
        on deals.deal_id = deals_of_pipelines.deal_id
),

item_pipelines as (
    select
        entity,
        item_id,
        pipeline_key
    from items
    where entity = 'lead'
    union
    select
        entity,
        item_id,
        pipeline_key
    from keyed_visits
),

named_stages as (
    select
        reachable_stages.entity,
        reachable_stages.pipeline_key,
        reachable_stages.stage_id,
        stages.stage_name,
        stages.sort_order,
        stages.stage_state,
        count(*) over (
            partition by reachable_stages.entity, stages.stage_name
        ) as namesakes,
        count(*) over (
            partition by reachable_stages.pipeline_key, stages.stage_name
        ) as namesakes_in_pipeline
    from reachable_stages
    inner join stages
        on
            reachable_stages.entity = stages.entity
            and reachable_stages.stage_id = stages.stage_id
),

never_visited as (
    select
        item_pipelines.entity,
        item_pipelines.item_id,
        item_pipelines.pipeline_key,
        reachable_stages.stage_id
    from item_pipelines
    inner join reachable_stages
        on
            item_pipelines.entity = reachable_stages.entity
            and item_pipelines.pipeline_key = reachable_stages.pipeline_key
    left join keyed_visits
        on
            item_pipelines.entity = keyed_visits.entity
            and item_pipelines.item_id = keyed_visits.item_id
            and item_pipelines.pipeline_key = keyed_visits.pipeline_key
            and reachable_stages.stage_id = keyed_visits.stage_id
    where keyed_visits.item_id is null
),

-- Failed, and never on an open stage before.
created_failed as (
    select
        items.entity,
        items.item_id,
        items.pipeline_key
    from items
    left join visits
        on
            items.entity = visits.entity
            and items.item_id = visits.item_id
            and visits.is_drop
    where
        items.is_failed
        and visits.item_id is null
),

unioned as (
    select
        keyed_visits.entity,
        keyed_visits.item_id,
        keyed_visits.pipeline_key,
        keyed_visits.stage_id,
        keyed_visits.visit_number,
        repeated_visits.item_id is not null as is_repeated,
        keyed_visits.next_stage_id,
        keyed_visits.next_stage_name,
        keyed_visits.next_pipeline_name,
        keyed_visits.is_forwarded,
        keyed_visits.is_back_move,
        keyed_visits.is_drop,
        keyed_visits.is_moved_out,
        keyed_visits.finished_days,
        keyed_visits.days_on_stage_now
    from keyed_visits
    left join repeated_visits
        on
            keyed_visits.entity = repeated_visits.entity
            and keyed_visits.item_id = repeated_visits.item_id
            and keyed_visits.stage_id = repeated_visits.stage_id
    union all
    select
        entity,
        item_id,
        pipeline_key,
        stage_id,
        null as visit_number,
        false as is_repeated,
        null as next_stage_id,
        null as next_stage_name,
        null as next_pipeline_name,
        false as is_forwarded,
        false as is_back_move,
        false as is_drop,
        false as is_moved_out,
        null as finished_days,
        null as days_on_stage_now
    from never_visited
    union all
    select
        entity,
        item_id,
        pipeline_key,
        null as stage_id,
        null as visit_number,
        false as is_repeated,
        null as next_stage_id,
        null as next_stage_name,
        null as next_pipeline_name,
        false as is_forwarded,
        false as is_back_move,
        true as is_drop,
        false as is_moved_out,
        null as finished_days,
        null as days_on_stage_now
    from created_failed
),

final as (
    select
        unioned.entity,
        unioned.item_id,
        2 * unioned.item_id + case when unioned.entity = 'deal' then 1 else 0 end as item_key,
        case when unioned.entity = 'lead' then unioned.item_id end as lead_id,
        case when unioned.entity = 'deal' then unioned.item_id end as deal_id,
        pipelines.pipeline_id,
        pipelines.pipeline_name,
        unioned.stage_id,
        case
            when unioned.stage_id is null then {{ label('created_failed') }}
            else named_stages.stage_name
        end as stage_name,
        named_stages.sort_order,
        unioned.visit_number,
        unioned.next_stage_id,
        unioned.next_stage_name,
        unioned.next_pipeline_name,
        -- By the pipeline of the row, wherever the deal stands now.
        case
            when unioned.entity = 'lead' then items.is_counted
            else
                {{ is_sales_pipeline('unioned.pipeline_key') }}
                and ({{ var('include_legacy') }} or not items.is_legacy)
        end as is_counted,
        -- Created failed: they fell out before any stage, not at a final one.
        coalesce(named_stages.stage_state, 'in_work') = 'in_work' as is_open_stage,
        unioned.visit_number is not null as is_visited,
        -- A visit again, or a stage of this name in another pipeline of the item, is another row.
        coalesce(
            not unioned.is_repeated
            and (
                named_stages.namesakes = 1
                or (items.is_of_one_pipeline and named_stages.namesakes_in_pipeline = 1)
            ),
            false
        ) as is_only_row,
        unioned.is_forwarded,
        unioned.is_back_move,
        unioned.is_drop,
        unioned.is_moved_out,
        unioned.finished_days,
        unioned.days_on_stage_now,
        items.item_amount,
        items.is_item_amount_unknown,
        items.item_created_date
    from unioned
    inner join items
        on
            unioned.entity = items.entity
            and unioned.item_id = items.item_id
    left join named_stages
        on
            unioned.pipeline_key = named_stages.pipeline_key
            and unioned.stage_id = named_stages.stage_id
    left join pipelines
        on unioned.pipeline_key = pipelines.pipeline_id
)

select * from final

-- What is known of where deals stood that stood in more than one pipeline, as real portals often
-- tell the history of the present one only: rows of the history, living and vanished, stages that
-- refreshes alone saw, and the present stage.
-- Grain: one row per such deal and event.
with items as (
    select * from {{ ref('int_items__classified') }}
),

stages as (
    select * from {{ ref('int_stages__unioned') }}
),

history as (
    select * from {{ ref('int_stage_history__unioned') }}
),

vanished as (
    select * from {{ ref('stg_bitrix24__vanished_stage_history') }}
),

versions as (
    select * from {{ ref('stg_bitrix24__item_versions') }}
),

refreshes as (
    select * from {{ ref('int_refreshes__bounded') }}
),

deals as (
    select
        item_id as deal_id,
        pipeline_id,
        stage_id,
        state,
        moved_at
    from items
    where entity = 'deal'
),

history_rows as (
    select
        item_id as deal_id,
        history_id,
        pipeline_id,
        stage_id,
        row_state,
        placed_at,
        created_at
    from history
    where entity = 'deal'
),

vanished_rows as (
    select
        vanished.item_id as deal_id,
        vanished.history_id,
        coalesce(vanished.pipeline_id, stages.pipeline_id, 0) as pipeline_id,
        vanished.stage_id,
        coalesce(vanished.semantics, stages.semantics) as semantics,
        vanished.created_at
    from vanished
    left join stages
        on
            vanished.entity = stages.entity
            and vanished.stage_id = stages.stage_id
    where
        vanished.entity = 'deal'
        and vanished.stage_id is not null
),

seen_versions as (
    select
        versions.item_id as deal_id,
        versions.refresh_no,
        versions.pipeline_id,
        versions.stage_id,
        coalesce(versions.semantics, stages.semantics) as semantics,
        versions.moved_at
    from versions
    left join stages
        on
            versions.entity = stages.entity
            and versions.stage_id = stages.stage_id
    where
        versions.entity = 'deal'
        and not versions.is_deleted
        and versions.stage_id is not null
),

seen_pipelines as (
    select
        deal_id,
        pipeline_id
    from deals
    union all
    select
        deal_id,
        pipeline_id
    from history_rows
    union all
    select
        deal_id,
        pipeline_id
    from vanished_rows
    union all
    select
        deal_id,
        pipeline_id
    from seen_versions
),

of_many_pipelines as (
    select deal_id
    from seen_pipelines
    group by deal_id
    having min(pipeline_id) <> max(pipeline_id)
),

told as (
    select
        history_rows.deal_id,
        'history' as evidence,
        history_rows.history_id as evidence_id,
        history_rows.pipeline_id,
        history_rows.stage_id,
        history_rows.row_state as stage_state,
        history_rows.placed_at,
        history_rows.created_at as happened_at
    from history_rows
    inner join of_many_pipelines
        on history_rows.deal_id = of_many_pipelines.deal_id
    union all
    select
        vanished_rows.deal_id,
        'vanished_history' as evidence,
        vanished_rows.history_id as evidence_id,
        vanished_rows.pipeline_id,
        vanished_rows.stage_id,
        {{ deal_state('vanished_rows.stage_id', 'vanished_rows.semantics') }} as stage_state,
        vanished_rows.created_at as placed_at,
        vanished_rows.created_at as happened_at
    from vanished_rows
    inner join of_many_pipelines
        on vanished_rows.deal_id = of_many_pipelines.deal_id
),

-- The last stay that refreshes saw is the present one: the deal itself tells it.
seen as (
    select
        seen_versions.deal_id,
        seen_versions.refresh_no,
        seen_versions.pipeline_id,
        seen_versions.stage_id,
        seen_versions.semantics,
        seen_versions.moved_at,
        max(
            case
                when seen_versions.stage_id is distinct from deals.stage_id
                    then seen_versions.refresh_no
            end
        ) over (partition by seen_versions.deal_id) as last_other_refresh_no
    from seen_versions
    inner join of_many_pipelines
        on seen_versions.deal_id = of_many_pipelines.deal_id
    inner join deals
        on seen_versions.deal_id = deals.deal_id
),

seen_alone as (
    select
        seen.deal_id,
        case when seen.moved_at is null then 'refresh' else 'moved_time' end as evidence,
        seen.refresh_no as evidence_id,
        seen.pipeline_id,
        seen.stage_id,
        {{ deal_state('seen.stage_id', 'seen.semantics') }} as stage_state,
        coalesce(seen.moved_at, refreshes.clock_at) as placed_at,
        coalesce(seen.moved_at, refreshes.clock_at) as happened_at
    from seen
    inner join refreshes
        on seen.refresh_no = refreshes.refresh_no
    where
        seen.refresh_no <= seen.last_other_refresh_no
        and not exists (
            select 1
            from told
            where
                told.deal_id = seen.deal_id
                and told.stage_id = seen.stage_id
        )
),

unioned as (
    select * from told
    union all
    select * from seen_alone
    union all
    select
        deals.deal_id,
        'present' as evidence,
        cast(null as bigint) as evidence_id,
        deals.pipeline_id,
        deals.stage_id,
        deals.state as stage_state,
        deals.moved_at as placed_at,
        deals.moved_at as happened_at
    from deals
    inner join of_many_pipelines
        on deals.deal_id = of_many_pipelines.deal_id
),

final as (
    select
        deal_id,
        row_number() over (
            partition by deal_id
            order by
                evidence = 'present',
                placed_at nulls first,
                evidence in ('moved_time', 'refresh'),
                evidence_id
        ) as event_number,
        evidence,
        pipeline_id,
        stage_id,
        stage_state,
        {{ is_sales_pipeline('pipeline_id') }} as is_sales_pipeline,
        happened_at
    from unioned
)

select * from final

-- What was undone on leads and deals: told by the portal's stage history, by versions that
-- refreshes saw, or by history rows that are gone.
-- Grain: one row per entity, item and reversal.
with versions as (
    select * from {{ ref('int_item_versions__spanned') }}
),

visits as (
    select * from {{ ref('int_stage_visits__spanned') }}
),

deal_stays as (
    select * from {{ ref('int_deal_stays__unioned') }}
),

deal_sales as (
    select * from {{ ref('int_deal_sales__followed') }}
),

vanished as (
    select * from {{ ref('stg_bitrix24__vanished_stage_history') }}
),

stages as (
    select * from {{ ref('int_stages__unioned') }}
),

refreshes as (
    select * from {{ ref('int_refreshes__bounded') }}
),

visits_with_next as (
    select
        entity,
        item_id,
        stage_id,
        pipeline_id,
        stage_state,
        next_stage_id,
        next_pipeline_id,
        next_stage_state,
        left_at
    from visits
),

deal_stays_with_previous as (
    select
        *,
        lag(stage_id) over deal as previous_stage_id,
        lag(pipeline_id) over deal as previous_pipeline_id,
        lag(stage_state) over deal as previous_stage_state
    from deal_stays
    window deal as (
        partition by deal_id
        order by event_number
    )
),

-- A deal that left its success for another pipeline was handed over: its sale stands. Leads have no
-- pipelines.
recorded_events as (
    select
        'reopened_after_win' as kind,
        'portal' as evidence,
        *
    from visits_with_next
    where
        stage_state = 'success'
        and next_stage_state <> 'success'
        and (
            pipeline_id is not distinct from next_pipeline_id
            or (next_stage_state = 'failed' and {{ is_sales_pipeline('next_pipeline_id') }})
        )
    union all
    select
        'pipeline_move' as kind,
        'portal' as evidence,
        *
    from visits_with_next
    where pipeline_id <> next_pipeline_id
    union all
    -- Ended when it came back from where it had been handed over to, or failed there.
    select
        'reopened_after_win' as kind,
        case when end_evidence in ('history', 'present') then 'portal' else 'refreshes' end
            as evidence,
        'deal' as entity,
        deal_id as item_id,
        sale_stage_id as stage_id,
        sale_pipeline_id as pipeline_id,
        'success' as stage_state,
        end_stage_id as next_stage_id,
        end_pipeline_id as next_pipeline_id,
        end_state as next_stage_state,
        ended_at as left_at
    from deal_sales
    where
        not is_standing
        and not is_ended_from_success
    union all
    select
        'failed_after_sale' as kind,
        case when stays.evidence in ('history', 'present') then 'portal' else 'refreshes' end
            as evidence,
        'deal' as entity,
        stays.deal_id as item_id,
        stays.previous_stage_id as stage_id,
        stays.previous_pipeline_id as pipeline_id,
        stays.previous_stage_state as stage_state,
        stays.stage_id as next_stage_id,
        stays.pipeline_id as next_pipeline_id,
        stays.stage_state as next_stage_state,
        stays.happened_at as left_at
    from deal_stays_with_previous as stays
    inner join deal_sales
        on
            stays.deal_id = deal_sales.deal_id
            and stays.event_number > deal_sales.start_number
            and (
                stays.event_number < deal_sales.end_number
                or deal_sales.is_standing
            )
    where
        stays.stage_state = 'failed'
        and stays.previous_stage_state <> 'failed'
),

-- The refresh that was the first to see it.
recorded as (
    select
        recorded_events.*,
        refreshes.clock_at as seen_at,
        refreshes.previous_clock_at as last_seen_at
    from recorded_events
    inner join refreshes
        on {{ is_in_span_of('refreshes', 'recorded_events.left_at') }}
),

versions_with_previous as (
    select
        *,
        lag(stage_id) over item as previous_stage_id,
        lag(pipeline_id) over item as previous_pipeline_id,
        lag(state) over item as previous_state
    from versions
    window item as (
        partition by entity, item_id
        order by version_number
    )
),

seen_events as (
    select
        'reopened_after_win' as kind,
        *
    from versions_with_previous
    where
        previous_state = 'success'
        and state <> 'success'
        and (
            pipeline_id is not distinct from previous_pipeline_id
            or (state = 'failed' and {{ is_sales_pipeline('pipeline_id') }})
        )
    union all
    select
        'pipeline_move' as kind,
        *
    from versions_with_previous
    where pipeline_id <> previous_pipeline_id
),

-- Portals that keep their history tell the same event, with its time: it is not listed twice.
seen as (
    select seen_events.*
    from seen_events
    where
        not exists (
            select 1
            from recorded_events
            where
                recorded_events.entity = seen_events.entity
                and recorded_events.item_id = seen_events.item_id
                and recorded_events.kind = seen_events.kind
                and recorded_events.left_at > seen_events.unseen_since
                and (
                    recorded_events.left_at < seen_events.valid_to
                    or seen_events.valid_to is null
                )
        )
),

vanished_with_semantics as (
    select
        vanished.entity,
        vanished.item_id,
        vanished.history_id,
        vanished.vanished_refresh_no,
        vanished.stage_id,
        vanished.pipeline_id,
        coalesce(vanished.semantics, stages.semantics) as semantics,
        vanished.created_at
    from vanished
    left join stages
        on
            vanished.entity = stages.entity
            and vanished.stage_id = stages.stage_id
),

vanished_with_state as (
    select
        *,
        case entity
            when 'lead' then {{ lead_state('stage_id', 'semantics') }}
            else {{ deal_state('stage_id', 'semantics') }}
        end as stage_state
    from vanished_with_semantics
),

-- Rows that one refresh found gone are one reversal, named for the heaviest loss: the last success
-- among them, else the last row.
vanished_ranked as (
    select
        *,
        count(*) over (
            partition by entity, item_id, vanished_refresh_no
        ) as history_rows_count,
        row_number() over (
            partition by entity, item_id, vanished_refresh_no
            order by
                stage_state = 'success' desc,
                created_at desc nulls last,
                history_id desc
        ) as loss_rank
    from vanished_with_state
),

unioned as (
    select
        kind,
        entity,
        item_id,
        evidence,
        stage_id as from_stage_id,
        next_stage_id as to_stage_id,
        pipeline_id as from_pipeline_id,
        next_pipeline_id as to_pipeline_id,
        stage_state as lost_state,
        cast(0 as bigint) as history_rows_count,
        left_at as happened_at,
        last_seen_at,
        seen_at
    from recorded
    union all
    select
        kind,
        entity,
        item_id,
        'refreshes' as evidence,
        previous_stage_id as from_stage_id,
        stage_id as to_stage_id,
        previous_pipeline_id as from_pipeline_id,
        pipeline_id as to_pipeline_id,
        previous_state as lost_state,
        cast(0 as bigint) as history_rows_count,
        cast(null as {{ type_instant() }}) as happened_at,
        previous_clock_at as last_seen_at,
        valid_from as seen_at
    from seen
    union all
    select
        'deleted' as kind,
        entity,
        item_id,
        'refreshes' as evidence,
        stage_id as from_stage_id,
        cast(null as string) as to_stage_id,
        pipeline_id as from_pipeline_id,
        cast(null as bigint) as to_pipeline_id,
        state as lost_state,
        cast(0 as bigint) as history_rows_count,
        cast(null as {{ type_instant() }}) as happened_at,
        previous_clock_at as last_seen_at,
        valid_from as seen_at
    from versions
    where
        is_deleted
        and is_current
    union all
    select
        'history_row_vanished' as kind,
        vanished_ranked.entity,
        vanished_ranked.item_id,
        'refreshes' as evidence,
        vanished_ranked.stage_id as from_stage_id,
        cast(null as string) as to_stage_id,
        vanished_ranked.pipeline_id as from_pipeline_id,
        cast(null as bigint) as to_pipeline_id,
        vanished_ranked.stage_state as lost_state,
        vanished_ranked.history_rows_count,
        cast(null as {{ type_instant() }}) as happened_at,
        refreshes.previous_clock_at as last_seen_at,
        refreshes.clock_at as seen_at
    from vanished_ranked
    inner join refreshes
        on vanished_ranked.vanished_refresh_no = refreshes.refresh_no
    where vanished_ranked.loss_rank = 1
),

-- Amount and owner as they last were before; as first seen where it happened before that.
final as (
    select
        unioned.kind,
        unioned.entity,
        unioned.item_id,
        row_number() over (
            partition by unioned.entity, unioned.item_id
            order by
                coalesce(unioned.happened_at, unioned.seen_at) nulls last,
                unioned.kind,
                unioned.from_pipeline_id nulls last,
                unioned.from_stage_id nulls last,
                unioned.to_pipeline_id nulls last,
                unioned.to_stage_id nulls last,
                unioned.lost_state
        ) as reversal_number,
        unioned.evidence,
        versions.title,
        versions.manager_id,
        unioned.from_stage_id,
        unioned.to_stage_id,
        unioned.from_pipeline_id,
        unioned.to_pipeline_id,
        unioned.lost_state,
        unioned.history_rows_count,
        versions.currency_code,
        versions.amount,
        unioned.happened_at,
        unioned.last_seen_at,
        unioned.seen_at
    from unioned
    inner join versions
        on
            unioned.entity = versions.entity
            and unioned.item_id = versions.item_id
            and (
                (
                    unioned.seen_at > versions.valid_from
                    and (unioned.seen_at <= versions.valid_to or versions.valid_to is null)
                )
                or (
                    versions.version_number = 1
                    and unioned.seen_at <= versions.valid_from
                )
            )
)

select * from final

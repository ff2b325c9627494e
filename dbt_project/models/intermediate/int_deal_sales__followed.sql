-- Sales of deals that stood in more than one pipeline. The first success in a sales pipeline begins
-- a sale. It ends on an open stage of a pipeline in which the deal was sold since then, or on a
-- failure in any sales pipeline; nothing else that happens elsewhere ends or moves it.
-- Grain: one row per such deal and sale.
with recursive stays as (
    select * from {{ ref('int_deal_stays__unioned') }}
),

events as (
    select
        *,
        max(case when stage_state = 'success' then event_number end) over (
            partition by deal_id, pipeline_id
            order by event_number
            rows between unbounded preceding and 1 preceding
        ) as sold_there_number,
        count(case when evidence = 'history' then 1 end) over (
            partition by deal_id
            order by event_number
            rows between unbounded preceding and current row
        ) as history_rows_so_far,
        lag(stage_state) over (partition by deal_id order by event_number)
            as previous_stage_state,
        lag(pipeline_id) over (partition by deal_id order by event_number)
            as previous_pipeline_id
    from stays
),

-- What can end a sale, and the latest beginning of a sale that it ends: a failure ends any.
ends as (
    select
        deal_id,
        event_number as end_number,
        case
            when stage_state = 'failed' then event_number
            else sold_there_number
        end as ends_since_number
    from events
    where
        is_sales_pipeline
        and stage_state <> 'success'
),

starts as (
    select
        deal_id,
        cast(0 as bigint) as end_number
    from events
    group by deal_id
    union all
    select
        deal_id,
        end_number
    from ends
),

next_ends as (
    select
        starts.deal_id,
        starts.end_number,
        min(ends.end_number) as next_end_number
    from starts
    inner join ends
        on
            starts.deal_id = ends.deal_id
            and starts.end_number < ends.ends_since_number
    group by
        starts.deal_id,
        starts.end_number
),

-- An end counts by where the one before it was: a chain, from the beginning of the deal on.
chain as (
    select
        deal_id,
        end_number
    from starts
    where end_number = 0
    union all
    select
        chain.deal_id,
        next_ends.next_end_number as end_number
    from chain
    inner join next_ends
        on
            chain.deal_id = next_ends.deal_id
            and chain.end_number = next_ends.end_number
),

spans as (
    select
        deal_id,
        end_number as after_number,
        lead(end_number) over (partition by deal_id order by end_number) as end_number
    from chain
),

sales as (
    select
        spans.deal_id,
        spans.end_number,
        min(events.event_number) as start_number
    from spans
    inner join events
        on
            spans.deal_id = events.deal_id
            and spans.after_number < events.event_number
            and (spans.end_number is null or spans.end_number > events.event_number)
    where
        events.is_sales_pipeline
        and events.stage_state = 'success'
    group by
        spans.deal_id,
        spans.end_number
),

final as (
    select
        sales.deal_id,
        row_number() over (partition by sales.deal_id order by sales.start_number)
            as sale_number,
        first_events.pipeline_id as sale_pipeline_id,
        first_events.stage_id as sale_stage_id,
        first_events.evidence as sale_evidence,
        first_events.evidence = 'history' and first_events.history_rows_so_far = 1
            as is_sold_by_first_row,
        last_events.pipeline_id as end_pipeline_id,
        last_events.stage_id as end_stage_id,
        last_events.stage_state as end_state,
        last_events.evidence as end_evidence,
        sales.end_number is null as is_standing,
        -- The stage before tells it too: of one pipeline, or left for a failure.
        coalesce(
            last_events.previous_stage_state = 'success'
            and (
                last_events.previous_pipeline_id = last_events.pipeline_id
                or last_events.stage_state = 'failed'
            ),
            false
        ) as is_ended_from_success,
        sales.start_number,
        sales.end_number,
        case
            when first_events.evidence <> 'present' then first_events.happened_at
        end as sold_at,
        last_events.happened_at as ended_at
    from sales
    inner join events as first_events
        on
            sales.deal_id = first_events.deal_id
            and sales.start_number = first_events.event_number
    left join events as last_events
        on
            sales.deal_id = last_events.deal_id
            and sales.end_number = last_events.event_number
)

select * from final

-- Visits to stages: how long items stay, where they go next and where they fall out.
-- Grain: one row per visit of a lead or deal to a stage.
with visits as (
    select * from {{ ref('int_stage_visits__spanned') }}
),

summarized as (
    select * from {{ ref('int_stage_visits__summarized') }}
),

leads as (
    select * from {{ ref('int_leads__classified') }}
),

deals as (
    select * from {{ ref('int_deals__classified') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

last_refresh as (
    select as_of
    from refreshes
    where is_last
),

windowed as (
    select
        *,
        stage_state = 'in_work' as is_open,
        -- Sort orders compare within one pipeline only.
        max(case when stage_state = 'in_work' then sort_order end) over (
            partition by entity, item_id, pipeline_id
            order by visit_number desc
            rows between unbounded preceding and 1 preceding
        ) as highest_later_sort_order,
        max(visit_number) over (
            partition by entity, item_id, pipeline_id
        ) as last_pipeline_visit_number
    from visits
),

joined as (
    select
        windowed.entity,
        windowed.item_id,
        windowed.visit_number,
        case when windowed.entity = 'lead' then windowed.item_id end as lead_id,
        case when windowed.entity = 'deal' then windowed.item_id end as deal_id,
        windowed.pipeline_id,
        windowed.stage_id,
        stages.stage_name,
        windowed.sort_order,
        windowed.semantics,
        windowed.stage_state,
        windowed.next_stage_id,
        next_stages.stage_name as next_stage_name,
        next_stages.pipeline_name as next_pipeline_name,
        -- A visit counts by its own pipeline, wherever the deal stands now.
        case
            when windowed.entity = 'lead' then leads.is_counted
            else
                {{ is_sales_pipeline('windowed.pipeline_id') }}
                and ({{ var('include_legacy') }} or not deals.is_legacy)
        end as is_counted,
        windowed.is_open,
        windowed.is_current,
        coalesce(
            summarized.last_success_visit_number > windowed.visit_number
            or windowed.highest_later_sort_order > windowed.sort_order,
            false
        ) as is_forwarded,
        coalesce(
            windowed.next_stage_state = 'in_work'
            and windowed.next_pipeline_id is not distinct from windowed.pipeline_id
            and (not windowed.is_open or windowed.next_sort_order < windowed.sort_order),
            false
        ) as is_back_move,
        coalesce(
            deals.state is distinct from 'sale'
            and summarized.item_state = 'failed'
            and windowed.visit_number = summarized.last_open_visit_number,
            false
        ) as is_drop,
        coalesce(
            windowed.stage_state = 'in_work'
            and windowed.visit_number = windowed.last_pipeline_visit_number
            and windowed.next_pipeline_id <> windowed.pipeline_id,
            false
        ) as is_left,
        windowed.is_from_history,
        windowed.entered_at,
        windowed.left_at,
        last_refresh.as_of,
        coalesce(leads.created_date, deals.created_date) as item_created_date
    from windowed
    cross join last_refresh
    inner join summarized
        on
            windowed.entity = summarized.entity
            and windowed.item_id = summarized.item_id
    left join leads
        on
            windowed.entity = 'lead'
            and windowed.item_id = leads.lead_id
    left join deals
        on
            windowed.entity = 'deal'
            and windowed.item_id = deals.deal_id
    left join stages
        on
            windowed.entity = stages.entity
            and windowed.stage_id = stages.stage_id
    left join stages as next_stages
        on
            windowed.entity = next_stages.entity
            and windowed.next_stage_id = next_stages.stage_id
),

with_days as (
    select
        *,
        case
            when is_open then {{ days_between('entered_at', 'left_at') }}
        end as finished_days,
        case
            when is_open and is_current
                then {{ days_until('entered_at', 'as_of') }}
        end as days_on_stage_now
    from joined
),

final as (
    select
        entity,
        item_id,
        visit_number,
        lead_id,
        deal_id,
        pipeline_id,
        stage_id,
        stage_name,
        sort_order,
        semantics,
        stage_state,
        next_stage_id,
        next_stage_name,
        next_pipeline_name,
        is_counted,
        is_open,
        is_current,
        is_forwarded,
        is_back_move,
        is_drop,
        is_left and not is_drop as is_moved_out,
        is_from_history,
        coalesce(finished_days, days_on_stage_now) as days,
        finished_days,
        days_on_stage_now,
        entered_at,
        left_at,
        {{ portal_date('entered_at') }} as entered_date,
        item_created_date
    from with_days
)

select * from final

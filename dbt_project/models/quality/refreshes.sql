-- The refresh that everything published stands on: its clock, portal and base currency.
-- Grain: one row.
with refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

stage_history as (
    select * from {{ ref('int_stage_history__unioned') }}
),

beginnings as (
    select
        (select min(clock_at) from refreshes) as first_as_of,
        (
            select min(stage_history.created_at)
            from stage_history
            where stage_history.entity = 'lead'
        ) as lead_history_at,
        (
            select min(stage_history.created_at)
            from stage_history
            where stage_history.entity = 'deal'
        ) as deal_history_at
),

final as (
    select
        refreshes.refresh_no,
        refreshes.kind,
        refreshes.portal_url,
        refreshes.crm_mode,
        refreshes.base_currency,
        {{ portal_time_text('refreshes.as_of') }} as as_of_text,
        refreshes.as_of,
        refreshes.as_of_date,
        refreshes.history_from_date,
        {{ portal_date('beginnings.first_as_of') }} as first_as_of_date,
        {{ portal_date('beginnings.lead_history_at') }} as lead_history_date,
        {{ portal_date('beginnings.deal_history_at') }} as deal_history_date
    from refreshes
    cross join beginnings
    where refreshes.is_last
)

select * from final

-- Leads: what came in, what became of it, and the money that it brought.
-- Grain: one row per living lead.
{%- set city_field = var('city_field') or '' %}
with leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

classified as (
    select * from {{ ref('int_leads__classified') }}
),

deals_summed as (
    select * from {{ ref('int_leads__deals_summed') }}
),

activities as (
    select * from {{ ref('int_activities__summarized') }}
),

lead_addresses as (
    select * from {{ ref('stg_bitrix24__lead_addresses') }}
),

user_fields as (
    select * from {{ ref('int_user_fields__decoded') }}
),

ad_cost_months as (
    select * from {{ ref('int_ad_costs__by_source_month') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

sources as (
    select * from {{ ref('dim_sources') }}
),

managers as (
    select * from {{ ref('dim_managers') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

last_refresh as (
    select
        as_of,
        portal_url
    from refreshes
    where is_last
),

joined as (
    select
        leads.lead_id,
        leads.title,
        leads.stage_id,
        coalesce(stages.stage_name, {{ label('no_stage') }}) as stage_name,
        classified.semantics,
        classified.semantics_source,
        classified.outcome,
        leads.source_id,
        coalesce(sources.source_name, {{ label('no_source') }}) as source_name,
        leads.utm_source,
        leads.utm_medium,
        leads.utm_campaign,
        leads.utm_content,
        leads.utm_term,
        leads.manager_id,
        coalesce(managers.manager_name, {{ label('no_manager') }}) as manager_name,
        coalesce(managers.department_name, {{ label('no_department') }}) as department_name,
        case
            when '{{ city_field }}' = '' then lead_addresses.city
            else user_fields.field_value
        end as city,
        leads.currency_code,
        drop_stages.stage_id as drop_stage_id,
        case
            when classified.outcome = 'junk'
                then coalesce(drop_stages.stage_name, {{ label('created_failed') }})
        end as drop_stage_name,
        leads.company_id,
        leads.contact_id,
        classified.is_counted,
        classified.is_legacy,
        classified.is_amount_unknown,
        classified.outcome = 'quality' as is_quality,
        classified.outcome = 'junk' as is_junk,
        classified.outcome = 'in_work' as is_in_work,
        coalesce(stages.is_first, false) as is_on_first_stage,
        leads.is_repeat,
        coalesce(leads.last_activity_at, leads.created_at) as idle_since,
        activities.item_id is not null as has_planned_activity,
        ad_cost_months.source_id is not null as has_ad_cost,
        leads.amount,
        classified.base_amount as opportunity_amount,
        coalesce(deals_summed.deals_count, 0) as deals_count,
        coalesce(deals_summed.sales_count, 0) as sales_count,
        coalesce(deals_summed.deals_in_work_count, 0) as deals_in_work_count,
        coalesce(deals_summed.sales_amount_unknown_count, 0) as sales_amount_unknown_count,
        coalesce(deals_summed.potential_amount_unknown_count, 0) as potential_amount_unknown_count,
        deals_summed.sales_amount,
        deals_summed.potential_amount,
        classified.outcome_at_source,
        leads.created_at,
        leads.created_date,
        leads.last_activity_at,
        activities.next_activity_at,
        classified.outcome_at,
        deals_summed.first_deal_at,
        deals_summed.first_sold_at,
        last_refresh.as_of,
        last_refresh.portal_url
    from leads
    inner join classified
        on leads.lead_id = classified.lead_id
    cross join last_refresh
    left join deals_summed
        on leads.lead_id = deals_summed.lead_id
    left join activities
        on
            leads.lead_id = activities.item_id
            and activities.entity = 'lead'
    left join stages as drop_stages
        on
            classified.last_open_stage_id = drop_stages.stage_id
            and drop_stages.entity = 'lead'
            and classified.outcome = 'junk'
    left join stages
        on
            leads.stage_id = stages.stage_id
            and stages.entity = 'lead'
    left join sources
        on leads.source_id = sources.source_id
    left join managers
        on leads.manager_id = managers.manager_id
    left join lead_addresses
        on leads.lead_id = lead_addresses.lead_id
    left join user_fields
        on
            leads.lead_id = user_fields.item_id
            and user_fields.entity = 'lead'
            and user_fields.field_name = '{{ city_field }}'
            and user_fields.value_number = 1
    left join ad_cost_months
        on
            leads.source_id = ad_cost_months.source_id
            and cast(date_trunc('month', leads.created_date) as date) = ad_cost_months.cost_month
),

with_idleness as (
    select
        *,
        {{ seconds_between('idle_since', 'as_of') }} as idle_seconds
    from joined
),

with_flags as (
    select
        *,
        -- Never seen, for all we know: no time tells that it is forgotten.
        is_in_work
        and coalesce(idle_seconds >= {{ var('forgotten_lead_days') }} * 86400, false) as is_idle
    from with_idleness
),

final as (
    select
        lead_id,
        title,
        stage_id,
        stage_name,
        semantics,
        semantics_source,
        outcome,
        case
            when not is_in_work then outcome
            when is_on_first_stage then 'new'
            else 'in_progress'
        end as state,
        source_id,
        source_name,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_content,
        utm_term,
        manager_id,
        manager_name,
        department_name,
        city,
        currency_code,
        drop_stage_id,
        drop_stage_name,
        company_id,
        contact_id,
        is_counted,
        is_legacy,
        is_quality,
        is_junk,
        is_in_work,
        is_in_work and is_on_first_stage as is_new,
        is_in_work and not is_on_first_stage as is_in_progress,
        is_repeat,
        is_idle,
        is_idle and not has_planned_activity as is_idle_without_plan,
        is_idle
        and not ({{ var('planned_is_not_forgotten') }} and has_planned_activity) as is_forgotten,
        has_planned_activity,
        is_in_work and not has_planned_activity as is_without_planned_activity,
        coalesce(
            is_in_work and {{ portal_date('next_activity_at') }} < {{ portal_date('as_of') }}, false
        ) as is_overdue,
        deals_count > 0 as has_deal,
        sales_count > 0 as has_sale,
        has_ad_cost,
        is_amount_unknown,
        deals_count,
        sales_count,
        deals_in_work_count,
        cast(amount as decimal(20, 2)) as amount,
        opportunity_amount,
        cast(
            coalesce(sales_amount, case when sales_amount_unknown_count = 0 then 0 end)
            as decimal(38, 2)
        ) as sales_amount,
        sales_amount_unknown_count,
        cast(
            coalesce(potential_amount, case when potential_amount_unknown_count = 0 then 0 end)
            as decimal(38, 2)
        ) as potential_amount,
        potential_amount_unknown_count,
        case
            when not is_in_work then {{ days_between('created_at', 'outcome_at') }}
        end as processing_days,
        case
            when is_in_work then {{ days_until('created_at', 'as_of') }}
            else {{ days_between('created_at', 'outcome_at') }}
        end as age_days,
        case
            when is_in_work then {{ days_until('idle_since', 'as_of') }}
        end as idle_days,
        {{ days_between('created_at', 'first_deal_at') }} as lead_to_deal_days,
        {{ days_between('created_at', 'first_sold_at') }} as lead_to_sale_days,
        {{ reached_age(days_between('created_at', 'as_of')) }} as reached_age_days,
        created_at,
        created_date,
        cast(date_trunc('month', created_date) as date) as created_month,
        last_activity_at,
        {{ portal_date('last_activity_at') }} as last_activity_date,
        next_activity_at,
        {{ portal_date('next_activity_at') }} as next_activity_date,
        outcome_at,
        {{ portal_date('outcome_at') }} as outcome_date,
        outcome_at_source,
        case when is_quality then outcome_at end as quality_at,
        case when is_quality then {{ portal_date('outcome_at') }} end as quality_date,
        first_deal_at,
        {{ portal_date('first_deal_at') }} as first_deal_date,
        first_sold_at,
        {{ portal_date('first_sold_at') }} as first_sold_date,
        portal_url || '/crm/lead/details/' || cast(lead_id as string) || '/' as crm_url
    from with_flags
)

select * from final

-- Deals: sales, failures and money still to come, with the lead and source that brought them.
-- Grain: one row per living deal that is not a recurring template.
{%- set city_field = var('city_field') or '' %}
with deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

classified as (
    select * from {{ ref('int_deals__classified') }}
),

links as (
    select * from {{ ref('int_deals__linked_to_leads') }}
),

customer_history as (
    select * from {{ ref('int_deals__customer_history') }}
),

leads as (
    select * from {{ ref('int_deals__attributed') }}
),

activities as (
    select * from {{ ref('int_activities__summarized') }}
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

pipelines as (
    select * from {{ ref('dim_pipelines') }}
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
        deals.deal_id,
        deals.title,
        links.lead_id,
        links.portal_lead_id,
        links.lead_link,
        deals.pipeline_id,
        pipelines.pipeline_name,
        deals.stage_id,
        coalesce(stages.stage_name, {{ label('no_stage') }}) as stage_name,
        coalesce(stages.is_success_like, false) as is_success_like_stage,
        classified.sale_pipeline_id,
        case
            when classified.sale_pipeline_id is not null
                then coalesce(
                        sale_pipelines.pipeline_name,
                        {{ label('deleted_pipeline', with='classified.sale_pipeline_id') }}
                    )
        end as sale_pipeline_name,
        classified.sale_stage_id,
        case
            when classified.sale_stage_id is not null
                then coalesce(
                        sale_stages.stage_name,
                        {{ label('deleted_stage', with='classified.sale_stage_id') }}
                    )
        end as sale_stage_name,
        classified.semantics,
        classified.semantics_source,
        classified.state,
        case
            when customer_history.deal_id is null then 'unknown'
            when
                case '{{ var("repeat_means") }}'
                    when 'sale' then customer_history.has_earlier_sale
                    else customer_history.has_earlier_deal
                end
                then 'repeat'
            else 'new'
        end as customer_kind,
        deals.company_id,
        deals.contact_id,
        deals.type_id,
        deals.manager_id,
        coalesce(managers.manager_name, {{ label('no_manager') }}) as manager_name,
        coalesce(managers.department_name, {{ label('no_department') }}) as department_name,
        coalesce(user_fields.field_value, leads.city) as city,
        deals.source_id,
        coalesce(sources.source_name, {{ label('no_source') }}) as source_name,
        deals.utm_source,
        deals.utm_medium,
        deals.utm_campaign,
        deals.utm_content,
        deals.utm_term,
        coalesce(leads.is_counted, false) as has_counted_lead,
        case when leads.is_counted then leads.source_id end as lead_source_id,
        case
            when leads.is_counted then leads.source_name
            when leads.lead_id is not null then {{ label('lead_legacy') }}
            when links.lead_link = 'deleted' then {{ label('lead_deleted') }}
            else {{ label('no_lead') }}
        end as lead_source_name,
        case when leads.is_counted then leads.utm_source end as lead_utm_source,
        case when leads.is_counted then leads.utm_medium end as lead_utm_medium,
        case when leads.is_counted then leads.utm_campaign end as lead_utm_campaign,
        case when leads.is_counted then leads.utm_content end as lead_utm_content,
        case when leads.is_counted then leads.utm_term end as lead_utm_term,
        case when leads.is_counted then leads.manager_id end as lead_manager_id,
        case when leads.is_counted then leads.manager_name end as lead_manager_name,
        case when leads.is_counted then leads.city end as lead_city,
        leads.created_at as lead_created_at,
        leads.created_date as lead_created_date,
        coalesce(leads.is_legacy, false) as is_lead_legacy,
        ad_cost_months.source_id is not null as has_ad_cost,
        leads.crm_url as lead_crm_url,
        deals.currency_code,
        drop_stages.stage_id as drop_stage_id,
        case
            when classified.state = 'failed'
                then coalesce(drop_stages.stage_name, {{ label('created_failed') }})
        end as drop_stage_name,
        classified.is_counted,
        classified.is_legacy,
        classified.is_handed_over,
        classified.is_sales_pipeline,
        classified.state = 'sale' as is_sale,
        classified.state = 'failed' as is_failed,
        classified.state = 'in_work' as is_in_work,
        coalesce(deals.last_activity_at, deals.created_at) as idle_since,
        activities.item_id is not null as has_planned_activity,
        deals.is_repeat as portal_repeat_flag,
        deals.is_repeated_approach as portal_repeated_approach_flag,
        classified.is_amount_unknown,
        deals.amount,
        classified.base_amount,
        deals.created_at,
        deals.created_date,
        deals.last_activity_at,
        activities.next_activity_at,
        classified.sold_at,
        classified.sold_at_source,
        classified.failed_at,
        classified.failed_at_source,
        deals.close_date,
        last_refresh.as_of,
        last_refresh.portal_url
    from deals
    inner join classified
        on deals.deal_id = classified.deal_id
    cross join last_refresh
    left join links
        on deals.deal_id = links.deal_id
    left join leads
        on deals.deal_id = leads.deal_id
    left join customer_history
        on deals.deal_id = customer_history.deal_id
    left join activities
        on
            deals.deal_id = activities.item_id
            and activities.entity = 'deal'
    left join stages as drop_stages
        on
            classified.last_open_stage_id = drop_stages.stage_id
            and drop_stages.entity = 'deal'
            and classified.state = 'failed'
    left join stages
        on
            deals.stage_id = stages.stage_id
            and stages.entity = 'deal'
    left join pipelines
        on deals.pipeline_id = pipelines.pipeline_id
    left join pipelines as sale_pipelines
        on classified.sale_pipeline_id = sale_pipelines.pipeline_id
    left join stages as sale_stages
        on
            classified.sale_stage_id = sale_stages.stage_id
            and sale_stages.entity = 'deal'
    left join sources
        on deals.source_id = sources.source_id
    left join managers
        on deals.manager_id = managers.manager_id
    left join user_fields
        on
            deals.deal_id = user_fields.item_id
            and user_fields.entity = 'deal'
            and user_fields.field_name = '{{ city_field }}'
            and user_fields.value_number = 1
    left join ad_cost_months
        on
            leads.is_counted
            and leads.source_id = ad_cost_months.source_id
            and cast(date_trunc('month', {{ portal_date('classified.sold_at') }}) as date)
            = ad_cost_months.cost_month
),

with_durations as (
    select
        *,
        {{ seconds_between('idle_since', 'as_of') }} as idle_seconds,
        {{ days_between('created_at', 'coalesce(sold_at, failed_at)') }} as days_to_close
    from joined
),

with_flags as (
    select
        *,
        -- Never seen, for all we know: no time tells that it is forgotten.
        is_in_work
        and coalesce(idle_seconds >= {{ var('forgotten_deal_days') }} * 86400, false) as is_idle
    from with_durations
),

final as (
    select
        deal_id,
        title,
        lead_id,
        portal_lead_id,
        lead_link,
        pipeline_id,
        pipeline_name,
        stage_id,
        stage_name,
        sale_pipeline_id,
        sale_pipeline_name,
        sale_stage_id,
        sale_stage_name,
        semantics,
        semantics_source,
        state,
        customer_kind,
        company_id,
        contact_id,
        type_id,
        manager_id,
        manager_name,
        department_name,
        city,
        source_id,
        source_name,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_content,
        utm_term,
        lead_source_id,
        lead_source_name,
        lead_utm_source,
        lead_utm_medium,
        lead_utm_campaign,
        lead_utm_content,
        lead_utm_term,
        lead_manager_id,
        lead_manager_name,
        lead_city,
        currency_code,
        drop_stage_id,
        drop_stage_name,
        is_counted,
        is_legacy,
        is_handed_over,
        is_sales_pipeline,
        is_sale,
        is_failed,
        is_in_work,
        is_in_work and is_success_like_stage as is_on_success_like_stage,
        is_idle,
        is_idle and not has_planned_activity as is_idle_without_plan,
        is_idle
        and not ({{ var('planned_is_not_forgotten') }} and has_planned_activity) as is_forgotten,
        has_planned_activity,
        is_in_work and not has_planned_activity as is_without_planned_activity,
        coalesce(
            is_in_work and {{ portal_date('next_activity_at') }} < {{ portal_date('as_of') }}, false
        ) as is_overdue,
        customer_kind = 'new' as is_new_customer,
        customer_kind = 'repeat' as is_repeat_customer,
        portal_repeat_flag,
        portal_repeated_approach_flag,
        -- Bitrix24 keeps a flag of its own for customers who came before and bought nothing.
        customer_kind <> 'unknown'
        and (customer_kind = 'repeat') <> (
            portal_repeat_flag
            {%- if var('repeat_means') != 'sale' %} or portal_repeated_approach_flag{% endif %}
        ) as is_repeat_flag_different,
        is_amount_unknown,
        has_counted_lead,
        is_lead_legacy,
        has_ad_cost,
        cast(amount as decimal(20, 2)) as amount,
        base_amount,
        case
            when is_in_work then {{ days_until('created_at', 'as_of') }}
            else days_to_close
        end as age_days,
        days_to_close,
        case
            when days_to_close is null then null
            when days_to_close < 8 then '0–7'
            when days_to_close < 31 then '8–30'
            when days_to_close < 91 then '31–90'
            else '91+'
        end as days_to_close_bin,
        case
            when is_in_work then {{ days_until('idle_since', 'as_of') }}
        end as idle_days,
        case
            when has_counted_lead then {{ days_between('lead_created_at', 'sold_at') }}
        end as lead_to_sale_days,
        created_at,
        created_date,
        cast(date_trunc('month', created_date) as date) as created_month,
        last_activity_at,
        {{ portal_date('last_activity_at') }} as last_activity_date,
        next_activity_at,
        {{ portal_date('next_activity_at') }} as next_activity_date,
        sold_at,
        {{ portal_date('sold_at') }} as sold_date,
        sold_at_source,
        failed_at,
        {{ portal_date('failed_at') }} as failed_date,
        failed_at_source,
        close_date,
        lead_created_at,
        lead_created_date,
        lead_crm_url,
        portal_url || '/crm/deal/details/' || cast(deal_id as string) || '/' as crm_url
    from with_flags
)

select * from final

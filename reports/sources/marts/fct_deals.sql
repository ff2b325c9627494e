-- Deals for the pages: texts and days instead of codes and instants.
-- Grain: one row per deal.
select
    deal_id,
    title,
    crm_url,
    lead_id,
    lead_link,
    lead_crm_url,
    pipeline_name,
    deals.stage_name,
    pipeline_name || ' / ' || deals.stage_name as pipeline_stage_name,
    stages.sort_order as stage_order,
    deals.state,
    customer_kind,
    source_name,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_content,
    utm_term,
    manager_name,
    department_name,
    city,
    lead_source_name,
    lead_utm_source,
    lead_utm_medium,
    lead_utm_campaign,
    lead_utm_content,
    lead_utm_term,
    lead_manager_name,
    lead_city,
    leads.stage_name as lead_stage_name,
    leads.state as lead_state,
    drop_stage_name,
    days_to_close_bin,
    is_counted,
    has_counted_lead,
    is_sale,
    is_failed,
    is_in_work,
    is_idle,
    is_idle_without_plan,
    is_forgotten,
    is_without_planned_activity,
    is_repeat_flag_different,
    base_amount,
    age_days,
    idle_days,
    days_to_close,
    lead_to_sale_days,
    lead_created_date,
    created_date,
    created_month,
    last_activity_date,
    next_activity_date,
    sold_date,
    failed_date,
from published.fct_deals as deals
left join (
    select stage_id, sort_order
    from published.dim_stages
    where entity = 'deal'
) as stages
    using (stage_id)
left join (
    select
        lead_id,
        stage_name,
        state,
    from published.fct_leads
    where is_counted
) as leads
    using (lead_id)
order by created_date, deal_id

-- Leads for the pages: texts and days instead of codes and instants.
-- Grain: one row per lead.
select
    lead_id,
    title,
    crm_url,
    stage_name,
    stages.sort_order as stage_order,
    outcome,
    state,
    source_name,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_content,
    utm_term,
    manager_name,
    department_name,
    city,
    drop_stage_name,
    is_counted,
    is_quality,
    is_junk,
    is_in_work,
    is_new,
    is_in_progress,
    is_repeat,
    is_idle,
    is_idle_without_plan,
    is_forgotten,
    is_without_planned_activity,
    has_deal,
    has_sale,
    deals_count,
    sales_count,
    opportunity_amount,
    sales_amount,
    potential_amount,
    processing_days,
    age_days,
    idle_days,
    lead_to_sale_days,
    created_date,
    created_month,
    last_activity_date,
    next_activity_date,
    quality_date,
    first_deal_date,
    first_sold_date,
from published.fct_leads
left join (
    select stage_id, sort_order
    from published.dim_stages
    where entity = 'lead'
) as stages
    using (stage_id)
order by created_date, lead_id

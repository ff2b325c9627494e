-- Leads in work, and those created in the period; the oldest in work first.
-- Grain: one row per lead.
select
    lead_id,
    title,
    outcome,
    stage_name,
    source_name,
    utm_campaign,
    manager_name,
    city,
    age_days,
    idle_days,
    next_activity_date,
    is_forgotten,
    is_repeat,
    deals_count,
    sales_count,
    sales_amount,
    potential_amount,
    created_date,
    case when not is_in_work then outcome_date end as outcome_date,
    crm_url,
from marts.fct_leads
where
    is_counted
    and (
        is_in_work
        or created_date between getvariable('period_start') and getvariable('period_end')
    )
order by is_in_work desc, age_days desc nulls last, lead_id

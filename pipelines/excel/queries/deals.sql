-- Deals in work, and those created, sold or failed in the period; the oldest in work first.
-- Grain: one row per deal.
select
    deal_id,
    title,
    state,
    stage_name,
    manager_name,
    pipeline_name,
    source_name,
    lead_source_name,
    age_days,
    idle_days,
    next_activity_date,
    is_forgotten,
    base_amount,
    customer_kind,
    created_date,
    sold_date,
    failed_date,
    crm_url,
from marts.fct_deals
where
    is_counted
    and (
        is_in_work
        or created_date between getvariable('period_start') and getvariable('period_end')
        or sold_date between getvariable('period_start') and getvariable('period_end')
        or failed_date between getvariable('period_start') and getvariable('period_end')
    )
order by is_in_work desc, age_days desc nulls last, deal_id

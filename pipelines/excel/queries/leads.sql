-- Leads in work, and those created in the period; the oldest in work first. Their user fields that
-- the settings name stand at the end, several values in their order.
-- Grain: one row per lead.
with leads as (
    select * from marts.fct_leads
),

user_fields as (
    pivot (
        select * from marts.fct_user_field_values
        where entity = 'lead'
    )
    on field_name
    using string_agg(field_value, ', ' order by value_number)
    group by lead_id
)

select
    leads.lead_id,
    leads.title,
    leads.outcome,
    leads.stage_name,
    leads.source_name,
    leads.utm_campaign,
    leads.manager_name,
    leads.city,
    leads.age_days,
    leads.idle_days,
    leads.next_activity_date,
    leads.is_forgotten,
    leads.is_overdue,
    leads.is_repeat,
    leads.deals_count,
    leads.sales_count,
    leads.sales_amount,
    leads.sales_amount_unknown_count,
    leads.potential_amount,
    leads.potential_amount_unknown_count,
    leads.created_date,
    case when not leads.is_in_work then leads.outcome_date end as outcome_date,
    leads.crm_url,
    user_fields.* exclude (lead_id)
from leads
left join user_fields on leads.lead_id = user_fields.lead_id
where
    leads.is_counted
    and (
        leads.is_in_work
        or leads.created_date between getvariable('period_start') and getvariable('period_end')
    )
order by leads.is_in_work desc, leads.age_days desc nulls last, leads.lead_id asc

-- Deals in work, and those created, sold or failed in the period; the oldest in work first. Their
-- user fields that the settings name stand at the end, several values in their order.
-- Grain: one row per deal.
with deals as (
    select * from marts.fct_deals
),

user_fields as (
    pivot (
        select * from marts.fct_user_field_values
        where entity = 'deal'
    )
    on field_name
    using string_agg(field_value, ', ' order by value_number)
    group by deal_id
)

select
    deals.deal_id,
    deals.title,
    deals.state,
    case when is_handed_over then sale_stage_name else deals.stage_name end as stage_name,
    deals.manager_name,
    case when is_handed_over then sale_pipeline_name else deals.pipeline_name end as pipeline_name,
    deals.source_name,
    deals.lead_source_name,
    deals.age_days,
    deals.idle_days,
    deals.next_activity_date,
    deals.is_forgotten,
    deals.is_overdue,
    deals.base_amount,
    deals.customer_kind,
    deals.created_date,
    deals.sold_date,
    deals.failed_date,
    deals.crm_url,
    user_fields.* exclude (deal_id)
from deals
left join user_fields on deals.deal_id = user_fields.deal_id
where
    deals.is_counted
    and (
        deals.is_in_work
        or deals.created_date between getvariable('period_start') and getvariable('period_end')
        or deals.sold_date between getvariable('period_start') and getvariable('period_end')
        or deals.failed_date between getvariable('period_start') and getvariable('period_end')
    )
order by deals.is_in_work desc, deals.age_days desc nulls last, deals.deal_id asc

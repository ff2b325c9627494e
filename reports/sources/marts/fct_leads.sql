-- Leads for the pages: texts and days instead of codes and instants.
-- Grain: one row per lead.
select
    created_date,
    created_month,
    quality_date,
    first_deal_date,
    first_sold_date,
    source_name,
    manager_name,
    is_counted,
    is_quality,
    is_junk,
    is_in_work,
    is_new,
    is_in_progress,
    is_forgotten,
    has_deal,
    has_sale,
    processing_days,
    sales_amount,
from published.fct_leads
order by created_date, lead_id

-- Deals for the pages: texts and days instead of codes and instants.
-- Grain: one row per deal.
select
    created_date,
    sold_date,
    source_name,
    manager_name,
    customer_kind,
    is_counted,
    is_sale,
    is_failed,
    is_in_work,
    is_forgotten,
    base_amount,
from published.fct_deals
order by created_date, deal_id

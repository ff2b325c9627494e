-- The published refresh: its moment and the settings that the pages show.
-- Grain: one row.
select
    refresh_no,
    as_of_date,
    as_of_text,
    portal_url,
    crm_mode,
    base_currency,
    forgotten_lead_days,
    forgotten_deal_days,
from published.refreshes

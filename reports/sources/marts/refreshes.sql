-- The published refresh: its moment and the settings that the pages show.
-- Grain: one row.
select
    refresh_no,
    as_of_date,
    as_of_text,
    portal_url,
    crm_mode,
    base_currency,
    kind,
    history_from_date,
    first_as_of_date,
    lead_history_date,
    deal_history_date,
from published.refreshes

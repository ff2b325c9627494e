-- Settings that the figures depend on.
-- Grain: one row per setting.
select *
from published.settings
order by sort_order

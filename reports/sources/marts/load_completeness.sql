-- What the portal counts against what was loaded.
-- Grain: one row per entity.
select *
from published.load_completeness
order by entity

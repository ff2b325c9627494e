-- What each metric means, in both languages.
-- Grain: one row per metric.
select *
from published.dim_metrics
order by metric_name

-- Labels and definitions of the metrics.
-- Grain: one row per metric.
select
    metric_name,
    label_ru,
    label_en,
    definition_ru,
    definition_en,
    value_format,
    is_comparable or is_compared_at_age as is_comparable
from marts.dim_metrics

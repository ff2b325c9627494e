-- Figures of finished months of which something else was published later, the latest first.
-- Grain: one row per publication, metric, month, and source or all sources.
select
    restatements.statement_month,
    case
        when getvariable('language') = 'ru' then metrics.label_ru
        else metrics.label_en
    end as figure,
    restatements.source_name,
    case
        when getvariable('language') = 'ru' then restatements.explanation_ru
        else restatements.explanation_en
    end as explanation,
    restatements.as_of_text,
    restatements.before_value,
    restatements.after_value
from quality.restatements as restatements
inner join marts.dim_metrics as metrics on restatements.metric_name = metrics.metric_name
order by
    restatements.publication_no desc,
    restatements.statement_month desc,
    metrics.metric_name asc,
    restatements.source_kind <> 'all_sources' asc,
    restatements.source_name asc

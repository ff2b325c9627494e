-- Records of which a publication said something new of finished months, or else than before.
-- Grain: one row per publication, metric and record.
{{ config(materialized='view') }}

with changes as (
    select * from {{ source('statements', 'changes') }}
),

final as (
    select
        publication_no,
        metric_name,
        record_id,
        before_month,
        before_source_kind,
        before_source_id,
        before_amount,
        after_month,
        after_source_kind,
        after_source_id,
        after_amount,
        reason
    from changes
)

select * from final

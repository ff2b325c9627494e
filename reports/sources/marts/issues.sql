-- Records to mend in the CRM.
-- Grain: one row per kind of issue, entity and record.
select
    kind,
    severity,
    entity,
    record_key,
    item_id,
    title,
    manager_name,
    records_count,
    base_amount,
    explanation_ru,
    explanation_en,
    crm_url,
from published.issues
order by kind, entity, item_id, record_key

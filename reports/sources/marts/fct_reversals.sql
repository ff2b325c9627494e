-- What was undone, deleted or erased.
-- Grain: one row per reversal of a lead or deal.
select
    entity,
    item_id,
    reversal_number,
    kind,
    lost_state,
    title,
    explanation_ru,
    explanation_en,
    manager_name,
    base_amount,
    reversal_date,
    crm_url,
from published.fct_reversals
order by reversal_date, entity, item_id, reversal_number

-- Checks of the raw data and of the models, without their messages, which are in one language.
-- Grain: one row per layer, entity and check.
select
    layer,
    entity,
    check_name,
    passed,
    failures,
from published.check_results
order by layer, entity, check_name

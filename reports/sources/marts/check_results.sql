-- Checks of the raw data and of the models, without their messages, which are in one language.
-- Grain: one row per layer, entity and check.
select
    layer,
    entity,
    check_name,
    passed,
    case when passed then 'passed' when accepted then 'accepted' else 'failed' end as outcome,
    failures,
from published.check_results
order by layer, entity, check_name

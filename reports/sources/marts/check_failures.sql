-- Records that failed a check of the raw data; the first ones of each check.
-- Grain: one row per entity, check and place in its list.
select
    entity,
    check_name,
    row_number() over (
        partition by entity, check_name
        order by try_cast(record_id as bigint), record_id, value
    ) as place,
    record_id,
    value,
    crm_url,
from published.check_failures
order by entity, check_name, place

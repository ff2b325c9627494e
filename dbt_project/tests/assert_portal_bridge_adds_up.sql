-- Whatever the period, the portal counts all that was created in it: so our figure, the backlog,
-- imports and other pipelines add up to the portal's.
select
    entity,
    item_id,
    created_date,
    portal_closed_date
from {{ ref('fct_portal_bridge') }}
where portal_closed_date < created_date

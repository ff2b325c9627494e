-- The visit that runs now is to the stage on which the item stands.
with visits as (
    select * from {{ ref('fct_stage_visits') }}
),

items as (
    select * from {{ ref('int_items__classified') }}
)

select
    visits.entity,
    visits.item_id,
    visits.stage_id
from visits
inner join items
    on
        visits.entity = items.entity
        and visits.item_id = items.item_id
where
    visits.is_current
    and visits.stage_id is distinct from items.stage_id

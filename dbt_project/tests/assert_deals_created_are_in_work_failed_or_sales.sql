-- Every deal has exactly one state.
select
    deal_id,
    state
from {{ ref('fct_deals') }}
where cast(is_sale as integer) + cast(is_failed as integer) + cast(is_in_work as integer) <> 1

-- Every lead has exactly one outcome, and one in work is either new or in progress.
select
    lead_id,
    outcome
from {{ ref('fct_leads') }}
where
    cast(is_junk as integer) + cast(is_quality as integer) + cast(is_in_work as integer) <> 1
    or cast(is_new as integer) + cast(is_in_progress as integer) <> cast(is_in_work as integer)

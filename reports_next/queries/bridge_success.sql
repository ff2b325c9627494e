-- From our successes to the portal's: each record with its line and sign.
select *, 'ours' as success_line, 1 as sign
from ${bridge_items}
where is_ours
union all
select
    *,
    case
        when is_ours then 'ours_only'
        when bridge_kind = 'counted' then 'portal_only'
        else bridge_kind
    end as success_line,
    case when is_ours then -1 else 1 end as sign
from ${bridge_items}
where is_ours <> is_portals

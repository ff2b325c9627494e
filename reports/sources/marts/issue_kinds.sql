-- Kinds of issues, their weight and what to do about them.
-- Grain: one row per kind of issue.
select *
from published.issue_kinds
order by sort_order

-- What quality.issues found, the heaviest first: kinds of issues with their records and the amount
-- at stake, and what to do.
-- Grain: one row per kind of issue that was found.
with found as (
    select
        kind,
        sum(records_count) as records_count,
        sum(base_amount) as at_stake_amount
    from quality.issues
    group by kind
)

select
    kinds.severity,
    case
        when getvariable('language') = 'ru' then kinds.label_ru
        else kinds.label_en
    end as issue,
    found.records_count,
    found.at_stake_amount,
    case
        when getvariable('language') = 'ru' then kinds.what_to_do_ru
        else kinds.what_to_do_en
    end as what_to_do
from found
inner join quality.issue_kinds as kinds on found.kind = kinds.kind
order by kinds.sort_order

-- Every kopeck and click of a spend file is in the marts, without VAT, matched or not.
with rows_of_files as (
    select * from {{ ref('stg_spend__ad_costs') }}
),

ad_costs as (
    select * from {{ ref('fct_ad_costs') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

last_refresh as (
    select base_currency
    from refreshes
    where is_last
),

stated as (
    select
        rows_of_files.file,
        coalesce(rows_of_files.currency_code, last_refresh.base_currency) as currency_code,
        sum(rows_of_files.cost) as cost,
        sum(rows_of_files.clicks) as clicks
    from rows_of_files
    cross join last_refresh
    group by
        rows_of_files.file,
        coalesce(rows_of_files.currency_code, last_refresh.base_currency)
),

added_up as (
    select
        file,
        currency_code,
        sum(cost) as cost,
        sum(clicks) as clicks
    from ad_costs
    group by
        file,
        currency_code
)

select
    stated.file,
    stated.currency_code,
    stated.cost,
    added_up.cost as cost_of_days
from stated
full join added_up
    on
        stated.file = added_up.file
        and stated.currency_code is not distinct from added_up.currency_code
where
    stated.cost is distinct from added_up.cost
    or stated.clicks is distinct from added_up.clicks

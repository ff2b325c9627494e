-- No join loses or doubles a row: facts hold the living records, recurring templates left out.
with fct_leads as (
    select * from {{ ref('fct_leads') }}
),

fct_deals as (
    select * from {{ ref('fct_deals') }}
),

leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

counted as (
    select
        'fct_leads' as fact,
        (select count(*) from fct_leads) as fact_rows,
        (select count(*) from leads) as staging_rows
    union all
    select
        'fct_deals' as fact,
        (select count(*) from fct_deals) as fact_rows,
        (
            select count(*) from deals
            where not is_template
        ) as staging_rows
)

select *
from counted
where fact_rows <> staging_rows

-- Months in which a source has a known cost: sales of its leads are set against it.
-- Grain: one row per source and month with a cost.
with daily as (
    select * from {{ ref('int_ad_costs__daily') }}
),

ad_costs as (
    select * from {{ ref('stg_spend__ad_costs') }}
),

labels as (
    select * from {{ ref('int_ad_labels__matched') }}
),

final as (
    select
        labels.matched_source_id as source_id,
        cast(date_trunc('month', daily.cost_date) as date) as cost_month,
        sum(daily.base_cost) as base_cost
    from daily
    inner join ad_costs
        on
            daily.file = ad_costs.file
            and daily.line_number = ad_costs.line_number
    inner join labels
        on ad_costs.labels_key = labels.labels_key
    where
        labels.matched_source_id is not null
        and daily.base_cost <> 0
    group by
        labels.matched_source_id,
        cast(date_trunc('month', daily.cost_date) as date)
)

select * from final

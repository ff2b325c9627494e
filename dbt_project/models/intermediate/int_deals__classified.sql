-- Deals by the rules: state and its time, legacy, sales pipeline, amount in base currency.
-- Grain: one row per living deal that is not a recurring template.
with deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

items as (
    select * from {{ ref('int_items__classified') }}
),

visits as (
    select * from {{ ref('int_stage_visits__summarized') }}
),

deal_sales as (
    select * from {{ ref('int_deal_sales__followed') }}
),

outcomes as (
    select * from {{ ref('int_item_outcomes__dated') }}
),

currency_rates as (
    select * from {{ ref('stg_bitrix24__currency_rates') }}
),

bounded_rates as (
    select * from {{ ref('int_currency_rates__bounded') }}
),

joined as (
    select
        deals.deal_id,
        deals.pipeline_id,
        deals.stage_id,
        deals.originator_id,
        deals.currency_code,
        deals.amount,
        items.semantics,
        items.semantics_source,
        -- Won and handed over: the sale stands, whatever the present stage is.
        case when deal_sales.deal_id is not null then 'success' else items.state end as state,
        coalesce(deal_sales.sale_pipeline_id, deals.pipeline_id) as own_pipeline_id,
        coalesce(deal_sales.sale_stage_id, visits.state_since_stage_id, deals.stage_id)
            as own_stage_id,
        visits.last_open_stage_id,
        visits.is_first_history_final,
        deals.created_at,
        deals.created_date,
        outcomes.outcome_at_source as closed_at_source,
        outcomes.outcome_at as closed_at,
        outcomes.portal_closed_at
    from deals
    inner join items
        on
            deals.deal_id = items.item_id
            and items.entity = 'deal'
    left join outcomes
        on
            deals.deal_id = outcomes.item_id
            and outcomes.entity = 'deal'
    left join visits
        on
            deals.deal_id = visits.item_id
            and visits.entity = 'deal'
    left join deal_sales
        on
            deals.deal_id = deal_sales.deal_id
            and deal_sales.is_standing
),

marked as (
    select
        deal_id,
        pipeline_id,
        stage_id,
        currency_code,
        amount,
        semantics,
        semantics_source,
        case state when 'success' then 'sale' else state end as state,
        last_open_stage_id,
        {{ is_legacy('deal') }} as is_legacy,
        {{ is_sales_pipeline('own_pipeline_id') }} as is_sales_pipeline,
        own_pipeline_id <> pipeline_id as is_handed_over,
        case when state = 'success' then own_pipeline_id end as sale_pipeline_id,
        case when state = 'success' then own_stage_id end as sale_stage_id,
        created_at,
        created_date,
        case when state = 'success' then closed_at_source end as sold_at_source,
        case when state = 'success' then closed_at end as sold_at,
        case when state = 'failed' then closed_at_source end as failed_at_source,
        case when state = 'failed' then closed_at end as failed_at,
        portal_closed_at
    from joined
),

-- A sale at the rate in force when it was made, else the first known; anything else at the latest.
with_rates as (
    select
        marked.*,
        case
            when marked.state = 'sale'
                then coalesce(currency_rates.rate_amount, bounded_rates.first_rate_amount)
            else bounded_rates.latest_rate_amount
        end as rate_amount,
        case
            when marked.state = 'sale'
                then coalesce(currency_rates.rate_units, bounded_rates.first_rate_units)
            else bounded_rates.latest_rate_units
        end as rate_units
    from marked
    left join bounded_rates
        on marked.currency_code = bounded_rates.currency_code
    left join currency_rates
        on
            marked.currency_code = currency_rates.currency_code
            and marked.sold_at >= currency_rates.valid_from
            and (
                currency_rates.valid_to is null
                or marked.sold_at < currency_rates.valid_to
            )
),

converted as (
    select
        *,
        {{ to_base_amount('amount', 'rate_amount', 'rate_units') }} as base_amount
    from with_rates
),

final as (
    select
        deal_id,
        pipeline_id,
        stage_id,
        semantics,
        semantics_source,
        state,
        last_open_stage_id,
        sale_pipeline_id,
        sale_stage_id,
        is_legacy,
        is_handed_over,
        is_sales_pipeline,
        is_sales_pipeline and ({{ var('include_legacy') }} or not is_legacy) as is_counted,
        {{ is_amount_unknown('amount', 'base_amount') }} as is_amount_unknown,
        base_amount,
        created_at,
        created_date,
        sold_at_source,
        sold_at,
        failed_at_source,
        failed_at,
        portal_closed_at
    from converted
)

select * from final

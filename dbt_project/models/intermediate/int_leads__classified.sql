-- Leads by the rules: outcome and its time, legacy, amount in base currency.
-- Grain: one row per living lead.
with leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

items as (
    select * from {{ ref('int_items__classified') }}
),

visits as (
    select * from {{ ref('int_stage_visits__summarized') }}
),

outcomes as (
    select * from {{ ref('int_item_outcomes__dated') }}
),

rates as (
    select * from {{ ref('int_currency_rates__bounded') }}
),

joined as (
    select
        leads.lead_id,
        leads.stage_id,
        leads.originator_id,
        leads.amount,
        items.semantics,
        items.semantics_source,
        case items.state
            when 'success' then 'quality'
            when 'failed' then 'junk'
            else 'in_work'
        end as outcome,
        visits.last_open_stage_id,
        visits.is_first_history_final,
        {{ to_base_amount('leads.amount', 'rates.latest_rate_amount', 'rates.latest_rate_units') }}
            as base_amount,
        leads.created_at,
        leads.created_date,
        outcomes.outcome_at_source,
        outcomes.outcome_at,
        outcomes.portal_closed_at
    from leads
    inner join items
        on
            leads.lead_id = items.item_id
            and items.entity = 'lead'
    left join outcomes
        on
            leads.lead_id = outcomes.item_id
            and outcomes.entity = 'lead'
    left join visits
        on
            leads.lead_id = visits.item_id
            and visits.entity = 'lead'
    left join rates
        on leads.currency_code = rates.currency_code
),

marked as (
    select
        lead_id,
        stage_id,
        semantics,
        semantics_source,
        outcome,
        last_open_stage_id,
        {{ is_legacy('lead') }} as is_legacy,
        {{ is_amount_unknown('amount', 'base_amount') }} as is_amount_unknown,
        base_amount,
        created_at,
        created_date,
        outcome_at_source,
        outcome_at,
        portal_closed_at
    from joined
),

final as (
    select
        lead_id,
        stage_id,
        semantics,
        semantics_source,
        outcome,
        last_open_stage_id,
        is_legacy,
        {{ var('include_legacy') }} or not is_legacy as is_counted,
        is_amount_unknown,
        base_amount,
        created_at,
        created_date,
        outcome_at_source,
        outcome_at,
        portal_closed_at
    from marked
)

select * from final

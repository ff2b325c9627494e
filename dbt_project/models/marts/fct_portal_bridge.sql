-- Why figures differ from those of the portal, which counts in a period what was active in it: how
-- each record is counted here and there.
-- Grain: one row per lead or deal, deleted ones and recurring templates included.
with leads as (
    select * from {{ ref('fct_leads') }}
),

classified_leads as (
    select * from {{ ref('int_leads__classified') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

classified_deals as (
    select * from {{ ref('int_deals__classified') }}
),

portal_deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

versions as (
    select * from {{ ref('int_item_versions__spanned') }}
),

rates as (
    select * from {{ ref('int_currency_rates__bounded') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

pipelines as (
    select * from {{ ref('dim_pipelines') }}
),

sources as (
    select * from {{ ref('dim_sources') }}
),

managers as (
    select * from {{ ref('dim_managers') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

last_refresh as (
    select portal_url
    from refreshes
    where is_last
),

-- What is in neither count has no names yet.
uncounted as (
    select
        'deal' as entity,
        deal_id as item_id,
        title,
        'template' as bridge_kind,
        manager_id,
        source_id,
        pipeline_id,
        stage_id,
        semantics,
        currency_code,
        amount,
        created_date,
        cast(null as date) as deleted_date
    from portal_deals
    where is_template
    union all
    select
        entity,
        item_id,
        title,
        'deleted' as bridge_kind,
        manager_id,
        source_id,
        pipeline_id,
        stage_id,
        semantics,
        currency_code,
        amount,
        {{ portal_date('created_at') }} as created_date,
        {{ portal_date('valid_from') }} as deleted_date
    from versions
    where
        is_deleted
        and is_current
),

unioned as (
    select
        'lead' as entity,
        leads.lead_id as item_id,
        leads.title,
        case when leads.is_counted then 'counted' else 'legacy' end as bridge_kind,
        leads.semantics,
        leads.outcome as our_state,
        leads.manager_name,
        leads.source_name,
        cast(null as string) as pipeline_name,
        leads.stage_name,
        leads.opportunity_amount as base_amount,
        leads.created_date,
        classified_leads.portal_closed_at,
        cast(null as date) as deleted_date
    from leads
    inner join classified_leads
        on leads.lead_id = classified_leads.lead_id
    union all
    select
        'deal' as entity,
        deals.deal_id as item_id,
        deals.title,
        case
            when not deals.is_sales_pipeline then 'other_pipeline'
            when not deals.is_counted then 'legacy'
            else 'counted'
        end as bridge_kind,
        deals.semantics,
        deals.state as our_state,
        deals.manager_name,
        deals.source_name,
        case when deals.is_handed_over then deals.sale_pipeline_name else deals.pipeline_name end
            as pipeline_name,
        deals.stage_name,
        deals.base_amount,
        deals.created_date,
        classified_deals.portal_closed_at,
        cast(null as date) as deleted_date
    from deals
    inner join classified_deals
        on deals.deal_id = classified_deals.deal_id
    union all
    select
        uncounted.entity,
        uncounted.item_id,
        uncounted.title,
        uncounted.bridge_kind,
        coalesce(uncounted.semantics, stages.semantics) as semantics,
        cast(null as string) as our_state,
        case
            when uncounted.manager_id is null then {{ label('no_manager') }}
            else coalesce(
                    managers.manager_name,
                    {{ label('unknown_user', with='uncounted.manager_id') }}
                )
        end as manager_name,
        case
            when uncounted.source_id is null then {{ label('no_source') }}
            else coalesce(
                    sources.source_name,
                    {{ label('deleted_source', with='uncounted.source_id') }}
                )
        end as source_name,
        case
            when uncounted.pipeline_id is not null
                then coalesce(
                        pipelines.pipeline_name,
                        {{ label('deleted_pipeline', with='uncounted.pipeline_id') }}
                    )
        end as pipeline_name,
        case
            when uncounted.stage_id is null then {{ label('no_stage') }}
            else coalesce(
                    stages.stage_name,
                    {{ label('deleted_stage', with='uncounted.stage_id') }}
                )
        end as stage_name,
        {{
            to_base_amount(
                'uncounted.amount', 'rates.latest_rate_amount', 'rates.latest_rate_units'
            )
        }} as base_amount,
        uncounted.created_date,
        cast(null as {{ type_instant() }}) as portal_closed_at,
        uncounted.deleted_date
    from uncounted
    left join rates
        on uncounted.currency_code = rates.currency_code
    left join stages
        on
            uncounted.entity = stages.entity
            and uncounted.stage_id = stages.stage_id
    left join pipelines
        on uncounted.pipeline_id = pipelines.pipeline_id
    left join sources
        on uncounted.source_id = sources.source_id
    left join managers
        on uncounted.manager_id = managers.manager_id
),

final as (
    select
        unioned.entity,
        unioned.item_id,
        unioned.title,
        unioned.bridge_kind,
        case unioned.semantics
            when 'S' then 'success'
            when 'F' then 'failed'
            else 'in_work'
        end as portal_state,
        case when unioned.bridge_kind = 'counted' then unioned.our_state end as our_state,
        unioned.manager_name,
        unioned.source_name,
        unioned.pipeline_name,
        unioned.stage_name,
        unioned.base_amount,
        unioned.created_date,
        -- An item is active on the day of its creation, however wrong the date of its closing is.
        case
            when unioned.portal_closed_at is not null
                then greatest(
                        {{ portal_date('unioned.portal_closed_at') }}, unioned.created_date
                    )
        end as portal_closed_date,
        unioned.deleted_date,
        case
            when unioned.bridge_kind <> 'deleted'
                then
                    last_refresh.portal_url || '/crm/' || unioned.entity || '/details/'
                    || cast(unioned.item_id as string) || '/'
        end as crm_url
    from unioned
    cross join last_refresh
)

select * from final

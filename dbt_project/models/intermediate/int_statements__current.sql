-- What this build says of finished months: the leads received, the leads that became quality, and
-- the sales, each with its month and the source of the lead.
-- Grain: one row per metric and record.
with publications as (
    select * from {{ ref('stg_statements__publications') }}
),

leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

this_publication as (
    select stated_until
    from publications
    where not is_published
),

counted as (
    select
        'leads_received' as metric_name,
        lead_id as record_id,
        created_date as day,
        case when source_id is null then 'no_source' else 'source' end as source_kind,
        source_id,
        cast(null as decimal(20, 2)) as amount
    from leads
    where is_counted
    union all
    select
        'leads_quality_period' as metric_name,
        lead_id as record_id,
        quality_date as day,
        case when source_id is null then 'no_source' else 'source' end as source_kind,
        source_id,
        cast(null as decimal(20, 2)) as amount
    from leads
    where
        is_counted
        and is_quality
    union all
    select
        'sales_period' as metric_name,
        deal_id as record_id,
        sold_date as day,
        case
            when lead_source_id is not null then 'source'
            when has_counted_lead then 'no_source'
            when is_lead_legacy then 'lead_legacy'
            when lead_link = 'deleted' then 'lead_deleted'
            else 'no_lead'
        end as source_kind,
        lead_source_id as source_id,
        cast(case when not is_amount_unknown then coalesce(base_amount, 0) end as decimal(20, 2))
            as amount
    from deals
    where
        is_counted
        and is_sale
),

final as (
    select
        counted.metric_name,
        counted.record_id,
        cast(date_trunc('month', counted.day) as date) as statement_month,
        counted.source_kind,
        counted.source_id,
        counted.amount
    from counted
    inner join this_publication
        on counted.day < this_publication.stated_until
)

select * from final

-- Records that no longer stand for what was published of a finished month, each with the reason.
-- Grain: one row per publication, metric and record.
with publications as (
    select * from {{ ref('stg_statements__publications') }}
),

changes as (
    select * from {{ ref('stg_statements__changes') }}
),

new_changes as (
    select * from {{ ref('int_statements__changed') }}
),

sources as (
    select * from {{ ref('dim_sources') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

last_refresh as (
    select portal_url
    from refreshes
    where is_last
),

unioned as (
    select
        publication_no,
        metric_name,
        record_id,
        before_month,
        before_source_kind,
        before_source_id,
        before_amount,
        after_month,
        after_source_kind,
        after_source_id,
        after_amount,
        reason
    from changes
    where reason is not null
    union all
    select
        publication_no,
        metric_name,
        record_id,
        before_month,
        before_source_kind,
        before_source_id,
        before_amount,
        after_month,
        after_source_kind,
        after_source_id,
        after_amount,
        reason
    from new_changes
    where reason is not null
),

named as (
    select
        unioned.*,
        case unioned.metric_name when 'sales_period' then 'deal' else 'lead' end as entity,
        {{ restatement_reason_text('unioned.reason', 'publications.changed_settings', 'ru') }}
            as explanation_ru,
        {{ restatement_reason_text('unioned.reason', 'publications.changed_settings', 'en') }}
            as explanation_en,
        {{
            statement_source_name(
                'unioned.before_source_kind',
                'unioned.before_source_id',
                'before_sources.source_name'
            )
        }} as before_source_name,
        {{
            statement_source_name(
                'unioned.after_source_kind',
                'unioned.after_source_id',
                'after_sources.source_name'
            )
        }} as after_source_name,
        {{ portal_date('publications.as_of') }} as as_of_date,
        last_refresh.portal_url
    from unioned
    inner join publications
        on unioned.publication_no = publications.publication_no
    cross join last_refresh
    left join sources as before_sources
        on unioned.before_source_id = before_sources.source_id
    left join sources as after_sources
        on unioned.after_source_id = after_sources.source_id
),

final as (
    select
        publication_no,
        metric_name,
        entity,
        record_id,
        reason,
        explanation_ru,
        explanation_en,
        before_source_kind,
        before_source_id,
        before_source_name,
        after_source_kind,
        after_source_id,
        after_source_name,
        before_amount,
        after_amount,
        before_month,
        after_month,
        as_of_date,
        portal_url || '/crm/' || entity || '/details/' || cast(record_id as string) || '/'
            as crm_url
    from named
)

select * from final

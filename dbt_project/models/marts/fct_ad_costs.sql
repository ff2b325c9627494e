-- Money spent on advertising by day, with the source that it is of and how that was found.
-- Grain: one row per row of a spend file and day.
with daily as (
    select * from {{ ref('int_ad_costs__daily') }}
),

ad_costs as (
    select * from {{ ref('stg_spend__ad_costs') }}
),

labels as (
    select * from {{ ref('int_ad_labels__matched') }}
),

sources as (
    select * from {{ ref('dim_sources') }}
),

final as (
    select
        daily.file,
        daily.line_number,
        ad_costs.source_code,
        labels.matched_source_id,
        case
            when labels.matched_source_id is null then {{ label('not_matched') }}
            else coalesce(
                    sources.source_name,
                    {{ label('deleted_source', with='labels.matched_source_id') }}
                )
        end as source_name,
        {%- for utm_label in utm_labels() %}
            coalesce(labels.{{ utm_label }}_spelling, {{ label('not_matched') }})
                as {{ utm_label }},
        {%- endfor %}
        labels.match_kind,
        labels.rule_number,
        case labels.match_kind
            when 'leads_without_source'
                then {{ label('leads_without_source', with='ad_costs.utm_source') }}
            when 'unknown_utm_source'
                then {{ label('unknown_utm_source', with='ad_costs.utm_source') }}
            when 'unknown_source_code'
                then {{ label('unknown_source_code', with='ad_costs.source_code') }}
            when 'nothing_stated' then {{ label('nothing_stated') }}
        end as unmatched_reason,
        daily.currency_code,
        daily.base_cost is null as is_cost_unknown,
        daily.cost,
        daily.vat_percent,
        daily.base_cost,
        daily.clicks,
        {{ start_of_portal_day('daily.cost_date') }} as cost_at,
        daily.cost_date
    from daily
    inner join ad_costs
        on
            daily.file = ad_costs.file
            and daily.line_number = ad_costs.line_number
    inner join labels
        on ad_costs.labels_key = labels.labels_key
    left join sources
        on labels.matched_source_id = sources.source_id
)

select * from final

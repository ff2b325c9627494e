-- Money spent that is in no source's figures, in no sum, or perhaps counted twice.
-- Grain: one row per kind and currency, stated label with its file, or source with campaign.
with ad_costs as (
    select * from {{ ref('fct_ad_costs') }}
),

without_rate as (
    select
        'ad_cost_without_rate' as kind,
        coalesce(currency_code, '') as record_key,
        count(*) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        'Нет курса: ' || cast(cast(sum(cost) as decimal(38, 2)) as string) || ' '
        || coalesce(currency_code, '(валюта не указана)') || ' без НДС' as explanation_ru,
        'No rate: ' || cast(cast(sum(cost) as decimal(38, 2)) as string) || ' '
        || coalesce(currency_code, '(no currency)') || ' without VAT' as explanation_en
    from ad_costs
    where is_cost_unknown
    group by currency_code
),

unmatched as (
    select
        file,
        match_kind,
        case when match_kind = 'unknown_source_code' then source_code else utm_source end
            as stated_label,
        count(distinct line_number) as records_count,
        sum(base_cost) as base_amount
    from ad_costs
    where matched_source_id is null
    group by
        file,
        match_kind,
        case when match_kind = 'unknown_source_code' then source_code else utm_source end
),

not_matched as (
    select
        'ad_cost_not_matched' as kind,
        file || ': ' || match_kind || ': ' || stated_label as record_key,
        records_count,
        base_amount,
        file || ': ' || case match_kind
            when 'leads_without_source'
                then 'у лидов с utm_source «' || stated_label || '» нет источника'
            when 'unknown_utm_source'
                then 'utm_source «' || stated_label || '» не источник CRM, и лидов с ним нет'
            when 'unknown_source_code' then 'источника «' || stated_label || '» в CRM нет'
            else 'в строках нет ни utm_source, ни источника'
        end as explanation_ru,
        file || ': ' || case match_kind
            when 'leads_without_source'
                then 'leads with utm_source "' || stated_label || '" have no source'
            when 'unknown_utm_source'
                then
                    'utm_source "' || stated_label
                    || '" is no source of the CRM, and no lead has it'
            when 'unknown_source_code' then 'the CRM has no source "' || stated_label || '"'
            else 'the rows have no utm_source and no source'
        end as explanation_en
    from unmatched
),

-- What two files say of one day is summed; an export and Metrica's upload may be the same money.
by_file as (
    select
        case when matched_source_id is null then utm_source else source_name end as source_label,
        utm_campaign,
        cost_date,
        file,
        sum(base_cost) as base_cost
    from ad_costs
    where cost <> 0
    group by
        case when matched_source_id is null then utm_source else source_name end,
        utm_campaign,
        cost_date,
        file
),

days as (
    select
        source_label,
        utm_campaign,
        cost_date,
        min(file) as first_file,
        max(file) as last_file,
        sum(base_cost) - max(base_cost) as base_amount
    from by_file
    group by
        source_label,
        utm_campaign,
        cost_date
    having count(*) > 1
),

stated_twice as (
    select
        'ad_cost_stated_twice' as kind,
        source_label || ' / ' || utm_campaign as record_key,
        count(*) as records_count,
        sum(base_amount) as base_amount,
        source_label || ' / ' || utm_campaign || ': за дни с '
        || cast(min(cost_date) as string) || ' по ' || cast(max(cost_date) as string)
        || ' расход есть в нескольких файлах, например ' || min(first_file) || ' и '
        || max(last_file) as explanation_ru,
        source_label || ' / ' || utm_campaign || ': between '
        || cast(min(cost_date) as string) || ' and ' || cast(max(cost_date) as string)
        || ' several files state a cost, such as ' || min(first_file) || ' and '
        || max(last_file) as explanation_en
    from days
    group by
        source_label,
        utm_campaign
),

unioned as (
    select * from without_rate
    union all
    select * from not_matched
    union all
    select * from stated_twice
),

final as (
    select
        kind,
        'ad_costs' as entity,
        record_key,
        cast(records_count as bigint) as records_count,
        cast(base_amount as decimal(38, 2)) as base_amount,
        explanation_ru,
        explanation_en
    from unioned
)

select * from final

-- What the rows of the spend files name: the source that they are of, and their labels as most
-- leads spell them. Distinct labels are compared, never rows with rows.
-- Grain: one row per combination of source code and labels that the files have.
with ad_costs as (
    select * from {{ ref('stg_spend__ad_costs') }}
),

statuses as (
    select * from {{ ref('stg_bitrix24__statuses') }}
),

leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

classified_leads as (
    select * from {{ ref('int_leads__classified') }}
),

combinations as (
    select distinct
        labels_key,
        source_code,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_content,
        utm_term
    from ad_costs
),

counted_leads as (
    select
        leads.source_id,
        leads.utm_source,
        leads.utm_medium,
        leads.utm_campaign,
        leads.utm_content,
        leads.utm_term
    from leads
    inner join classified_leads
        on leads.lead_id = classified_leads.lead_id
    where
        classified_leads.is_counted
        -- Nobody's labels matter where there is no spend.
        and exists (select 1 from combinations)
),

stated_values as (
    {%- for label in utm_labels() %}
        select distinct
            '{{ label }}' as utm_label,
            {{ label }} as stated_value
        from combinations
        {{ 'union all' if not loop.last }}
    {%- endfor %}
),

stated as (
    select
        utm_label,
        stated_value,
        {{ folded('stated_value') }} as folded_value
    from stated_values
),

-- A label that is nothing but a placeholder would fit everything.
stated_with_patterns as (
    select
        *,
        case
            when
                folded_value <> {{ replace_all('folded_value', placeholder(), '') }}
                and {{ trimmed(replace_all('folded_value', placeholder(), '')) }} is not null
                then {{ like_pattern('folded_value') }}
        end as pattern
    from stated
),

lead_values as (
    {%- for label in utm_labels() %}
        select
            '{{ label }}' as utm_label,
            {{ label }} as lead_value,
            count(*) as leads_count
        from counted_leads
        group by {{ label }}
        {{ 'union all' if not loop.last }}
    {%- endfor %}
),

lead_spellings as (
    select
        utm_label,
        lead_value,
        {{ folded('lead_value') }} as folded_value,
        leads_count
    from lead_values
    qualify row_number() over (
            partition by utm_label, {{ folded('lead_value') }}
            order by leads_count desc, lead_value asc
        ) = 1
),

fits as (
    select
        stated_with_patterns.utm_label,
        stated_with_patterns.stated_value,
        lead_spellings.lead_value,
        lead_spellings.folded_value,
        true as is_exact
    from stated_with_patterns
    inner join lead_spellings
        on
            stated_with_patterns.utm_label = lead_spellings.utm_label
            and stated_with_patterns.folded_value = lead_spellings.folded_value
    union all
    select
        stated_with_patterns.utm_label,
        stated_with_patterns.stated_value,
        lead_spellings.lead_value,
        lead_spellings.folded_value,
        false as is_exact
    from stated_with_patterns
    inner join lead_spellings
        on
            stated_with_patterns.utm_label = lead_spellings.utm_label
            and stated_with_patterns.folded_value <> lead_spellings.folded_value
            and lead_spellings.folded_value like stated_with_patterns.pattern escape '~'
    where stated_with_patterns.pattern is not null
),

-- Where a placeholder leaves it open which label of the leads is meant, the row keeps its own.
spelled_like_leads as (
    select
        utm_label,
        stated_value,
        coalesce(max(lead_value) filter (where is_exact), max(lead_value)) as lead_value
    from fits
    group by
        utm_label,
        stated_value
    having
        count(*) = 1
        or count(*) filter (where is_exact) = 1
),

spellings as (
    select
        stated_with_patterns.utm_label,
        stated_with_patterns.stated_value,
        coalesce(
            spelled_like_leads.lead_value,
            min(stated_with_patterns.stated_value) over (
                partition by
                    stated_with_patterns.utm_label,
                    coalesce(
                        stated_with_patterns.folded_value, stated_with_patterns.stated_value
                    )
            )
        ) as spelling
    from stated_with_patterns
    left join spelled_like_leads
        on
            stated_with_patterns.utm_label = spelled_like_leads.utm_label
            and stated_with_patterns.stated_value = spelled_like_leads.stated_value
),

directory as (
    select
        status_code as source_id,
        {{ folded('status_code') }} as folded_id,
        {{ folded('status_name') }} as folded_name
    from statuses
    where directory = 'SOURCE'
),

-- Of codes that differ in case only the one that is written alike, else one of the directory.
source_ids as (
    select
        source_id,
        folded_id as folded_key,
        1 as priority,
        'source_id' as match_kind
    from directory
    union all
    select distinct
        source_id,
        {{ folded('source_id') }} as folded_key,
        2 as priority,
        'source_id' as match_kind
    from counted_leads
    union all
    -- A name that several sources have tells none of them.
    select
        max(source_id) as source_id,
        folded_name as folded_key,
        3 as priority,
        'source_name' as match_kind
    from directory
    group by folded_name
    having count(*) = 1
),

words as (
    select source_code as word from combinations
    union
    select utm_source as word from combinations
),

named_sources as (
    select
        words.word,
        source_ids.source_id,
        source_ids.match_kind
    from words
    inner join source_ids
        on {{ folded('words.word') }} = source_ids.folded_key
    qualify row_number() over (
            partition by words.word
            order by
                source_ids.source_id = words.word desc,
                source_ids.priority asc,
                source_ids.source_id asc
        ) = 1
),

lead_sources as (
    select
        utm_source,
        source_id,
        count(*) as leads_count
    from counted_leads
    group by
        utm_source,
        source_id
),

folded_lead_sources as (
    select
        {{ folded('utm_source') }} as folded_value,
        source_id,
        sum(leads_count) as leads_count
    from lead_sources
    group by
        {{ folded('utm_source') }},
        source_id
),

counted_sources_of_leads as (
    select
        fits.stated_value as utm_source,
        folded_lead_sources.source_id,
        sum(folded_lead_sources.leads_count) as leads_count
    from fits
    inner join folded_lead_sources
        on fits.folded_value = folded_lead_sources.folded_value
    where fits.utm_label = 'utm_source'
    group by
        fits.stated_value,
        folded_lead_sources.source_id
),

-- The source that most leads with this utm_source have, of those that have one.
sources_of_leads as (
    select
        utm_source,
        source_id
    from counted_sources_of_leads
    qualify row_number() over (
            partition by utm_source
            order by
                source_id is null asc,
                leads_count desc,
                source_id asc
        ) = 1
),

folded_combinations as (
    select
        *,
        {%- for label in utm_labels() %}
            coalesce({{ folded(label) }}, '') as folded_{{ label }},
        {%- endfor %}
        coalesce({{ folded('source_code') }}, '') as folded_source_code
    from combinations
),

with_rules as (
    select
        *,
        {{ spend_rule_number() }} as rule_number
    from folded_combinations
),

joined as (
    select
        with_rules.labels_key,
        with_rules.source_code,
        with_rules.utm_source,
        with_rules.utm_medium,
        with_rules.utm_campaign,
        with_rules.utm_content,
        with_rules.utm_term,
        {%- for label in utm_labels() %}
            spelled_{{ label }}.spelling as {{ label }}_spelling,
        {%- endfor %}
        with_rules.rule_number,
        {{ spend_rule_source('with_rules.rule_number') }} as rule_source_id,
        named_by_code.source_id as code_source_id,
        named_by_utm.source_id as utm_source_id,
        named_by_utm.match_kind as utm_match_kind,
        sources_of_leads.utm_source is not null as is_utm_source_of_leads,
        sources_of_leads.source_id as lead_source_id
    from with_rules
    left join named_sources as named_by_code
        on with_rules.source_code = named_by_code.word
    left join named_sources as named_by_utm
        on with_rules.utm_source = named_by_utm.word
    left join sources_of_leads
        on with_rules.utm_source = sources_of_leads.utm_source
    {%- for label in utm_labels() %}
        left join spellings as spelled_{{ label }}
            on
                spelled_{{ label }}.utm_label = '{{ label }}'
                and with_rules.{{ label }} = spelled_{{ label }}.stated_value
    {%- endfor %}
),

final as (
    select
        labels_key,
        source_code,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_content,
        utm_term,
        {%- for label in utm_labels() %}
            {{ label }}_spelling,
        {%- endfor %}
        rule_number,
        coalesce(rule_source_id, code_source_id, utm_source_id, lead_source_id)
            as matched_source_id,
        case
            when rule_number is not null then 'rule'
            when code_source_id is not null then 'source_code'
            when utm_source_id is not null then utm_match_kind
            when lead_source_id is not null then 'lead_utm_source'
            when is_utm_source_of_leads then 'leads_without_source'
            when utm_source is not null then 'unknown_utm_source'
            when source_code is not null then 'unknown_source_code'
            else 'nothing_stated'
        end as match_kind
    from joined
)

select * from final

{# 'a', 'b' from a list of a setting, quotes escaped. #}
{% macro text_list(values) -%}
    {%- for value in values -%}
        {{ quoted(value | string) }}{{ ", " if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{# Entity of the lead or deal that a raw activity is of; null where it is of something else. #}
{% macro activity_entity() -%}
    case owner_type_id when 1 then 'lead' when 2 then 'deal' end
{%- endmacro %}

{#
    State of a lead standing on a stage: success (quality) | failed (junk) | in_work. The setting
    lead_stage_outcomes goes before the semantics.
#}
{% macro lead_state(stage_id, semantics) -%}
    case /* lead_state */
        {%- for stage, outcome in (var('lead_stage_outcomes') or {}).items() %}
        when {{ stage_id }} = {{ text_list([stage]) }}
            then '{{ {"quality": "success", "junk": "failed", "in_work": "in_work"}[outcome] }}'
        {%- endfor %}
        when {{ semantics }} = 'S' then 'success'
        when {{ semantics }} = 'F' then 'failed'
        else 'in_work'
    end
{%- endmacro %}

{#
    State of a deal standing on a stage, by precedence: success (sale: semantics S, or a stage named
    in paid_stages) | failed | in_work.
#}
{% macro deal_state(stage_id, semantics) -%}
    case /* deal_state */
        when {{ semantics }} = 'S' then 'success'
        {%- if var('paid_stages') %}
        when {{ stage_id }} in ({{ text_list(var('paid_stages')) }}) then 'success'
        {%- endif %}
        when {{ semantics }} = 'F' then 'failed'
        else 'in_work'
    end
{%- endmacro %}

{# Whether a pipeline is one of sales; all are where the setting is empty. #}
{% macro is_sales_pipeline(pipeline_id) -%}
    {%- if var('sales_pipelines') -%}
        ({{ pipeline_id }} in ({{ var('sales_pipelines') | join(', ') }}))
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{#
    Whether a record is a legacy import by the setting legacy_rules: all conditions of one rule hold.
    The row has stage_id, originator_id, created_date and is_first_history_final; never null.
#}
{% macro is_legacy(entity) -%}
    {%- set known = ['entity', 'stages', 'originator_ids', 'created_before', 'created_on', 'first_history_final'] -%}
    {%- set rules = [] -%}
    {%- for rule in var('legacy_rules') or [] -%}
        {%- for key in rule if key not in known -%}
            {{ exceptions.raise_compiler_error("legacy_rules: unknown condition '" ~ key ~ "'; known: " ~ known | join(', ')) }}
        {%- endfor -%}
        {%- set conditions = [] -%}
        {%- if rule.get('stages') -%}
            {%- do conditions.append("stage_id in (" ~ text_list(rule['stages']) ~ ")") -%}
        {%- endif -%}
        {%- if rule.get('originator_ids') -%}
            {%- do conditions.append("originator_id in (" ~ text_list(rule['originator_ids']) ~ ")") -%}
        {%- endif -%}
        {%- if rule.get('created_before') -%}
            {%- do conditions.append("created_date < cast(" ~ text_list([rule['created_before']]) ~ " as date)") -%}
        {%- endif -%}
        {%- if rule.get('created_on') -%}
            {%- do conditions.append("cast(created_date as string) in (" ~ text_list(rule['created_on']) ~ ")") -%}
        {%- endif -%}
        {%- if rule.get('first_history_final') -%}
            {%- do conditions.append("is_first_history_final") -%}
        {%- endif -%}
        {%- if not conditions -%}
            {{ exceptions.raise_compiler_error("legacy_rules: a rule without conditions would make every record legacy: " ~ rule) }}
        {%- endif -%}
        {%- if rule.get('entity', 'both') in [entity, 'both'] -%}
            {%- do rules.append("(" ~ conditions | join(" and ") ~ ")") -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if rules -%}
        coalesce({{ rules | join(" or ") }}, false)
    {%- else -%}
        false
    {%- endif -%}
{%- endmacro %}

{#
    Whether a record is left out of sums of base amounts: it has no amount, or one whose value in base
    currency nothing tells. Zero is zero in any currency.
#}
{% macro is_amount_unknown(amount, base_amount) -%}
    ({{ base_amount }} is null and ({{ amount }} is null or {{ amount }} <> 0))
{%- endmacro %}

{# Ages in days at which cohorts of leads are compared. #}
{% macro cohort_ages() %}{{ return([7, 14, 30, 60, 90, 180]) }}{% endmacro %}

{# The highest of these ages that a record of so many days has reached; 0 where it is younger. #}
{% macro reached_age(days) -%}
    case
        {%- for age in cohort_ages() | reverse %}
        when {{ days }} >= {{ age }} then {{ age }}
        {%- endfor %}
        when {{ days }} is not null then 0
    end
{%- endmacro %}

{# The labels of an address by which leads and costs are told apart. #}
{% macro utm_labels() -%}
    {{ return(['utm_source', 'utm_medium', 'utm_campaign', 'utm_content', 'utm_term']) }}
{%- endmacro %}

{# A label as it is compared: decoded, in lower case, single blanks; null where nothing is left. #}
{% macro folded(text) -%}
    (/* folded */ lower({{ one_line(url_decoded(text)) }}))
{%- endmacro %}

{#
    Pattern of `like` with the escape ~ for a folded label. A placeholder of an ad system fits any
    text in its place: {campaign_id} of Yandex Direct, {{campaign_id}} of VK; so does * in a setting.
#}
{% macro like_pattern(label, is_setting=false) -%}
    {%- set any_text = placeholder() ~ ('|[*]' if is_setting else '') -%}
    {%- set escaped -%}
        replace(replace(replace({{ label }}, '~', '~~'), '%', '~%'), '_', '~_')
    {%- endset -%}
    {{ replace_all(escaped, any_text, '%') }}
{%- endmacro %}

{# Regular expression of a placeholder. #}
{% macro placeholder() %}{{ return('[{]+[^{}]+[}]+') }}{% endmacro %}

{#
    Number of the first rule of the setting spend_rules that a row fits, from 1; null for none. The
    row has the labels folded, as folded_…, one that it does not have as an empty text.
#}
{% macro spend_rule_number() -%}
    {%- set rules = var('spend_rules') or [] -%}
    case
    {%- for rule in rules %}
        when
            {%- for label in utm_labels() + ['source_code'] if rule.get(label) is not none %}
            {{ "and " if not loop.first }}folded_{{ label }}
                like {{ like_pattern(folded(text_list([rule[label]])), is_setting=true) }} escape '~'
            {%- endfor %}
            then {{ loop.index }}
    {%- endfor %}
        {{ "when false then 0" if not rules }}
    end
{%- endmacro %}

{# The source that a rule names, by the rule's number. #}
{% macro spend_rule_source(rule_number) -%}
    {%- set rules = var('spend_rules') or [] -%}
    {%- if rules -%}
    case {{ rule_number }}
        {%- for rule in rules %}
        when {{ loop.index }} then {{ text_list([rule['source']]) }}
        {%- endfor %}
    end
    {%- else -%}
    cast(null as string)
    {%- endif -%}
{%- endmacro %}

{# Source code and labels in one text, none of which holds a unit separator. #}
{% macro labels_key() -%}
    {%- for label in ['source_code'] + utm_labels() %}
    {{ "|| chr(31) || " if not loop.first }}coalesce({{ label }}, '')
    {%- endfor %}
{%- endmacro %}

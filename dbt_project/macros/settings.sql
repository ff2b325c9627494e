{#
    Value of a setting as people read it: items with commas, keys with colons, rules with " / "; only
    the conditions that a rule has.
#}
{% macro setting_text(value) -%}
    {%- if value is boolean -%}
        {{ return('true' if value else 'false') }}
    {%- elif value is mapping -%}
        {%- set parts = [] -%}
        {%- for key, one in value.items() if one is not none and one is not sameas false and one != [] -%}
            {%- do parts.append(key ~ ': ' ~ setting_text(one)) -%}
        {%- endfor -%}
        {{ return(parts | join('; ')) }}
    {%- elif value is iterable and value is not string -%}
        {%- set parts = [] -%}
        {%- for one in value -%}
            {%- do parts.append(setting_text(one)) -%}
        {%- endfor -%}
        {{ return(parts | join(' / ' if value and value[0] is mapping else ', ')) }}
    {%- else -%}
        {{ return('' if value is none else value | string) }}
    {%- endif -%}
{%- endmacro %}

{# One value of a setting as a row: the code as the settings have it, and what it is made to mean. #}
{% macro setting_row(setting, number, code, meaning) -%}
    select
        '{{ setting }}' as setting_name,
        {{ number }} as value_number,
        {{ text_or_null(code) }} as code,
        {{ text_or_null(meaning) }} as meaning
{%- endmacro %}

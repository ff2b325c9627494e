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

{#
    SQL text of codes with the names that the directory has for them: 'Продажи (0), Опт (3)'; null
    where there are none. found: SQL condition of a code's rows, with % for the code's literal.
#}
{% macro named_codes(codes, relation, name, found, suffixes={}) -%}
    {%- for code in codes or [] -%}
        {%- set literal = text_list([code]) -%}
        coalesce(
            (select max({{ name }}) from {{ relation }} where {{ found | replace('%', literal) }})
            || ' (' || {{ literal }} || ')',
            {{ literal }}
        )
        {%- if suffixes %} || {{ text_list([': ' ~ suffixes[code]]) }}{% endif -%}
        {{ " || ', ' || " if not loop.last }}
    {%- else -%}
        cast(null as string)
    {%- endfor -%}
{%- endmacro %}

{#
    One row per item of an entity and a column per user field that the settings name, several values
    of a field in one text: what a breakdown groups by.
#}
{% macro user_fields_of(entity, items, values) -%}
    select
        {{ items }}.{{ entity }}_id
        {%- for name in var('user_fields') or [] %},
        {{ ordered_list(
            "case when field_name = '" ~ name ~ "' then field_value end", ', ', 'value_number'
        ) }} as {{ name | lower }}
        {%- endfor %}
    from {{ items }}
    left join {{ values }}
        on {{ items }}.{{ entity }}_id = {{ values }}.{{ entity }}_id
    group by {{ items }}.{{ entity }}_id
{%- endmacro %}

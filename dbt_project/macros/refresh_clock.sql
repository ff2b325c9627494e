{#
    The clock by which spans of refreshes are bounded: as_of, and where the portal's clock was set
    back the highest as_of before it. It never falls, so spans neither overlap nor run backwards;
    a refresh that began earlier than the one before it has an empty one. In a select on the
    completed refreshes, one row each.
#}
{% macro refresh_clock() -%}
    max(as_of) over (order by refresh_no rows between unbounded preceding and current row)
{%- endmacro %}

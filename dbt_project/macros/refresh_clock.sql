{#
    The clock by which spans of refreshes are bounded: as_of, and where the portal's clock was set
    back the highest as_of before it. It never falls, so spans neither overlap nor run backwards;
    a refresh that began earlier than the one before it has an empty one. In a select on the
    completed refreshes, one row each.
#}
{% macro refresh_clock() -%}
    max(as_of) over (order by refresh_no rows between unbounded preceding and current row)
{%- endmacro %}

{#
    Whether the span of a refresh (a row of int_refreshes__bounded) holds a moment. The first span
    has no beginning; the last one has no end: it also has what happened while that refresh ran.
    Two inequalities, not an `or`: with one each record would be compared with each refresh.
#}
{% macro is_in_span_of(refreshes, moment) -%}
    {{ moment }} > coalesce(
        {{ refreshes }}.previous_clock_at,
        cast('0001-01-01 00:00:00+00' as {{ type_instant() }})
    )
    and {{ moment }} <= case
        when {{ refreshes }}.is_last then cast('9999-12-31 00:00:00+00' as {{ type_instant() }})
        else {{ refreshes }}.clock_at
    end
{%- endmacro %}

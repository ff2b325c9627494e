{#
    Everything that DuckDB and Spark write differently. `default__` is DuckDB's form, Spark's are in
    spark.sql; a new engine adds its own `<engine>__` forms.
#}

{# A text in SQL. #}
{% macro quoted(text) %}{{ return(adapter.dispatch('quoted')(text)) }}{% endmacro %}
{% macro default__quoted(text) -%} '{{ text | replace("'", "''") }}' {%- endmacro %}

{# Type of an instant. #}
{% macro type_instant() %}{{ return(var('timestamp_type')) }}{% endmacro %}

{# Day of an instant in the portal's timezone, whatever the session's timezone is. #}
{% macro portal_date(instant) %}{{ return(adapter.dispatch('portal_date')(instant)) }}{% endmacro %}
{% macro default__portal_date(instant) -%}
    cast(timezone('{{ var("portal_timezone") }}', {{ instant }}) as date)
{%- endmacro %}

{# Instant at which a day begins in the portal's timezone. #}
{% macro start_of_portal_day(day) %}{{ return(adapter.dispatch('start_of_portal_day')(day)) }}{% endmacro %}
{% macro default__start_of_portal_day(day) -%}
    timezone('{{ var("portal_timezone") }}', cast({{ day }} as timestamp))
{%- endmacro %}

{# Seconds from one instant to another, with fractions; negative where the second is earlier. #}
{% macro seconds_between(start, finish) %}{{ return(adapter.dispatch('seconds_between')(start, finish)) }}{% endmacro %}
{% macro default__seconds_between(start, finish) -%}
    (/* seconds_between */ cast(epoch_us({{ finish }}) - epoch_us({{ start }}) as double) / 1000000)
{%- endmacro %}

{# Days of 86,400 seconds from one instant to another, not rounded. #}
{% macro days_between(start, finish) -%}
    ({{ seconds_between(start, finish) }} / 86400)
{%- endmacro %}

{# The same up to as_of, never below 0; null where the start is unknown, which greatest() leaves out. #}
{% macro days_until(start, as_of) -%}
    case when {{ start }} is not null then greatest({{ days_between(start, as_of) }}, 0) end
{%- endmacro %}

{# One row per element of a list; nothing for an empty one. Only in a select list. #}
{% macro explode(list) %}{{ return(adapter.dispatch('explode')(list)) }}{% endmacro %}
{% macro default__explode(list) -%} unnest({{ list }}) {%- endmacro %}

{# List of bigints from a JSON array in text. #}
{% macro json_int_list(text) %}{{ return(adapter.dispatch('json_int_list')(text)) }}{% endmacro %}
{% macro default__json_int_list(text) -%} from_json({{ text }}, '["BIGINT"]') {%- endmacro %}

{# First number of a JSON array in text; null where it is empty. #}
{% macro json_first_int(text) %}{{ return(adapter.dispatch('json_first_int')(text)) }}{% endmacro %}
{% macro default__json_first_int(text) -%} cast(json_extract_string({{ text }}, '$[0]') as bigint) {%- endmacro %}

{# List of (ID, VALUE) structs, both text, from the JSON array of a list field's items. #}
{% macro json_items_list(text) %}{{ return(adapter.dispatch('json_items_list')(text)) }}{% endmacro %}
{% macro default__json_items_list(text) -%}
    from_json({{ text }}, '[{"ID": "VARCHAR", "VALUE": "VARCHAR"}]')
{%- endmacro %}

{# List of texts: the values under a key of a JSON object in text, a single value being a list of one. #}
{% macro json_text_list(text, key) %}{{ return(adapter.dispatch('json_text_list')(text, key)) }}{% endmacro %}
{% macro default__json_text_list(text, key) -%}
    case json_type({{ text }}, '$."' || {{ key }} || '"')
        when 'ARRAY'
            then from_json(json_extract({{ text }}, '$."' || {{ key }} || '"'), '["VARCHAR"]')
        else [json_extract_string({{ text }}, '$."' || {{ key }} || '"')]
    end
{%- endmacro %}

{# One row per day from the first to the last, both included. Only in a select list. #}
{% macro day_series(first, last) %}{{ return(adapter.dispatch('day_series')(first, last)) }}{% endmacro %}
{% macro default__day_series(first, last) -%}
    cast(unnest(generate_series({{ first }}, {{ last }}, interval 1 day)) as date)
{%- endmacro %}

{# Whole days from one day to another. #}
{% macro days_from_to(first, last) %}{{ return(adapter.dispatch('days_from_to')(first, last)) }}{% endmacro %}
{% macro default__days_from_to(first, last) -%} date_diff('day', {{ first }}, {{ last }}) {%- endmacro %}

{# Day of the week, 1 Monday to 7 Sunday. #}
{% macro iso_weekday(day) %}{{ return(adapter.dispatch('iso_weekday')(day)) }}{% endmacro %}
{% macro default__iso_weekday(day) -%} cast(isodow({{ day }}) as integer) {%- endmacro %}

{# Whether what an amount makes in the base currency is known and fits; see to_base_amount. #}
{% macro has_base_amount(amount, rate, units, scale) -%}
    {{ rate }} > 0
            and {{ units }} > 0
            and abs({{ amount }}) < 999999999999999999.99
            and {{ rate }} < 1e17
            and cast(abs({{ amount }}) as double) * cast({{ rate }} as double) < 1e{{ 27 - scale }}
{%- endmacro %}

{#
    amount × rate / units, rounded half away from zero to 2 decimals, exactly: DuckDB divides
    decimals as doubles, so the division is one of whole numbers. amount has 2 decimals or as many as
    `scale` says, at most 8, rate at most 10, units at most 4. Null where the rate is missing or not
    positive, and where the amount or what it makes does not fit decimal(20, 2): the largest such
    amount stands for all above it. The doubles keep whole numbers within 38 digits; what does not
    fit, try_cast refuses.
#}
{% macro to_base_amount(amount, rate, units, scale=2) %}{{ return(adapter.dispatch('to_base_amount')(amount, rate, units, scale)) }}{% endmacro %}
{% macro default__to_base_amount(amount, rate, units, scale) -%}
    {%- set parts = '1' ~ '0' * scale -%}
    {%- set divisor = '1' ~ '0' * (scale + 4) -%}
    case /* to_base_amount */
        when
            {{ has_base_amount(amount, rate, units, scale) }}
            then cast(
                try_cast(
                    (
                        2 * cast(abs({{ amount }}) * {{ parts }} as hugeint)
                        * cast({{ rate }} * 10000000000 as hugeint)
                        + {{ divisor }} * cast({{ units }} * 10000 as hugeint)
                    ) // ({{ divisor | replace('1', '2') }} * cast({{ units }} * 10000 as hugeint))
                    * sign({{ amount }})
                    as decimal(20, 0)
                ) * cast(0.01 as decimal(3, 2)) as decimal(20, 2)
            )
    end
{%- endmacro %}

{# Instant as people read it, in the portal's timezone: 31.03.2026 20:00. #}
{% macro portal_time_text(instant) %}{{ return(adapter.dispatch('portal_time_text')(instant)) }}{% endmacro %}
{% macro default__portal_time_text(instant) -%}
    strftime(timezone('{{ var("portal_timezone") }}', {{ instant }}), '%d.%m.%Y %H:%M')
{%- endmacro %}

{# Text with each match of a regular expression replaced by another text. #}
{% macro replace_all(text, pattern, other) %}{{ return(adapter.dispatch('replace_all')(text, pattern, other)) }}{% endmacro %}
{% macro default__replace_all(text, pattern, other) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ other }}', 'g')
{%- endmacro %}

{#
    Text without the white space (of all Unicode, control characters with it) and the characters
    without width around it; null where nothing is left.
#}
{% macro trimmed(text) -%}
    {%- set unseen = '[\\p{Z}\\p{Cc}\\x{AD}\\x{180E}\\x{200B}-\\x{200F}\\x{202A}-\\x{202E}'
        ~ '\\x{2060}-\\x{2064}\\x{2066}-\\x{206F}\\x{2800}\\x{3164}\\x{FEFF}]' -%}
    nullif({{ replace_all(text, '^' ~ unseen ~ '+|' ~ unseen ~ '+$', '') }}, '')
{%- endmacro %}

{#
    Text that people read, as it looks: trimmed, each white space within (tabs and line ends too) one
    blank, without breaks of no width. Joiners of letters and of signs stay.
#}
{% macro one_line(text) -%}
    {%- set visible = replace_all(text, '[\\x{AD}\\x{200B}\\x{2060}\\x{FEFF}]', '') -%}
    {{ trimmed(replace_all(visible, '[\\p{Z}\\p{Cc}]+', ' ')) }}
{%- endmacro %}

{# Texts of a group in one, in order, with a separator between; null where there are none. #}
{% macro ordered_list(text, separator, order) %}{{ return(adapter.dispatch('ordered_list')(text, separator, order)) }}{% endmacro %}
{% macro default__ordered_list(text, separator, order) -%}
    {{ dbt.listagg(text, "'" ~ separator ~ "'", 'order by ' ~ order) }}
{%- endmacro %}

{# Number rounded to a bigint, half to even. #}
{% macro whole_number(number) %}{{ return(adapter.dispatch('whole_number')(number)) }}{% endmacro %}
{% macro default__whole_number(number) -%} cast({{ number }} as bigint) {%- endmacro %}

{#
    Whole share of a whole number that each of so many parts gets, as bigint: what is left over falls
    on the first parts, one each. number is not negative, parts are counted from 0.
#}
{% macro whole_share(number, parts, part_number) -%}
    cast(
        ({{ number }} - {{ number }} % {{ parts }}) / {{ parts }}
        + case when {{ part_number }} < {{ number }} % {{ parts }} then 1 else 0 end
        as bigint
    )
{%- endmacro %}

{# Percent-encoded text decoded, + a blank; as it is where the bytes are no UTF-8. #}
{% macro url_decoded(text) %}{{ return(adapter.dispatch('url_decoded')(text)) }}{% endmacro %}
{% macro default__url_decoded(text) -%}
    coalesce(try(url_decode(replace({{ text }}, '+', ' '))), {{ text }})
{%- endmacro %}

{#
    Spark's forms of what dialect.sql dispatches. They rely on the session that profiles.yml sets, whose
    timezone is UTC.
#}

{% macro spark__quoted(text) -%} '{{ text | replace("\\", "\\\\") | replace("'", "''") }}' {%- endmacro %}

{# What dbt-spark has for texts of fixtures leaves backslashes, which begin escapes. #}
{% macro spark__escape_single_quotes(expression) -%}
{{ expression | replace("\\", "\\\\") | replace("'", "\\'") }}
{%- endmacro %}

{% macro spark__portal_date(instant) -%}
    cast(from_utc_timestamp({{ instant }}, '{{ var("portal_timezone") }}') as date)
{%- endmacro %}

{% macro spark__start_of_portal_day(day) -%}
    to_utc_timestamp(cast({{ day }} as timestamp), '{{ var("portal_timezone") }}')
{%- endmacro %}

{% macro spark__seconds_between(start, finish) -%}
    (cast(unix_micros({{ finish }}) - unix_micros({{ start }}) as double) / 1000000)
{%- endmacro %}

{% macro spark__explode(list) -%} explode({{ list }}) {%- endmacro %}

{% macro spark__json_int_list(text) -%} from_json({{ text }}, 'array<bigint>') {%- endmacro %}

{% macro spark__json_first_int(text) -%} cast(get_json_object({{ text }}, '$[0]') as bigint) {%- endmacro %}

{% macro spark__json_items_list(text) -%}
    from_json({{ text }}, 'array<struct<ID: string, VALUE: string>>')
{%- endmacro %}

{# Only a variant tells a list from a text that reads like one. #}
{% macro spark__json_text_list(text, key) -%}
    {%- set value -%} get_json_object({{ text }}, '$[''' || {{ key }} || ''']') {%- endset -%}
    case
        when schema_of_variant(cast(try_parse_json({{ text }}) as map<string, variant>)[{{ key }}]) like 'ARRAY<%'
            then from_json({{ value }}, 'array<string>')
        else array({{ value }})
    end
{%- endmacro %}

{% macro spark__day_series(first, last) -%}
    explode(case when {{ first }} <= {{ last }} then sequence({{ first }}, {{ last }}, interval 1 day) end)
{%- endmacro %}

{% macro spark__days_from_to(first, last) -%} cast(datediff({{ last }}, {{ first }}) as bigint) {%- endmacro %}

{% macro spark__iso_weekday(day) -%} (weekday({{ day }}) + 1) {%- endmacro %}

{# `div` makes a bigint, which is too short: the remainder is taken off first, and then divided. #}
{% macro spark__to_base_amount(amount, rate, units, scale) -%}
    {%- set parts = '1' ~ '0' * scale -%}
    {%- set divisor = '1' ~ '0' * (scale + 4) -%}
    {%- set whole_units -%} cast({{ units }} * 10000 as decimal(38, 0)) {%- endset -%}
    {%- set numerator -%}
        (
            2 * cast(abs({{ amount }}) * {{ parts }} as decimal(38, 0))
            * cast({{ rate }} * 10000000000 as decimal(38, 0))
            + {{ divisor }} * {{ whole_units }}
        )
    {%- endset -%}
    {%- set denominator -%} ({{ divisor | replace('1', '2') }} * {{ whole_units }}) {%- endset -%}
    case
        when
            {{ has_base_amount(amount, rate, units, scale) }}
            then cast(
                cast(
                    ({{ numerator }} - {{ numerator }} % {{ denominator }}) / {{ denominator }}
                    * case when {{ amount }} < 0 then -1 else 1 end
                    as decimal(20, 0)
                ) * cast(0.01 as decimal(3, 2)) as decimal(20, 2)
            )
    end
{%- endmacro %}

{% macro spark__portal_time_text(instant) -%}
    date_format(from_utc_timestamp({{ instant }}, '{{ var("portal_timezone") }}'), 'dd.MM.yyyy HH:mm')
{%- endmacro %}

{% macro spark__replace_all(text, pattern, other) -%}
    regexp_replace({{ text }}, {{ quoted(pattern) }}, '{{ other }}')
{%- endmacro %}

{% macro spark__ordered_list(text, separator, order) -%}
    listagg({{ text }}, '{{ separator }}') within group (order by {{ order }})
{%- endmacro %}

{% macro spark__whole_number(number) -%} cast(rint({{ number }}) as bigint) {%- endmacro %}

{# A % that begins no code stays; a code that is no UTF-8 shows as U+FFFD. #}
{% macro spark__url_decoded(text) -%}
    {%- set decoded -%}
        try_url_decode(regexp_replace(replace({{ text }}, '+', ' '), '%(?![0-9A-Fa-f]{2})', '%25'))
    {%- endset -%}
    case when {{ decoded }} not like '%�%' then {{ decoded }} else {{ text }} end
{%- endmacro %}

{# Schemas lie in the folder SPARK_FOLDER, where `pipelines/spark.py` finds the tables. #}
{% macro spark__create_schema(relation) -%}
    {%- call statement('create_schema') -%}
        create schema if not exists {{ relation.schema }}
        location '{{ env_var("SPARK_FOLDER") }}/{{ relation.schema }}'
    {%- endcall -%}
{%- endmacro %}

{# Files of a good size, whatever the number of tasks: a union of many small selects has as many. #}
{% macro spark__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    create table {{ relation }} using parquet
    {%- if config.get('contract').enforced -%}
        {{ get_assert_columns_equivalent(compiled_code) }}
        {%- set compiled_code = get_select_subquery(compiled_code) -%}
    {%- endif %}
    as select /*+ rebalance */ * from ({{ compiled_code }})
{%- endmacro %}

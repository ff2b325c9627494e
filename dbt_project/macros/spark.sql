{#
    What Spark needs beside its dialect: schemas that lie in the folder SPARK_FOLDER, the raw log, which
    is Parquet there, as tables, and how tables are written.
#}
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

{# Begins a run: nothing on DuckDB, which holds the raw log itself. #}
{% macro find_raw_log() %}{{ return(adapter.dispatch('find_raw_log')()) }}{% endmacro %}
{% macro default__find_raw_log() %}{% endmacro %}
{% macro spark__find_raw_log() -%}
    {%- for source in (graph.sources.values() if execute else []) if source.schema in ['raw', 'statements'] -%}
        {%- set table = source.schema ~ '.' ~ source.identifier -%}
        {%- set folder = env_var('SPARK_FOLDER') ~ '/' ~ source.schema ~ '/' ~ source.identifier -%}
        {%- do run_query('create schema if not exists ' ~ source.schema) -%}
        {%- do run_query('drop table if exists ' ~ table) -%}
        {%- do run_query("create table " ~ table ~ " using parquet location '" ~ folder ~ "'") -%}
    {%- endfor -%}
{%- endmacro %}

{# Tables that hold more or fewer rows than the portal counts. One row per table. #}
{% macro issue_rows_missing() -%}
    select
        'rows_missing' as kind,
        entity,
        entity as record_key,
        abs(rows_missing) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        'На портале ' || cast(rows_living + rows_missing as string) || ', загружено '
        || cast(rows_living as string) as explanation_ru,
        'The portal counts ' || cast(rows_living + rows_missing as string) || ', loaded '
        || cast(rows_living as string) as explanation_en
    from load_completeness
    where rows_missing <> 0
{%- endmacro %}

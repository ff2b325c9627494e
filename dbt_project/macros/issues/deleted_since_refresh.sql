{# What the last refresh found deleted. One row per table. #}
{% macro issue_deleted_since_refresh() -%}
    select
        'deleted_since_refresh' as kind,
        entity,
        entity as record_key,
        rows_deleted as records_count,
        deleted_base_amount as base_amount,
        'Удалено на портале с прошлого обновления: ' || cast(rows_deleted as string)
        || coalesce(', сумма: ' || cast(deleted_base_amount as string), '') as explanation_ru,
        'Deleted on the portal since the last refresh: ' || cast(rows_deleted as string)
        || coalesce(', amount: ' || cast(deleted_base_amount as string), '') as explanation_en
    from load_completeness
    where
        entity in ('leads', 'deals', 'contacts', 'companies')
        and rows_deleted > 0
{%- endmacro %}

{# Records in work with a dismissed user. #}
{% macro issue_held_by_dismissed() -%}
    select
        'held_by_dismissed' as kind,
        items.entity,
        items.item_id,
        'В работе у уволенного сотрудника: ' || items.manager_name as explanation_ru,
        'In work with a dismissed user: ' || items.manager_name as explanation_en
    from items
    inner join managers
        on items.manager_id = managers.manager_id
    where
        items.is_counted
        and items.is_in_work
        and not managers.is_active
        and not managers.is_unknown
{%- endmacro %}

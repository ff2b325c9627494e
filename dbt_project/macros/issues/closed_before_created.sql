{# Records closed before they were created. #}
{% macro issue_closed_before_created() -%}
    select
        'closed_before_created' as kind,
        entity,
        item_id,
        'Закрыто ' || {{ portal_time_text('closed_at') }} || ', а создано '
        || {{ portal_time_text('created_at') }} as explanation_ru,
        'Closed ' || {{ portal_time_text('closed_at') }} || ', but created '
        || {{ portal_time_text('created_at') }} as explanation_en
    from items
    where
        is_counted
        and closing_days < 0
{%- endmacro %}

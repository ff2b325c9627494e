{# Records on a stage whose meaning neither they nor the reference data tell. #}
{% macro issue_unknown_semantics() -%}
    select
        'unknown_semantics' as kind,
        entity,
        item_id,
        'Этап ' || coalesce(stage_id, 'не указан')
        || ': его значение неизвестно, считается в работе' as explanation_ru,
        'Stage ' || coalesce(stage_id, 'missing') || ': its meaning is unknown, taken as in work'
            as explanation_en
    from items
    where
        is_counted
        and semantics_source = 'default'
{%- endmacro %}

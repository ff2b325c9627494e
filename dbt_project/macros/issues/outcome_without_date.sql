{# Leads and failed deals whose outcome nothing dates. #}
{% macro issue_outcome_without_date() -%}
    select
        'outcome_without_date' as kind,
        items.entity,
        items.item_id,
        'Неизвестно, с какого дня запись на этапе «' || items.stage_name || '»' as explanation_ru,
        'Nothing says since when it stands on stage "' || items.stage_name || '"'
            as explanation_en
    from items
    left join moved_meanwhile
        on
            items.entity = moved_meanwhile.entity
            and items.item_id = moved_meanwhile.item_id
    where
        items.is_counted
        and items.state in ('quality', 'junk', 'failed')
        and items.closed_at is null
        and moved_meanwhile.item_id is null
{%- endmacro %}

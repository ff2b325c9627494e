{# Records whose history begins with an import, for sure (imported_history) or by their dates
    (probably_imported). #}
{% macro issue_imported_history() -%}
    select
        case
            when outcomes.import_evidence = 'close_date' then 'probably_imported'
            else 'imported_history'
        end as kind,
        items.entity,
        items.item_id,
        'История начинается ' || {{ portal_time_text('outcomes.first_history_at') }}
        || case
            when outcomes.import_evidence = 'close_date'
                then ', а закрыто раньше, чем создано: вероятно, импорт; дата итога — '
                    || coalesce({{ portal_time_text('items.closed_at') }}, 'неизвестна')
            when items.closed_at is null
                then ' с импорта, и ничто не говорит, когда был итог'
            when outcomes.import_evidence = 'moved_time'
                then ' с импорта; дата итога — перемещение '
                    || {{ portal_time_text('items.closed_at') }}
            when outcomes.import_evidence = 'earlier_moved_time'
                then ' с импорта; дата итога — перемещение '
                    || {{ portal_time_text('items.closed_at') }}
                    || ', каким его видело прежнее обновление'
            else ' с импорта; дата итога — дата закрытия '
                || {{ portal_time_text('items.closed_at') }}
        end as explanation_ru,
        'The history begins ' || {{ portal_time_text('outcomes.first_history_at') }}
        || case
            when outcomes.import_evidence = 'close_date'
                then ' and it was closed before it was created: probably imported; dated '
                    || coalesce({{ portal_time_text('items.closed_at') }}, 'unknown')
            when items.closed_at is null
                then ' with an import, and nothing says when it came to its outcome'
            when outcomes.import_evidence = 'moved_time'
                then ' with an import; dated by its move of '
                    || {{ portal_time_text('items.closed_at') }}
            when outcomes.import_evidence = 'earlier_moved_time'
                then ' with an import; dated by its move of '
                    || {{ portal_time_text('items.closed_at') }}
                    || ', as an earlier refresh saw it'
            else ' with an import; dated by its close date '
                || {{ portal_time_text('items.closed_at') }}
        end as explanation_en
    from items
    inner join outcomes
        on
            items.entity = outcomes.entity
            and items.item_id = outcomes.item_id
    where
        items.is_counted
        and outcomes.import_evidence is not null
        and outcomes.first_history_at is not null
{%- endmacro %}

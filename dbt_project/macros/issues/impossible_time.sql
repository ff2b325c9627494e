{# Records with times that cannot be: before 2000, or in the future. #}
{% macro issue_impossible_time() -%}
    -- The field named is the first of them.
    with impossible_times_summarized as (
        select
            entity,
            item_id,
            count(*) as times_count,
            min_by(
                case
                    when table_name = 'activities' then 'дело'
                    when table_name in ('lead_stage_history', 'deal_stage_history')
                        then 'история этапов'
                    when field_name = 'created_time' then 'создание'
                    when field_name = 'updated_time' then 'изменение'
                    when field_name = 'moved_time' then 'перемещение'
                    when field_name = 'date_closed' then 'закрытие'
                    else 'последняя активность'
                end || ' ' || {{ portal_time_text('happened_at') }},
                table_name || field_name || cast(record_id as string)
            ) as example_ru,
            min_by(
                case
                    when table_name = 'activities' then 'activity'
                    when table_name in ('lead_stage_history', 'deal_stage_history') then 'stage history'
                    when field_name = 'created_time' then 'created'
                    when field_name = 'updated_time' then 'changed'
                    when field_name = 'moved_time' then 'moved'
                    when field_name = 'date_closed' then 'closed'
                    else 'last activity'
                end || ' ' || {{ portal_time_text('happened_at') }},
                table_name || field_name || cast(record_id as string)
            ) as example_en
        from impossible_times
        group by
            entity,
            item_id
    )

    select
        'impossible_time' as kind,
        entity,
        item_id,
        'Невозможных времён: ' || cast(times_count as string) || '; ' || example_ru
            as explanation_ru,
        'Times that cannot be: ' || cast(times_count as string) || '; ' || example_en
            as explanation_en
    from impossible_times_summarized
{%- endmacro %}

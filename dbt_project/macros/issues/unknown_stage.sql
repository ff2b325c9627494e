{# Records on no stage, or on one that the reference data no longer has. #}
{% macro issue_unknown_stage() -%}
    select
        'unknown_stage' as kind,
        items.entity,
        items.item_id,
        case
            when items.stage_id is null then 'Этап не указан'
            else 'Этапа ' || items.stage_id || ' нет в справочнике'
        end as explanation_ru,
        case
            when items.stage_id is null then 'There is no stage'
            else 'Stage ' || items.stage_id || ' is not in the directory'
        end as explanation_en
    from items
    left join stages
        on
            items.entity = stages.entity
            and items.stage_id = stages.stage_id
    where
        items.is_counted
        and coalesce(stages.is_deleted, true)
{%- endmacro %}

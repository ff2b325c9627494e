{# Deleted stages that records stood on. One row per stage. #}
{% macro issue_unknown_stage_in_history() -%}
    select
        'unknown_stage_in_history' as kind,
        visits.entity,
        visits.stage_id as record_key,
        count(distinct visits.item_id) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        'Этапа ' || visits.stage_id || ' нет в справочнике; побывало на нём: '
        || cast(count(distinct visits.item_id) as string) as explanation_ru,
        'Stage ' || visits.stage_id || ' is not in the directory; stood on it: '
        || cast(count(distinct visits.item_id) as string) as explanation_en
    from visits
    inner join stages
        on
            visits.entity = stages.entity
            and visits.stage_id = stages.stage_id
            and stages.is_deleted
    where visits.is_counted
    group by
        visits.entity,
        visits.stage_id
{%- endmacro %}

{# Records with visits to stages of negative length. #}
{% macro issue_negative_stage_days() -%}
    with negative_visits as (
        select
            entity,
            item_id,
            count(*) as visits_count
        from visits
        where
            is_counted
            and days < 0
        group by
            entity,
            item_id
    )

    select
        'negative_stage_days' as kind,
        entity,
        item_id,
        'Пребываний на этапах с отрицательной длительностью: ' || cast(visits_count as string)
            as explanation_ru,
        'Stays on stages of negative length: ' || cast(visits_count as string) as explanation_en
    from negative_visits
{%- endmacro %}

{# Days on which so many records were created that it was an import. One row per day. #}
{% macro issue_import_day() -%}
    {#- A day is an import where it has at least this many records, and more than this many times
        the median of the days that have any: busy days do not, and small portals are left alone. #}
    {%- set import_records = 20 %}
    {%- set import_times_median = 10 %}
    -- Legacy records included: the day explains them.
    with days as (
        select
            entity,
            created_date,
            count(*) as records_count,
            sum(base_amount) as base_amount
        from items
        where created_date is not null
        group by
            entity,
            created_date
    ),

    medians as (
        select
            entity,
            median(records_count) as records_count
        from days
        group by entity
    )

    select
        'import_day' as kind,
        days.entity,
        cast(days.created_date as string) as record_key,
        days.records_count,
        days.base_amount,
        'За день ' || cast(days.created_date as string) || ' создано '
        || cast(days.records_count as string) || ', обычно в день '
        || cast({{ whole_number('medians.records_count') }} as string) as explanation_ru,
        'Created on ' || cast(days.created_date as string) || ': '
        || cast(days.records_count as string) || ', usually in a day '
        || cast({{ whole_number('medians.records_count') }} as string) as explanation_en
    from days
    inner join medians
        on days.entity = medians.entity
    where
        days.records_count >= {{ import_records }}
        and days.records_count > {{ import_times_median }} * medians.records_count
{%- endmacro %}

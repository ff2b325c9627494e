{# Times written in another offset than that of the setting portal_timezone. One row. #}
{% macro issue_offset_differs() -%}
    select
        'offset_differs' as kind,
        'refreshes' as entity,
        'utc_offset' as record_key,
        offset_differences_count as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        'На портале ' || offset_difference_written || ', в отчётах ('
        || '{{ var("portal_timezone") }}) это ' || {{ portal_time_text('offset_difference_at') }}
        || '; расхождения с ' || {{ portal_time_text('first_offset_difference_at') }}
            as explanation_ru,
        'The portal writes ' || offset_difference_written || ', which the reports ('
        || '{{ var("portal_timezone") }}) show as '
        || {{ portal_time_text('offset_difference_at') }}
        || '; it differs since ' || {{ portal_time_text('first_offset_difference_at') }}
            as explanation_en
    from refreshes
    where
        is_last
        and offset_differences_count > 0
{%- endmacro %}

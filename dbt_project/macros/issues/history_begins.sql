{# Records older than the stage history. One row per entity. #}
{% macro issue_history_begins(first_history_seconds) -%}
    with history_starts as (
        select
            'lead' as entity,
            min(created_at) as first_at
        from stage_history
        where entity = 'lead'
        union all
        select
            'deal' as entity,
            min(created_at) as first_at
        from stage_history
        where entity = 'deal'
    )

    select
        'history_begins' as kind,
        items.entity,
        items.entity as record_key,
        count(*) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        case
            when history_starts.first_at is null then 'Истории этапов нет; записей: '
            else
                'История этапов начинается ' || {{ portal_time_text('history_starts.first_at') }}
                || '; записей старше неё: '
        end || cast(count(*) as string) as explanation_ru,
        case
            when history_starts.first_at is null then 'There is no stage history; records: '
            else
                'Stage history begins ' || {{ portal_time_text('history_starts.first_at') }}
                || '; records older than it: '
        end || cast(count(*) as string) as explanation_en
    from items
    inner join history_starts
        on items.entity = history_starts.entity
    where
        history_starts.first_at is null
        or {{ seconds_between('items.created_at', 'history_starts.first_at') }}
        > {{ first_history_seconds }}
    group by
        items.entity,
        history_starts.first_at
{%- endmacro %}

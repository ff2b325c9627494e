{#
    The version rule of the raw layer, in one place. Raw tables are append-only logs: per key the
    version of the highest completed refresh is current, unless it is a tombstone. After a crash two
    identical versions of one refresh may exist: the later load wins.
    created: column with the creation time; rows created after the last completed refresh began wait
    for the next one, unless the time cannot be. The rows then have as_of, for `possible_time`.
#}
{% macro current_versions(table, key, created=none) -%}
    select latest.*{{ ", last_completed.as_of" if created }}
    from (
        select *
        from {{ source('raw', table) }}
        where refresh_no in (
            select refresh_no from {{ source('raw', 'refreshes') }} where completed
        )
        qualify row_number() over (
            partition by {{ key }}
            order by refresh_no desc nulls last, _dlt_load_id desc nulls last
        ) = 1
    ) as latest
    {%- if created %}
    cross join (
        select max_by(as_of, refresh_no) as as_of
        from {{ source('raw', 'refreshes') }}
        where completed
    ) as last_completed
    {%- endif %}
    where not coalesce(latest.is_deleted, false)
    {%- if created %}
        and not {{ waits_for_the_next_refresh('latest.' ~ created, 'last_completed.as_of') }}
    {%- endif %}
{%- endmacro %}

{# Hours after as_of from which a time is no move made while the refresh ran: it cannot be. #}
{% macro hours_ahead() %}{{ return(24) }}{% endmacro %}

{# Whether a record was created while the refresh ran; never null. #}
{% macro waits_for_the_next_refresh(created, as_of) -%}
    coalesce(
        {{ created }} > {{ as_of }}
        and {{ created }} <= {{ as_of }} + interval {{ hours_ahead() }} hour,
        false
    )
{%- endmacro %}

{#
    A time that the portal sets itself, null where it cannot be: before 2000 (years typed wrong, 1970
    of a clock that was reset) or too far after as_of. Importing sets these times freely.
#}
{% macro possible_time(instant, as_of='as_of') -%}
    case
        when
            {{ instant }} >= {{ start_of_portal_day("'2000-01-01'") }}
            and {{ instant }} <= {{ as_of }} + interval {{ hours_ahead() }} hour
            then {{ instant }}
    end
{%- endmacro %}

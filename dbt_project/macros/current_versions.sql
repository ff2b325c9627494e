{#
    The version rule of the raw layer, in one place. Raw tables are append-only logs: per key the
    version of the highest completed refresh is current, unless it is a tombstone. After a crash two
    identical versions of one refresh may exist: the later load wins.
    created: column with the creation time; rows created after the last completed refresh began wait
    for the next one.
#}
{% macro current_versions(table, key, created=none) -%}
    select *
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
    where not coalesce(is_deleted, false)
    {%- if created %}
        and (
            {{ created }} is null
            or {{ created }} <= (
                select max_by(as_of, refresh_no)
                from {{ source('raw', 'refreshes') }}
                where completed
            )
        )
    {%- endif %}
{%- endmacro %}

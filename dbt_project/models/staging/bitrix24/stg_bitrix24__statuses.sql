-- Reference data: lead and deal stages, sources and others.
-- Grain: one row per entry.
with source as (
    {{ current_versions('statuses', key='id') }}
),

renamed as (
    select
        id as status_row_id,
        entity_id as directory,
        {{ trimmed('status_id') }} as status_code,
        {{ one_line('name') }} as status_name,
        sort as sort_order,
        {{ trimmed('semantics') }} as semantics,
        case
            when entity_id = 'DEAL_STAGE' or entity_id like 'DEAL_STAGE~_%' escape '~'
                then coalesce(
                        category_id,
                        cast(nullif(split_part(entity_id, '_', 3), '') as bigint),
                        0
                    )
        end as pipeline_id,
        {{ trimmed('color') }} as color
    from source
)

select * from renamed

-- Sources of leads and deals: the directory, and every code that items still name.
-- Grain: one row per source.
with statuses as (
    select * from {{ ref('stg_bitrix24__statuses') }}
),

leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

directory as (
    select
        status_code as source_id,
        coalesce(status_name, status_code) as source_name,
        sort_order
    from statuses
    where directory = 'SOURCE'
),

seen as (
    select source_id from directory
    union
    select source_id from leads
    where source_id is not null
    union
    select source_id from deals
    where source_id is not null
),

final as (
    select
        seen.source_id,
        coalesce(
            directory.source_name,
            {{ label('deleted_source', with='seen.source_id') }}
        ) as source_name,
        directory.sort_order,
        directory.source_id is null as is_deleted
    from seen
    left join directory
        on seen.source_id = directory.source_id
)

select * from final

-- Stages of leads and deals: the reference data, and every code that items or their history name.
-- Grain: one row per entity and stage.
with statuses as (
    select * from {{ ref('stg_bitrix24__statuses') }}
),

leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

lead_stage_history as (
    select * from {{ ref('stg_bitrix24__lead_stage_history') }}
),

deal_stage_history as (
    select * from {{ ref('stg_bitrix24__deal_stage_history') }}
),

directory as (
    select
        case when directory = 'STATUS' then 'lead' else 'deal' end as entity,
        status_code as stage_id,
        coalesce(status_name, status_code) as stage_name,
        pipeline_id,
        sort_order,
        coalesce(semantics, 'P') as semantics,
        color,
        row_number() over (
            partition by directory
            order by sort_order nulls last, status_row_id
        ) = 1 as is_first
    from statuses
    where directory = 'STATUS' or pipeline_id is not null
),

-- Each pipeline may have its "New"; within one, and among leads, no two stages are called alike.
compared as (
    select
        *,
        {{
            needs_id(
                'stage_name',
                ['no_stage', 'deleted_stage', 'created_failed'],
                within='pipeline_id'
            )
        }} as is_name_with_id
    from directory
),

seen as (
    select
        'lead' as entity,
        stage_id
    from leads
    union
    select
        'lead' as entity,
        stage_id
    from lead_stage_history
    union
    select
        'deal' as entity,
        stage_id
    from deals
    union
    select
        'deal' as entity,
        stage_id
    from deal_stage_history
),

-- A code of pipeline n begins with "Cn:", one of pipeline 0 has no prefix.
deleted as (
    select
        seen.entity,
        seen.stage_id,
        case
            when seen.entity = 'deal' and seen.stage_id like 'C%:%'
                then try_cast(substr(split_part(seen.stage_id, ':', 1), 2) as bigint)
            when seen.entity = 'deal' then 0
        end as pipeline_id
    from seen
    left join directory
        on
            seen.entity = directory.entity
            and seen.stage_id = directory.stage_id
    where
        seen.stage_id is not null
        and directory.stage_id is null
),

unioned as (
    select
        entity,
        stage_id,
        {{ name_with_id('stage_name', 'stage_id', 'is_name_with_id') }} as stage_name,
        pipeline_id,
        sort_order,
        semantics,
        color,
        is_first,
        false as is_deleted,
        is_name_with_id
    from compared
    union all
    select
        entity,
        stage_id,
        {{ label('deleted_stage', with='stage_id') }} as stage_name,
        pipeline_id,
        cast(null as bigint) as sort_order,
        cast(null as string) as semantics,
        cast(null as string) as color,
        false as is_first,
        true as is_deleted,
        false as is_name_with_id
    from deleted
)

select * from unioned

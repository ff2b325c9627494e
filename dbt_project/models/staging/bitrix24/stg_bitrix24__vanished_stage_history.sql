-- Rows of the stage history that an earlier refresh saw and the portal no longer has, though the
-- lead or deal was still there.
-- Grain: one row per entity and vanished history record.
with lead_stage_history as (
    select * from {{ source('raw', 'lead_stage_history') }}
),

deal_stage_history as (
    select * from {{ source('raw', 'deal_stage_history') }}
),

refreshes as (
    select * from {{ source('raw', 'refreshes') }}
),

last_completed as (
    select max_by(as_of, refresh_no) as as_of
    from refreshes
    where completed
),

unioned as (
    select
        'lead' as entity,
        id as history_id,
        owner_id as item_id,
        cast(null as bigint) as pipeline_id,
        stage_id,
        stage_semantic_id,
        created_time,
        is_deleted,
        refresh_no,
        _dlt_load_id
    from lead_stage_history
    union all
    select
        'deal' as entity,
        id as history_id,
        owner_id as item_id,
        category_id as pipeline_id,
        stage_id,
        stage_semantic_id,
        created_time,
        is_deleted,
        refresh_no,
        _dlt_load_id
    from deal_stage_history
),

completed as (
    select *
    from unioned
    where
        refresh_no in (
            select refreshes.refresh_no
            from refreshes
            where refreshes.completed
        )
),

-- Few rows ever vanish: only these are put in order.
vanished as (
    select distinct
        entity,
        history_id
    from completed
    where is_deleted
),

-- A tombstone has only the key: the row before it says what was lost.
ordered as (
    select
        completed.entity,
        completed.history_id,
        completed.item_id,
        completed.pipeline_id,
        completed.stage_id,
        completed.stage_semantic_id,
        completed.created_time,
        completed.is_deleted,
        completed.refresh_no,
        lead(completed.refresh_no) over (
            partition by completed.entity, completed.history_id
            order by completed.refresh_no nulls last, completed._dlt_load_id nulls last
        ) as vanished_refresh_no,
        lead(completed.is_deleted) over (
            partition by completed.entity, completed.history_id
            order by completed.refresh_no nulls last, completed._dlt_load_id nulls last
        ) as is_last_seen,
        max(
            case when not coalesce(completed.is_deleted, false) then completed.refresh_no end
        ) over (
            partition by completed.entity, completed.history_id
        ) as last_living_refresh_no
    from completed
    inner join vanished
        on
            completed.entity = vanished.entity
            and completed.history_id = vanished.history_id
),

renamed as (
    select
        ordered.entity,
        ordered.history_id,
        ordered.item_id,
        ordered.pipeline_id,
        ordered.vanished_refresh_no,
        {{ trimmed('ordered.stage_id') }} as stage_id,
        {{ trimmed('ordered.stage_semantic_id') }} as semantics,
        {{ possible_time('ordered.created_time', 'last_completed.as_of') }} as created_at
    from ordered
    cross join last_completed
    where
        ordered.is_last_seen
        and not coalesce(ordered.is_deleted, false)
        and ordered.refresh_no = ordered.last_living_refresh_no
)

select * from renamed

-- Stage history of leads; rows of deleted leads may remain.
-- Grain: one row per history record.
with source as (
    {{ current_versions('lead_stage_history', key='id', created='created_time') }}
),

renamed as (
    select
        id as history_id,
        owner_id as lead_id,
        type_id,
        {{ trimmed('stage_id') }} as stage_id,
        {{ trimmed('stage_semantic_id') }} as semantics,
        {{ possible_time('created_time') }} as created_at
    from source
)

select * from renamed

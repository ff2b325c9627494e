-- Stage history of deals; rows of deleted deals may remain.
-- Grain: one row per history record.
with source as (
    {{ current_versions('deal_stage_history', key='id', created='created_time') }}
),

renamed as (
    select
        id as history_id,
        owner_id as deal_id,
        category_id as pipeline_id,
        type_id,
        {{ trimmed('stage_id') }} as stage_id,
        {{ trimmed('stage_semantic_id') }} as semantics,
        {{ possible_time('created_time') }} as created_at
    from source
)

select * from renamed

-- Log of what completed refreshes saw of leads and deals, tombstones included.
-- Grain: one row per entity, item and completed refresh in which the item had changed.
with leads as (
    select * from {{ source('raw', 'leads') }}
),

deals as (
    select * from {{ source('raw', 'deals') }}
),

refreshes as (
    select * from {{ source('raw', 'refreshes') }}
),

completed as (
    select
        refresh_no,
        max(as_of) as as_of
    from refreshes
    where completed
    group by refresh_no
),

last_completed as (
    select max_by(as_of, refresh_no) as as_of
    from completed
),

unioned as (
    select
        'lead' as entity,
        id as item_id,
        assigned_by_id,
        cast(null as bigint) as category_id,
        {{ item_title('lead', 'id') }} as title,
        stage_id,
        stage_semantic_id,
        source_id,
        currency_id,
        'N' as is_recurring,
        is_deleted,
        opportunity,
        created_time,
        moved_time,
        updated_time,
        refresh_no,
        _dlt_load_id
    from leads
    union all
    select
        'deal' as entity,
        id as item_id,
        assigned_by_id,
        coalesce(category_id, 0) as category_id,
        {{ item_title('deal', 'id') }} as title,
        stage_id,
        stage_semantic_id,
        source_id,
        currency_id,
        is_recurring,
        is_deleted,
        opportunity,
        created_time,
        moved_time,
        updated_time,
        refresh_no,
        _dlt_load_id
    from deals
),

-- After a crash two identical versions of one refresh may exist.
versions as (
    select
        unioned.*,
        last_completed.as_of
    from unioned
    inner join completed
        on unioned.refresh_no = completed.refresh_no
    cross join last_completed
    qualify row_number() over (
            partition by unioned.entity, unioned.item_id, unioned.refresh_no
            order by unioned._dlt_load_id desc nulls last
        ) = 1
),

renamed as (
    select
        entity,
        item_id,
        refresh_no,
        nullif(assigned_by_id, 0) as manager_id,
        category_id as pipeline_id,
        title,
        {{ trimmed('stage_id') }} as stage_id,
        {{ trimmed('stage_semantic_id') }} as semantics,
        {{ trimmed('source_id') }} as source_id,
        {{ trimmed('currency_id') }} as currency_code,
        coalesce(is_recurring = 'Y', false) as is_template,
        coalesce(is_deleted, false) as is_deleted,
        opportunity as amount,
        {{ possible_time('created_time') }} as created_at,
        {{ possible_time('updated_time') }} as updated_at,
        {{ possible_time('moved_time') }} as moved_at
    from versions
    where not {{ waits_for_the_next_refresh('created_time', 'as_of') }}
)

select * from renamed

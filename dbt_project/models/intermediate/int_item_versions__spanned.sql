-- Spans in which refreshes saw the owner, stage, pipeline and amount of an item unchanged.
-- Grain: one row per entity, item and version.
with item_versions as (
    select * from {{ ref('stg_bitrix24__item_versions') }}
),

stages as (
    select * from {{ ref('int_stages__unioned') }}
),

refreshes as (
    select * from {{ ref('int_refreshes__bounded') }}
),

-- A tombstone has only the key: what was deleted is what the version before it says.
carried as (
    select
        entity,
        item_id,
        refresh_no,
        case when is_deleted then lag(manager_id) over item else manager_id end as manager_id,
        case when is_deleted then lag(pipeline_id) over item else pipeline_id end as pipeline_id,
        case when is_deleted then lag(title) over item else title end as title,
        case when is_deleted then lag(stage_id) over item else stage_id end as stage_id,
        case when is_deleted then lag(semantics) over item else semantics end as semantics,
        case when is_deleted then lag(source_id) over item else source_id end as source_id,
        case when is_deleted then lag(currency_code) over item else currency_code end
            as currency_code,
        case when is_deleted then lag(is_template) over item else is_template end as is_template,
        case when is_deleted then lag(amount) over item else amount end as amount,
        case when is_deleted then lag(created_at) over item else created_at end as created_at,
        updated_at,
        is_deleted,
        lag(is_deleted) over item as was_deleted
    from item_versions
    window item as (
        partition by entity, item_id
        order by refresh_no nulls last
    )
),

-- Only what these columns show makes a version: an activity or another title does not.
compared as (
    select
        *,
        (
            manager_id is distinct from lag(manager_id) over item
            or pipeline_id is distinct from lag(pipeline_id) over item
            or stage_id is distinct from lag(stage_id) over item
            or semantics is distinct from lag(semantics) over item
            or currency_code is distinct from lag(currency_code) over item
            or amount is distinct from lag(amount) over item
            or is_deleted is distinct from lag(is_deleted) over item
        ) as is_change
    from carried
    where
        not is_template
        and (not is_deleted or not was_deleted)
    window item as (
        partition by entity, item_id
        order by refresh_no nulls last
    )
),

with_semantics as (
    select
        compared.entity,
        compared.item_id,
        compared.refresh_no,
        compared.manager_id,
        compared.pipeline_id,
        compared.title,
        compared.stage_id,
        coalesce(compared.semantics, stages.semantics, 'P') as semantics,
        compared.source_id,
        compared.currency_code,
        compared.is_deleted,
        compared.amount,
        compared.created_at,
        compared.updated_at,
        refreshes.unseen_since,
        refreshes.previous_clock_at,
        refreshes.clock_at as valid_from
    from compared
    inner join refreshes
        on compared.refresh_no = refreshes.refresh_no
    left join stages
        on
            compared.entity = stages.entity
            and compared.stage_id = stages.stage_id
    where compared.is_change
),

final as (
    select
        entity,
        item_id,
        row_number() over item as version_number,
        refresh_no,
        manager_id,
        pipeline_id,
        title,
        stage_id,
        semantics,
        case entity
            when 'lead' then {{ lead_state('stage_id', 'semantics') }}
            else {{ deal_state('stage_id', 'semantics') }}
        end as state,
        source_id,
        currency_code,
        is_deleted,
        lead(refresh_no) over item is null as is_current,
        amount,
        created_at,
        updated_at,
        unseen_since,
        previous_clock_at,
        valid_from,
        lead(valid_from) over item as valid_to
    from with_semantics
    window item as (
        partition by entity, item_id
        order by refresh_no nulls last
    )
)

select * from final

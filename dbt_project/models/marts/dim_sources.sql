-- Sources of leads and deals: the reference data, and every code that items name or named.
-- Grain: one row per source.
with statuses as (
    select * from {{ ref('stg_bitrix24__statuses') }}
),

item_versions as (
    select * from {{ ref('stg_bitrix24__item_versions') }}
),

sources as (
    select
        status_code as source_id,
        coalesce(status_name, status_code) as source_name,
        sort_order
    from statuses
    where directory = 'SOURCE'
),

-- Beside sources stand, among those of leads, the reasons why a deal or a cost has none, and the
-- total.
compared as (
    select
        *,
        {{
            needs_id(
                'source_name',
                [
                    'no_source', 'deleted_source', 'source_in_other_case', 'no_lead',
                    'lead_deleted', 'lead_legacy', 'not_matched', 'all_sources',
                ]
            )
        }} as is_name_with_id
    from sources
),

directory as (
    select
        source_id,
        {{ name_with_id('source_name', 'source_id', 'is_name_with_id') }} as source_name,
        sort_order,
        is_name_with_id
    from compared
),

folded as (
    select
        lower(source_id) as folded_id,
        min(source_id) as source_id
    from directory
    group by lower(source_id)
),

seen as (
    select source_id from directory
    union
    select source_id from item_versions
    where source_id is not null
),

final as (
    select
        seen.source_id,
        coalesce(
            directory.source_name,
            {{ label('source_in_other_case', with=['seen.source_id', 'folded.source_id']) }},
            {{ label('deleted_source', with='seen.source_id') }}
        ) as source_name,
        directory.sort_order,
        case when directory.source_id is null then folded.source_id end as other_case_source_id,
        directory.source_id is null as is_deleted,
        coalesce(directory.is_name_with_id, false) as is_name_with_id
    from seen
    left join directory
        on seen.source_id = directory.source_id
    left join folded
        on lower(seen.source_id) = folded.folded_id
)

select * from final

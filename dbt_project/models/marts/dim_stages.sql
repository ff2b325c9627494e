-- Stages of leads and deals, with what they mean in the reports.
-- Grain: one row per entity and stage.
with stages as (
    select * from {{ ref('int_stages__unioned') }}
),

pipelines as (
    select * from {{ ref('dim_pipelines') }}
),

-- As the portal calls them: the ID in a name says nothing of what the stage means.
own_names as (
    select
        *,
        lower(
            case
                when is_name_with_id then replace(stage_name, ' (ID ' || stage_id || ')', '')
                else stage_name
            end
        ) as own_name
    from stages
),

final as (
    select
        stages.entity,
        stages.stage_id,
        stages.stage_name,
        stages.pipeline_id,
        pipelines.pipeline_name,
        stages.sort_order,
        coalesce(stages.semantics, 'P') as semantics,
        case stages.entity
            when 'lead' then {{ lead_state('stages.stage_id', 'stages.semantics') }}
            else {{ deal_state('stages.stage_id', 'stages.semantics') }}
        end as stage_state,
        stages.color,
        stages.is_first,
        stages.is_deleted,
        stages.is_name_with_id,
        -- Names that say "closed successfully" in the portal's usual languages, without a "not".
        stages.entity = 'deal'
        and coalesce(stages.semantics, 'P') = 'P'
        and not stages.is_deleted
        and regexp_extract(
            stages.own_name,
            '(^|[^a-zа-яё])(успе(шн|х)|оплачен|продан|выигран|success|(won|paid)($|[^a-zа-яё]))',
            2
        ) <> ''
        and regexp_extract(
            stages.own_name,
            '(^|[^a-zа-яё])(не|без|not) +(успе(шн|х)|оплачен|продан|выигран|success|won|paid)',
            2
        ) = '' as is_success_like
    from own_names as stages
    left join pipelines
        on stages.pipeline_id = pipelines.pipeline_id
)

select * from final

-- Owner, stage and amount of leads and deals over time, as far as refreshes saw them.
-- Grain: one row per version of a lead or deal.
with versions as (
    select * from {{ ref('int_item_versions__spanned') }}
),

rates as (
    select * from {{ ref('int_currency_rates__bounded') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

pipelines as (
    select * from {{ ref('dim_pipelines') }}
),

managers as (
    select * from {{ ref('dim_managers') }}
),

final as (
    select
        versions.entity,
        versions.item_id,
        cast(versions.version_number as bigint) as version_number,
        versions.title,
        versions.manager_id,
        case
            when versions.manager_id is null then {{ label('no_manager') }}
            else coalesce(
                    managers.manager_name,
                    {{ label('unknown_user', with='versions.manager_id') }}
                )
        end as manager_name,
        versions.pipeline_id,
        case
            when versions.pipeline_id is not null
                then coalesce(
                        pipelines.pipeline_name,
                        {{ label('deleted_pipeline', with='versions.pipeline_id') }}
                    )
        end as pipeline_name,
        versions.stage_id,
        case
            when versions.stage_id is null then {{ label('no_stage') }}
            else coalesce(
                    stages.stage_name,
                    {{ label('deleted_stage', with='versions.stage_id') }}
                )
        end as stage_name,
        versions.semantics,
        versions.state,
        versions.currency_code,
        versions.is_deleted,
        versions.is_current,
        cast(versions.amount as decimal(20, 2)) as amount,
        {{
            to_base_amount(
                'versions.amount', 'rates.latest_rate_amount', 'rates.latest_rate_units'
            )
        }} as base_amount,
        versions.created_at,
        versions.valid_from,
        {{ portal_date('versions.valid_from') }} as valid_from_date,
        versions.valid_to,
        {{ portal_date('versions.valid_to') }} as valid_to_date
    from versions
    left join rates
        on versions.currency_code = rates.currency_code
    left join stages
        on
            versions.entity = stages.entity
            and versions.stage_id = stages.stage_id
    left join pipelines
        on versions.pipeline_id = pipelines.pipeline_id
    left join managers
        on versions.manager_id = managers.manager_id
)

select * from final

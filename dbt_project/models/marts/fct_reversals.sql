-- Ledger of what was undone: deleted, reopened after a win, moved to another pipeline, erased from
-- the history.
-- Grain: one row per reversal of a lead or deal.
with reversals as (
    select * from {{ ref('int_item_reversals__unioned') }}
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

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

last_refresh as (
    select portal_url
    from refreshes
    where is_last
),

named as (
    select
        reversals.*,
        case
            when reversals.manager_id is null then {{ label('no_manager') }}
            else coalesce(
                    managers.manager_name,
                    {{ label('unknown_user', with='reversals.manager_id') }}
                )
        end as manager_name,
        case
            when reversals.from_stage_id is null then {{ label('no_stage') }}
            else coalesce(
                    from_stages.stage_name,
                    {{ label('deleted_stage', with='reversals.from_stage_id') }}
                )
        end as from_stage_name,
        case
            when reversals.to_stage_id is not null
                then coalesce(
                        to_stages.stage_name,
                        {{ label('deleted_stage', with='reversals.to_stage_id') }}
                    )
        end as to_stage_name,
        case
            when reversals.from_pipeline_id is not null
                then coalesce(
                        from_pipelines.pipeline_name,
                        {{ label('deleted_pipeline', with='reversals.from_pipeline_id') }}
                    )
        end as from_pipeline_name,
        case
            when reversals.to_pipeline_id is not null
                then coalesce(
                        to_pipelines.pipeline_name,
                        {{ label('deleted_pipeline', with='reversals.to_pipeline_id') }}
                    )
        end as to_pipeline_name,
        {{
            to_base_amount(
                'reversals.amount', 'rates.latest_rate_amount', 'rates.latest_rate_units'
            )
        }} as base_amount,
        last_refresh.portal_url
    from reversals
    cross join last_refresh
    left join rates
        on reversals.currency_code = rates.currency_code
    left join stages as from_stages
        on
            reversals.entity = from_stages.entity
            and reversals.from_stage_id = from_stages.stage_id
    left join stages as to_stages
        on
            reversals.entity = to_stages.entity
            and reversals.to_stage_id = to_stages.stage_id
    left join pipelines as from_pipelines
        on reversals.from_pipeline_id = from_pipelines.pipeline_id
    left join pipelines as to_pipelines
        on reversals.to_pipeline_id = to_pipelines.pipeline_id
    left join managers
        on reversals.manager_id = managers.manager_id
),

final as (
    select
        entity,
        item_id,
        cast(reversal_number as bigint) as reversal_number,
        kind,
        evidence,
        title,
        case kind
            when 'deleted'
                then
                    case entity when 'lead' then 'Лид удалён' else 'Сделка удалена' end
                    || ', прежний этап «' || from_stage_name || '»'
            when 'reopened_after_win'
                then
                    'Успех отменён: с этапа «' || from_stage_name || '» на «' || to_stage_name
                    || '»'
            when 'failed_after_sale'
                then
                    'Провал после продажи: с этапа «' || from_stage_name || '» на «'
                    || to_stage_name || '» в воронке «' || to_pipeline_name
                    || '»; продажа остаётся'
            when 'pipeline_move'
                then
                    'Из воронки «' || from_pipeline_name || '» в «' || to_pipeline_name
                    || '», с этапа «' || from_stage_name || '» на «' || to_stage_name || '»'
            else
                'Из истории этапов пропало записей: ' || cast(history_rows_count as string)
                || case lost_state
                    when 'success' then ', в том числе успех на этапе «'
                    else ', последняя на этапе «'
                end
                || from_stage_name || '»'
        end as explanation_ru,
        case kind
            when 'deleted'
                then
                    case entity when 'lead' then 'Lead deleted' else 'Deal deleted' end
                    || ', last stage "' || from_stage_name || '"'
            when 'reopened_after_win'
                then
                    'Win undone: from stage "' || from_stage_name || '" to "' || to_stage_name
                    || '"'
            when 'failed_after_sale'
                then
                    'Failed after the sale: from stage "' || from_stage_name || '" to "'
                    || to_stage_name || '" in pipeline "' || to_pipeline_name
                    || '"; the sale stands'
            when 'pipeline_move'
                then
                    'From pipeline "' || from_pipeline_name || '" to "' || to_pipeline_name
                    || '", from stage "' || from_stage_name || '" to "' || to_stage_name || '"'
            else
                'Rows gone from the stage history: ' || cast(history_rows_count as string)
                || case lost_state
                    when 'success' then ', among them a win on stage "'
                    else ', the last one on stage "'
                end
                || from_stage_name || '"'
        end as explanation_en,
        manager_id,
        manager_name,
        from_stage_id,
        from_stage_name,
        to_stage_id,
        to_stage_name,
        from_pipeline_id,
        from_pipeline_name,
        to_pipeline_id,
        to_pipeline_name,
        lost_state,
        currency_code,
        history_rows_count,
        cast(amount as decimal(20, 2)) as amount,
        base_amount,
        happened_at,
        last_seen_at,
        seen_at,
        {{ portal_date('seen_at') }} as seen_date,
        {{ portal_date('coalesce(happened_at, seen_at)') }} as reversal_date,
        portal_url || '/crm/' || entity || '/details/' || cast(item_id as string) || '/' as crm_url
    from named
)

select * from final

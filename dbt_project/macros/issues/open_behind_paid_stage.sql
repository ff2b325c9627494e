{# Deals on open stages behind one that the settings call paid. One row per stage. #}
{% macro issue_open_behind_paid_stage() -%}
    -- Only a setting makes a success of a stage that is not final.
    with paid_stages as (
        select
            pipeline_id,
            stage_name,
            sort_order
        from stages
        where
            entity = 'deal'
            and stage_state = 'success'
            and semantics <> 'S'
    ),

    open_behind_paid as (
        select
            stages.stage_id,
            stages.stage_name,
            max_by(paid_stages.stage_name, paid_stages.sort_order) as paid_stage_name
        from stages
        inner join paid_stages
            on
                stages.pipeline_id = paid_stages.pipeline_id
                and stages.sort_order > paid_stages.sort_order
        where
            stages.entity = 'deal'
            and stages.stage_state = 'in_work'
            and not stages.is_deleted
        group by
            stages.stage_id,
            stages.stage_name
    )

    select
        'open_behind_paid_stage' as kind,
        'deal' as entity,
        open_behind_paid.stage_id as record_key,
        count(*) as records_count,
        sum(deals.base_amount) as base_amount,
        'Сделки на «' || open_behind_paid.stage_name || '», за «'
        || open_behind_paid.paid_stage_name || '», не считаются проданными: '
        || cast(count(*) as string)
        || coalesce(', сумма: ' || cast(sum(deals.base_amount) as string), '')
        || '. Назовите в paid_stages и этот этап, если они оплачены' as explanation_ru,
        'Deals on "' || open_behind_paid.stage_name || '", behind "'
        || open_behind_paid.paid_stage_name || '", count as not sold: '
        || cast(count(*) as string)
        || coalesce(', amount: ' || cast(sum(deals.base_amount) as string), '')
        || '. Name this stage in paid_stages too if they are paid' as explanation_en
    from open_behind_paid
    inner join deals
        on open_behind_paid.stage_id = deals.stage_id
    where
        deals.is_counted
        and deals.is_in_work
    group by
        open_behind_paid.stage_id,
        open_behind_paid.stage_name,
        open_behind_paid.paid_stage_name
{%- endmacro %}

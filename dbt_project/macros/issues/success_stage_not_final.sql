{# Deals on a stage whose name says "closed successfully" while the portal holds it open. #}
{% macro issue_success_stage_not_final() -%}
    -- As the portal calls them: the ID in a name says nothing of what the stage means.
    with success_stages as (
        select
            stage_id,
            case
                when is_name_with_id then replace(stage_name, ' (ID ' || stage_id || ')', '')
                else stage_name
            end as stage_name
        from stages
        where is_success_like
    )

    -- Legacy deals and those of stages that the settings name stay listed: this row explains them.
    select
        'success_stage_not_final' as kind,
        'deal' as entity,
        deals.deal_id as item_id,
        'Этап «' || success_stages.stage_name || '» не завершающий'
        || case
            when deals.is_legacy then ': сделка отмечена как импорт'
            when deals.is_sale then ': продажа по настройке paid_stages'
            else ': сделка в работе, а не продажа'
        end as explanation_ru,
        'Stage "' || success_stages.stage_name || '" is not final'
        || case
            when deals.is_legacy then ': the deal is marked as an import'
            when deals.is_sale then ': a sale by the setting paid_stages'
            else ': the deal is in work, no sale'
        end as explanation_en
    from deals
    inner join success_stages
        on deals.stage_id = success_stages.stage_id
    where deals.semantics = 'P'
{%- endmacro %}

{# Deals whose history begins after their creation. One row. #}
{% macro issue_history_begins_after_deal(first_history_seconds) -%}
    -- What the portal no longer tells of another pipeline, no refresh had read either.
    with deal_histories as (
        select
            item_id as deal_id,
            created_at
        from stage_history
        where entity = 'deal'
        union all
        select
            item_id as deal_id,
            created_at
        from vanished_stage_history
        where entity = 'deal'
    ),

    deals_without_beginning as (
        select
            deals.deal_id,
            deals.base_amount
        from deals
        inner join deal_histories
            on deals.deal_id = deal_histories.deal_id
        where not deals.is_legacy
        group by
            deals.deal_id,
            deals.base_amount,
            deals.created_at
        having
            {{ seconds_between('deals.created_at', 'min(deal_histories.created_at)') }}
            > {{ first_history_seconds }}
    )

    select
        'history_begins_after_deal' as kind,
        'deal' as entity,
        'deal' as record_key,
        count(*) as records_count,
        sum(base_amount) as base_amount,
        'История начинается позже создания, прежние воронки и продажи в них неизвестны; сделок: '
        || cast(count(*) as string)
        || coalesce(', сумма: ' || cast(sum(base_amount) as string), '') as explanation_ru,
        'History begins after the creation, earlier pipelines and sales in them are unknown; '
        || 'deals: '
        || cast(count(*) as string)
        || coalesce(', amount: ' || cast(sum(base_amount) as string), '') as explanation_en
    from deals_without_beginning
    having count(*) > 0
{%- endmacro %}

{# Sales that nothing dates. #}
{% macro issue_sale_without_date() -%}
    select
        'sale_without_date' as kind,
        'deal' as entity,
        deals.deal_id as item_id,
        case
            when deals.close_date > last_refresh.as_of_date
                then 'Дата закрытия ' || cast(deals.close_date as string)
                    || ' ещё не наступила, а больше ничто не говорит, когда была продажа'
            else
                'Ни история этапов, ни перемещение, ни дата закрытия не говорят, когда была продажа'
        end as explanation_ru,
        case
            when deals.close_date > last_refresh.as_of_date
                then 'The close date ' || cast(deals.close_date as string)
                    || ' is yet to come, and nothing else says when it was sold'
            else 'Neither stage history nor the last move nor a close date says when it was sold'
        end as explanation_en
    from deals
    cross join last_refresh
    left join moved_meanwhile
        on
            moved_meanwhile.entity = 'deal'
            and deals.deal_id = moved_meanwhile.item_id
    where
        deals.is_counted
        and deals.is_sale
        and deals.sold_at is null
        and moved_meanwhile.item_id is null
{%- endmacro %}

{# Sales dated by something else than their stage history. #}
{% macro issue_sale_date_fallback() -%}
    select
        'sale_date_fallback' as kind,
        'deal' as entity,
        deals.deal_id as item_id,
        case deals.sold_at_source
            when 'close_date' then 'Дата продажи взята из даты закрытия: '
            when 'refresh' then 'Дата продажи взята из обновления, которое её увидело: '
            else 'Дата продажи взята из последнего перемещения: '
        end || cast(deals.sold_date as string) as explanation_ru,
        case deals.sold_at_source
            when 'close_date' then 'The date of the sale is the close date: '
            when 'refresh' then 'The date of the sale is that of the refresh that saw it: '
            else 'The date of the sale is that of the last move: '
        end || cast(deals.sold_date as string) as explanation_en
    from deals
    left join moved_meanwhile
        on
            moved_meanwhile.entity = 'deal'
            and deals.deal_id = moved_meanwhile.item_id
    -- Imports are told as such.
    left join outcomes
        on
            outcomes.entity = 'deal'
            and deals.deal_id = outcomes.item_id
    where
        deals.is_counted
        and deals.is_sale
        and outcomes.import_evidence is null
        and deals.sold_at_source not in ('history', 'none')
        and moved_meanwhile.item_id is null
{%- endmacro %}

{# Sales of no amount, or of zero. #}
{% macro issue_sale_without_amount() -%}
    select
        'sale_without_amount' as kind,
        'deal' as entity,
        deal_id as item_id,
        case when amount is null then 'Сумма не указана' else 'Сумма равна нулю' end
            as explanation_ru,
        case when amount is null then 'There is no amount' else 'The amount is zero' end
            as explanation_en
    from deals
    where
        is_counted
        and is_sale
        and coalesce(amount, 0) = 0
{%- endmacro %}

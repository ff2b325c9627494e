{# Amounts that a report cannot hold in base currency. #}
{% macro issue_amount_too_large() -%}
    {#- Stands for every amount above it, as the extraction stores them. #}
    {%- set largest_amount = '999999999999999999.99' %}
    select
        'amount_too_large' as kind,
        items.entity,
        items.item_id,
        case
            when abs(items.amount) >= {{ largest_amount }} then 'Сумма не меньше 10^18'
            else 'Сумма ' || cast(items.amount as string) || ' ' || items.currency_code
        end || ': в основной валюте не помещается' as explanation_ru,
        case
            when abs(items.amount) >= {{ largest_amount }} then 'The amount is 10^18 or more'
            else 'The amount ' || cast(items.amount as string) || ' ' || items.currency_code
        end || ': too large in the base currency' as explanation_en
    from items
    inner join amounts_too_large
        on
            items.entity = amounts_too_large.entity
            and items.item_id = amounts_too_large.item_id
    where items.is_counted
{%- endmacro %}

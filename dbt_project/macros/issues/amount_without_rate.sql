{# Amounts of a currency without a rate, or without a currency. #}
{% macro issue_amount_without_rate() -%}
    select
        'amount_without_rate' as kind,
        entity,
        item_id,
        case
            when currency_code is null then 'У суммы ' || cast(amount as string) || ' нет валюты'
            else 'Нет курса: ' || cast(amount as string) || ' ' || currency_code
        end as explanation_ru,
        case
            when currency_code is null
                then 'The amount ' || cast(amount as string) || ' has no currency'
            else 'No rate: ' || cast(amount as string) || ' ' || currency_code
        end as explanation_en
    from items
    where
        is_counted
        and amount <> 0
        and base_amount is null
        and not exists (
            select 1
            from amounts_too_large
            where
                amounts_too_large.entity = items.entity
                and amounts_too_large.item_id = items.item_id
        )
{%- endmacro %}

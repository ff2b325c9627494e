{# Deals whose customer is new or repeat by the deals, and the opposite by the portal's flag. #}
{% macro issue_repeat_flag_disagrees() -%}
    select
        'repeat_flag_disagrees' as kind,
        'deal' as entity,
        deal_id as item_id,
        case
            when is_repeat_customer
                then 'По сделкам клиента повторная, признак портала: новая'
            else 'По сделкам клиента новая, признак портала: повторная'
        end as explanation_ru,
        case
            when is_repeat_customer
                then 'Repeat by the deals of the customer; the portal''s flag says new'
            else 'New by the deals of the customer; the portal''s flag says repeat'
        end as explanation_en
    from deals
    where
        is_counted
        and is_repeat_flag_different
{%- endmacro %}

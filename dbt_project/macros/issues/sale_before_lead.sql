{# Deals sold before their lead was created. #}
{% macro issue_sale_before_lead() -%}
    select
        'sale_before_lead' as kind,
        'deal' as entity,
        deal_id as item_id,
        'Продажа ' || {{ portal_time_text('sold_at') }} || ', а лид ' || cast(lead_id as string)
        || ' создан ' || {{ portal_time_text('lead_created_at') }} as explanation_ru,
        'Sold ' || {{ portal_time_text('sold_at') }} || ', but its lead ' || cast(lead_id as string)
        || ' was created ' || {{ portal_time_text('lead_created_at') }} as explanation_en
    from deals
    where
        is_counted
        and is_sale
        and sold_at < lead_created_at
{%- endmacro %}

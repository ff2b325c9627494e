{# Deals whose lead is no longer on the portal. #}
{% macro issue_deal_with_deleted_lead() -%}
    select
        'deal_with_deleted_lead' as kind,
        'deal' as entity,
        deal_id as item_id,
        'Лида ' || cast(portal_lead_id as string) || ' на портале больше нет' as explanation_ru,
        'Lead ' || cast(portal_lead_id as string) || ' is no longer on the portal' as explanation_en
    from deals
    where
        is_counted
        and lead_link = 'deleted'
{%- endmacro %}

{# Deals without a lead: sold ones (sale_without_lead) and others (deal_without_lead). #}
{% macro issue_without_lead() -%}
    -- Without leads (simple CRM) no deal can have one.
    select
        case when deals.is_sale then 'sale_without_lead' else 'deal_without_lead' end as kind,
        'deal' as entity,
        deals.deal_id as item_id,
        'Сделка создана без лида' as explanation_ru,
        'The deal was created without a lead' as explanation_en
    from deals
    cross join last_refresh
    where
        deals.is_counted
        and deals.lead_link = 'none'
        and last_refresh.crm_mode is distinct from 'simple'
{%- endmacro %}

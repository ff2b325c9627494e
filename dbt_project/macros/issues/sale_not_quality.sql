{# Leads with a sale that do not stand on a quality stage. #}
{% macro issue_sale_not_quality() -%}
    select
        'sale_not_quality' as kind,
        'lead' as entity,
        lead_id as item_id,
        'Продаж: ' || cast(sales_count as string) || ', а лид на этапе «' || stage_name || '»'
            as explanation_ru,
        'Sales: ' || cast(sales_count as string) || ', but the lead stands on stage "' || stage_name
        || '"' as explanation_en
    from leads
    where
        is_counted
        and has_sale
        and not is_quality
{%- endmacro %}

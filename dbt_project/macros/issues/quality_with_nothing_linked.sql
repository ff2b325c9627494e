{# Quality leads with no deal, contact or company. #}
{% macro issue_quality_with_nothing_linked() -%}
    -- Deals of any pipeline and own legal entities count here: something was made of the lead.
    with leads_linked as (
        select portal_lead_id as lead_id from stg_deals
        union
        select lead_id from contacts
        union
        select lead_id from companies
    )

    select
        'quality_with_nothing_linked' as kind,
        'lead' as entity,
        leads.lead_id as item_id,
        'Нет ни сделки, ни контакта, ни компании' as explanation_ru,
        'There is no deal, contact or company' as explanation_en
    from leads
    inner join stg_leads
        on leads.lead_id = stg_leads.lead_id
    left join leads_linked
        on leads.lead_id = leads_linked.lead_id
    where
        leads.is_counted
        and leads.is_quality
        and leads_linked.lead_id is null
        and stg_leads.company_id is null
        and stg_leads.contact_id is null
        and coalesce(stg_leads.contact_ids, '[]') = '[]'
{%- endmacro %}

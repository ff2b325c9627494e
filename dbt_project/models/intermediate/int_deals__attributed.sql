-- Leads that deals came from, with what the deals take from them.
-- Grain: one row per living deal with a living lead.
with links as (
    select * from {{ ref('int_deals__linked_to_leads') }}
),

leads as (
    select * from {{ ref('fct_leads') }}
),

final as (
    select
        links.deal_id,
        leads.lead_id,
        leads.source_id,
        leads.source_name,
        leads.utm_source,
        leads.utm_medium,
        leads.utm_campaign,
        leads.utm_content,
        leads.utm_term,
        leads.manager_id,
        leads.manager_name,
        leads.city,
        leads.is_counted,
        leads.is_legacy,
        leads.created_at,
        leads.created_date,
        leads.crm_url
    from links
    inner join leads
        on links.lead_id = leads.lead_id
)

select * from final

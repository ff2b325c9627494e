-- How each record is counted here and by the portal, with the day of our success.
-- Grain: one row per lead or deal, deleted ones and recurring templates included.
select
    bridge.entity,
    bridge.item_id,
    bridge.title,
    bridge.crm_url,
    bridge.bridge_kind,
    bridge.portal_state,
    bridge.our_state,
    bridge.manager_name,
    bridge.source_name,
    bridge.pipeline_name,
    bridge.stage_name,
    bridge.base_amount,
    bridge.created_date,
    bridge.portal_closed_date,
    bridge.deleted_date,
    coalesce(leads.quality_date, deals.sold_date) as our_success_date,
from published.fct_portal_bridge as bridge
left join published.fct_leads as leads
    on bridge.entity = 'lead' and bridge.item_id = leads.lead_id and leads.is_counted
left join published.fct_deals as deals
    on bridge.entity = 'deal' and bridge.item_id = deals.deal_id and deals.is_counted
order by bridge.created_date, bridge.entity, bridge.item_id

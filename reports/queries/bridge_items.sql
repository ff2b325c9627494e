-- Each record as it is counted here and by the portal, within the filters of the page.
select
    records.entity,
    records.item_id,
    records.title,
    records.bridge_kind,
    records.portal_state,
    records.our_state,
    records.manager_name,
    records.source_name,
    records.pipeline_name,
    records.stage_name,
    records.base_amount,
    records.created_date,
    records.portal_closed_date,
    records.crm_url,
    coalesce(leads.quality_date, deals.sold_date) as our_success_date,
    case
        when records.bridge_kind <> 'counted' then records.bridge_kind
        when records.created_date >= [[period_start]] then 'ours'
        else 'backlog'
    end as line,
    coalesce(
        coalesce(leads.quality_date, deals.sold_date) between [[period_start]] and [[period_end]], false
    ) as is_ours,
    records.portal_state = 'success'
    and records.bridge_kind in ('counted', 'legacy', 'other_pipeline')
    and coalesce(records.portal_closed_date between [[period_start]] and [[period_end]], false) as is_portals
from (
    select
        entity,
        item_id,
        title,
        bridge_kind,
        portal_state,
        our_state,
        manager_name,
        source_name,
        pipeline_name,
        stage_name,
        base_amount,
        created_date,
        portal_closed_date,
        crm_url
    from marts.fct_portal_bridge
    where entity = case when (select crm_mode from quality.refreshes) = 'simple' then 'deal' else '${inputs.bridge_entity}' end
        and ((entity = 'lead' and [[where bridge_leads]]) or (entity = 'deal' and [[where bridge_deals]]))
) as records
left join (select lead_id, quality_date from marts.fct_leads where is_counted) as leads
    on case when records.entity = 'lead' then records.item_id end = leads.lead_id
left join (select deal_id, sold_date from marts.fct_deals where is_counted) as deals
    on case when records.entity = 'deal' then records.item_id end = deals.deal_id

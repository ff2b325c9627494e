-- What the workbooks stand on: the clock, the portal, and how the settings show in the data.
-- Grain: one row.
select
    as_of_text,
    as_of_date,
    epoch(as_of) as as_of_epoch,
    history_from_date,
    portal_url,
    crm_mode,
    base_currency,
    (
        select string_agg(pipeline_name, ', ' order by sort_order nulls last, pipeline_name)
        from marts.dim_pipelines
        where is_sales_pipeline and not is_deleted
    ) as sales_pipelines,
    (
        select
            string_agg(
                pipeline_name || ' / ' || stage_name, ', ' order by pipeline_name, stage_name
            )
        from marts.dim_stages
        where entity = 'deal' and stage_state = 'success' and semantics <> 'S'
    ) as paid_stages,
    (
        select string_agg(stage_name, ', ' order by sort_order nulls last, stage_name)
        from marts.dim_stages
        where
            entity = 'lead'
            and stage_state
            <> case semantics when 'S' then 'success' when 'F' then 'failed' else 'in_work' end
    ) as lead_stage_outcomes,
    (
        select count(*)
        from marts.fct_leads
        where is_legacy
    ) as legacy_leads,
    (
        select count(*)
        from marts.fct_deals
        where is_legacy
    ) as legacy_deals,
    exists(
        select file
        from marts.fct_ad_costs
    ) as has_spend
from quality.refreshes

-- Values that the filters offer, the 1,000 most frequent of each. '' stands for records without one.
-- Grain: one row per filter and value.
with items as (
    select
        source_name, manager_name, city, utm_source, utm_medium, utm_campaign, utm_content, utm_term,
        null as pipeline_name, stage_name as lead_stage_name, null as deal_stage_name, null as state,
        null as lead_source_name, null as lead_utm_source, null as lead_utm_medium,
        null as lead_utm_campaign, null as lead_utm_content, null as lead_utm_term,
        fct_leads.state as lead_state,
        true as is_lead, 'lead' as entity, lead_id as item_id,
    from published.fct_leads
    where is_counted
    union all
    select
        source_name, manager_name, city, utm_source, utm_medium, utm_campaign, utm_content, utm_term,
        pipeline_name, null as lead_stage_name,
        pipeline_name || ' / ' || stage_name as deal_stage_name, state,
        lead_source_name, lead_utm_source, lead_utm_medium, lead_utm_campaign, lead_utm_content,
        lead_utm_term, null as lead_state, false as is_lead, 'deal' as entity, deal_id as item_id,
    from published.fct_deals
    where is_counted
),

fields as (
    select distinct entity, field_name
    from published.fct_user_field_values
),

named as (
    select 'source' as key, source_name as value from items
    union all
    select 'manager' as key, manager_name as value from items
    union all
    select 'city' as key, city as value from items
    union all
    select 'utm_source' as key, utm_source as value from items
    union all
    select 'utm_medium' as key, utm_medium as value from items
    union all
    select 'utm_campaign' as key, utm_campaign as value from items
    union all
    select 'utm_content' as key, utm_content as value from items
    union all
    select 'utm_term' as key, utm_term as value from items
    union all
    select 'pipeline' as key, pipeline_name as value from items where not is_lead
    union all
    select 'deal_stage' as key, deal_stage_name as value from items where not is_lead
    union all
    select 'state' as key, state as value from items where not is_lead
    union all
    select 'lead_source' as key, lead_source_name as value from items where not is_lead
    union all
    select 'lead_utm_source' as key, lead_utm_source as value from items where not is_lead
    union all
    select 'lead_utm_medium' as key, lead_utm_medium as value from items where not is_lead
    union all
    select 'lead_utm_campaign' as key, lead_utm_campaign as value from items where not is_lead
    union all
    select 'lead_utm_content' as key, lead_utm_content as value from items where not is_lead
    union all
    select 'lead_utm_term' as key, lead_utm_term as value from items where not is_lead
    union all
    select 'lead_stage' as key, lead_stage_name as value from items where is_lead
    union all
    select 'lead_state' as key, lead_state as value from items where is_lead
    union all
    select field_values.field_name as key, field_values.field_value as value
    from items
    inner join published.fct_user_field_values as field_values
        on items.entity = field_values.entity and items.item_id = field_values.item_id
    union all
    select fields.field_name as key, null as value
    from fields
    inner join items
        on fields.entity = items.entity
    anti join published.fct_user_field_values as field_values
        on
            items.entity = field_values.entity
            and items.item_id = field_values.item_id
            and fields.field_name = field_values.field_name
),

counted as (
    select key, coalesce(value, '') as value, count(*) as items
    from named
    group by key, coalesce(value, '')
)

select key, value, items
from counted
qualify row_number() over (partition by key order by items desc, value) <= 1000
    -- A filter with nothing to choose from is not offered.
    and count(*) over (partition by key) > 1
order by key, items desc, value

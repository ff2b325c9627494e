-- Deals as they stand in the last completed refresh, recurring templates included and marked.
-- Grain: one row per living deal.
with source as (
    {{ current_versions('deals', key='id', created='created_time') }}
),

renamed as (
    select
        id as deal_id,
        nullif(lead_id, 0) as portal_lead_id,
        coalesce(category_id, 0) as pipeline_id,
        nullif(assigned_by_id, 0) as manager_id,
        nullif(company_id, 0) as company_id,
        nullif(contact_id, 0) as contact_id,
        contact_ids,
        {{ item_title('deal', 'id') }} as title,
        {{ trimmed('stage_id') }} as stage_id,
        {{ trimmed('stage_semantic_id') }} as semantics,
        {{ trimmed('source_id') }} as source_id,
        {{ trimmed('type_id') }} as type_id,
        {{ trimmed('currency_id') }} as currency_code,
        {{ one_line('utm_source') }} as utm_source,
        {{ one_line('utm_medium') }} as utm_medium,
        {{ one_line('utm_campaign') }} as utm_campaign,
        {{ one_line('utm_content') }} as utm_content,
        {{ one_line('utm_term') }} as utm_term,
        {{ trimmed('originator_id') }} as originator_id,
        {{ trimmed('origin_id') }} as origin_id,
        coalesce(closed = 'Y', false) as is_closed,
        coalesce(is_recurring = 'Y', false) as is_template,
        coalesce(is_return_customer = 'Y', false) as is_repeat,
        coalesce(is_repeated_approach = 'Y', false) as is_repeated_approach,
        opportunity as amount,
        {{ possible_time('created_time') }} as created_at,
        {{ portal_date(possible_time('created_time')) }} as created_date,
        {{ possible_time('updated_time') }} as updated_at,
        {{ possible_time('moved_time') }} as moved_at,
        closedate as close_date,
        {{ possible_time('last_activity_time') }} as last_activity_at,
        user_fields
    from source
)

select * from renamed

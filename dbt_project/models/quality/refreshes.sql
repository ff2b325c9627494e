-- The refresh that everything published stands on: its clock, portal, base currency and thresholds.
-- Grain: one row.
with refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

final as (
    select
        refresh_no,
        kind,
        portal_url,
        crm_mode,
        base_currency,
        {{ var('forgotten_lead_days') }} as forgotten_lead_days,
        {{ var('forgotten_deal_days') }} as forgotten_deal_days,
        {{ portal_time_text('as_of') }} as as_of_text,
        as_of,
        as_of_date
    from refreshes
    where is_last
)

select * from final

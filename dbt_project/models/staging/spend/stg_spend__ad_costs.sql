-- Rows of the spend files as they stand in the last completed refresh.
-- Grain: one row per row of a spend file.
with source as (
    {{ current_versions('ad_costs', key='file, line_number') }}
),

renamed as (
    select
        file,
        line_number,
        {{ one_line('source_code') }} as source_code,
        {{ one_line('utm_source') }} as utm_source,
        {{ one_line('utm_medium') }} as utm_medium,
        {{ one_line('utm_campaign') }} as utm_campaign,
        {{ one_line('utm_content') }} as utm_content,
        {{ one_line('utm_term') }} as utm_term,
        upper({{ trimmed('currency_code') }}) as currency_code,
        cost,
        vat_percent,
        clicks,
        date_from,
        date_to
    from source
),

final as (
    select
        file,
        line_number,
        {{ labels_key() }} as labels_key,
        source_code,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_content,
        utm_term,
        currency_code,
        cost,
        vat_percent,
        clicks,
        date_from,
        date_to
    from renamed
)

select * from final

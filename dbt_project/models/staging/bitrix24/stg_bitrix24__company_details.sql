-- Names, phones and e-mails of companies, as far as the setting `pii` lets them be read.
-- Grain: one row per company whose details were read, deleted ones too.
with source as (
    {{ current_versions('company_details', key='id') }}
),

renamed as (
    select
        id as company_id,
        {{ one_line('name') }} as name,
        phones,
        emails,
        {{ trimmed('comments') }} as comments
    from source
)

select * from renamed

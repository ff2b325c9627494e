-- Names, phones and e-mails of leads, as far as the setting `pii` lets them be read.
-- Grain: one row per lead whose details were read, deleted ones too.
with source as (
    {{ current_versions('lead_details', key='id') }}
),

renamed as (
    select
        id as lead_id,
        nullif(trim(concat_ws(' ', name, second_name, last_name)), '') as name,
        phones,
        emails,
        nullif(trim(comments), '') as comments
    from source
)

select * from renamed

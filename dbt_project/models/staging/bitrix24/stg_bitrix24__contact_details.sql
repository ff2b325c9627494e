-- Names, phones and e-mails of contacts, as far as the setting `pii` lets them be read.
-- Grain: one row per contact whose details were read, deleted ones too.
with source as (
    {{ current_versions('contact_details', key='id') }}
),

renamed as (
    select
        id as contact_id,
        {{ one_line("concat_ws(' ', name, second_name, last_name)") }} as name,
        phones,
        emails,
        {{ trimmed('comments') }} as comments
    from source
)

select * from renamed

-- Names, phones and e-mails of customers, as far as the setting `pii` lets them be read.
-- Grain: one row per entity (lead, contact, company) and item whose details were read.
with lead_details as (
    select * from {{ ref('stg_bitrix24__lead_details') }}
),

contact_details as (
    select * from {{ ref('stg_bitrix24__contact_details') }}
),

company_details as (
    select * from {{ ref('stg_bitrix24__company_details') }}
),

leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

contacts as (
    select * from {{ ref('stg_bitrix24__contacts') }}
),

companies as (
    select * from {{ ref('stg_bitrix24__companies') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

-- Details are read by a list of their own: a deleted item leaves with its entity.
final as (
    select
        'lead' as entity,
        lead_details.lead_id as item_id,
        lead_details.name,
        lead_details.phones,
        lead_details.emails,
        lead_details.comments
    from lead_details
    inner join leads
        on lead_details.lead_id = leads.lead_id
    union all
    select
        'contact' as entity,
        contact_details.contact_id as item_id,
        contact_details.name,
        contact_details.phones,
        contact_details.emails,
        contact_details.comments
    from contact_details
    inner join contacts
        on contact_details.contact_id = contacts.contact_id
    union all
    select
        'company' as entity,
        company_details.company_id as item_id,
        company_details.name,
        company_details.phones,
        company_details.emails,
        company_details.comments
    from company_details
    inner join companies
        on company_details.company_id = companies.company_id
)

select
    final.entity,
    final.item_id,
    final.name,
    final.phones,
    final.emails,
    final.comments,
    refreshes.portal_url || '/crm/' || final.entity || '/details/'
    || cast(final.item_id as string) || '/' as crm_url
from final
cross join refreshes
where refreshes.is_last

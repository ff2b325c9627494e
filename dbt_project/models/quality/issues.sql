-- Why a report looks wrong: the records to fix, with the reason, the amount and the link.
-- Grain: one row per kind, entity and record; days, stages and tables are one row each.

{#- The portal writes the first row of the history after its item, seconds later where rules and
    robots run in between: only what is more than this many seconds older lacks history. #}
{%- set first_history_seconds = 60 %}

{#- Each kind is a macro in macros/issues, which reads the CTEs below; what it is called and what
    to do about it stands in issue_kinds. #}
{%- set kinds_of_records = {
    'success_stage_not_final': issue_success_stage_not_final(),
    'sale_without_amount': issue_sale_without_amount(),
    'amount_without_rate': issue_amount_without_rate(),
    'amount_too_large': issue_amount_too_large(),
    'sale_without_date': issue_sale_without_date(),
    'outcome_without_date': issue_outcome_without_date(),
    'unknown_semantics': issue_unknown_semantics(),
    'sale_date_fallback': issue_sale_date_fallback(),
    'imported_history': issue_imported_history(),
    'impossible_time': issue_impossible_time(),
    'sale_before_lead': issue_sale_before_lead(),
    'closed_before_created': issue_closed_before_created(),
    'negative_stage_days': issue_negative_stage_days(),
    'unknown_stage': issue_unknown_stage(),
    'held_by_dismissed': issue_held_by_dismissed(),
    'quality_with_nothing_linked': issue_quality_with_nothing_linked(),
    'sale_not_quality': issue_sale_not_quality(),
    'without_lead': issue_without_lead(),
    'deal_with_deleted_lead': issue_deal_with_deleted_lead(),
    'repeat_flag_disagrees': issue_repeat_flag_disagrees(),
} %}
{%- set kinds_of_groups = {
    'import_day': issue_import_day(),
    'unknown_stage_in_history': issue_unknown_stage_in_history(),
    'history_begins': issue_history_begins(first_history_seconds),
    'history_begins_after_deal': issue_history_begins_after_deal(first_history_seconds),
    'open_after_hand_over': issue_open_after_hand_over(),
    'open_behind_paid_stage': issue_open_behind_paid_stage(),
    'rows_missing': issue_rows_missing(),
    'deleted_since_refresh': issue_deleted_since_refresh(),
    'offset_differs': issue_offset_differs(),
} %}
with issue_kinds as (
    select * from {{ ref('issue_kinds') }}
),

leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

visits as (
    select * from {{ ref('fct_stage_visits') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

managers as (
    select * from {{ ref('dim_managers') }}
),

name_issues as (
    select * from {{ ref('name_issues') }}
),

spend_issues as (
    select * from {{ ref('spend_issues') }}
),

load_completeness as (
    select * from {{ ref('load_completeness') }}
),

refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

stg_leads as (
    select * from {{ ref('stg_bitrix24__leads') }}
),

stg_deals as (
    select * from {{ ref('stg_bitrix24__deals') }}
),

contacts as (
    select * from {{ ref('stg_bitrix24__contacts') }}
),

companies as (
    select * from {{ ref('stg_bitrix24__companies') }}
),

stage_history as (
    select * from {{ ref('int_stage_history__unioned') }}
),

vanished_stage_history as (
    select * from {{ ref('stg_bitrix24__vanished_stage_history') }}
),

outcomes as (
    select * from {{ ref('int_item_outcomes__dated') }}
),

rates as (
    select * from {{ ref('int_currency_rates__bounded') }}
),

impossible_times as (
    select * from {{ ref('stg_bitrix24__impossible_times') }}
),

items as (
    select
        'lead' as entity,
        lead_id as item_id,
        title,
        manager_id,
        manager_name,
        stage_id,
        stage_name,
        semantics_source,
        outcome as state,
        is_counted,
        is_in_work,
        currency_code,
        amount,
        opportunity_amount as base_amount,
        created_at,
        created_date,
        outcome_at as closed_at,
        processing_days as closing_days,
        crm_url
    from leads
    union all
    select
        'deal' as entity,
        deal_id as item_id,
        title,
        manager_id,
        manager_name,
        stage_id,
        stage_name,
        semantics_source,
        state,
        is_counted,
        is_in_work,
        currency_code,
        amount,
        base_amount,
        created_at,
        created_date,
        coalesce(sold_at, failed_at) as closed_at,
        days_to_close as closing_days,
        crm_url
    from deals
),

last_refresh as (
    select
        crm_mode,
        portal_url,
        as_of,
        as_of_date
    from refreshes
    where is_last
),

-- Moved while the extraction ran: the stage is the new one already, its row of history is after
-- as_of and comes with the next refresh.
moved_meanwhile as (
    select
        'lead' as entity,
        stg_leads.lead_id as item_id
    from stg_leads
    cross join last_refresh
    where stg_leads.moved_at > last_refresh.as_of
    union all
    select
        'deal' as entity,
        stg_deals.deal_id as item_id
    from stg_deals
    cross join last_refresh
    where stg_deals.moved_at > last_refresh.as_of
),

-- A rate is known and the amount times it is more than a report can hold.
amounts_too_large as (
    select
        items.entity,
        items.item_id
    from items
    inner join rates
        on items.currency_code = rates.currency_code
    where
        items.amount <> 0
        and items.base_amount is null
        and case
            when items.state = 'sale' then rates.first_rate_amount
            else rates.latest_rate_amount
        end is not null
),

-- A CTE of its own for each kind.
{%- for kind, query in kinds_of_records.items() %}
    {{ kind }} as (
        {{ query }}
    ),
{%- endfor %}

{%- for kind, query in kinds_of_groups.items() %}
    {{ kind }} as (
        {{ query }}
    ),
{%- endfor %}

records as (
    {%- for kind in kinds_of_records %}
        select * from {{ kind }}
        {{ "union all" if not loop.last }}
    {%- endfor %}
),

record_groups as (
    select * from name_issues
    union all
    select * from spend_issues
    {%- for kind in kinds_of_groups %}
        union all
        select * from {{ kind }}
    {%- endfor %}
),

described_records as (
    select
        records.kind,
        records.entity,
        cast(records.item_id as string) as record_key,
        records.item_id,
        items.title,
        items.manager_id,
        items.manager_name,
        cast(1 as bigint) as records_count,
        items.base_amount,
        records.explanation_ru,
        records.explanation_en,
        items.crm_url
    from records
    inner join items
        on
            records.entity = items.entity
            and records.item_id = items.item_id
),

-- Contacts and companies have no figures; only their times are looked at.
impossible_times_of_customers as (
    select
        impossible_time.kind,
        impossible_time.entity,
        cast(impossible_time.item_id as string) as record_key,
        impossible_time.item_id,
        cast(null as string) as title,
        cast(null as bigint) as manager_id,
        cast(null as string) as manager_name,
        cast(1 as bigint) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        impossible_time.explanation_ru,
        impossible_time.explanation_en,
        last_refresh.portal_url || '/crm/' || impossible_time.entity || '/details/'
        || cast(impossible_time.item_id as string) || '/' as crm_url
    from impossible_time
    cross join last_refresh
    where impossible_time.entity in ('contact', 'company')
),

unioned as (
    select * from described_records
    union all
    select * from impossible_times_of_customers
    union all
    select
        kind,
        entity,
        record_key,
        cast(null as bigint) as item_id,
        cast(null as string) as title,
        cast(null as bigint) as manager_id,
        cast(null as string) as manager_name,
        records_count,
        base_amount,
        explanation_ru,
        explanation_en,
        cast(null as string) as crm_url
    from record_groups
),

final as (
    select
        unioned.kind,
        issue_kinds.severity,
        unioned.entity,
        unioned.record_key,
        unioned.item_id,
        unioned.title,
        unioned.manager_id,
        unioned.manager_name,
        unioned.records_count,
        cast(unioned.base_amount as decimal(38, 2)) as base_amount,
        unioned.explanation_ru,
        unioned.explanation_en,
        unioned.crm_url
    from unioned
    left join issue_kinds
        on unioned.kind = issue_kinds.kind
)

select * from final

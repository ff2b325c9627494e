-- Why a report looks wrong: the records to mend, with the reason, the amount and the link.
-- Grain: one row per kind, entity and record; days, stages and tables are one row each.

{#- A day is an import where it has at least this many records, and more than this many times the
    median of the days that have any: busy days do not, and small portals are left alone. #}
{%- set import_records = 20 %}
{%- set import_times_median = 10 %}

{#- The portal writes the first row of the history after its item, seconds later where rules and
    robots run in between: only what is more than this many seconds older lacks history. #}
{%- set first_history_seconds = 60 %}

{#- Stands for every amount above it, as the extraction stores them. #}
{%- set largest_amount = '999999999999999999.99' %}
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

lead_stage_history as (
    select * from {{ ref('stg_bitrix24__lead_stage_history') }}
),

deal_stage_history as (
    select * from {{ ref('stg_bitrix24__deal_stage_history') }}
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

-- As the portal calls them: the ID in a name says nothing of what the stage means.
deal_stages as (
    select
        stage_id,
        semantics,
        is_deleted,
        case
            when is_name_with_id then replace(stage_name, ' (ID ' || stage_id || ')', '')
            else stage_name
        end as stage_name
    from stages
    where entity = 'deal'
),

-- Names that say "closed successfully" in the portal's two usual languages, without a "not".
success_stages as (
    select
        stage_id,
        stage_name
    from deal_stages
    where
        semantics = 'P'
        and not is_deleted
        and regexp_extract(
            lower(stage_name),
            '(^|[^a-zа-яё])(успе(шн|х)|оплачен|продан|выигран|success|(won|paid)($|[^a-zа-яё]))',
            2
        ) <> ''
        and regexp_extract(
            lower(stage_name),
            '(^|[^a-zа-яё])(не|без|not) +(успе(шн|х)|оплачен|продан|выигран|success|won|paid)',
            2
        ) = ''
),

-- Legacy deals and those of stages that the settings name stay listed: this row explains them.
success_stage_not_final as (
    select
        'success_stage_not_final' as kind,
        'deal' as entity,
        deals.deal_id as item_id,
        'Этап «' || success_stages.stage_name || '» не завершающий'
        || case
            when deals.is_legacy then ': сделка отмечена как импорт'
            when deals.is_sale then ': продажа по настройке paid_stages'
            else ': сделка в работе, а не продажа'
        end as explanation_ru,
        'Stage "' || success_stages.stage_name || '" is not final'
        || case
            when deals.is_legacy then ': the deal is marked as an import'
            when deals.is_sale then ': a sale by the setting paid_stages'
            else ': the deal is in work, no sale'
        end as explanation_en
    from deals
    inner join success_stages
        on deals.stage_id = success_stages.stage_id
    where deals.semantics = 'P'
),

sale_without_amount as (
    select
        'sale_without_amount' as kind,
        'deal' as entity,
        deal_id as item_id,
        case when amount is null then 'Сумма не указана' else 'Сумма равна нулю' end
            as explanation_ru,
        case when amount is null then 'There is no amount' else 'The amount is zero' end
            as explanation_en
    from deals
    where
        is_counted
        and is_sale
        and coalesce(amount, 0) = 0
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

amount_too_large as (
    select
        'amount_too_large' as kind,
        items.entity,
        items.item_id,
        case
            when abs(items.amount) >= {{ largest_amount }} then 'Сумма не меньше 10^18'
            else 'Сумма ' || cast(items.amount as string) || ' ' || items.currency_code
        end || ': в основной валюте не помещается' as explanation_ru,
        case
            when abs(items.amount) >= {{ largest_amount }} then 'The amount is 10^18 or more'
            else 'The amount ' || cast(items.amount as string) || ' ' || items.currency_code
        end || ': too large in the base currency' as explanation_en
    from items
    inner join amounts_too_large
        on
            items.entity = amounts_too_large.entity
            and items.item_id = amounts_too_large.item_id
    where items.is_counted
),

amount_without_rate as (
    select
        'amount_without_rate' as kind,
        entity,
        item_id,
        case
            when currency_code is null then 'У суммы ' || cast(amount as string) || ' нет валюты'
            else 'Нет курса: ' || cast(amount as string) || ' ' || currency_code
        end as explanation_ru,
        case
            when currency_code is null
                then 'The amount ' || cast(amount as string) || ' has no currency'
            else 'No rate: ' || cast(amount as string) || ' ' || currency_code
        end as explanation_en
    from items
    where
        is_counted
        and amount <> 0
        and base_amount is null
        and not exists (
            select 1
            from amounts_too_large
            where
                amounts_too_large.entity = items.entity
                and amounts_too_large.item_id = items.item_id
        )
),

sale_without_date as (
    select
        'sale_without_date' as kind,
        'deal' as entity,
        deals.deal_id as item_id,
        case
            when deals.close_date > last_refresh.as_of_date
                then 'Дата закрытия ' || cast(deals.close_date as string)
                    || ' ещё не наступила, а больше ничто не говорит, когда была продажа'
            else
                'Ни история этапов, ни перемещение, ни дата закрытия не говорят, когда была продажа'
        end as explanation_ru,
        case
            when deals.close_date > last_refresh.as_of_date
                then 'The close date ' || cast(deals.close_date as string)
                    || ' is yet to come, and nothing else says when it was sold'
            else 'Neither stage history nor the last move nor a close date says when it was sold'
        end as explanation_en
    from deals
    cross join last_refresh
    left join moved_meanwhile
        on
            moved_meanwhile.entity = 'deal'
            and deals.deal_id = moved_meanwhile.item_id
    where
        deals.is_counted
        and deals.is_sale
        and deals.sold_at is null
        and moved_meanwhile.item_id is null
),

outcome_without_date as (
    select
        'outcome_without_date' as kind,
        items.entity,
        items.item_id,
        'Неизвестно, с какого дня запись на этапе «' || items.stage_name || '»' as explanation_ru,
        'Nothing says since when it stands on stage "' || items.stage_name || '"'
            as explanation_en
    from items
    left join moved_meanwhile
        on
            items.entity = moved_meanwhile.entity
            and items.item_id = moved_meanwhile.item_id
    where
        items.is_counted
        and items.state in ('quality', 'junk', 'failed')
        and items.closed_at is null
        and moved_meanwhile.item_id is null
),

unknown_semantics as (
    select
        'unknown_semantics' as kind,
        entity,
        item_id,
        'Этап ' || coalesce(stage_id, 'не указан')
        || ': его значение неизвестно, считается в работе' as explanation_ru,
        'Stage ' || coalesce(stage_id, 'missing') || ': its meaning is unknown, taken as in work'
            as explanation_en
    from items
    where
        is_counted
        and semantics_source = 'default'
),

sale_date_fallback as (
    select
        'sale_date_fallback' as kind,
        'deal' as entity,
        deals.deal_id as item_id,
        case deals.sold_at_source
            when 'close_date' then 'Дата продажи взята из даты закрытия: '
            when 'refresh' then 'Дата продажи взята из обновления, которое её увидело: '
            else 'Дата продажи взята из последнего перемещения: '
        end || cast(deals.sold_date as string) as explanation_ru,
        case deals.sold_at_source
            when 'close_date' then 'The date of the sale is the close date: '
            when 'refresh' then 'The date of the sale is that of the refresh that saw it: '
            else 'The date of the sale is that of the last move: '
        end || cast(deals.sold_date as string) as explanation_en
    from deals
    left join moved_meanwhile
        on
            moved_meanwhile.entity = 'deal'
            and deals.deal_id = moved_meanwhile.item_id
    -- Imports are told as such.
    left join outcomes
        on
            outcomes.entity = 'deal'
            and deals.deal_id = outcomes.item_id
    where
        deals.is_counted
        and deals.is_sale
        and outcomes.import_evidence is null
        and deals.sold_at_source not in ('history', 'none')
        and moved_meanwhile.item_id is null
),

imported_history as (
    select
        case
            when outcomes.import_evidence = 'close_date' then 'probably_imported'
            else 'imported_history'
        end as kind,
        items.entity,
        items.item_id,
        'История начинается ' || {{ portal_time_text('outcomes.first_history_at') }}
        || case
            when outcomes.import_evidence = 'close_date'
                then ', а закрыто раньше, чем создано: вероятно, импорт; дата итога — '
                    || coalesce({{ portal_time_text('items.closed_at') }}, 'неизвестна')
            when items.closed_at is null
                then ' с импорта, и ничто не говорит, когда был итог'
            when outcomes.import_evidence = 'moved_time'
                then ' с импорта; дата итога — перемещение '
                    || {{ portal_time_text('items.closed_at') }}
            when outcomes.import_evidence = 'earlier_moved_time'
                then ' с импорта; дата итога — перемещение '
                    || {{ portal_time_text('items.closed_at') }}
                    || ', каким его видело прежнее обновление'
            else ' с импорта; дата итога — дата закрытия '
                || {{ portal_time_text('items.closed_at') }}
        end as explanation_ru,
        'The history begins ' || {{ portal_time_text('outcomes.first_history_at') }}
        || case
            when outcomes.import_evidence = 'close_date'
                then ' and it was closed before it was created: probably imported; dated '
                    || coalesce({{ portal_time_text('items.closed_at') }}, 'unknown')
            when items.closed_at is null
                then ' with an import, and nothing says when it came to its outcome'
            when outcomes.import_evidence = 'moved_time'
                then ' with an import; dated by its move of '
                    || {{ portal_time_text('items.closed_at') }}
            when outcomes.import_evidence = 'earlier_moved_time'
                then ' with an import; dated by its move of '
                    || {{ portal_time_text('items.closed_at') }}
                    || ', as an earlier refresh saw it'
            else ' with an import; dated by its close date '
                || {{ portal_time_text('items.closed_at') }}
        end as explanation_en
    from items
    inner join outcomes
        on
            items.entity = outcomes.entity
            and items.item_id = outcomes.item_id
    where
        items.is_counted
        and outcomes.import_evidence is not null
        and outcomes.first_history_at is not null
),

-- The field named is the first of them.
impossible_times_summarized as (
    select
        entity,
        item_id,
        count(*) as times_count,
        min_by(
            case
                when table_name = 'activities' then 'дело'
                when table_name in ('lead_stage_history', 'deal_stage_history')
                    then 'история этапов'
                when field_name = 'created_time' then 'создание'
                when field_name = 'updated_time' then 'изменение'
                when field_name = 'moved_time' then 'перемещение'
                when field_name = 'date_closed' then 'закрытие'
                else 'последняя активность'
            end || ' ' || {{ portal_time_text('happened_at') }},
            table_name || field_name || cast(record_id as string)
        ) as example_ru,
        min_by(
            case
                when table_name = 'activities' then 'activity'
                when table_name in ('lead_stage_history', 'deal_stage_history') then 'stage history'
                when field_name = 'created_time' then 'created'
                when field_name = 'updated_time' then 'changed'
                when field_name = 'moved_time' then 'moved'
                when field_name = 'date_closed' then 'closed'
                else 'last activity'
            end || ' ' || {{ portal_time_text('happened_at') }},
            table_name || field_name || cast(record_id as string)
        ) as example_en
    from impossible_times
    group by
        entity,
        item_id
),

impossible_time as (
    select
        'impossible_time' as kind,
        entity,
        item_id,
        'Невозможных времён: ' || cast(times_count as string) || '; ' || example_ru
            as explanation_ru,
        'Times that cannot be: ' || cast(times_count as string) || '; ' || example_en
            as explanation_en
    from impossible_times_summarized
),

sale_before_lead as (
    select
        'sale_before_lead' as kind,
        'deal' as entity,
        deal_id as item_id,
        'Продажа ' || {{ portal_time_text('sold_at') }} || ', а лид ' || cast(lead_id as string)
        || ' создан ' || {{ portal_time_text('lead_created_at') }} as explanation_ru,
        'Sold ' || {{ portal_time_text('sold_at') }} || ', but its lead ' || cast(lead_id as string)
        || ' was created ' || {{ portal_time_text('lead_created_at') }} as explanation_en
    from deals
    where
        is_counted
        and is_sale
        and sold_at < lead_created_at
),

closed_before_created as (
    select
        'closed_before_created' as kind,
        entity,
        item_id,
        'Закрыто ' || {{ portal_time_text('closed_at') }} || ', а создано '
        || {{ portal_time_text('created_at') }} as explanation_ru,
        'Closed ' || {{ portal_time_text('closed_at') }} || ', but created '
        || {{ portal_time_text('created_at') }} as explanation_en
    from items
    where
        is_counted
        and closing_days < 0
),

negative_visits as (
    select
        entity,
        item_id,
        count(*) as visits_count
    from visits
    where
        is_counted
        and days < 0
    group by
        entity,
        item_id
),

negative_stage_days as (
    select
        'negative_stage_days' as kind,
        entity,
        item_id,
        'Пребываний на этапах с отрицательной длительностью: ' || cast(visits_count as string)
            as explanation_ru,
        'Stays on stages of negative length: ' || cast(visits_count as string) as explanation_en
    from negative_visits
),

unknown_stage as (
    select
        'unknown_stage' as kind,
        items.entity,
        items.item_id,
        case
            when items.stage_id is null then 'Этап не указан'
            else 'Этапа ' || items.stage_id || ' нет в справочнике'
        end as explanation_ru,
        case
            when items.stage_id is null then 'There is no stage'
            else 'Stage ' || items.stage_id || ' is not in the directory'
        end as explanation_en
    from items
    left join stages
        on
            items.entity = stages.entity
            and items.stage_id = stages.stage_id
    where
        items.is_counted
        and coalesce(stages.is_deleted, true)
),

held_by_dismissed as (
    select
        'held_by_dismissed' as kind,
        items.entity,
        items.item_id,
        'В работе у уволенного сотрудника: ' || items.manager_name as explanation_ru,
        'In work with a dismissed user: ' || items.manager_name as explanation_en
    from items
    inner join managers
        on items.manager_id = managers.manager_id
    where
        items.is_counted
        and items.is_in_work
        and not managers.is_active
        and not managers.is_unknown
),

-- Deals of any pipeline and own legal entities count here: something was made of the lead.
leads_linked as (
    select portal_lead_id as lead_id from stg_deals
    union
    select lead_id from contacts
    union
    select lead_id from companies
),

quality_with_nothing_linked as (
    select
        'quality_with_nothing_linked' as kind,
        'lead' as entity,
        leads.lead_id as item_id,
        'Нет ни сделки, ни контакта, ни компании' as explanation_ru,
        'There is no deal, contact or company' as explanation_en
    from leads
    inner join stg_leads
        on leads.lead_id = stg_leads.lead_id
    left join leads_linked
        on leads.lead_id = leads_linked.lead_id
    where
        leads.is_counted
        and leads.is_quality
        and leads_linked.lead_id is null
        and stg_leads.company_id is null
        and stg_leads.contact_id is null
        and coalesce(stg_leads.contact_ids, '[]') = '[]'
),

sale_not_quality as (
    select
        'sale_not_quality' as kind,
        'lead' as entity,
        lead_id as item_id,
        'Продаж: ' || cast(sales_count as string) || ', а лид на этапе «' || stage_name || '»'
            as explanation_ru,
        'Sales: ' || cast(sales_count as string) || ', but the lead stands on stage "' || stage_name
        || '"' as explanation_en
    from leads
    where
        is_counted
        and has_sale
        and not is_quality
),

-- Without leads (simple CRM) no deal can have one.
without_lead as (
    select
        case when deals.is_sale then 'sale_without_lead' else 'deal_without_lead' end as kind,
        'deal' as entity,
        deals.deal_id as item_id,
        'Сделка создана без лида' as explanation_ru,
        'The deal was created without a lead' as explanation_en
    from deals
    cross join last_refresh
    where
        deals.is_counted
        and deals.lead_link = 'none'
        and last_refresh.crm_mode is distinct from 'simple'
),

deal_with_deleted_lead as (
    select
        'deal_with_deleted_lead' as kind,
        'deal' as entity,
        deal_id as item_id,
        'Лида ' || cast(portal_lead_id as string) || ' на портале больше нет' as explanation_ru,
        'Lead ' || cast(portal_lead_id as string) || ' is no longer on the portal' as explanation_en
    from deals
    where
        is_counted
        and lead_link = 'deleted'
),

repeat_flag_disagrees as (
    select
        'repeat_flag_disagrees' as kind,
        'deal' as entity,
        deal_id as item_id,
        case
            when is_repeat_customer
                then 'По сделкам клиента повторная, признак портала: новая'
            else 'По сделкам клиента новая, признак портала: повторная'
        end as explanation_ru,
        case
            when is_repeat_customer
                then 'Repeat by the deals of the customer; the portal''s flag says new'
            else 'New by the deals of the customer; the portal''s flag says repeat'
        end as explanation_en
    from deals
    where
        is_counted
        and is_repeat_flag_different
),

records as (
    select * from success_stage_not_final
    union all
    select * from sale_without_amount
    union all
    select * from amount_without_rate
    union all
    select * from amount_too_large
    union all
    select * from sale_without_date
    union all
    select * from outcome_without_date
    union all
    select * from unknown_semantics
    union all
    select * from sale_date_fallback
    union all
    select * from imported_history
    union all
    select * from impossible_time
    union all
    select * from sale_before_lead
    union all
    select * from closed_before_created
    union all
    select * from negative_stage_days
    union all
    select * from unknown_stage
    union all
    select * from held_by_dismissed
    union all
    select * from quality_with_nothing_linked
    union all
    select * from sale_not_quality
    union all
    select * from without_lead
    union all
    select * from deal_with_deleted_lead
    union all
    select * from repeat_flag_disagrees
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

-- Legacy records included: the day explains them.
days as (
    select
        entity,
        created_date,
        count(*) as records_count,
        sum(base_amount) as base_amount
    from items
    where created_date is not null
    group by
        entity,
        created_date
),

medians as (
    select
        entity,
        median(records_count) as records_count
    from days
    group by entity
),

import_day as (
    select
        'import_day' as kind,
        days.entity,
        cast(days.created_date as string) as record_key,
        days.records_count,
        days.base_amount,
        'За день ' || cast(days.created_date as string) || ' создано '
        || cast(days.records_count as string) || ', обычно в день '
        || cast(cast(medians.records_count as bigint) as string) as explanation_ru,
        'Created on ' || cast(days.created_date as string) || ': '
        || cast(days.records_count as string) || ', usually in a day '
        || cast(cast(medians.records_count as bigint) as string) as explanation_en
    from days
    inner join medians
        on days.entity = medians.entity
    where
        days.records_count >= {{ import_records }}
        and days.records_count > {{ import_times_median }} * medians.records_count
),

unknown_stage_in_history as (
    select
        'unknown_stage_in_history' as kind,
        visits.entity,
        visits.stage_id as record_key,
        count(distinct visits.item_id) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        'Этапа ' || visits.stage_id || ' нет в справочнике; побывало на нём: '
        || cast(count(distinct visits.item_id) as string) as explanation_ru,
        'Stage ' || visits.stage_id || ' is not in the directory; stood on it: '
        || cast(count(distinct visits.item_id) as string) as explanation_en
    from visits
    inner join stages
        on
            visits.entity = stages.entity
            and visits.stage_id = stages.stage_id
            and stages.is_deleted
    where visits.is_counted
    group by
        visits.entity,
        visits.stage_id
),

-- Of living items: only incremental readings keep rows of deleted ones.
history_starts as (
    select
        'lead' as entity,
        min(lead_stage_history.created_at) as first_at
    from lead_stage_history
    inner join leads
        on lead_stage_history.lead_id = leads.lead_id
    union all
    select
        'deal' as entity,
        min(deal_stage_history.created_at) as first_at
    from deal_stage_history
    inner join deals
        on deal_stage_history.deal_id = deals.deal_id
),

history_begins as (
    select
        'history_begins' as kind,
        items.entity,
        items.entity as record_key,
        count(*) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        case
            when history_starts.first_at is null then 'Истории этапов нет; записей: '
            else
                'История этапов начинается ' || {{ portal_time_text('history_starts.first_at') }}
                || '; записей старше неё: '
        end || cast(count(*) as string) as explanation_ru,
        case
            when history_starts.first_at is null then 'There is no stage history; records: '
            else
                'Stage history begins ' || {{ portal_time_text('history_starts.first_at') }}
                || '; records older than it: '
        end || cast(count(*) as string) as explanation_en
    from items
    inner join history_starts
        on items.entity = history_starts.entity
    where
        history_starts.first_at is null
        or {{ seconds_between('items.created_at', 'history_starts.first_at') }}
        > {{ first_history_seconds }}
    group by
        items.entity,
        history_starts.first_at
),

-- What the portal no longer tells of another pipeline, no refresh had read either.
deal_histories as (
    select
        deal_id,
        created_at
    from deal_stage_history
    union all
    select
        item_id as deal_id,
        created_at
    from vanished_stage_history
    where entity = 'deal'
),

deals_without_beginning as (
    select
        deals.deal_id,
        deals.base_amount
    from deals
    inner join deal_histories
        on deals.deal_id = deal_histories.deal_id
    where not deals.is_legacy
    group by
        deals.deal_id,
        deals.base_amount,
        deals.created_at
    having
        {{ seconds_between('deals.created_at', 'min(deal_histories.created_at)') }}
        > {{ first_history_seconds }}
),

history_begins_after_deal as (
    select
        'history_begins_after_deal' as kind,
        'deal' as entity,
        'deal' as record_key,
        count(*) as records_count,
        sum(base_amount) as base_amount,
        'История начинается позже создания, прежние воронки и продажи в них неизвестны; сделок: '
        || cast(count(*) as string)
        || coalesce(', сумма: ' || cast(sum(base_amount) as string), '') as explanation_ru,
        'History begins after the creation, earlier pipelines and sales in them are unknown; '
        || 'deals: '
        || cast(count(*) as string)
        || coalesce(', amount: ' || cast(sum(base_amount) as string), '') as explanation_en
    from deals_without_beginning
    having count(*) > 0
),

open_after_hand_over as (
    select
        'open_after_hand_over' as kind,
        'deal' as entity,
        cast(sale_pipeline_id as string) || ' → ' || cast(pipeline_id as string) as record_key,
        count(*) as records_count,
        sum(base_amount) as base_amount,
        'Сделок выиграно в «' || sale_pipeline_name || '», стоят открытыми в «' || pipeline_name
        || '»: ' || cast(count(*) as string)
        || coalesce(', сумма: ' || cast(sum(base_amount) as string), '')
        || '; считаются проданными. Назовите sales_pipelines, если продаёт «' || pipeline_name
        || '»' as explanation_ru,
        'Deals won in "' || sale_pipeline_name || '" stand open in "' || pipeline_name || '": '
        || cast(count(*) as string)
        || coalesce(', amount: ' || cast(sum(base_amount) as string), '')
        || '; counted as sold. Name sales_pipelines if "' || pipeline_name || '" sells'
            as explanation_en
    from deals
    where
        is_counted
        and is_handed_over
        and {{ deal_state('stage_id', 'semantics') }} = 'in_work'
        and not {{ var('sales_pipelines') | length > 0 }}
    group by
        sale_pipeline_id,
        sale_pipeline_name,
        pipeline_id,
        pipeline_name
),

-- Only a setting makes a success of a stage that is not final.
paid_stages as (
    select
        pipeline_id,
        stage_name,
        sort_order
    from stages
    where
        entity = 'deal'
        and stage_state = 'success'
        and semantics <> 'S'
),

open_behind_paid as (
    select
        stages.stage_id,
        stages.stage_name,
        max_by(paid_stages.stage_name, paid_stages.sort_order) as paid_stage_name
    from stages
    inner join paid_stages
        on
            stages.pipeline_id = paid_stages.pipeline_id
            and stages.sort_order > paid_stages.sort_order
    where
        stages.entity = 'deal'
        and stages.stage_state = 'in_work'
        and not stages.is_deleted
    group by
        stages.stage_id,
        stages.stage_name
),

open_behind_paid_stage as (
    select
        'open_behind_paid_stage' as kind,
        'deal' as entity,
        open_behind_paid.stage_id as record_key,
        count(*) as records_count,
        sum(deals.base_amount) as base_amount,
        'Сделки на «' || open_behind_paid.stage_name || '», за «'
        || open_behind_paid.paid_stage_name || '», не считаются проданными: '
        || cast(count(*) as string)
        || coalesce(', сумма: ' || cast(sum(deals.base_amount) as string), '')
        || '. Назовите в paid_stages и этот этап, если они оплачены' as explanation_ru,
        'Deals on "' || open_behind_paid.stage_name || '", behind "'
        || open_behind_paid.paid_stage_name || '", count as not sold: '
        || cast(count(*) as string)
        || coalesce(', amount: ' || cast(sum(deals.base_amount) as string), '')
        || '. Name this stage in paid_stages too if they are paid' as explanation_en
    from open_behind_paid
    inner join deals
        on open_behind_paid.stage_id = deals.stage_id
    where
        deals.is_counted
        and deals.is_in_work
    group by
        open_behind_paid.stage_id,
        open_behind_paid.stage_name,
        open_behind_paid.paid_stage_name
),

rows_missing as (
    select
        'rows_missing' as kind,
        entity,
        entity as record_key,
        abs(rows_missing) as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        'На портале ' || cast(rows_living + rows_missing as string) || ', загружено '
        || cast(rows_living as string) as explanation_ru,
        'The portal counts ' || cast(rows_living + rows_missing as string) || ', loaded '
        || cast(rows_living as string) as explanation_en
    from load_completeness
    where rows_missing <> 0
),

deleted_since_refresh as (
    select
        'deleted_since_refresh' as kind,
        entity,
        entity as record_key,
        rows_deleted as records_count,
        deleted_base_amount as base_amount,
        'Удалено на портале с прошлого обновления: ' || cast(rows_deleted as string)
        || coalesce(', сумма: ' || cast(deleted_base_amount as string), '') as explanation_ru,
        'Deleted on the portal since the last refresh: ' || cast(rows_deleted as string)
        || coalesce(', amount: ' || cast(deleted_base_amount as string), '') as explanation_en
    from load_completeness
    where
        entity in ('leads', 'deals', 'contacts', 'companies')
        and rows_deleted > 0
),

offset_differs as (
    select
        'offset_differs' as kind,
        'refreshes' as entity,
        'utc_offset' as record_key,
        offset_differences_count as records_count,
        cast(null as decimal(38, 2)) as base_amount,
        'На портале ' || offset_difference_written || ', в отчётах ('
        || '{{ var("portal_timezone") }}) это ' || {{ portal_time_text('offset_difference_at') }}
        || '; расхождения с ' || {{ portal_time_text('first_offset_difference_at') }}
            as explanation_ru,
        'The portal writes ' || offset_difference_written || ', which the reports ('
        || '{{ var("portal_timezone") }}) show as '
        || {{ portal_time_text('offset_difference_at') }}
        || '; it differs since ' || {{ portal_time_text('first_offset_difference_at') }}
            as explanation_en
    from refreshes
    where
        is_last
        and offset_differences_count > 0
),

record_groups as (
    select * from import_day
    union all
    select * from unknown_stage_in_history
    union all
    select * from history_begins
    union all
    select * from history_begins_after_deal
    union all
    select * from open_after_hand_over
    union all
    select * from open_behind_paid_stage
    union all
    select * from rows_missing
    union all
    select * from deleted_since_refresh
    union all
    select * from name_issues
    union all
    select * from offset_differs
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

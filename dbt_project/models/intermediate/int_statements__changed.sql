-- Records of which this build says something new of finished months, or else than the last
-- publication did, and why.
-- Grain: one row per metric and record.
with publications as (
    select * from {{ ref('stg_statements__publications') }}
),

changes as (
    select * from {{ ref('stg_statements__changes') }}
),

statements as (
    select * from {{ ref('int_statements__current') }}
),

log_rows as (
    select * from {{ ref('stg_bitrix24__item_versions') }}
),

versions as (
    select * from {{ ref('int_item_versions__spanned') }}
),

currency_rates as (
    select * from {{ ref('stg_bitrix24__currency_rates') }}
),

leads as (
    select * from {{ ref('fct_leads') }}
),

deals as (
    select * from {{ ref('fct_deals') }}
),

-- All null before the first publication: nothing was said.
last_publication as (
    select
        max_by(refresh_no, publication_no) as refresh_no,
        max_by(as_of, publication_no) as as_of,
        max(stated_until) as stated_until
    from publications
    where is_published
),

this_publication as (
    select
        publications.publication_no,
        publications.stated_until,
        publications.changed_settings,
        publications.is_upgraded,
        last_publication.refresh_no as before_refresh_no,
        last_publication.as_of as before_as_of,
        last_publication.stated_until as before_stated_until
    from publications
    cross join last_publication
    where not publications.is_published
),

last_said as (
    select *
    from changes
    qualify row_number() over (
            partition by metric_name, record_id
            order by publication_no desc nulls last
        ) = 1
),

-- What was said of months that are not over by today's clock or timezone stays as it was said.
said as (
    select
        last_said.metric_name,
        last_said.record_id,
        last_said.after_month as statement_month,
        last_said.after_source_kind as source_kind,
        last_said.after_source_id as source_id,
        last_said.after_amount as amount
    from last_said
    inner join this_publication
        on last_said.after_month < this_publication.stated_until
),

differing as (
    select
        coalesce(statements.metric_name, said.metric_name) as metric_name,
        coalesce(statements.record_id, said.record_id) as record_id,
        said.statement_month as before_month,
        said.source_kind as before_source_kind,
        said.source_id as before_source_id,
        said.amount as before_amount,
        statements.statement_month as after_month,
        statements.source_kind as after_source_kind,
        statements.source_id as after_source_id,
        statements.amount as after_amount
    from statements
    full outer join said
        on
            statements.metric_name = said.metric_name
            and statements.record_id = said.record_id
    where
        statements.statement_month is distinct from said.statement_month
        or statements.source_kind is distinct from said.source_kind
        or statements.source_id is distinct from said.source_id
        or statements.amount is distinct from said.amount
),

marked as (
    select
        differing.*,
        case differing.metric_name when 'sales_period' then 'deal' else 'lead' end as entity,
        this_publication.*,
        (
            differing.before_month is null
            and (
                this_publication.before_stated_until is null
                or differing.after_month >= this_publication.before_stated_until
            )
        ) as is_first_said
    from differing
    cross join this_publication
),

restated as (
    select
        entity,
        record_id,
        before_refresh_no
    from marked
    where not is_first_said
    group by entity, record_id, before_refresh_no
),

-- What the last publication knew of the record, and what is known now.
compared as (
    select
        restated.entity,
        restated.record_id,
        max_by(versions.state, versions.version_number)
        filter (where versions.refresh_no <= restated.before_refresh_no) as before_state,
        max_by(versions.state, versions.version_number) as state,
        max_by(versions.is_deleted, versions.version_number)
        filter (where versions.refresh_no <= restated.before_refresh_no) as was_deleted,
        max_by(versions.is_deleted, versions.version_number) as is_deleted,
        max_by(versions.pipeline_id, versions.version_number)
        filter (where versions.refresh_no <= restated.before_refresh_no) as before_pipeline_id,
        max_by(versions.pipeline_id, versions.version_number) as pipeline_id,
        max_by(
            coalesce(cast(versions.amount as string), '') || coalesce(versions.currency_code, ''),
            versions.version_number
        ) filter (where versions.refresh_no <= restated.before_refresh_no) as before_own_amount,
        max_by(
            coalesce(cast(versions.amount as string), '') || coalesce(versions.currency_code, ''),
            versions.version_number
        ) as own_amount,
        max_by(versions.currency_code, versions.version_number) as currency_code
    from restated
    inner join versions
        on
            restated.entity = versions.entity
            and restated.record_id = versions.item_id
    group by restated.entity, restated.record_id
),

touched as (
    select
        log_rows.entity,
        log_rows.item_id
    from log_rows
    inner join this_publication
        on log_rows.refresh_no > this_publication.before_refresh_no
    group by log_rows.entity, log_rows.item_id
),

new_rates as (
    select currency_rates.currency_code
    from currency_rates
    inner join this_publication
        on currency_rates.refresh_no > this_publication.before_refresh_no
    group by currency_rates.currency_code
),

events as (
    select
        'leads_quality_period' as metric_name,
        lead_id as record_id,
        lead_id,
        false as is_handed_over,
        quality_at as happened_at
    from leads
    union all
    select
        'sales_period' as metric_name,
        deal_id as record_id,
        lead_id,
        is_handed_over,
        sold_at as happened_at
    from deals
),

known as (
    select
        marked.*,
        compared.before_state is null as is_new,
        compared.was_deleted,
        compared.is_deleted,
        compared.before_state = 'success' as was_success,
        compared.state = 'success' as is_success,
        compared.state = 'failed' as is_failed,
        events.is_handed_over,
        compared.pipeline_id <> compared.before_pipeline_id as is_moved,
        compared.own_amount <> compared.before_own_amount as is_amount_edited,
        new_rates.currency_code is not null as has_new_rate,
        touched.item_id is not null or touched_leads.item_id is not null as is_touched,
        events.happened_at > marked.before_as_of as is_happened_since
    from marked
    left join compared
        on
            marked.entity = compared.entity
            and marked.record_id = compared.record_id
    left join events
        on
            marked.metric_name = events.metric_name
            and marked.record_id = events.record_id
    left join touched
        on
            marked.entity = touched.entity
            and marked.record_id = touched.item_id
    left join touched as touched_leads
        on
            events.lead_id = touched_leads.item_id
            and touched_leads.entity = 'lead'
    left join new_rates
        on compared.currency_code = new_rates.currency_code
),

-- What happened to the record itself goes before what changed around it.
with_reason as (
    select
        *,
        case
            when (before_month is distinct from after_month)
                then
                    case
                        when is_deleted and not was_deleted then 'deleted'
                        when was_deleted and not is_deleted then 'restored'
                        when is_new then 'late_import'
                        when metric_name = 'leads_received' then null
                        -- A failure where it was handed over to does not undo the sale.
                        when is_handed_over and is_touched then 'handed_over'
                        when was_success and is_failed then 'failed'
                        when is_moved then 'moved'
                        when was_success and not is_success then 'reopened'
                        when is_success and not was_success then 'closed_late'
                        when is_touched and is_happened_since then 'reopened'
                    end
            when
                (before_source_kind is distinct from after_source_kind)
                or (before_source_id is distinct from after_source_id)
                then
                    case
                        when after_source_kind = 'lead_deleted' then 'deleted'
                        when before_source_kind = 'lead_deleted' then 'restored'
                        when is_touched then 'source_changed'
                    end
            when is_amount_edited then 'amount_changed'
            when changed_settings like '%base_currency%' then 'changed_setting'
            when has_new_rate then 'new_rate'
        end as own_reason
    from known
),

final as (
    select
        publication_no,
        metric_name,
        record_id,
        before_month,
        before_source_kind,
        before_source_id,
        before_amount,
        after_month,
        after_source_kind,
        after_source_id,
        after_amount,
        case
            when is_first_said then null
            when own_reason is not null then own_reason
            when changed_settings <> '' then 'changed_setting'
            when is_upgraded then 'upgrade'
            when (before_month is distinct from after_month) then 'redated'
            else 'other'
        end as reason
    from with_reason
)

select * from final

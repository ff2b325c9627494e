-- What changed in finished months since it was published: the figure before and after, and why.
-- Grain: one row per publication, metric, month, and source or all sources.
with publications as (
    select * from {{ ref('stg_statements__publications') }}
),

changes as (
    select * from {{ ref('stg_statements__changes') }}
),

new_changes as (
    select * from {{ ref('int_statements__changed') }}
),

restated_records as (
    select * from {{ ref('restated_records') }}
),

sources as (
    select * from {{ ref('dim_sources') }}
),

numbered as (
    select
        publication_no,
        refresh_no,
        as_of,
        max(stated_until) over earlier as before_stated_until,
        lag(publication_no) over (order by publication_no nulls last) as before_publication_no,
        lag(refresh_no) over (order by publication_no nulls last) as before_refresh_no,
        lag(as_of) over (order by publication_no nulls last) as before_as_of
    from publications
    window earlier as (
        order by publication_no nulls last
        rows between unbounded preceding and 1 preceding
    )
),

-- Where a record stood counts down, where it stands counts up.
sides as (
    {%- for relation in ['changes', 'new_changes'] %}
        {%- for side, sign in [('before', -1), ('after', 1)] %}
            select
                publication_no,
                metric_name,
                record_id,
                {{ side }}_month as statement_month,
                {{ side }}_source_kind as source_kind,
                {{ side }}_source_id as source_id,
                {{ sign }} as records_count,
                {{ sign }} * {{ side }}_amount as amount,
                case when {{ side }}_amount is not null then {{ sign }} else 0 end as known_count,
                reason
            from {{ relation }}
            where {{ side }}_month is not null
            {{ 'union all' if not loop.last }}
        {%- endfor %}
        {{ 'union all' if not loop.last }}
    {%- endfor %}
),

by_source as (
    select
        publication_no,
        metric_name,
        statement_month,
        source_kind,
        source_id,
        sum(records_count) as records_count,
        sum(amount) as amount,
        sum(known_count) as known_count
    from sides
    group by publication_no, metric_name, statement_month, source_kind, source_id
),

-- Of the total the sources are summed once more.
with_total as (
    select * from by_source
    union all
    select
        publication_no,
        metric_name,
        statement_month,
        'all_sources' as source_kind,
        null as source_id,
        sum(records_count) as records_count,
        sum(amount) as amount,
        sum(known_count) as known_count
    from by_source
    group by publication_no, metric_name, statement_month
),

summed as (
    select
        publication_no,
        metric_name,
        statement_month,
        source_kind,
        source_id,
        records_count,
        coalesce(amount, 0) as amount,
        known_count,
        sum(records_count) over so_far as records_so_far,
        coalesce(sum(amount) over so_far, 0) as amount_so_far,
        sum(known_count) over so_far as known_so_far
    from with_total
    window so_far as (
        partition by metric_name, statement_month, source_kind, source_id
        order by publication_no nulls last
        rows between unbounded preceding and current row
    )
),

-- The sales are two figures: their number, and their amount as far as it is known.
figures as (
    select
        publication_no,
        metric_name as record_metric_name,
        metric_name,
        statement_month,
        source_kind,
        source_id,
        cast(records_so_far - records_count as decimal(38, 2)) as before_value,
        cast(records_so_far as decimal(38, 2)) as after_value,
        0 as before_unknown_count,
        0 as after_unknown_count
    from summed
    union all
    select
        publication_no,
        metric_name as record_metric_name,
        'sales_amount_period' as metric_name,
        statement_month,
        source_kind,
        source_id,
        cast(
            case
                when
                    known_so_far - known_count > 0
                    or records_so_far - records_count = 0
                    then amount_so_far - amount
            end as decimal(38, 2)
        ) as before_value,
        cast(
            case when known_so_far > 0 or records_so_far = 0 then amount_so_far end
            as decimal(38, 2)
        ) as after_value,
        (records_so_far - known_so_far) - (records_count - known_count) as before_unknown_count,
        records_so_far - known_so_far as after_unknown_count
    from summed
    where metric_name = 'sales_period'
),

restated as (
    select
        figures.*,
        numbered.refresh_no,
        numbered.as_of,
        numbered.before_publication_no,
        numbered.before_refresh_no,
        numbered.before_as_of
    from figures
    inner join numbered
        on figures.publication_no = numbered.publication_no
    where
        figures.statement_month < numbered.before_stated_until
        and (
            figures.before_value is distinct from figures.after_value
            or figures.before_unknown_count <> figures.after_unknown_count
        )
),

-- Records behind a figure: those that left it, came into it or stand in it with another amount.
moved_records as (
    select
        publication_no,
        metric_name,
        record_id,
        statement_month,
        source_kind,
        source_id,
        sum(records_count) as records_count,
        coalesce(sum(amount), 0) as amount,
        sum(known_count) as known_count
    from sides
    where reason is not null
    group by publication_no, metric_name, record_id, statement_month, source_kind, source_id
    union all
    select
        publication_no,
        metric_name,
        record_id,
        statement_month,
        'all_sources' as source_kind,
        null as source_id,
        sum(records_count) as records_count,
        coalesce(sum(amount), 0) as amount,
        sum(known_count) as known_count
    from sides
    where reason is not null
    group by publication_no, metric_name, record_id, statement_month
),

reasons as (
    select
        restated.publication_no,
        restated.metric_name,
        restated.statement_month,
        restated.source_kind,
        restated.source_id,
        restated_records.explanation_ru,
        restated_records.explanation_en,
        count(*) as records_count
    from restated
    inner join moved_records
        on
            restated.publication_no = moved_records.publication_no
            and restated.record_metric_name = moved_records.metric_name
            and restated.statement_month = moved_records.statement_month
            and restated.source_kind = moved_records.source_kind
            and restated.source_id is not distinct from moved_records.source_id
    inner join restated_records
        on
            moved_records.publication_no = restated_records.publication_no
            and moved_records.metric_name = restated_records.metric_name
            and moved_records.record_id = restated_records.record_id
    where
        moved_records.records_count <> 0
        or (
            restated.metric_name = 'sales_amount_period'
            and (moved_records.amount <> 0 or moved_records.known_count <> 0)
        )
    group by
        restated.publication_no,
        restated.metric_name,
        restated.statement_month,
        restated.source_kind,
        restated.source_id,
        restated_records.explanation_ru,
        restated_records.explanation_en
),

explained as (
    select
        publication_no,
        metric_name,
        statement_month,
        source_kind,
        source_id,
        {{
            ordered_list(
                "explanation_ru || ': ' || cast(records_count as string)",
                ', ',
                'records_count desc, explanation_ru asc'
            )
        }} as explanation_ru,
        {{
            ordered_list(
                "explanation_en || ': ' || cast(records_count as string)",
                ', ',
                'records_count desc, explanation_en asc'
            )
        }} as explanation_en,
        sum(records_count) as records_count
    from reasons
    group by publication_no, metric_name, statement_month, source_kind, source_id
),

final as (
    select
        restated.publication_no,
        restated.before_publication_no,
        restated.refresh_no,
        restated.before_refresh_no,
        restated.metric_name,
        restated.source_kind,
        restated.source_id,
        {{
            statement_source_name(
                'restated.source_kind', 'restated.source_id', 'sources.source_name'
            )
        }} as source_name,
        explained.explanation_ru,
        explained.explanation_en,
        restated.before_value,
        restated.after_value,
        cast(restated.before_unknown_count as bigint) as before_unknown_count,
        cast(restated.after_unknown_count as bigint) as after_unknown_count,
        cast(explained.records_count as bigint) as records_count,
        restated.statement_month,
        {{ portal_time_text('restated.before_as_of') }} as before_as_of_text,
        {{ portal_time_text('restated.as_of') }} as as_of_text,
        restated.before_as_of,
        restated.as_of
    from restated
    inner join explained
        on
            restated.publication_no = explained.publication_no
            and restated.metric_name = explained.metric_name
            and restated.statement_month = explained.statement_month
            and restated.source_kind = explained.source_kind
            and restated.source_id is not distinct from explained.source_id
    left join sources
        on restated.source_id = sources.source_id
)

select * from final

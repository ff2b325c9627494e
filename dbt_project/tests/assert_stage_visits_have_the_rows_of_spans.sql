-- No join loses or doubles a visit, and every item with a stage stands on exactly one.
with fct_stage_visits as (
    select * from {{ ref('fct_stage_visits') }}
),

spans as (
    select * from {{ ref('int_stage_visits__spanned') }}
),

items as (
    select * from {{ ref('int_items__classified') }}
),

counted as (
    select
        (select count(*) from fct_stage_visits) as visits,
        (select count(*) from spans) as spans,
        (
            select count(*) from fct_stage_visits
            where is_current
        ) as current_visits,
        (
            select count(*) from items
            where stage_id is not null
        ) as items_on_a_stage
)

select *
from counted
where
    visits <> spans
    or current_visits <> items_on_a_stage

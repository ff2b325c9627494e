-- Leads of the period by source, what became of them and what they brought; the last row is the
-- total.
-- Grain: one row per source.
with sources as (
    select
        source_name,
        count(*) filter (where is_created) as leads_received,
        count(*) filter (where is_created and is_junk) as leads_junk,
        count(*) filter (where is_created and is_new) as leads_new,
        count(*) filter (where is_created and is_in_progress) as leads_in_progress,
        count(*) filter (where is_created and is_in_work) as leads_in_work,
        count(*) filter (where is_created and is_quality) as leads_quality_cohort,
        count(*) filter (where is_created and has_deal) as leads_with_deal_cohort,
        count(*) filter (where is_created and has_sale) as leads_with_sale_cohort,
        sum(sales_amount_unknown_count) filter (where is_created)
            as sales_amount_of_leads_cohort_unknown,
        sum(sales_amount) filter (where is_created and sales_count > sales_amount_unknown_count)
            as sales_amount_of_leads_cohort,
        sum(potential_amount_unknown_count) filter (where is_created)
            as leads_potential_amount_unknown,
        sum(potential_amount) filter (
            where is_created and deals_in_work_count > potential_amount_unknown_count
        ) as leads_potential_amount,
        count(*) filter (where is_first_deal) as leads_with_deal_period,
        count(*) filter (where is_first_sale) as leads_with_sale_period,
        grouping(source_name) = 1 as is_total
    from (
        select
            *,
            created_date between getvariable('period_start') and getvariable('period_end')
                as is_created,
            first_deal_date between getvariable('period_start') and getvariable('period_end')
                as is_first_deal,
            first_sold_date between getvariable('period_start') and getvariable('period_end')
                as is_first_sale
        from marts.fct_leads
        where is_counted
    ) as leads
    where is_created or is_first_deal or is_first_sale
    group by grouping sets ((source_name), ()) -- noqa: PRS
),

sold as (
    select
        lead_source_name as source_name,
        count(*) filter (where is_amount_unknown) as sales_amount_of_leads_period_unknown,
        sum(base_amount) as sales_amount_of_leads_period,
        grouping(lead_source_name) = 1 as is_total
    from marts.fct_deals
    where
        is_counted
        and is_sale
        and has_counted_lead
        and sold_date between getvariable('period_start') and getvariable('period_end')
    group by grouping sets ((lead_source_name), ()) -- noqa: PRS
),

joined as (
    select
        coalesce(sources.source_name, sold.source_name) as source_name,
        sources.* exclude (source_name, is_total) replace (
            coalesce(sources.sales_amount_of_leads_cohort_unknown, 0)
                as sales_amount_of_leads_cohort_unknown,
            coalesce(sources.leads_potential_amount_unknown, 0) as leads_potential_amount_unknown
        ),
        coalesce(sold.sales_amount_of_leads_period_unknown, 0)
            as sales_amount_of_leads_period_unknown,
        sold.sales_amount_of_leads_period,
        coalesce(sources.is_total, sold.is_total) as is_total
    from sources
    full join sold
        on
            sources.source_name is not distinct from sold.source_name
            and sources.is_total = sold.is_total
)

select
    source_name,
    coalesce(leads_received, 0) as leads_received,
    coalesce(leads_junk, 0) as leads_junk,
    coalesce(leads_new, 0) as leads_new,
    coalesce(leads_in_progress, 0) as leads_in_progress,
    coalesce(leads_in_work, 0) as leads_in_work,
    coalesce(leads_quality_cohort, 0) as leads_quality_cohort,
    leads_quality_cohort / nullif(leads_received, 0) as lead_to_quality_rate_cohort,
    coalesce(leads_with_deal_cohort, 0) as leads_with_deal_cohort,
    leads_with_deal_cohort / nullif(leads_received, 0) as lead_to_deal_rate_cohort,
    coalesce(leads_with_sale_cohort, 0) as leads_with_sale_cohort,
    leads_with_sale_cohort / nullif(leads_received, 0) as lead_to_sale_rate_cohort,
    metrics.known_amount(
        joined.sales_amount_of_leads_cohort, joined.sales_amount_of_leads_cohort_unknown
    ) as sales_amount_of_leads_cohort,
    joined.sales_amount_of_leads_cohort_unknown,
    metrics.known_amount(
        joined.sales_amount_of_leads_cohort, joined.sales_amount_of_leads_cohort_unknown
    )
    / nullif(leads_received, 0) as revenue_per_lead_cohort,
    metrics.known_amount(
        joined.leads_potential_amount, joined.leads_potential_amount_unknown
    ) as leads_potential_amount,
    joined.leads_potential_amount_unknown,
    coalesce(leads_with_deal_period, 0) as leads_with_deal_period,
    leads_with_deal_period / nullif(leads_received, 0) as lead_to_deal_rate_period,
    coalesce(leads_with_sale_period, 0) as leads_with_sale_period,
    leads_with_sale_period / nullif(leads_received, 0) as lead_to_sale_rate_period,
    metrics.known_amount(
        joined.sales_amount_of_leads_period, joined.sales_amount_of_leads_period_unknown
    ) as sales_amount_of_leads_period,
    joined.sales_amount_of_leads_period_unknown,
    metrics.known_amount(
        joined.sales_amount_of_leads_period, joined.sales_amount_of_leads_period_unknown
    )
    / nullif(leads_received, 0) as revenue_per_lead_period,
    is_total
from joined
order by is_total asc, leads_received desc, source_name asc

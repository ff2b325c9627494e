-- Leads created in the period by each of their UTM labels; every label adds up to all leads.
-- Grain: one row per label and value.
select
    case
        when grouping(utm_campaign) = 0 then 'utm_campaign'
        when grouping(utm_source) = 0 then 'utm_source'
        when grouping(utm_medium) = 0 then 'utm_medium'
        when grouping(utm_content) = 0 then 'utm_content'
        when grouping(utm_term) = 0 then 'utm_term'
    end as utm_label,
    coalesce(utm_campaign, utm_source, utm_medium, utm_content, utm_term) as utm_value,
    count(*) as leads_received,
    count(*) filter (where is_junk) as leads_junk,
    count(*) filter (where is_new) as leads_new,
    count(*) filter (where is_in_progress) as leads_in_progress,
    count(*) filter (where is_in_work) as leads_in_work,
    count(*) filter (where is_quality) as leads_quality_cohort,
    count(*) filter (where is_quality) / nullif(count(*), 0) as lead_to_quality_rate_cohort,
    count(*) filter (where has_deal) as leads_with_deal_cohort,
    count(*) filter (where has_deal) / nullif(count(*), 0) as lead_to_deal_rate_cohort,
    count(*) filter (where has_sale) as leads_with_sale_cohort,
    count(*) filter (where has_sale) / nullif(count(*), 0) as lead_to_sale_rate_cohort,
    metrics.known_amount(
        sum(sales_amount) filter (where sales_count > sales_amount_unknown_count),
        sum(sales_amount_unknown_count)
    ) as sales_amount_of_leads_cohort,
    sum(sales_amount_unknown_count) as sales_amount_of_leads_cohort_unknown,
    sales_amount_of_leads_cohort / nullif(count(*), 0) as revenue_per_lead_cohort,
    metrics.known_amount(
        sum(potential_amount) filter (where deals_in_work_count > potential_amount_unknown_count),
        sum(potential_amount_unknown_count)
    ) as leads_potential_amount,
    sum(potential_amount_unknown_count) as leads_potential_amount_unknown,
    utm_label is null as is_total
from marts.fct_leads
where
    is_counted
    and created_date between getvariable('period_start') and getvariable('period_end')
group by grouping sets ( -- noqa: PRS
    (utm_campaign), (utm_source), (utm_medium), (utm_content), (utm_term), ()
)
order by
    is_total,
    array_position(
        ['utm_campaign', 'utm_source', 'utm_medium', 'utm_content', 'utm_term'], utm_label
    ),
    leads_received desc,
    utm_value nulls last

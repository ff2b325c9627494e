-- User fields of leads that the settings name, a column each: dimensions of the metrics.
-- Grain: one row per lead.
{#- Its columns are those of the settings, so no contract can name them. #}
{{ config(contract={'enforced': false}) }}
with leads as (
    select * from {{ ref('fct_leads') }}
),

field_values as (
    select * from {{ ref('fct_user_field_values') }}
),

final as (
    {{ user_fields_of('lead', 'leads', 'field_values') }}
)

select * from final

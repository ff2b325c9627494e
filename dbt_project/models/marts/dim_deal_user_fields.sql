-- User fields of deals that the settings name, a column each: dimensions of the metrics.
-- Grain: one row per deal.
{#- Its columns are those of the settings, so no contract can name them. #}
{{ config(contract={'enforced': false}) }}
with deals as (
    select * from {{ ref('fct_deals') }}
),

field_values as (
    select * from {{ ref('fct_user_field_values') }}
),

final as (
    {{ user_fields_of('deal', 'deals', 'field_values') }}
)

select * from final

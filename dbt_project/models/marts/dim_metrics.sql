-- Metrics of the semantic layer with their definitions, written from dbt's own graph: a metric that
-- a YAML file adds is here after the next build.
-- Grain: one row per metric.
{%- set axes = {} -%}
{%- if execute -%}
    {%- for semantic_model in graph.semantic_models.values() -%}
        {%- for measure in semantic_model.measures -%}
            {%- do axes.update({measure.name: {
                'axis': measure.agg_time_dimension or semantic_model.defaults.agg_time_dimension,
                'formula': measure_formula(measure),
            }}) -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endif %}
with metrics as (
    {%- for metric in (graph.metrics.values() | sort(attribute='name') if execute else []) %}
    {{ metric_row(metric, axes) }}
    {{- 'union all' if not loop.last }}
    {%- else %}
    {{ metric_row(none, axes) }}
    {%- endfor %}
),

final as (
    select
        metric_name,
        label_ru,
        label_en,
        definition_ru,
        definition_en,
        metric_type,
        value_format,
        formula,
        row_filter,
        numerator,
        denominator,
        time_axis,
        time_view
    from metrics
    where metric_name is not null
)

select * from final

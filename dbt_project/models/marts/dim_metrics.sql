-- Metrics of the semantic layer with their definitions, written from dbt's own graph: a metric that
-- a YAML file adds is here after the next build. Those that are only part of another are left out.
-- Grain: one row per metric.
{%- set axes = {} -%}
{%- if execute -%}
    {%- for semantic_model in graph.semantic_models.values() -%}
        {%- for measure in semantic_model.measures -%}
            {%- set axis = measure.agg_time_dimension or semantic_model.defaults.agg_time_dimension -%}
            {%- set dimension = semantic_model.dimensions | selectattr('name', 'equalto', axis) | first -%}
            {%- set meta = dimension.config.meta if dimension.config else {} -%}
            {%- do axes.update({measure.name: {
                'semantic_model': semantic_model.name,
                'axis': axis,
                'axis_ru': dimension.label or axis,
                'axis_en': meta.get('label_en') or dimension.label or axis,
                'formula': measure_formula(measure),
            }}) -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endif %}
with metrics as (
    {%- for metric in (whole_metrics() if execute else []) %}
    {{ metric_row(metric, axes) }}
    {{- 'union all' if not loop.last }}
    {%- else %}
    {{ metric_row(none, axes) }}
    {%- endfor %}
),

final as (
    select
        metric_name,
        metric_group,
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
        time_axis_ru,
        time_axis_en,
        time_view,
        is_comparable,
        is_compared_at_age,
        has_interval
    from metrics
    where metric_name is not null
)

select * from final

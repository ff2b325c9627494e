{# What a measure computes, as one would write it in SQL. #}
{% macro measure_formula(measure) -%}
    {%- set agg = (measure.agg.value or measure.agg) | string -%}
    {%- set expr = measure.expr or measure.name -%}
    {%- if agg == 'sum_boolean' -%}
        count_if({{ expr }})
    {%- elif agg == 'count_distinct' -%}
        count(distinct {{ expr }})
    {%- elif agg == 'percentile' -%}
        percentile_cont({{ measure.agg_params.percentile }}) within group (order by {{ expr }})
    {%- else -%}
        {{ agg }}({{ expr }})
    {%- endif -%}
{%- endmacro %}

{# Text of SQL, null where there is none; lines become one. #}
{% macro text_or_null(value) -%}
    {%- if value is none or value | string | trim == '' -%}
        cast(null as {{ dbt.type_string() }})
    {%- else -%}
        cast({{ quoted(value | string | trim | replace("\n", " ")) }} as {{ dbt.type_string() }})
    {%- endif -%}
{%- endmacro %}

{# The measure that dates a metric: its own, or that of the first metric that it is made of. #}
{% macro dating_measure(metric) -%}
    {%- set params = metric.type_params -%}
    {%- if params.measure -%}
        {{ return(params.measure.name) }}
    {%- endif -%}
    {%- set first = params.numerator or ((params.metrics or []) | first) -%}
    {%- for other in graph.metrics.values() if first and other.name == first.name -%}
        {{ return(dating_measure(other)) }}
    {%- endfor -%}
    {{ return(none) }}
{%- endmacro %}

{# The metrics of dbt's graph by name, without those whose meta says that they are part of another. #}
{% macro whole_metrics() -%}
    {{ return(graph.metrics.values() | rejectattr('config.meta.part') | sort(attribute='name')) }}
{%- endmacro %}

{# Whether the records of a metric say when they came to count; of a ratio, those of its numerator. #}
{% macro has_event(metric) -%}
    {%- for other in graph.metrics.values() if metric.type_params.numerator and other.name == metric.type_params.numerator.name -%}
        {{ return(has_event(other)) }}
    {%- endfor -%}
    {{ return((metric.config.meta or {}).get('reached_at') is not none) }}
{%- endmacro %}

{# A metric of dbt's graph as a row of dim_metrics; a row of nulls for none. #}
{% macro metric_row(metric, axes) -%}
    {%- set row = {} -%}
    {%- if metric -%}
        {%- set meta = metric.config.meta or {} -%}
        {%- set params = metric.type_params -%}
        {%- set kind = (metric.type.value or metric.type) | string -%}
        {#- An amount is derived of the sum of those known, which says what it sums and filters. -#}
        {%- set parts = [] -%}
        {%- for other in graph.metrics.values() if other.config.meta.get('part') -%}
            {%- for input in params.metrics or [] if input.name == other.name and metric.name ~ '_known' == other.name -%}
                {%- do parts.append(other) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- set counted = parts | first or metric -%}
        {%- set measure = axes.get(dating_measure(metric), {}) -%}
        {%- set filters = [] -%}
        {%- for where in (counted.filter.where_filters if counted.filter else []) -%}
            {%- do filters.append(
                modules.re.sub("[{][{] *(Time)?Dimension[(]'[a-z_]+?__([a-z_]+)'[^)]*[)] *[}][}]", "\\2", where.where_sql_template)
            ) -%}
        {%- endfor -%}
        {%- if kind == 'ratio' -%}
            {%- set formula = params.numerator.name ~ ' / ' ~ params.denominator.name -%}
        {%- elif params.expr and not parts -%}
            {%- set formula = params.expr -%}
        {%- else -%}
            {%- set formula = measure.get('formula') -%}
        {%- endif -%}
        {%- if meta.get('stock') -%}
            {%- set view = 'stock' -%}
        {%- else -%}
            {%- set view = (metric.name | replace('_unknown', '')).split('_') | last -%}
        {%- endif -%}
        {%- set format = meta.get('format') or ('rate' if kind == 'ratio' else 'count') -%}
        {%- set semantic_model = measure.get('semantic_model') -%}
        {%- set group = meta.get('group') or (
            'stages' if semantic_model == 'stages'
            else {'days': 'time', 'amount': 'money', 'rate': 'conversions'}.get(format, semantic_model)
        ) -%}
        {%- do row.update({
            'metric_name': metric.name,
            'metric_group': group or 'other',
            'label_ru': metric.label or metric.name,
            'label_en': meta.get('label_en') or metric.label or metric.name,
            'definition_ru': meta.get('definition_ru') or metric.description,
            'definition_en': metric.description,
            'metric_type': kind,
            'value_format': format,
            'formula': formula,
            'row_filter': filters | join(' and '),
            'numerator': params.numerator.name if params.numerator else meta.get('numerator'),
            'denominator': params.denominator.name if params.denominator else meta.get('denominator'),
            'time_axis': measure.get('axis'),
            'time_axis_ru': measure.get('axis_ru'),
            'time_axis_en': measure.get('axis_en'),
            'time_view': view if view in ['cohort', 'period', 'stock'] else none,
            'is_comparable': view == 'period' or (meta.get('comparable') or false),
            'is_compared_at_age': has_event(metric),
            'has_interval': meta.get('interval') or false,
        }) -%}
    {%- endif -%}
    select
        {%- for column in [
            'metric_name', 'metric_group', 'label_ru', 'label_en', 'definition_ru', 'definition_en',
            'metric_type', 'value_format', 'formula', 'row_filter', 'numerator', 'denominator',
            'time_axis', 'time_axis_ru', 'time_axis_en', 'time_view',
        ] %}
        {{ text_or_null(row.get(column)) }} as {{ column }},
        {%- endfor %}
        {{ row.get('is_comparable', false) | lower }} as is_comparable,
        {{ row.get('is_compared_at_age', false) | lower }} as is_compared_at_age,
        {{ row.get('has_interval', false) | lower }} as has_interval
{% endmacro %}

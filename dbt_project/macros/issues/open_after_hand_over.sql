{# Deals won in one pipeline that stand open in another. One row per two pipelines. #}
{% macro issue_open_after_hand_over() -%}
    select
        'open_after_hand_over' as kind,
        'deal' as entity,
        cast(sale_pipeline_id as string) || ' → ' || cast(pipeline_id as string) as record_key,
        count(*) as records_count,
        sum(base_amount) as base_amount,
        'Сделок выиграно в «' || sale_pipeline_name || '», стоят открытыми в «' || pipeline_name
        || '»: ' || cast(count(*) as string)
        || coalesce(', сумма: ' || cast(sum(base_amount) as string), '')
        || '; считаются проданными. Назовите sales_pipelines, если продаёт «' || pipeline_name
        || '»' as explanation_ru,
        'Deals won in "' || sale_pipeline_name || '" stand open in "' || pipeline_name || '": '
        || cast(count(*) as string)
        || coalesce(', amount: ' || cast(sum(base_amount) as string), '')
        || '; counted as sold. Name sales_pipelines if "' || pipeline_name || '" sells'
            as explanation_en
    from deals
    where
        is_counted
        and is_handed_over
        and {{ deal_state('stage_id', 'semantics') }} = 'in_work'
        and not {{ var('sales_pipelines') | length > 0 }}
    group by
        sale_pipeline_id,
        sale_pipeline_name,
        pipeline_id,
        pipeline_name
{%- endmacro %}

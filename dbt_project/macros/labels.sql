{#
    Names that the marts make up where the portal has none, in the language of the reports.
    with: an SQL expression for the id that stands in the name.
#}
{% macro label(key, with=none) -%}
    {%- set labels = {
        'lead_title': ('Лид №%', 'Lead no. %'),
        'deal_title': ('Сделка №%', 'Deal no. %'),
        'no_source': ('без источника', 'no source'),
        'deleted_source': ('удалённый источник (%)', 'deleted source (%)'),
        'no_lead': ('без лида', 'no lead'),
        'lead_deleted': ('лид удалён', 'lead deleted'),
        'lead_legacy': ('лид импортирован', 'lead imported'),
        'no_stage': ('без этапа', 'no stage'),
        'deleted_stage': ('удалённый этап (%)', 'deleted stage (%)'),
        'created_failed': ('создан проваленным', 'created as failed'),
        'deleted_pipeline': ('удалённая воронка (%)', 'deleted pipeline (%)'),
        'no_manager': ('без ответственного', 'no manager'),
        'unknown_user': ('пользователь %', 'user %'),
        'no_department': ('без отдела', 'no department'),
        'deleted_department': ('удалённый отдел (%)', 'deleted department (%)'),
        'deleted_value': ('удалённое значение (%)', 'deleted value (%)'),
        'yes': ('да', 'yes'),
        'no': ('нет', 'no'),
    } -%}
    {%- set parts = labels[key][0 if var('report_lang') == 'ru' else 1].split('%') -%}
    {%- if with -%}
        ('{{ parts[0] }}' || cast({{ with }} as string) || '{{ parts[1] }}')
    {%- else -%}
        '{{ parts[0] }}'
    {%- endif -%}
{%- endmacro %}

{# Title of a lead or deal; its number where there is none, or the setting `pii` left it unread. #}
{% macro item_title(entity, id) -%}
    coalesce(nullif(trim(title), ''), {{ label(entity ~ '_title', id) }})
{%- endmacro %}

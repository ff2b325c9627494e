{# Why a record no longer stands for what was published of it: code → (Russian, English). #}
{% macro restatement_reasons() -%}
    {{ return({
        'deleted': ('удалено', 'deleted'),
        'restored': ('возвращено', 'restored'),
        'late_import': ('появилось позже', 'came later'),
        'reopened': ('переоткрыто', 'reopened'),
        'failed': ('провалено после успеха', 'failed after success'),
        'handed_over': ('передано в другую воронку', 'handed over to another pipeline'),
        'moved': ('перенесено в другую воронку', 'moved to another pipeline'),
        'closed_late': ('закрыто задним числом', 'closed with an earlier date'),
        'amount_changed': ('изменена сумма', 'amount changed'),
        'new_rate': ('новый курс', 'new rate'),
        'source_changed': ('изменён источник', 'source changed'),
        'redated': ('изменилась дата', 'date changed'),
        'changed_setting': ('изменены настройки', 'settings changed'),
        'upgrade': ('новая версия программы', 'new version of the program'),
        'other': ('пересчитано', 'computed anew'),
    }) }}
{%- endmacro %}

{# A reason as people read it; of settings with their names. #}
{% macro restatement_reason_text(reason, changed_settings, language) -%}
    case {{ reason }}
    {%- for code, texts in restatement_reasons().items() %}
        when '{{ code }}' then '{{ texts[0 if language == "ru" else 1] }}'
        {%- if code == 'changed_setting' %} || ' (' || {{ changed_settings }} || ')'{% endif -%}
    {% endfor %}
    end
{%- endmacro %}

{# Name of the source that a record stood under, or why it had none; null where it stood nowhere. #}
{% macro statement_source_name(kind, id, name) -%}
    case {{ kind }}
        when 'source' then coalesce({{ name }}, {{ label('deleted_source', with=id) }})
    {%- for key in ['no_source', 'no_lead', 'lead_deleted', 'lead_legacy', 'all_sources'] %}
        when '{{ key }}' then {{ label(key) }}
    {%- endfor %}
    end
{%- endmacro %}

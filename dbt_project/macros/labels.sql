{#
    Names that the marts make up where the portal has none, in the language of the reports.
    A % stands for an id.
#}
{% macro label_text(key) -%}
    {%- set labels = {
        'lead_title': ('Лид №%', 'Lead no. %'),
        'deal_title': ('Сделка №%', 'Deal no. %'),
        'no_source': ('без источника', 'no source'),
        'deleted_source': ('удалённый источник (%)', 'deleted source (%)'),
        'source_in_other_case': (
            '% (нет в справочнике; есть %)', '% (not in the directory; it has %)'
        ),
        'not_matched': ('не сопоставлено', 'not matched'),
        'leads_without_source': (
            'у лидов с utm_source «%» нет источника', 'leads with utm_source "%" have no source'
        ),
        'unknown_utm_source': (
            'utm_source «%» не источник CRM, и лидов с ним нет',
            'utm_source "%" is no source of the CRM, and no lead has it',
        ),
        'unknown_source_code': ('источника «%» в CRM нет', 'the CRM has no source "%"'),
        'nothing_stated': (
            'в строке нет ни utm_source, ни источника', 'the row has no utm_source and no source'
        ),
        'all_sources': ('все источники', 'all sources'),
        'no_lead': ('без лида', 'no lead'),
        'lead_deleted': ('лид удалён', 'lead deleted'),
        'lead_legacy': ('лид импортирован', 'lead imported'),
        'no_stage': ('без этапа', 'no stage'),
        'deleted_stage': ('удалённый этап (%)', 'deleted stage (%)'),
        'created_failed': ('создан проваленным', 'created as failed'),
        'deleted_pipeline': ('удалённая воронка (%)', 'deleted pipeline (%)'),
        'no_manager': ('без ответственного', 'no manager'),
        'unknown_user': ('пользователь %', 'user %'),
        'nameless': ('без названия (%)', 'no name (%)'),
        'no_department': ('без отдела', 'no department'),
        'deleted_department': ('удалённый отдел (%)', 'deleted department (%)'),
        'deleted_value': ('удалённое значение (%)', 'deleted value (%)'),
        'file': ('файл %', 'file %'),
        'element': ('элемент %', 'element %'),
        'section': ('раздел %', 'section %'),
        'resource': ('ресурс %', 'resource %'),
        'crm_lead': ('лид %', 'lead %'),
        'crm_deal': ('сделка %', 'deal %'),
        'crm_contact': ('контакт %', 'contact %'),
        'crm_company': ('компания %', 'company %'),
        'crm_quote': ('предложение %', 'quote %'),
        'crm_invoice': ('счёт %', 'invoice %'),
        'crm_order': ('заказ %', 'order %'),
        'crm_element': ('элемент CRM %', 'CRM element %'),
        'yes': ('да', 'yes'),
        'no': ('нет', 'no'),
    } -%}
    {{- labels[key][0 if var('report_lang') == 'ru' else 1] -}}
{%- endmacro %}

{# A made-up name in SQL. with: the SQL expression of the id in it, or a list of two. #}
{% macro label(key, with=none) -%}
    {%- set ids = [with] if with is string else with or [] -%}
    {%- set parts = label_text(key).split('%') -%}
    {{ "(" if ids }}'{{ parts[0] }}'
    {%- for id in ids %} || cast({{ id }} as string) || '{{ parts[loop.index] }}'{% endfor -%}
    {{ ")" if ids }}
{%- endmacro %}

{# Whether a name could be a made-up one: an id that ends it is a number, any other is in brackets. #}
{% macro reads_like_label(name, key) -%}
    {%- set text = label_text(key) -%}
    {{ name }} like '{{ text }}'
    {%- if text.endswith('%') %}
        and try_cast(substr({{ name }}, {{ text | length }}) as bigint) is not null
    {%- endif -%}
{%- endmacro %}

{#
    Whether a name needs its ID beside it to be told apart, a window over the rows of one kind:
    several have it, it ends as if it had an ID, or reads like a name that the marts make up.
    within: columns outside which names may be equal. labels: keys of the names that are made up
    where this one is shown.
    A name with the ID ends with its own, one without ends with none: no two are ever equal.
#}
{% macro needs_id(name, labels, within=none) -%}
    (
        count(*) over (partition by {{ within ~ ", " if within }}{{ name }}) > 1
        or {{ name }} like '%(ID %)'
        {%- for key in labels %}
        or {{ reads_like_label(name, key) }}
        {%- endfor %}
    )
    and {{ name }} is not null
{%- endmacro %}

{# The name as it is shown: with the ID where it needs one. #}
{% macro name_with_id(name, id, needs_id) -%}
    case
        when {{ needs_id }} then {{ name }} || ' (ID ' || cast({{ id }} as string) || ')'
        else {{ name }}
    end
{%- endmacro %}

{# Title of a lead or deal; its number where there is none, or the setting `pii` left it unread. #}
{% macro item_title(entity, id) -%}
    coalesce({{ one_line('title') }}, {{ label(entity ~ '_title', id) }})
{%- endmacro %}

{#
    Kind and number of a linked CRM element, whose code is the kind's letters and the number: C_5.
    Smart processes have a T and their own number in hexadecimal; a bare number tells no kind.
#}
{% macro crm_element_name(code) -%}
    {%- set kinds = {
        'L': 'crm_lead',
        'D': 'crm_deal',
        'C': 'crm_contact',
        'CO': 'crm_company',
        'Q': 'crm_quote',
        'I': 'crm_invoice',
        'SI': 'crm_invoice',
        'O': 'crm_order',
    } -%}
    {%- set number = "split_part(" ~ code ~ ", '_', 2)" -%}
    case
    {%- for letters, kind in kinds.items() %}
        when split_part({{ code }}, '_', 1) = '{{ letters }}' then {{ label(kind, with=number) }}
    {%- endfor %}
        else {{ label('crm_element', with=code) }}
    end
{%- endmacro %}

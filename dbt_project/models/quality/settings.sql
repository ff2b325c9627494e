-- Settings that the figures depend on, as they were at the build, in both languages.
-- Grain: one row per setting.

{#- setting, label and description in Russian and English. #}
{%- set described = [
    (
        'base_currency', 'Базовая валюта', 'Base currency',
        'Валюта всех итогов; задаётся в CRM.', 'Currency of all totals; set in the CRM.'
    ),
    (
        'portal_timezone', 'Часовой пояс', 'Timezone',
        'По нему считаются дни, недели и месяцы.', 'Days, weeks and months are cut in it.'
    ),
    (
        'report_lang', 'Язык отчётов', 'Language of the reports',
        'Язык названий, которых на портале нет.', 'Language of names that the portal lacks.'
    ),
    (
        'sales_pipelines', 'Воронки продаж', 'Sales pipelines',
        'Сделки этих воронок входят в показатели; пусто — всех воронок.',
        'Deals of these pipelines are in the metrics; empty: of all.'
    ),
    (
        'paid_stages', 'Этапы «оплачено»', 'Paid stages',
        'Сделка на таком этапе — продажа, хотя портал её не закрыл.',
        'A deal on such a stage is a sale, though the portal did not close it.'
    ),
    (
        'lead_stage_outcomes', 'Значение этапов лидов', 'Meaning of lead stages',
        'Этапы, которые значат не то, что в CRM: quality — качественный, junk — некачественный, '
        ~ 'in_work — в работе.',
        'Stages that mean something else than in the CRM: quality, junk or in_work.'
    ),
    (
        'forgotten_lead_days', 'Забытый лид, дней', 'Forgotten lead, days',
        'Лид в работе без активности столько суток считается забытым.',
        'A lead in work without activity for as many days of 24 hours is forgotten.'
    ),
    (
        'forgotten_deal_days', 'Забытая сделка, дней', 'Forgotten deal, days',
        'Сделка в работе без активности столько суток считается забытой.',
        'A deal in work without activity for as many days of 24 hours is forgotten.'
    ),
    (
        'planned_is_not_forgotten', 'С делом — не забыт', 'Planned is not forgotten',
        'Да: запись с запланированным делом забытой не считается.',
        'Yes: a record with an open activity is not forgotten.'
    ),
    (
        'repeat_means', 'Повторный клиент', 'Repeat customer',
        'deal — раньше была любая сделка; sale — раньше была продажа.',
        'deal: there was an earlier deal; sale: there was an earlier sale.'
    ),
    (
        'attribution', 'Связь сделки с лидом', 'Link of a deal to a lead',
        'direct — только лид, указанный в сделке; customer — ещё и последний прежний лид того же '
        ~ 'клиента.',
        "direct: only the lead that the deal names; customer: also the customer's latest earlier lead."
    ),
    (
        'legacy_rules', 'Правила импорта', 'Rules of imports',
        'Записи, перенесённые из другой системы: все условия правила верны.',
        'Records brought from another system: all conditions of a rule hold.'
    ),
    (
        'include_legacy', 'Считать импорт', 'Imports count',
        'Да: импортированные записи входят в показатели.', 'Yes: imported records are in the metrics.'
    ),
    (
        'city_field', 'Поле города', 'Field of the city',
        'Пользовательское поле с городом; пусто — адрес лида.',
        "User field that holds the city; empty: the lead's address."
    ),
    (
        'user_fields', 'Поля в отчётах', 'Fields in the reports',
        'Пользовательские поля, по которым можно фильтровать и группировать.',
        'User fields to filter and break down by.'
    ),
    (
        'pii', 'Личные данные клиентов', 'Personal data of customers',
        'none — не читаются; hash — хранятся хешами; full — как есть.',
        'none: not read; hash: kept as hashes; full: as they are.'
    ),
    (
        'keep_titles', 'Названия записей', 'Titles of records',
        'Да: названия лидов и сделок читаются, хотя личные данные — нет.',
        'Yes: titles of leads and deals are read though personal data are not.'
    ),
] %}
{%- set outcomes = var('lead_stage_outcomes') or {} %}
with refreshes as (
    select * from {{ ref('stg_bitrix24__refreshes') }}
),

pipelines as (
    select * from {{ ref('dim_pipelines') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

fields as (
    select * from {{ ref('stg_bitrix24__fields') }}
),

settings as (
    {%- for setting, label_ru, label_en, description_ru, description_en in described %}
    select
        '{{ setting }}' as setting_name,
        {{ loop.index }} as sort_order,
        {{ text_list([label_ru]) }} as label_ru,
        {{ text_list([label_en]) }} as label_en,
        {{ text_list([description_ru]) }} as description_ru,
        {{ text_list([description_en]) }} as description_en,
        {% if setting == 'base_currency' -%}
            (select max(base_currency) from refreshes where is_last)
        {%- elif setting == 'sales_pipelines' -%}
            {{ named_codes(
                var(setting), 'pipelines', 'pipeline_name', 'cast(pipeline_id as string) = %'
            ) }}
        {%- elif setting == 'paid_stages' -%}
            {{ named_codes(
                var(setting), 'stages', 'stage_name', "entity = 'deal' and stage_id = %"
            ) }}
        {%- elif setting == 'lead_stage_outcomes' -%}
            {{ named_codes(
                outcomes.keys(), 'stages', 'stage_name', "entity = 'lead' and stage_id = %", outcomes
            ) }}
        {%- elif setting == 'user_fields' or setting == 'city_field' -%}
            {%- set names = [var(setting)] if var(setting) is string else var(setting) -%}
            {{ named_codes(names, 'fields', 'field_label', 'field_name = %') }}
        {%- else -%}
            nullif({{ text_list([setting_text(var(setting))]) }}, '')
        {%- endif %} as setting_value
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        setting_name,
        cast(sort_order as bigint) as sort_order,
        label_ru,
        label_en,
        description_ru,
        description_en,
        cast(setting_value as string) as setting_value
    from settings
)

select * from final

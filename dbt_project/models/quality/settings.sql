-- Settings that the figures depend on, as they were at the build, in both languages.
-- Grain: one row per setting.
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

described as (
    select listed.*
    from (
        values
        (
            1, 'base_currency', 'Базовая валюта', 'Base currency',
            'Валюта всех итогов; задаётся в CRM.',
            'Currency of all totals; set in the CRM.'
        ),
        (
            2, 'portal_timezone', 'Часовой пояс', 'Timezone',
            'По нему считаются дни, недели и месяцы.',
            'Days, weeks and months are cut in it.'
        ),
        (
            3, 'report_lang', 'Язык отчётов', 'Language of the reports',
            'Язык названий, которых на портале нет.',
            'Language of names that the portal lacks.'
        ),
        (
            4, 'sales_pipelines', 'Воронки продаж', 'Sales pipelines',
            'Сделки этих воронок входят в показатели; пусто — всех воронок.',
            'Deals of these pipelines are in the metrics; empty: of all.'
        ),
        (
            5, 'paid_stages', 'Этапы «оплачено»', 'Paid stages',
            'Сделка на таком этапе — продажа, хотя портал её не закрыл.',
            'A deal on such a stage is a sale, though the portal did not close it.'
        ),
        (
            6, 'lead_stage_outcomes', 'Значение этапов лидов', 'Meaning of lead stages',
            'Этапы, которые значат не то, что в CRM: quality — качественный, junk — '
            || 'некачественный, in_work — в работе.',
            'Stages that mean something else than in the CRM: quality, junk or in_work.'
        ),
        (
            7, 'forgotten_lead_days', 'Забытый лид, дней', 'Forgotten lead, days',
            'Лид в работе без активности столько суток считается забытым.',
            'A lead in work without activity for as many days of 24 hours is forgotten.'
        ),
        (
            8, 'forgotten_deal_days', 'Забытая сделка, дней', 'Forgotten deal, days',
            'Сделка в работе без активности столько суток считается забытой.',
            'A deal in work without activity for as many days of 24 hours is forgotten.'
        ),
        (
            9, 'planned_is_not_forgotten', 'С делом — не забыт', 'Planned is not forgotten',
            'Да: запись с запланированным делом забытой не считается.',
            'Yes: a record with an open activity is not forgotten.'
        ),
        (
            10, 'repeat_means', 'Повторный клиент', 'Repeat customer',
            'deal — раньше была любая сделка; sale — раньше была продажа.',
            'deal: there was an earlier deal; sale: there was an earlier sale.'
        ),
        (
            11, 'attribution', 'Связь сделки с лидом', 'Link of a deal to a lead',
            'direct — только лид, указанный в сделке; customer — ещё и последний прежний лид '
            || 'того же клиента.',
            'direct: only the lead that the deal names; customer: also the customer''s '
            || 'latest earlier lead.'
        ),
        (
            12, 'legacy_rules', 'Правила импорта', 'Rules of imports',
            'Записи, перенесённые из другой системы: все условия правила верны.',
            'Records brought from another system: all conditions of a rule hold.'
        ),
        (
            13, 'include_legacy', 'Считать импорт', 'Imports count',
            'Да: импортированные записи входят в показатели.',
            'Yes: imported records are in the metrics.'
        ),
        (
            14, 'city_field', 'Поле города', 'Field of the city',
            'Пользовательское поле с городом; пусто — адрес лида.',
            'User field that holds the city; empty: the lead''s address.'
        ),
        (
            15, 'user_fields', 'Поля в отчётах', 'Fields in the reports',
            'Пользовательские поля, по которым можно фильтровать и группировать.',
            'User fields to filter and break down by.'
        ),
        (
            16, 'spend', 'Файлы расходов', 'Spend files',
            'Откуда берутся расходы на рекламу; пусто — показателей расходов нет.',
            'Where the money spent on advertising is read from; empty: no figures of spend.'
        ),
        (
            17, 'spend_rules', 'Источники расходов', 'Sources of spend',
            'К какому источнику CRM относится строка расходов; первое подходящее правило.',
            'Which CRM source a row of spend is of; the first rule that fits.'
        ),
        (
            18, 'pii', 'Личные данные клиентов', 'Personal data of customers',
            'none — не читаются; hash — хранятся хешами; full — как есть.',
            'none: not read; hash: kept as hashes; full: as they are.'
        ),
        (
            19, 'keep_titles', 'Названия записей', 'Titles of records',
            'Да: названия лидов и сделок читаются, хотя личные данные — нет.',
            'Yes: titles of leads and deals are read though personal data are not.'
        ),
        (
            20, 'stale_after_hours', 'Данные устаревают, часов', 'Data grow old, hours',
            'Через столько часов после обновления страницы предупреждают об этом.',
            'After as many hours since the refresh the pages warn of it.'
        ),
        (
            21, 'min_sample', 'Мало лидов', 'Few leads',
            'Строку с меньшим числом лидов не закрашиваем и не сравниваем с остальными.',
            'A row of fewer leads is neither shaded nor compared with the others.'
        ),
        (
            22, 'min_sales', 'Мало продаж', 'Few sales',
            'По деньгам лучшим или худшим не назовём того, у кого продаж меньше.',
            'By money, who has fewer sales is called neither the best nor the worst.'
        )
    ) as listed (
        sort_order, setting_name, label_ru, label_en, description_ru, description_en
    )
),

{% set given = [] -%}
{%- for pipeline in var('sales_pipelines') or [] -%}
    {%- do given.append(('sales_pipelines', pipeline, none)) -%}
{%- endfor -%}
{%- for stage in var('paid_stages') or [] -%}
    {%- do given.append(('paid_stages', stage, none)) -%}
{%- endfor -%}
{%- for stage, outcome in (var('lead_stage_outcomes') or {}).items() -%}
    {%- do given.append(('lead_stage_outcomes', stage, outcome)) -%}
{%- endfor -%}
{%- for field in var('user_fields') or [] -%}
    {%- do given.append(('user_fields', field, none)) -%}
{%- endfor -%}
{%- for setting in [
    'city_field', 'portal_timezone', 'report_lang', 'forgotten_lead_days', 'forgotten_deal_days',
    'planned_is_not_forgotten', 'repeat_means', 'attribution', 'legacy_rules', 'include_legacy',
    'spend', 'spend_rules', 'pii', 'keep_titles', 'stale_after_hours',
    'min_sample', 'min_sales'
] if setting_text(var(setting)) -%}
    {%- do given.append((setting, setting_text(var(setting)), none)) -%}
{%- endfor -%}
given as (
    {%- for setting, code, meaning in given %}
        {{ setting_row(setting, loop.index, code, meaning) }}
        {{ 'union all' if not loop.last }}
    {%- endfor %}
),

names as (
    select
        'sales_pipelines' as setting_name,
        cast(pipeline_id as string) as code,
        pipeline_name as code_name
    from pipelines
    union all
    select
        case entity when 'deal' then 'paid_stages' else 'lead_stage_outcomes' end as setting_name,
        stage_id as code,
        stage_name as code_name
    from stages
    union all
    select
        'user_fields' as setting_name,
        field_name as code,
        max(field_label) as code_name
    from fields
    group by field_name
    union all
    select
        'city_field' as setting_name,
        field_name as code,
        max(field_label) as code_name
    from fields
    group by field_name
),

named as (
    select
        given.setting_name,
        given.value_number,
        coalesce(names.code_name || ' (' || given.code || ')', given.code)
        || coalesce(': ' || given.meaning, '') as value_text
    from given
    left join names
        on
            given.setting_name = names.setting_name
            and given.code = names.code
    union all
    select
        'base_currency' as setting_name,
        1 as value_number,
        base_currency as value_text
    from refreshes
    where is_last
),

listed_values as (
    select
        setting_name,
        {{ ordered_list('value_text', ', ', 'value_number') }} as setting_value
    from named
    group by setting_name
),

final as (
    select
        described.setting_name,
        cast(described.sort_order as bigint) as sort_order,
        described.label_ru,
        described.label_en,
        described.description_ru,
        described.description_en,
        listed_values.setting_value
    from described
    left join listed_values
        on described.setting_name = listed_values.setting_name
)

select * from final

-- What quality.issues looks for: names, weight and what to do about it, in both languages.
-- Grain: one row per kind of issue.
with kinds as (
    select listed.*
    from (
        values
        (
            1, 'success_stage_not_final', 'error',
            'Этап назван как успех, но не завершающий',
            'Stage named like a success, but not final',
            'Сделки на нём не считаются продажами. Сделайте этап успешным в CRM, назовите '
            || 'его в настройке paid_stages или опишите импорт в legacy_rules.',
            'Deals on it are no sales. Make the stage a successful one in the CRM, name it '
            || 'in the setting paid_stages, or describe the import in legacy_rules.'
        ),
        (
            2, 'sale_without_amount', 'error',
            'Продажа без суммы',
            'Sale without an amount',
            'Продажа считается, а выручки в ней нет. Заполните сумму сделки.',
            'It counts as a sale and brings no money. Fill in the amount of the deal.'
        ),
        (
            3, 'amount_without_rate', 'error',
            'Сумма в валюте без курса',
            'Amount in a currency without a rate',
            'Сумма не входит ни в один итог. Добавьте валюту и её курс в CRM или исправьте '
            || 'валюту записи.',
            'The amount is in no total. Add the currency and its rate to the CRM, or correct '
            || 'the currency of the record.'
        ),
        (
            4, 'sale_without_date', 'error',
            'Продажа без даты',
            'Sale without a date',
            'Продажа не попадает ни в один период. Верните сделку на этап и закройте снова, '
            || 'чтобы в истории появилась дата.',
            'The sale is in no period. Move the deal back and close it again, so that the '
            || 'history has a date.'
        ),
        (
            5, 'outcome_without_date', 'error',
            'Итог без даты',
            'Outcome without a date',
            'Качественный или некачественный лид либо проваленная сделка, о которых '
            || 'неизвестно, когда это случилось: в отчётах за период их нет. Поможет повторный '
            || 'перевод на этап.',
            'A quality or junk lead or a failed deal of which nothing says when it came so: '
            || 'it is in no report of a period. Moving it to the stage again helps.'
        ),
        (
            6, 'unknown_semantics', 'error',
            'Неизвестно, успех это или нет',
            'Unknown whether it is a success',
            'Этапа нет в справочнике, и портал не говорит, что он значит: запись считается в '
            || 'работе. Переведите её на действующий этап.',
            'The stage is not in the directory and the portal does not say what it means: '
            || 'the record counts as in work. Move it to a stage that exists.'
        ),
        (
            7, 'rows_missing', 'error',
            'Загружено не столько, сколько на портале',
            'Rows loaded differ from the portal',
            'Проверьте права вебхука и повторите обновление с полным чтением.',
            'Check the rights of the webhook and refresh again with `--full`.'
        ),
        (
            8, 'sale_date_fallback', 'warning',
            'Дата продажи не из истории этапов',
            'Date of the sale is not from the stage history',
            'Истории нет, дата взята из последнего перемещения или из даты закрытия. Проверьте её.',
            'There is no history; the date is that of the last move or the close date. Check it.'
        ),
        (
            9, 'sale_before_lead', 'warning',
            'Продажа раньше создания лида',
            'Sale before its lead was created',
            'Срок от лида до продажи отрицательный. Проверьте связь сделки с лидом и даты.',
            'The time from lead to sale is negative. Check the link of the deal to the lead, '
            || 'and the dates.'
        ),
        (
            10, 'closed_before_created', 'warning',
            'Закрыто раньше, чем создано',
            'Closed before it was created',
            'Длительность отрицательная и портит средние. Обычно это импорт: опишите его в '
            || 'legacy_rules.',
            'The duration is negative and bends the averages. Usually an import: describe it '
            || 'in legacy_rules.'
        ),
        (
            11, 'negative_stage_days', 'warning',
            'Отрицательное время на этапе',
            'Negative time on a stage',
            'Даты истории этапов спорят друг с другом. Исправить в CRM нельзя; учитывайте '
            || 'при чтении средних.',
            'Dates of the stage history contradict each other. The CRM cannot correct them; '
            || 'averages of days are less exact for it.'
        ),
        (
            12, 'unknown_stage', 'warning',
            'Запись на удалённом или неизвестном этапе',
            'Record on a deleted or unknown stage',
            'Переведите запись на действующий этап.',
            'Move the record to a stage that exists.'
        ),
        (
            13, 'held_by_dismissed', 'warning',
            'В работе у уволенного сотрудника',
            'In work with a dismissed user',
            'Передайте запись действующему сотруднику.',
            'Pass the record to somebody who works here.'
        ),
        (
            14, 'quality_with_nothing_linked', 'warning',
            'Качественный лид без связей',
            'Quality lead with nothing linked',
            'Лид переведён в успех, но нет ни сделки, ни контакта, ни компании. Создайте их '
            || 'из лида или верните лид в работу.',
            'The lead is a success without deal, contact or company. Create them from the '
            || 'lead, or take it back to work.'
        ),
        (
            15, 'sale_not_quality', 'warning',
            'Лид с продажей, но не качественный',
            'Lead with a sale that is not quality',
            'Лид не входит в качественные, хотя продажа есть. Завершите лид успехом.',
            'The lead is not among the quality ones though it has a sale. Close it as a success.'
        ),
        (
            16, 'sale_without_lead', 'warning',
            'Продажа без лида',
            'Sale without a lead',
            'Её источник и выручка с лида неизвестны. Свяжите сделку с лидом, если он был.',
            'Its source is unknown and it is in no revenue per lead. Link the deal to its '
            || 'lead if there was one.'
        ),
        (
            17, 'deal_with_deleted_lead', 'warning',
            'Лид сделки удалён',
            'The lead of the deal was deleted',
            'Источник сделки потерян. Не удаляйте лиды, из которых выросли сделки.',
            'The source of the deal is lost. Do not delete leads that deals came from.'
        ),
        (
            18, 'repeat_flag_disagrees', 'warning',
            'Новая или повторная: портал считает иначе',
            'New or repeat: the portal disagrees',
            'Отчёт смотрит на прежние сделки тех же контактов и компании. Проверьте, нет ли '
            || 'двойников или импорта без истории.',
            'The report looks at earlier deals of the same contacts and company. Check for '
            || 'duplicates, or an import without history.'
        ),
        (
            19, 'import_day', 'warning',
            'Похоже на импорт: необычно много записей за день',
            'Looks like an import: unusually many records in a day',
            'Если это перенос из другой системы, опишите его в настройке legacy_rules.',
            'If they were brought from another system, describe that in the setting legacy_rules.'
        ),
        (
            20, 'deal_without_lead', 'info',
            'Сделка без лида',
            'Deal without a lead',
            'Создана напрямую. Свяжите с лидом, если он был: иначе конверсия лидов занижена.',
            'It was created directly. Link it to its lead if there was one: conversion of '
            || 'leads is too low otherwise.'
        ),
        (
            21, 'unknown_stage_in_history', 'info',
            'Удалённый этап в истории',
            'Deleted stage in the history',
            'В отчётах по этапам показан как «удалённый этап (ID)». Делать ничего не нужно.',
            'Stage reports show it as "deleted stage (ID)". Nothing to do.'
        ),
        (
            22, 'amount_too_large', 'error',
            'Слишком большая сумма',
            'Amount too large',
            'В основной валюте она не меньше 10^18 и не входит ни в один итог. Исправьте сумму.',
            'In the base currency it is 10^18 or more, and in no total. Correct the amount.'
        ),
        (
            23, 'impossible_time', 'warning',
            'Время, которого не может быть',
            'Time that cannot be',
            'Раньше 2000 года или больше чем на сутки позже обновления: обычно ошибка импорта. '
            || 'Такое время не учтено: запись не входит ни в один период, возраст неизвестен.',
            'Before 2000 or more than a day after the refresh: usually a slip of an import. It is '
            || 'left out: the record is in no period and has no age.'
        ),
        (
            24, 'imported_history', 'warning',
            'Импорт: история этапов начинается с него',
            'Imported: the stage history begins there',
            'Строка истории говорит, когда прошёл импорт, а не когда был итог. Дата взята из '
            || 'перемещения или даты закрытия; проверьте её или опишите импорт в legacy_rules.',
            'The row of the history says when the import ran, not when the outcome came. The date '
            || 'is that of the move or the close date; check it, or describe the import in '
            || 'legacy_rules.'
        ),
        (
            25, 'probably_imported', 'warning',
            'Вероятно, импорт: закрыто раньше, чем создано',
            'Probably imported: closed before it was created',
            'Создано сразу завершённым, а дата закрытия раньше. Дата итога взята из истории, то '
            || 'есть это день импорта; опишите его в legacy_rules.',
            'Created final, with a close date before that. It is dated by its history, that is on '
            || 'the day of the import; describe it in legacy_rules.'
        ),
        (
            26, 'history_begins', 'info',
            'История этапов короче, чем сами записи',
            'Stage history begins later than the records',
            'Отчёты по этапам верны с этой даты.',
            'Stage reports are right from this date on.'
        ),
        (
            34, 'open_behind_paid_stage', 'warning',
            'За этапом «оплачено» стоят открытые этапы',
            'Open stages behind a paid one',
            'Сделки прошли этап из paid_stages и стоят дальше: продажей они не считаются. '
            || 'Назовите в paid_stages и эти этапы, если деньги получены.',
            'The deals passed a stage of paid_stages and stand behind it: they are no sales. Name '
            || 'these stages in paid_stages too if the money is there.'
        ),
        (
            35, 'open_after_hand_over', 'warning',
            'Выиграны в одной воронке, открыты в другой',
            'Won in one pipeline, open in another',
            'Считаются проданными в воронке, где выиграны. Если продаёт другая, а первая — нет '
            || '(квалификация), назовите воронки продаж в настройке sales_pipelines.',
            'They count as sold in the pipeline that won them. If the other one sells and the '
            || 'first does not (qualification), name the sales pipelines in sales_pipelines.'
        ),
        (
            36, 'history_begins_after_deal', 'info',
            'История сделки начинается позже её создания',
            'History of a deal begins after its creation',
            'Портал часто отдаёт историю только нынешней воронки: если сделку выиграли в другой до '
            || 'первого обновления, эта продажа не видна.',
            'Portals often tell the history of the present pipeline only: a sale made in another '
            || 'one before the first refresh cannot be seen.'
        ),
        (
            37, 'deleted_since_refresh', 'info',
            'Записи, удалённые с прошлого обновления',
            'Records deleted since the last refresh',
            'Они ушли из всех показателей; лиды и сделки, какими они были, остались в '
            || 'fct_item_versions. Если их не удаляли, проверьте права вебхука.',
            'They left all metrics; leads and deals as they were stand in fct_item_versions. If '
            || 'nobody deleted them, check the rights of the webhook.'
        ),
        (
            31, 'unknown_source', 'warning',
            'Источника нет в справочнике',
            'Source is not in the directory',
            'В отчётах это отдельная строка. Исправьте код источника у записей (регистр букв '
            || 'важен) или верните источник в справочник.',
            'It is a row of its own in the reports. Correct the code of the source in the records '
            || '(case matters), or put the source back into the directory.'
        ),
        (
            32, 'utm_case', 'info',
            'UTM-метки, которые отличаются регистром букв',
            'UTM values that differ in case only',
            'В отчётах это разные строки. Пишите метку в ссылках всегда одинаково.',
            'They are different rows in the reports. Write the value in links always alike.'
        ),
        (
            33, 'name_not_unique', 'info',
            'Неоднозначное имя',
            'Ambiguous name',
            'Так же называется что-то ещё, поэтому в отчётах рядом с именем стоит ID. Дайте в CRM '
            || 'разные имена, если это мешает.',
            'Something else is called so too, so the ID stands beside the name in the reports. '
            || 'Give them different names in the CRM if that is in the way.'
        ),
        (
            51, 'ad_cost_without_rate', 'error',
            'Расход в валюте без курса',
            'Ad cost in a currency without a rate',
            'Расход не входит ни в один итог. Добавьте валюту и её курс в CRM или исправьте валюту '
            || 'в файле расходов либо в настройке spend.',
            'The cost is in no total. Add the currency and its rate to the CRM, or correct the '
            || 'currency in the spend file or in the setting spend.'
        ),
        (
            52, 'ad_cost_not_matched', 'warning',
            'Расход не сопоставлен с источником',
            'Ad cost is of no source',
            'Расход входит в итог и стоит в строке «не сопоставлено». Добавьте правило в настройку '
            || 'spend_rules или исправьте метки в файле расходов.',
            'The cost is in the total, and in the row "not matched". Add a rule to the setting '
            || 'spend_rules, or correct the labels in the spend file.'
        ),
        (
            53, 'ad_cost_stated_twice', 'warning',
            'Расход одного дня в нескольких файлах',
            'Cost of one day in several files',
            'Считаются все. Если это одни и те же деньги, уберите лишний файл: расход завышен на '
            || 'эту сумму.',
            'All are counted. If they are the same money, remove one of the files: the cost is too '
            || 'high by this amount.'
        ),
        (
            41, 'offset_differs', 'warning',
            'Часовой пояс отчётов не тот, что у портала',
            'The timezone of the reports is not the portal''s',
            'Дни в отчётах начинаются в другой час, чем на портале. Назовите часовой пояс '
            || 'портала в настройке portal_timezone, если компания работает не в этом.',
            'Days of the reports begin at another hour than the portal''s. Name the timezone of '
            || 'the portal in the setting portal_timezone, unless the company works in this one.'
        )
    ) as listed (
        sort_order, kind, severity, label_ru, label_en, what_to_do_ru, what_to_do_en
    )
),

final as (
    select
        kind,
        cast(sort_order as bigint) as sort_order,
        severity,
        label_ru,
        label_en,
        what_to_do_ru,
        what_to_do_en
    from kinds
)

select * from final

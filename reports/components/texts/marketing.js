import { language } from '$lib/language.js';

const ru = {
	question: 'Какие источники приводят лиды, которые платят, и где лиды застревают',
	qualityRate: 'Конверсия в качественные',
	forgotten: 'Забытые из них',

	sources: 'От источника до продажи',
	sourcesNote: 'Лиды, созданные в периоде, по их источнику. Нажмите на строку, чтобы отфильтровать страницу, на заголовок — чтобы упорядочить.',
	money: 'Деньги',
	moneyViews: { cohort: 'Деньги этих лидов', period: 'Проданное в периоде' },
	received: 'Созданы в периоде',
	conversionOf: 'Конверсия созданных в периоде',
	overall: 'Общая',
	reached: 'Из них',
	moneyOf: { cohort: 'Деньги этих лидов', period: 'Продано в периоде' },
	stillOpen: 'Ещё в работе',
	toQuality: 'в качеств.',
	toDeal: 'в сделку',
	toSale: 'в продажу',
	withDeal: 'со сделкой',
	withSale: 'с продажей',
	potential: 'Потенц. сумма',
	outside: 'Продажи в периоде, у которых нет источника лида, в таблицу не входят:',
	outsideLink: 'деньги по источнику лида',

	share: 'Доля поступивших лидов по источникам',
	states: 'Состояние поступивших лидов по источникам',

	dealSources: 'Сделки и деньги по первичному источнику лида',
	dealSourcesNote: 'Сделки считаются по источнику лида, из которого они выросли. «Без лида», «лид удалён» и «лид импортирован» — не источники: их строки показывают, сколько денег не связано с лидами.',
	dealViews: { created: 'Сделки, созданные в периоде', sold: 'Проданные в периоде' },
	dealShare: 'Сделки',
	amountShare: 'Сумма продаж',

	dynamics: 'Динамика',
	dynamicsNote: 'Нажмите на столбец, чтобы выбрать его период.',
	steps: { month: 'Месяцы', quarter: 'Кварталы' },
	leadsByMonth: 'Поступившие лиды и их состояние сейчас',
	firstSales: 'Лиды с первой продажей, по дате продажи',
	soldByMonth: 'Сумма продаж с лидом, по дате продажи',
	potentialByMonth: 'Потенциальная сумма, по дате создания сделки',

	potentialMatrix: 'Потенциальная сумма по источникам и месяцам: что дожать',
	potentialNote: 'Сделки с лидом, которые в работе сейчас, по месяцу создания сделки; период не учитывается, остальные фильтры учитываются.',
	potentialOutside: 'Ещё в работе без источника лида:',
	potentialList: 'Открыть лиды с деньгами в незакрытых сделках',

	stages: 'Прохождение этапов',
	stagesNote: 'Доля всех поступивших лидов источника, которые хоть раз стояли на этапе. В сумме больше 100 %: один лид проходит несколько этапов, и этапы можно пропускать. Пустая клетка — ни один лид не стоял.',

	leads: 'Лиды по состояниям и этапам, воронка',
	leadsNote: 'Лиды, созданные в периоде: где они сейчас и сколько из них дошло до продажи.',
	byState: 'По состоянию',
	byStage: 'По этапу сейчас',
	funnel: 'Воронка',
	funnelViews: { cohort: 'От созданных', period: 'Общая' },
	funnelCohort: 'Каждый шаг входит в предыдущий.',
	funnelPeriod: 'Каждый шаг — по дате своего события в периоде, когда бы лид ни был создан; доли могут быть больше 100 %.',
	qualityWithDeal: 'Качественные со сделкой',
	qualityWithSale: 'Качественные с продажей',
	notQuality: 'С продажей, но не качественные:',
	conversions: 'Обе конверсии',
	conversionsNote: 'Слева — сколько из созданных в периоде дошло к этому дню; справа — сколько дошло впервые в периоде, делённое на созданных в нём.',

	utm: 'UTM-метки',
	utmNote: 'Лиды, созданные в периоде, по их метке; нажмите на строку, чтобы отфильтровать.',

	list: 'Список лидов',
	listNote: 'Самые старые сверху: выберите этап в фильтре, чтобы найти застрявшие на нём.',

	managers: 'Лиды по менеджерам и этапам',
	managersNote: 'Созданные в периоде, по этапу сейчас; мелко — сколько дней в среднем стоят на открытом этапе.',
};

const en = {
	question: 'Which sources bring leads that pay, and where leads get stuck',
	qualityRate: 'Conversion to quality',
	forgotten: 'Forgotten of them',

	sources: 'From source to sale',
	sourcesNote: 'Leads created in the period, by their source. Click a row to filter the page, a heading to sort.',
	money: 'Money',
	moneyViews: { cohort: 'Money of these leads', period: 'Sold in the period' },
	received: 'Created in the period',
	conversionOf: 'Conversion of those created',
	overall: 'Overall',
	reached: 'Of them',
	moneyOf: { cohort: 'Money of these leads', period: 'Sold in the period' },
	stillOpen: 'Still open',
	toQuality: 'to quality',
	toDeal: 'to deal',
	toSale: 'to sale',
	withDeal: 'with a deal',
	withSale: 'with a sale',
	potential: 'Potential',
	outside: 'Sales in the period without a lead source are not in the table:',
	outsideLink: "money by the lead's source",

	share: 'Share of received leads by source',
	states: 'State of received leads by source',

	dealSources: "Deals and money by the lead's first source",
	dealSourcesNote: 'Deals count by the source of the lead from which they grew. Deals without a lead, of a deleted or of an imported lead have no source: their rows show how much money is not linked to leads.',
	dealViews: { created: 'Deals created in the period', sold: 'Sold in the period' },
	dealShare: 'Deals',
	amountShare: 'Sales amount',

	dynamics: 'Dynamics',
	dynamicsNote: 'Click a bar to choose its period.',
	steps: { month: 'Months', quarter: 'Quarters' },
	leadsByMonth: 'Leads received and their state now',
	firstSales: 'Leads with a first sale, by the day of the sale',
	soldByMonth: 'Sales amount of leads, by the day of the sale',
	potentialByMonth: "Potential amount, by the deal's creation",

	potentialMatrix: 'Potential amount by source and month: what to press',
	potentialNote: 'Deals of leads that are in work now, by the month in which the deal was created; the period does not matter, the other filters do.',
	potentialOutside: 'Also in work without a lead source:',
	potentialList: 'Open the leads with money in open deals',

	stages: 'Passing the stages',
	stagesNote: 'Share of all leads received from the source that ever stood on the stage. They add up to more than 100 %: a lead passes several stages, and stages may be skipped. An empty cell: no lead stood there.',

	leads: 'Leads by state and stage, funnel',
	leadsNote: 'Leads created in the period: where they are now and how many reached a sale.',
	byState: 'By state',
	byStage: 'By present stage',
	funnel: 'Funnel',
	funnelViews: { cohort: 'Of those created', period: 'Overall' },
	funnelCohort: 'Each step is part of the one before.',
	funnelPeriod: 'Each step counts by the day of its own event, whenever the lead was created; shares may exceed 100 %.',
	qualityWithDeal: 'Quality with a deal',
	qualityWithSale: 'Quality with a sale',
	notQuality: 'With a sale, but not quality:',
	conversions: 'Both conversions',
	conversionsNote: 'Left: how many of those created in the period have got there by now. Right: how many got there for the first time in the period, over those created in it.',

	utm: 'UTM labels',
	utmNote: 'Leads created in the period, by their label; click a row to filter.',

	list: 'List of leads',
	listNote: 'The oldest first: choose a stage in the filter to find those stuck on it.',

	managers: 'Leads by manager and stage',
	managersNote: 'Created in the period, by the present stage; in small type, how many days on average they have stood on an open stage.',
};

export const m = { ru, en }[language];

import { language } from '$lib/language.js';

const ru = {
	question: 'Какой источник, кампания и лид принесли каждую продажу',
	sold: 'Продано в периоде',
	soldNote: 'По дате продажи, когда бы ни были созданы лид и сделка; рядом — изменение к прошлому такому же периоду. «От лида» — дни от создания лида до продажи',
	withLead: 'С лидом',
	withLeadAmount: 'Сумма с лидом',
	withoutLead: 'Без источника лида',
	withoutLeadAmount: 'Сумма без источника лида',
	daysMedian: 'От лида, медиана',
	daysAverage: 'От лида, в среднем',
	bySource: 'Деньги по первичному источнику лида',
	bySourceNote:
		'Строки вместе — все продажи периода. «Без лида»: сделка создана не из лида. «Лид удалён»: лида больше нет в CRM. «Лид импортирован»: лид загружен из старой базы и в показатели не входит. Эти три вместе — «без источника лида»',
	share: 'Доля',
	list: 'Каждая продажа',
	listNote: 'Сделка и лид открываются в Битрикс24; отрицательные дни — ошибка в датах CRM',
	deal: 'Сделка',
	days: 'От лида, дней',
	flow: 'Что стало с лидами периода',
	flowNote:
		'Лиды, поступившие в периоде: источник → состояние лида → лучшая из его сделок. Ширина — число лидов, каждый считается один раз; при выборе воронки — сделки только этой воронки',
	leadOutcomes: { quality: 'Качественный', junk: 'Некачественный', in_work: 'В работе' },
	dealOutcomes: { sale: 'Продажа', in_work: 'Сделка в работе', failed: 'Сделка провалена', no_deal: 'Без сделки' },
	byCampaign: 'Деньги по кампаниям',
	byCampaignNote: 'UTM лида; прочерк — лид без метки кампании. Строки вместе — все продажи периода',
	noSales: 'Продаж за выбранный период нет',
	noLeads: 'Лидов за выбранный период нет',
};

const en = {
	question: 'Which source, campaign and lead brought each sale',
	sold: 'Sold in the period',
	soldNote: 'By the day of the sale, whenever lead and deal were created; beside it the change from the previous period. “From lead”: days from creation of the lead to the sale',
	withLead: 'With a lead',
	withLeadAmount: 'Amount with a lead',
	withoutLead: 'Without a lead source',
	withoutLeadAmount: 'Amount without a lead source',
	daysMedian: 'From lead, median',
	daysAverage: 'From lead, average',
	bySource: "Money by the lead's first source",
	bySourceNote:
		'The rows together are all sales of the period. “No lead”: the deal was not made from one. “Lead deleted”: the lead is gone from the CRM. “Lead imported”: the lead was loaded from an old base and is in no figure. The three together are “without a lead source”',
	share: 'Share',
	list: 'Every sale',
	listNote: 'Deal and lead open in Bitrix24; days are negative where dates in the CRM are wrong',
	deal: 'Deal',
	days: 'From lead, days',
	flow: 'What became of the leads of the period',
	flowNote:
		'Leads received in the period: source → state of the lead → the best of its deals. As wide as the number of leads, each counted once; with a pipeline chosen, deals of that pipeline only',
	leadOutcomes: { quality: 'Quality', junk: 'Junk', in_work: 'In work' },
	dealOutcomes: { sale: 'Sale', in_work: 'Deal in work', failed: 'Deal failed', no_deal: 'No deal' },
	byCampaign: 'Money by campaign',
	byCampaignNote: "The lead's UTM; a dash: the lead has no campaign. The rows together are all sales of the period",
	noSales: 'No sales in the chosen period',
	noLeads: 'No leads in the chosen period',
};

export const m = { ru, en }[language];

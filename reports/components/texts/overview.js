import { language } from '$lib/language.js';

const ru = {
	question: 'Сколько пришло, сколько продано, что забыто',
	leads: 'Лиды за период',
	leadsNote: 'Созданные в периоде и их состояние на момент обновления; рядом — изменение к прошлому такому же периоду',
	sold: 'Продано в периоде',
	soldNote: 'По дате продажи, когда бы ни была создана сделка',
	stock: 'Сейчас в работе',
	stockNote: 'На момент обновления, за всё время; период не учитывается, остальные фильтры учитываются',
	dealsInWork: 'Сделки в работе',
	forgottenLeads: 'Забытые лиды',
	forgottenDeals: 'Забытые сделки',
	forgottenAmount: 'Сумма забытых сделок',
};

const en = {
	question: 'What came in, what was sold, what is forgotten',
	leads: 'Leads of the period',
	leadsNote: 'Created in the period, with their state as of the refresh; beside it the change from the previous period',
	sold: 'Sold in the period',
	soldNote: 'By the day of the sale, whenever the deal was created',
	stock: 'In work now',
	stockNote: 'As of the refresh, of all time; the period does not matter, the other filters do',
	dealsInWork: 'Deals in work',
	forgottenLeads: 'Forgotten leads',
	forgottenDeals: 'Forgotten deals',
	forgottenAmount: 'Amount of forgotten deals',
};

export const o = { ru, en }[language];

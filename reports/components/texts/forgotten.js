import { formatPlural } from '$lib/format.js';
import { language } from '$lib/language.js';

const ru = {
	question: 'О ком давно не вспоминали и какие деньги под угрозой',
	deals: 'Забытые сделки',
	idle: 'В работе и без активности не меньше порога:',
	idleUnplanned: 'В работе, без единого дела и без активности не меньше порога:',
	leads: 'Забытые лиды',
	stock: 'На момент обновления, за всё время',
	dealsForgotten: 'Сделок забыто',
	dealsAmount: 'Сумма под угрозой',
	leadsForgotten: 'Лидов забыто',
	leadsAmount: 'Сумма под угрозой',
	ofThemUnplanned: 'Из них без дел',
	ofThemPlanned: 'Из них с делом',
	besidesPlanned: 'Кроме них, с делом',
	allWithoutActivity: 'Все в работе без дел',
	byManager: 'По менеджерам',
	byManagerNote: 'Красным — забытые, по которым ничего не запланировано. Молчание — дни без активности у забытых лидов и сделок вместе',
	count: 'Всего',
	unplanned: 'Без дел',
	silence: 'Молчание, дней',
	longest: 'Дольше всего',
	average: 'В среднем',
	withoutActivity: 'В работе без дел',
	dealsByStage: 'Сумма забытых сделок по этапам',
	leadsByStage: 'Забытые лиды по этапам',
	listNote: 'Сначала те, о ком не вспоминали дольше всего',
	nothing: 'Забытых нет',
	dayForms: { one: 'день', few: 'дня', many: 'дней', other: 'дня' },
};

const en = {
	question: 'Who has not been thought of for long, and which money is at risk',
	deals: 'Forgotten deals',
	idle: 'In work and without activity for the threshold or longer:',
	idleUnplanned: 'In work, nothing planned, and without activity for the threshold or longer:',
	leads: 'Forgotten leads',
	stock: 'As of the refresh, of all time',
	dealsForgotten: 'Deals forgotten',
	dealsAmount: 'Amount at risk',
	leadsForgotten: 'Leads forgotten',
	leadsAmount: 'Amount at risk',
	ofThemUnplanned: 'Of them, nothing planned',
	ofThemPlanned: 'Of them, planned',
	besidesPlanned: 'Besides, planned',
	allWithoutActivity: 'All in work, nothing planned',
	byManager: 'By manager',
	byManagerNote: 'Red: forgotten, and nothing planned. Silence: days without activity of forgotten leads and deals together',
	count: 'All',
	unplanned: 'Nothing planned',
	silence: 'Silence, days',
	longest: 'Longest',
	average: 'Average',
	withoutActivity: 'In work, nothing planned',
	dealsByStage: 'Amount of forgotten deals by stage',
	leadsByStage: 'Forgotten leads by stage',
	listNote: 'Those not thought of for longest come first',
	nothing: 'Nothing is forgotten',
	dayForms: { one: 'day', few: 'days', many: 'days', other: 'days' },
};

export const f = { ru, en }[language];

/** A threshold in words: 3 дня, 14 дней. */
export const daysOf = (value) => formatPlural(value, f.dayForms);

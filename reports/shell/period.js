// Periods are pairs of days, YYYY-MM-DD, both included. They are counted from the data's as-of
// moment, never from the viewer's clock; Date is used in UTC only, so that no timezone shifts a day.
// The same rules in Python: pipelines/excel/period.py.
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const DAY_MS = 86_400_000;

/** @typedef {{preset: string | null, start: string, end: string}} Period */
/** @typedef {{start: string, end: string, until: string | null}} Compared `until`: time of day at which its last day is cut */

const iso = (year, month, day) => new Date(Date.UTC(year, month, day)).toISOString().slice(0, 10);
const parts = (day) => [Number(day.slice(0, 4)), Number(day.slice(5, 7)) - 1, Number(day.slice(8))];
const daysBetween = (start, end) => Math.round((Date.parse(end) - Date.parse(start)) / DAY_MS);

/** The day as many days later. */
export const addDays = (day, days) => new Date(Date.parse(`${day}T00:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);

/** The same day of another month, or that month's last day where it is shorter. */
export function addMonths(day, months) {
	const [year, month, date] = parts(day);
	const [lastYear, lastMonth, last] = parts(iso(year, month + months + 1, 0));
	return iso(lastYear, lastMonth, Math.min(date, last));
}

/** A day that exists in the calendar, as YYYY-MM-DD. */
export function isDay(text) {
	if (typeof text !== 'string' || !DAY.test(text)) return false;
	const date = new Date(`${text}T00:00:00Z`);
	return !Number.isNaN(date.getTime()) && date.toISOString().slice(0, 10) === text;
}

const monday = (day) => addDays(day, -((new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7));
const firstOf = (day, months) => {
	const [year, month] = parts(day);
	return iso(year, month - (month % months), 1);
};

/** Months of the calendar presets, and how many periods before the running one they are. */
const CALENDAR = {
	thisMonth: [1, 0],
	previousMonth: [1, 1],
	quarter: [3, 0],
	previousQuarter: [3, 1],
	year: [12, 0],
	previousYear: [12, 1],
};
export const RUNNING = ['today', 'week', 'days30', 'thisMonth', 'quarter', 'year'];
export const FINISHED = ['yesterday', 'previousWeek', 'previousMonth', 'previousQuarter', 'previousYear'];
export const PRESETS = [...RUNNING, ...FINISHED, 'allTime'];
export const ALL_DAYS = ['1900-01-01', '2999-12-31'];

/** First and last day of a preset; running ones end on the as-of day. */
export function presetDays(preset, asOf) {
	switch (preset) {
		case 'today':
			return [asOf, asOf];
		case 'yesterday':
			return [addDays(asOf, -1), addDays(asOf, -1)];
		case 'week':
			return [monday(asOf), asOf];
		case 'previousWeek':
			return [addDays(monday(asOf), -7), addDays(monday(asOf), -1)];
		case 'days30':
			return [addDays(asOf, -29), asOf];
		case 'allTime':
			return ALL_DAYS;
		default: {
			const [months, before] = CALENDAR[preset];
			const start = addMonths(firstOf(asOf, months), -months * before);
			return [start, before === 0 ? asOf : addDays(addMonths(start, months), -1)];
		}
	}
}

/** The last finished month in the first 7 days of a month, else the running one. */
export const defaultPreset = (asOf) => (parts(asOf)[2] <= 7 ? 'previousMonth' : 'thisMonth');

/**
 * The period to compare with (rule 5 of the metric definitions), or null.
 * @param {Period} period @param {{date: string, time: string}} asOf
 * @param {'previous' | 'year' | 'none'} mode
 * @returns {Compared | null}
 */
export function comparedWith({ preset, start, end: chosenEnd }, asOf, mode) {
	if (mode === 'none' || preset === 'allTime' || start > asOf.date) return null;
	const end = chosenEnd > asOf.date ? asOf.date : chosenEnd;
	const isRunning = end === asOf.date;
	if (preset === 'week' && mode === 'previous') {
		return { start: addDays(start, -7), end: addDays(end, -7), until: asOf.time };
	}
	const unit = CALENDAR[preset]?.[0];
	for (const months of unit ? [unit] : [1, 3, 12]) {
		if (firstOf(start, months) !== start) continue;
		const last = addDays(addMonths(start, months), -1);
		const back = mode === 'year' ? 12 : months;
		if (end === last && !isRunning) {
			return { start: addMonths(start, -back), end: addDays(addMonths(start, months - back), -1), until: null };
		}
		if (isRunning && end <= last) {
			const same = addMonths(end, -back);
			return { start: addMonths(start, -back), end: same, until: same.slice(8) === end.slice(8) ? asOf.time : null };
		}
	}
	if (mode === 'year') {
		const same = addMonths(end, -12);
		return { start: addMonths(start, -12), end: same, until: isRunning && same.slice(8) === end.slice(8) ? asOf.time : null };
	}
	const days = daysBetween(start, end) + 1;
	return { start: addDays(start, -days), end: addDays(start, -1), until: isRunning ? asOf.time : null };
}

const instant = (day, time = '00:00:00') => Date.parse(`${day}T${time}Z`);

/**
 * The moment at which an earlier period was over for as long as the period is at the as-of moment, by
 * the portal's clock: cohorts are compared at the same age.
 * @param {{end: string}} period @param {Compared} before @param {{date: string, time: string}} asOf
 */
export function asOfThen({ end }, before, asOf) {
	const now = instant(asOf.date, asOf.time);
	const over = before.until ? instant(before.end, before.until) : instant(addDays(before.end, 1));
	return new Date(over + now - Math.min(now, instant(addDays(end, 1)))).toISOString().slice(0, 19).replace('T', ' ');
}

/** Grain → how many of them a time axis shows at least. */
const SHOWN = { day: 31, week: 26, month: 12, quarter: 8, year: 5 };
export const GRAINS = Object.keys(SHOWN);

/** First day of the day, week, month … that a day stands in. */
export function startOf(grain, day) {
	if (grain === 'day') return day;
	if (grain === 'week') return monday(day);
	return firstOf(day, { month: 1, quarter: 3, year: 12 }[grain]);
}

/** The start of the grain's unit as many units later. */
export function shift(grain, day, units) {
	if (grain === 'day' || grain === 'week') return addDays(day, units * (grain === 'week' ? 7 : 1));
	return addMonths(day, units * { month: 1, quarter: 3, year: 12 }[grain]);
}

/** First and last day of the unit that starts on a day. */
export const unitDays = (grain, start) => [start, addDays(shift(grain, start, 1), -1)];

/** Days of a line beside a figure: whole units that end with the period, at least as many as SHOWN. */
export function lineWindow(grain, { start, end }, asOf, first) {
	const last = end > asOf ? asOf : end;
	const from = shift(grain, startOf(grain, last), 1 - SHOWN[grain]);
	const chosen = startOf(grain, start < first ? first : start);
	return { start: chosen < from ? chosen : from, end: last };
}

/** Days of a time axis: it stays while the reader picks one of its units, and moves for a period before it. */
export function axisWindow(grain, period, asOf, first) {
	const present = lineWindow(grain, { start: asOf, end: asOf }, asOf, first);
	return period.start >= present.start ? present : lineWindow(grain, period, asOf, first);
}

/** The same days a year before. */
export const yearBefore = ({ start, end }) => ({ start: addMonths(start, -12), end: addMonths(end, -12) });

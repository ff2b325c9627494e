// Periods are pairs of days, YYYY-MM-DD. They are counted from the data's as-of day, never from the
// viewer's clock; Date is used in UTC only, so that no timezone can shift a day.
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const iso = (year, month, day) => new Date(Date.UTC(year, month, day)).toISOString().slice(0, 10);

export const PRESETS = ['thisMonth', 'previousMonth', 'quarter', 'year', 'allTime'];
export const DEFAULT_PRESET = 'thisMonth';

/** A day that exists in the calendar, as YYYY-MM-DD. */
export function isDay(text) {
	if (typeof text !== 'string' || !DAY.test(text)) return false;
	const date = new Date(`${text}T00:00:00Z`);
	return !Number.isNaN(date.getTime()) && date.toISOString().slice(0, 10) === text;
}

/** First and last day of a preset, both included; "to date" presets end on the as-of day. */
export function presetDays(preset, asOf) {
	const [year, month] = [Number(asOf.slice(0, 4)), Number(asOf.slice(5, 7)) - 1];
	switch (preset) {
		case 'thisMonth':
			return [iso(year, month, 1), asOf];
		case 'previousMonth':
			return [iso(year, month - 1, 1), iso(year, month, 0)];
		case 'quarter':
			return [iso(year, month - (month % 3), 1), asOf];
		case 'year':
			return [iso(year, 0, 1), asOf];
		case 'allTime':
			return ['1900-01-01', '2999-12-31'];
	}
}

/**
 * What the pages' SQL reads as inputs.period: `start`, `end` (days), and the months of the charts,
 * `chart_start` (first day of a month, at least 11 months before the last) and `chart_end`.
 */
export function periodInput(preset, start, end, asOf, firstDay) {
	const chartEnd = end < asOf ? end : asOf;
	const yearBefore = iso(Number(chartEnd.slice(0, 4)), Number(chartEnd.slice(5, 7)) - 12, 1);
	const chartStart = [yearBefore, start > firstDay ? start : firstDay].sort()[0];
	return { preset, start, end, chart_start: `${chartStart.slice(0, 7)}-01`, chart_end: chartEnd };
}

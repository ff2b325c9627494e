// Periods are pairs of days, YYYY-MM-DD. They are counted from the data's as-of day, never from the
// viewer's clock; Date is used in UTC only, so that no timezone can shift a day.
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const DAY_MS = 86_400_000;
const iso = (year, month, day) => new Date(Date.UTC(year, month, day)).toISOString().slice(0, 10);
const shifted = (day, days) =>
	new Date(Date.parse(`${day}T00:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);

/** Name → months of the period, and how many periods before the present one it is. */
const CALENDAR = {
	thisMonth: [1, 0],
	previousMonth: [1, 1],
	quarter: [3, 0],
	previousQuarter: [3, 1],
	year: [12, 0],
	previousYear: [12, 1],
};
export const PRESETS = [...Object.keys(CALENDAR), 'allTime'];
export const DEFAULT_PRESET = 'thisMonth';

/** A day that exists in the calendar, as YYYY-MM-DD. */
export function isDay(text) {
	if (typeof text !== 'string' || !DAY.test(text)) return false;
	const date = new Date(`${text}T00:00:00Z`);
	return !Number.isNaN(date.getTime()) && date.toISOString().slice(0, 10) === text;
}

const parts = (day) => [Number(day.slice(0, 4)), Number(day.slice(5, 7)) - 1, Number(day.slice(8))];

function calendarDays(months, before, asOf) {
	const [year, month] = parts(asOf);
	const first = month - (month % months) - months * before;
	return [iso(year, first, 1), before === 0 ? asOf : iso(year, first + months, 0)];
}

/** First and last day of a preset, both included; present periods end on the as-of day. */
export function presetDays(preset, asOf) {
	return preset === 'allTime' ? ['1900-01-01', '2999-12-31'] : calendarDays(...CALENDAR[preset], asOf);
}

/** The day as many months earlier; the last day of that month where it is shorter. */
function monthsEarlier(day, months) {
	const [year, month, date] = parts(day);
	const [lastYear, lastMonth, last] = parts(iso(year, month - months + 1, 0));
	return iso(lastYear, lastMonth, Math.min(date, last));
}

/**
 * The period to compare with: for a month, quarter or year the one before up to the same day; for a
 * range as many days just before; none for all time.
 */
export function previousDays(preset, start, end, asOf) {
	if (preset === 'allTime') return null;
	if (!preset) {
		const days = (Date.parse(end) - Date.parse(start)) / DAY_MS + 1;
		return [shifted(start, -days), shifted(start, -1)];
	}
	const [months] = CALENDAR[preset];
	return [monthsEarlier(start, months), monthsEarlier(end, months)];
}

/**
 * What the pages' SQL reads as inputs.period: `start`, `end`, `previous_start`, `previous_end` (days;
 * an empty range where there is nothing to compare with), and the months of the charts,
 * `chart_start` (first day of a month, at least 11 months before the last) and `chart_end`.
 */
export function periodInput(preset, start, end, asOf, firstDay) {
	const [previousStart, previousEnd] = previousDays(preset, start, end, asOf) ?? ['1900-01-02', '1900-01-01'];
	const chartEnd = end < asOf ? end : asOf;
	const yearBefore = iso(Number(chartEnd.slice(0, 4)), Number(chartEnd.slice(5, 7)) - 12, 1);
	const chartStart = [yearBefore, start > firstDay ? start : firstDay].sort()[0];
	return {
		preset,
		start,
		end,
		previous_start: previousStart,
		previous_end: previousEnd,
		chart_start: `${chartStart.slice(0, 7)}-01`,
		chart_end: chartEnd,
	};
}

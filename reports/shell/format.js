// Figures as they are read in the language of the pages; a dash where there is no value.
import words from '$texts/common.js';
import { isDay } from './period.js';

export const DASH = '—';
export const THIN = '\u202f';
const LANGUAGE = import.meta.env?.VITE_REPORT_LANG === 'en' ? 'en' : 'ru';
const LOCALE = { ru: 'ru-RU', en: 'en-US' }[LANGUAGE];
const decimals = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits });
const formats = new Map();

/**
 * What a code is called in the language of the pages; undefined where it is no code. Texts of the CRM
 * are asked for too, and one may be called `constructor`.
 * @param {Record<string, string>} texts
 */
export const textOf = (texts, code) => (texts && Object.hasOwn(texts, code) ? texts[code] : undefined);

const SYMBOLS = { RUB: '₽', USD: '$', EUR: '€', KZT: '₸', BYN: 'Br', UAH: '₴' };
let currency = 'RUB';
/** @param {string} code ISO code of the base currency */
export const setCurrency = (code) => (currency = code ?? '');
export const currencySymbol = (code = currency) => textOf(SYMBOLS, code) ?? code ?? '';

const isNone = (value) => value === null || value === undefined || value === '' || Number.isNaN(value);

function number(value, options) {
	if (isNone(value)) return DASH;
	const key = JSON.stringify(options);
	if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(LOCALE, options));
	return formats.get(key).format(value).replaceAll('\u00a0', THIN).replace('-', '−');
}

export const formatCount = (value) => number(value, decimals(0));
export const formatDecimal = (value) => number(value, decimals(1));
/** The value to the last digit, for a tooltip. */
export const formatExact = (value) => number(value, { maximumFractionDigits: 2 });

/** @param {number} value a share, 0..1; two digits below ten percent */
export function formatPercent(value) {
	if (isNone(value)) return DASH;
	const digits = value !== 0 && Math.abs(value) < 0.1 ? 2 : 1;
	return `${number(value * 100, decimals(digits))}${THIN}%`;
}

/** Whole units below a million; above, three digits of millions or billions. */
export const formatAmount = (value) =>
	Math.abs(value) >= 1e6 ? number(value, { notation: 'compact', maximumSignificantDigits: 3 }) : number(value, decimals(0));

export function formatMoney(value, code = currency) {
	const text = formatAmount(value);
	return text === DASH ? DASH : `${text}${THIN}${currencySymbol(code)}`;
}

/** @param {string} day YYYY-MM-DD */
export const formatDay = (day) => (day ? String(day).slice(0, 10).split('-').reverse().join('.') : DASH);

/** An instant to the minute. @param {string} moment YYYY-MM-DD HH:MM:SS */
export const formatMoment = (moment) => (moment ? `${formatDay(moment)} ${String(moment).slice(11, 16)}` : DASH);

/** Two days as a reader says them; one day where they are the same. */
export const formatDays = (start, end) => (start === end ? formatDay(start) : `${formatDay(start)} – ${formatDay(end)}`);

/** A unit of a time axis by its first day. */
export function formatUnit(day, grain) {
	if (!isDay(day)) return DASH;
	const date = new Date(`${day}T00:00:00Z`);
	const text = (options) => new Intl.DateTimeFormat(LOCALE, { timeZone: 'UTC', ...options }).format(date);
	if (grain === 'year') return day.slice(0, 4);
	if (grain === 'quarter') return `${['I', 'II', 'III', 'IV'][Math.floor(date.getUTCMonth() / 3)]} ${LANGUAGE === 'en' ? 'q' : 'кв.'} ${day.slice(0, 4)}`;
	if (grain === 'month') return text({ month: 'short', year: 'numeric' }).replace(/\s?г\.$/, '');
	return text({ day: 'numeric', month: 'short' });
}

/** A month in full, by a day of it: «март 2026». */
export const formatMonth = (day) =>
	new Intl.DateTimeFormat(LOCALE, { timeZone: 'UTC', month: 'long', year: 'numeric' }).format(new Date(`${day}T00:00:00Z`)).replace(/\s?г\.$/, '');

/** @param {Record<string, string>} forms word by plural category: one, few, many, other */
export const formatPlural = (value, forms) =>
	isNone(value) ? DASH : `${formatCount(value)}\u00a0${forms[new Intl.PluralRules(LOCALE).select(Number(value))]}`;

const signed = (change, text) => `${change < 0 ? '−' : '+'}${text}`;

/** The change from an earlier value: a share of it, points for percents; '' where there is none to speak of. */
export function formatChange(value, before, format) {
	if (isNone(value) || isNone(before)) return '';
	if (format === 'percent') {
		const points = (value - before) * 100;
		return `${signed(points, number(Math.abs(points), decimals(1)))}${THIN}${words.points}`;
	}
	if (!before) return '';
	const change = value / before - 1;
	if (change === 0) return `0${THIN}%`;
	// A thousand percent says nothing.
	if (change >= 10) return `×${number(value / before, decimals(0))}`;
	return `${signed(change, number(Math.abs(change) * 100, decimals(Math.abs(change) < 0.1 ? 1 : 0)))}${THIN}%`;
}

/** Evidence's format names → ours. */
const ALIASES = {
	num0: 'count',
	num1: 'decimal',
	num2: 'exact',
	pct: 'percent',
	pct0: 'percent0',
	pct1: 'percent',
	pct2: 'percent2',
	usd: 'money',
	eur: 'money',
	rub: 'money',
	usd0: 'money',
	date: 'day',
	id: 'text',
};

/** Whether a format is one of ours or of Evidence's names. */
export const formatName = (format) => ALIASES[format] ?? format;

/** A value in one of the formats that figures, tables and charts share. */
export function formatValue(value, format, { exact = false } = {}) {
	if (isNone(value)) return DASH;
	switch (formatName(format)) {
		case 'count':
			return formatCount(value);
		case 'percent':
			return formatPercent(value);
		case 'percent0':
			return `${number(value * 100, decimals(0))}${THIN}%`;
		case 'percent2':
			return `${number(value * 100, decimals(2))}${THIN}%`;
		case 'decimal':
			return formatDecimal(value);
		case 'exact':
			return formatExact(value);
		case 'days':
			return `${formatDecimal(value)}${THIN}${words.days}`;
		case 'whole_days':
			return formatCount(Math.trunc(value));
		case 'money':
			return exact ? `${formatExact(value)}${THIN}${currencySymbol()}` : formatMoney(value);
		case 'amount':
			return exact ? formatExact(value) : formatCount(value);
		case 'day':
			return formatDay(value);
		case 'moment':
			return formatMoment(value);
		case 'text':
			return String(value);
		default:
			if (typeof value === 'number') return formatExact(value);
			if (typeof value === 'boolean') return value ? '✓' : '';
			return isDay(value) ? formatDay(value) : String(value);
	}
}

/** `fmt(row.amount, 'money')` on pages. */
export const fmt = (value, format) => formatValue(value, format);

export const isNumeric = (format) => ['count', 'percent', 'percent0', 'percent2', 'decimal', 'exact', 'days', 'whole_days', 'money', 'amount'].includes(formatName(format));

/** The day of a text DD.MM.YYYY as YYYY-MM-DD, or undefined where it is not a day of the calendar. */
export function parseDay(text) {
	const [, day, month, year] = /^(\d{1,2})\.(\d{1,2})\.(\d{4})$/.exec(text.trim()) ?? [];
	const iso = `${year}-${month?.padStart(2, '0')}-${day?.padStart(2, '0')}`;
	return isDay(iso) ? iso : undefined;
}

/** A text as HTML shows it: tooltips of charts are HTML, names of sources and campaigns are not. */
export const asHtml = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

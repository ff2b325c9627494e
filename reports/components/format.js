// Figures as they are read in the language of the pages; a dash where there is no value.
import { isDay } from '$lib/period.js';
import { language } from '$lib/language.js';
import { t } from '$lib/texts/common.js';

export const DASH = '—';
const LOCALE = { ru: 'ru-RU', en: 'en-US' }[language];
const decimals = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits });

/**
 * What a code is called in the language of the pages; undefined where it is no code. Texts of the CRM
 * are asked for too, and one may be called `constructor`.
 * @param {Record<string, string>} texts
 */
export const textOf = (texts, code) => (Object.hasOwn(texts, code) ? texts[code] : undefined);

const SYMBOLS = { RUB: '₽', USD: '$', EUR: '€', KZT: '₸', BYN: 'Br', UAH: '₴' };

/** @param {string} currency ISO code of the base currency */
export const currencySymbol = (currency) => textOf(SYMBOLS, currency) ?? currency ?? '';

function number(value, options) {
	if (value === null || value === undefined || Number.isNaN(value)) return DASH;
	return new Intl.NumberFormat(LOCALE, options).format(value).replaceAll('\u00a0', '\u202f');
}

export const formatCount = (value) => number(value, decimals(0));

/** @param {number} value a share, 0..1; two digits below ten percent */
export function formatPercent(value) {
	if (value === null || value === undefined) return DASH;
	const digits = value !== 0 && Math.abs(value) < 0.1 ? 2 : 1;
	return `${number(value * 100, decimals(digits))}\u202f%`;
}

export const formatDecimal = (value) => number(value, decimals(1));

/** Whole units below a million; above, three digits of millions or billions. */
export const formatAmount = (value) =>
	Math.abs(value) >= 1e6
		? number(value, { notation: 'compact', maximumSignificantDigits: 3 })
		: number(value, decimals(0));

/** @param {string} currency ISO code of the base currency */
export function formatMoney(value, currency) {
	const text = formatAmount(value);
	return text === DASH ? DASH : `${text}\u202f${currencySymbol(currency)}`;
}

/** The value to the last digit, for a tooltip. */
export const formatExact = (value) => number(value, { maximumFractionDigits: 2 });

/** @param {string} day YYYY-MM-DD */
export const formatDay = (day) => (day ? day.slice(0, 10).split('-').reverse().join('.') : DASH);

/** @param {Record<string, string>} forms word by plural category: one, few, many, other */
export const formatPlural = (value, forms) =>
	value === null || value === undefined
		? DASH
		: `${formatCount(value)}\u00a0${forms[new Intl.PluralRules(LOCALE).select(Number(value))]}`;

/** The change from an earlier value as a signed share of it; '' where there is none to speak of. */
export function formatChange(value, before) {
	if (!before || value === null || value === undefined) return '';
	const change = value / before - 1;
	const text = number(Math.abs(change) * 100, decimals(Math.abs(change) < 0.1 ? 1 : 0));
	return `${change < 0 ? '−' : '+'}${text}\u202f%`;
}

/** The change of a share in percentage points. */
export function formatPoints(value, before, unit) {
	if (value === null || before === null || value === undefined || before === undefined) return '';
	const change = (value - before) * 100;
	return `${change < 0 ? '−' : '+'}${number(Math.abs(change), decimals(1))}\u202f${unit}`;
}

/** A value in one of the formats that figures, tables and charts share. */
export function formatValue(value, format, currency) {
	switch (format) {
		case 'count':
			return formatCount(value);
		case 'percent':
			return formatPercent(value);
		case 'decimal':
			return formatDecimal(value);
		case 'days':
			return value === null || value === undefined ? DASH : `${formatDecimal(value)}\u202f${t.days}`;
		case 'money':
			return formatMoney(value, currency);
		case 'amount':
			return formatCount(value);
		case 'day':
			return value ? formatDay(value) : DASH;
		default:
			return value === null || value === undefined || value === '' ? DASH : String(value);
	}
}

/** The day of a text DD.MM.YYYY as YYYY-MM-DD, or undefined where it is not a day of the calendar. */
export function parseDay(text) {
	const [, day, month, year] = /^(\d{1,2})\.(\d{1,2})\.(\d{4})$/.exec(text.trim()) ?? [];
	const iso = `${year}-${month?.padStart(2, '0')}-${day?.padStart(2, '0')}`;
	return isDay(iso) ? iso : undefined;
}

/** A text as HTML shows it: tooltips of charts are HTML, names of sources and campaigns are not. */
export const asHtml = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

// Figures as they are read in Russian: thin spaces, decimal comma, a dash where there is no value.
import { isDay } from '$lib/period.js';

const DASH = '—';
const decimals = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits });
const SYMBOLS = { RUB: '₽', USD: '$', EUR: '€', KZT: '₸', BYN: 'Br', UAH: '₴' };

/** @param {string} currency ISO code of the base currency */
export const currencySymbol = (currency) => SYMBOLS[currency] ?? currency ?? '';

function number(value, options) {
	if (value === null || value === undefined || Number.isNaN(value)) return DASH;
	return new Intl.NumberFormat('ru-RU', options).format(value).replaceAll('\u00a0', '\u202f');
}

export const formatCount = (value) => number(value, decimals(0));

/** @param {number} value a share, 0..1 */
export function formatPercent(value) {
	const text = number(value === null || value === undefined ? value : value * 100, decimals(1));
	return text === DASH ? DASH : `${text}\u202f%`;
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
export const formatDay = (day) => day.split('-').reverse().join('.');

/** The day of a text DD.MM.YYYY as YYYY-MM-DD, or undefined where it is not a day of the calendar. */
export function parseDay(text) {
	const [, day, month, year] = /^(\d{1,2})\.(\d{1,2})\.(\d{4})$/.exec(text.trim()) ?? [];
	const iso = `${year}-${month?.padStart(2, '0')}-${day?.padStart(2, '0')}`;
	return isDay(iso) ? iso : undefined;
}

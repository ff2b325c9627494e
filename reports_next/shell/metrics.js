// How a column of a result is called and written: by the metric of its name, where there is one.
import { t } from './texts/index.js';
import { currencySymbol, isNumeric } from './format.js';
import { site } from './site.svelte.js';

const FORMATS = { number: 'exact', day: 'day', time: 'text', text: 'text', boolean: 'boolean' };

export const metric = (name) => (Object.hasOwn(site.meta.metrics, name) ? site.meta.metrics[name] : undefined);
export const filterByName = (name) => site.meta.filters.find((filter) => filter.name === name);

/**
 * The filter that narrows a column of a result. Leads and deals may have columns of one name: the
 * breakdown of a metric block decides, else the values that are there.
 * @param {string} column
 * @param {{block?: any}} [data] rows of a query
 */
export function filterOf(column, data) {
	const { block } = data ?? {};
	const names = block?.spec?.by?.length ? block.variant.split(', ') : [];
	const place = names.length ? block.columns.filter(({ name }) => name !== 'period').findIndex(({ name }) => name === column) : -1;
	const byName = site.meta.filters.find(({ dimensions = [] }) => place >= 0 && dimensions.includes(names[place]));
	if (byName) return byName;
	const found = site.meta.filters.filter(({ columns }) => Object.values(columns).includes(column));
	if (found.length < 2) return found[0];
	const value = data?.find?.((row) => row[column])?.[column];
	return found.find(({ options }) => options.some((option) => option.value === value)) ?? found[0];
}

/**
 * @param {{name: string, type: string}} column
 * @param {{title?: string, fmt?: string}} [given] what the page says of it
 */
export function describe({ name, type }, given = {}) {
	const found = metric(name);
	// Evidence reads the format of a column from the end of its name.
	const [, stem, tag] = (!found && /^(.+)_(usd|eur|rub|pct\d?|num\d)$/.exec(name)) || [];
	const format = given.fmt ?? (found ? (found.format === 'amount' ? 'money' : found.format) : (tag ?? FORMATS[type]));
	const base = given.title ?? found?.short ?? found?.label ?? filterOf(name)?.label ?? t.columnNames?.[name] ?? (stem ?? name).replaceAll('_', ' ');
	return { name, type, format, metric: found ? name : undefined, title: base, isNumeric: isNumeric(format) || (type === 'number' && !given.fmt) };
}

/** The label of a table's column: money says its currency once, in the head. */
export const headOf = ({ title, format }) => (format === 'money' || format === 'amount' ? `${title}, ${currencySymbol()}` : title);

/** Metric columns and dimension columns of a result. */
export const isMetricColumn = (name) => Boolean(metric(name));

/** A value of a dimension as it is read: codes by the filter's options, '' and null as «не указано». */
export function dimensionText(value, filter) {
	if (value === null || value === undefined || value === '') return t.noValue;
	const option = filter?.options?.find((one) => one.value === value);
	return option?.label ?? String(value);
}

/** Path of the list of a metric's records, without the choice. */
export const recordsOf = (name) => metric(name)?.records;

/** Values of a series in the order of the filter's options, which is the same on every chart. */
export function orderOf(values, filter) {
	const place = new Map((filter?.options ?? []).map(({ value }, i) => [value, i]));
	return [...values].sort((one, other) => (place.get(one ?? '') ?? place.size) - (place.get(other ?? '') ?? place.size));
}

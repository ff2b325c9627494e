// How a column of a result is called and written: by the metric of its name, where there is one.
import { t } from './texts/index.js';
import { currencySymbol, isNumeric } from './format.js';
import { open } from './page.svelte.js';
import { recordsHref } from './records.js';
import { site } from './site.svelte.js';

const FORMATS = { number: 'exact', day: 'day', time: 'moment', text: 'text', boolean: 'boolean' };

export const metric = (name) => (Object.hasOwn(site.meta.metrics, name) ? site.meta.metrics[name] : undefined);
export const filterByName = (name) => site.meta.filters.find((filter) => filter.name === name);

/** The filter that a dimension sets: by the name that it has in `by`, one of the page's first; else by its column. */
export function filterOfDimension(name) {
	const named = site.meta.filters.filter(({ dimensions = [] }) => dimensions.includes(name));
	return named.find((filter) => open.page?.offers(filter.name)) ?? named[0] ?? site.meta.filters.find(({ columns }) => Object.values(columns).includes(name));
}

/** Whether a click on a value sets its filter: not on «без лида» where the filter is of leads. */
export const canChoose = (filter, value) => Boolean(filter && open.page?.offers(filter.name) && (filter.cut || filter.options.some((one) => one.value === (value ?? ''))));

/** A dimension column's label: that of the filter on it. */
const labelOfColumn = (name) => filterOfDimension(name)?.label ?? site.meta.dimensions?.[name]?.label;

/** Values of a dimension in the order of its filter, where that has one of its own (stages). */
export function inOrder(values, filter) {
	if (!filter?.ordered) return values;
	const places = new Map(filter.options.map(({ value }, i) => [value, i]));
	const place = (value) => places.get(value ?? '') ?? places.size;
	return [...values].sort((one, other) => place(one) - place(other));
}

/** Values of a series in the order of the filter's options, which is the same on every chart. */
export function orderOf(values, filter) {
	const place = new Map((filter?.options ?? []).map(({ value }, i) => [value, i]));
	return [...values].sort((one, other) => (place.get(one ?? '') ?? place.size) - (place.get(other ?? '') ?? place.size));
}

/** `a=text | b=text` of an attribute, or the same as an object. */
export const pairsOf = (pairs = '') =>
	typeof pairs === 'string' ? Object.fromEntries(pairs.split('|').map((pair) => pair.split('=').map((part) => part.trim()))) : pairs;

/** Breakdowns to choose from, by what tells them apart: source and campaign, source and medium. */
export function breakdowns(by) {
	const isShared = (name) => by.length > 1 && by.every((names) => names.includes(name));
	return Object.fromEntries(by.map((names) => [names.join(', '), names.filter((name) => !isShared(name)).map((name) => site.meta.dimensions?.[name]?.label ?? name).join(', ')]));
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
	const base = given.title ?? found?.short ?? found?.label ?? labelOfColumn(name) ?? t.columnNames?.[name] ?? (stem ?? name).replaceAll('_', ' ');
	return { name, type, format, metric: found ? name : undefined, isRatio: Boolean(found?.is_ratio), title: base, isNumeric: isNumeric(format) || (type === 'number' && !given.fmt) };
}

/** The label of a table's column: money says its currency once, in the head. */
export const headOf = ({ title, format }) => (format === 'money' || format === 'amount' ? `${title}, ${currencySymbol()}` : title);

/** Metric columns and dimension columns of a result. */
export const isMetricColumn = (name) => Boolean(metric(name));

/** A value of a dimension as it is read: codes by the filter's options, '' and null as «не указано». */
export function dimensionText(value, filter) {
	if (value === null || value === undefined || value === '') return t.noValue;
	if (typeof value === 'boolean') return value ? '✓' : '';
	const option = filter?.options?.find((one) => one.value === value);
	return option?.label ?? String(value);
}

/** Whether a block tells a metric as of now, whatever the period. */
export const isNow = (spec, name) => spec?.period === 'none' || Boolean(spec?.now?.includes(name));

/** Whether a figure is shown beside an earlier period's: as it was then, or at the same age. */
export const isCompared = (spec, name) => (metric(name)?.comparable !== false || Boolean(metric(name)?.at_age)) && !isNow(spec, name);

/** Whether months of a figure compare in a line: those of a cohort that still grows do not. */
export const hasLine = (spec, name) => metric(name)?.comparable !== false && !isNow(spec, name);

/** Path of the list of the records that a block's metric counts, without the choice. */
export function recordsOf(spec, name) {
	const records = metric(name)?.records;
	return records && isNow(spec, name) ? `${records}_now` : records;
}

/**
 * The list of the records behind a figure of a block: of one of its groups, of its total.
 * @param {any} block
 * @param {string} name metric
 * @param {[any, any][]} [parts] filter and value of each dimension of the group
 * @param {Record<string, string | string[]>} [extra] filters of the block's `where`
 * @returns {string | undefined} none where no filter says which records they are
 */
export function groupHref(block, name, parts = [], extra = {}) {
	const records = block?.spec.kind === 'metrics' ? recordsOf(block.spec, name) : undefined;
	// Groups of a field with several values are by all of them, its filter is by each.
	if (!records || parts.some(([filter]) => !filter || filter.several)) return undefined;
	const group = Object.fromEntries(parts.map(([filter, value]) => [filter.name, value ?? '']));
	return recordsHref(records, { ...extra, ...group }, block.own);
}

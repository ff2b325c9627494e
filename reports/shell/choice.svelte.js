// What the reader has chosen: period, filters, comparison, and the switches of the page. It stands in
// the address; each change is an entry of the history, so that Back takes it back.
import { condition } from './sql.js';
import { asOfThen, comparedWith, isDay, PRESETS, presetDays } from './period.js';
import { site } from './site.svelte.js';

export const COMPARE = ['previous', 'year', 'none'];

/**
 * values, without: filter → chosen or excluded values, '' stands for none; view: parameters of the
 * page (switches, sort, search, columns).
 */
export const choice = $state({
	/** @type {import('./period.js').Period} */
	period: { preset: 'thisMonth', start: '', end: '' },
	/** @type {Record<string, string[]>} */
	values: {},
	/** @type {Record<string, string[]>} */
	without: {},
	/** @type {'previous' | 'year' | 'none'} */
	compare: 'previous',
	/** @type {Record<string, string>} */
	view: {},
});

const EXCLUDED = 'not_';
const filterNames = () => new Set(site.meta.filters.map(({ name }) => name));

function fromPreset(preset) {
	const [start, end] = presetDays(preset, site.meta.as_of_date);
	return { preset, start, end };
}

function defaultPeriod() {
	const { preset, start, end } = site.meta.default_period;
	return PRESETS.includes(preset) ? fromPreset(preset) : { preset: null, start, end };
}

export function isDefaultPeriod() {
	const normal = defaultPeriod();
	return choice.period.start === normal.start && choice.period.end === normal.end;
}

/** Reads the choice from an address. */
export function readAddress(search) {
	const query = new URLSearchParams(search);
	const names = filterNames();
	const [preset, start, end] = ['period', 'from', 'to'].map((name) => query.get(name));
	if (preset && PRESETS.includes(preset)) choice.period = fromPreset(preset);
	else if (isDay(start) && isDay(end) && start <= end) choice.period = { preset: null, start, end };
	else choice.period = defaultPeriod();
	choice.compare = COMPARE.includes(query.get('compare')) ? query.get('compare') : 'previous';
	const [values, without, view] = [{}, {}, {}];
	for (const name of new Set(query.keys())) {
		if (names.has(name)) values[name] = query.getAll(name);
		else if (name.startsWith(EXCLUDED) && names.has(name.slice(EXCLUDED.length))) {
			without[name.slice(EXCLUDED.length)] = query.getAll(name);
		} else if (!['period', 'from', 'to', 'compare'].includes(name)) view[name] = query.get(name);
	}
	choice.values = values;
	choice.without = without;
	choice.view = view;
}

/** The choice as query of an address: what is the default is left out. */
export function query({ withView = true, extra = {} } = {}) {
	const out = new URLSearchParams();
	const { preset, start, end } = choice.period;
	const normal = defaultPeriod();
	if (preset === null) {
		if (start !== normal.start || end !== normal.end || normal.preset !== null) {
			out.set('from', start);
			out.set('to', end);
		}
	} else if (preset !== normal.preset) out.set('period', preset);
	if (choice.compare !== 'previous') out.set('compare', choice.compare);
	for (const [name, values] of Object.entries(choice.values)) for (const value of values) out.append(name, value);
	for (const [name, values] of Object.entries(choice.without)) for (const value of values) out.append(EXCLUDED + name, value);
	if (withView) for (const [name, value] of Object.entries(choice.view)) if (value !== undefined) out.set(name, value);
	for (const [name, value] of Object.entries(extra)) out.set(name, value);
	const text = out.toString();
	return text ? `?${text}` : '';
}

/** Writes the choice into the address; `quietly`: without an entry of the history. */
export function writeAddress(quietly = false) {
	const url = location.pathname + query() + location.hash;
	if (url === location.pathname + location.search + location.hash) return;
	history[quietly ? 'replaceState' : 'pushState'](null, '', url);
}

export function choosePreset(preset) {
	choice.period = fromPreset(preset);
	writeAddress();
}

export function chooseDays(start, end) {
	choice.period = { preset: null, start, end };
	writeAddress();
}

export function chooseCompare(mode) {
	choice.compare = mode;
	writeAddress();
}

/** Sets the values of a filter; none: the filter is off. */
export function chooseValues(name, values, kind = 'values') {
	const others = { ...choice[kind] };
	delete others[name];
	choice[kind] = values.length ? { ...others, [name]: values } : others;
	writeAddress();
}

/** Adds a value to a filter, or takes it out; `alone`: instead of the others. */
export function toggle(name, value, { alone = false, exclude = false } = {}) {
	const kind = exclude ? 'without' : 'values';
	const text = value ?? '';
	const present = choice[kind][name] ?? [];
	const next = present.includes(text) ? present.filter((one) => one !== text) : [...(alone ? [] : present), text];
	const other = exclude ? 'values' : 'without';
	if (choice[other][name]?.includes(text)) {
		choice[other] = { ...choice[other], [name]: choice[other][name].filter((one) => one !== text) };
		if (choice[other][name].length === 0) delete choice[other][name];
	}
	chooseValues(name, alone && present.includes(text) && present.length > 1 ? [text] : next, kind);
}

export function reset() {
	choice.period = defaultPeriod();
	choice.values = {};
	choice.without = {};
	writeAddress();
}

/** Sets a parameter of the page: a switch, a sort, a search. */
export function setView(name, value, quietly = false, keepsEmpty = false) {
	if (choice.view[name] === value) return;
	const view = { ...choice.view, [name]: value };
	if (value === undefined || (value === '' && !keepsEmpty)) delete view[name];
	choice.view = view;
	writeAddress(quietly);
}

export const isFiltered = () => Object.keys(choice.values).length + Object.keys(choice.without).length > 0;

/** Filters that are chosen and narrow a target. */
function chosenFilters(target) {
	return site.meta.filters.filter(({ name, columns }) => columns[target] !== undefined && (choice.values[name] ?? choice.without[name]));
}

/** SQL condition of the filters on a target; true where none is chosen. */
export function where(target, allowed = () => true) {
	const parts = chosenFilters(target)
		.filter(({ name }) => allowed(name))
		.flatMap(({ name, columns }) => [
			...(choice.values[name] ? [condition(columns[target], choice.values[name])] : []),
			...(choice.without[name] ? [condition(columns[target], choice.without[name], true)] : []),
		]);
	return parts.length ? parts.join(' and ') : 'true';
}

export const asOf = () => ({ date: site.meta.as_of_date, time: site.meta.as_of_time });

/** The period that the present one is compared with, or null. */
export function compared(mode = choice.compare) {
	const before = comparedWith(choice.period, asOf(), mode);
	return before && { ...before, reached: asOfThen(choice.period, before, asOf()) };
}

// The choice that the filters of a page hold. Filters.svelte owns it; tables and charts change it by
// a click, and every query of the page follows.
import { writable } from 'svelte/store';

/** Chosen values by filter key; '' stands for records without a value. */
export const chosen = writable({});

/** The chosen period: a preset of period.js, or null with its first and last day, YYYY-MM-DD. */
export const period = writable({ preset: null, start: '', end: '' });

/** Adds a value to a filter, or takes it out. Pages without that filter stay as they are. */
export function toggle(key, value) {
	chosen.update((all) => {
		const values = all[key];
		if (!values) return all;
		const text = value ?? '';
		return {
			...all,
			[key]: values.includes(text) ? values.filter((one) => one !== text) : [...values, text],
		};
	});
}

/** Chooses a range of days. */
export const chooseDays = (start, end) => period.set({ preset: null, start, end });

const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

/** SQL condition: the column (or expression) has one of the values; true where none is chosen. */
export function valuesPredicate(column, values) {
	if (values.length === 0) return 'true';
	const named = values.filter((value) => value !== '');
	const parts = [];
	if (named.length > 0) parts.push(`${column} in (${named.map(quoted).join(', ')})`);
	if (named.length < values.length) parts.push(`${column} is null`);
	return `(${parts.join(' or ')})`;
}

/** SQL condition: a lead or deal has one of the values in a user field. */
export function userFieldPredicate(entity, field, values) {
	if (values.length === 0) return 'true';
	const id = `${entity}_id`;
	const having = (condition) =>
		`select item_id from marts.fct_user_field_values where entity = '${entity}' and field_name = ${quoted(field)}${condition}`;
	const named = values.filter((value) => value !== '');
	const parts = [];
	if (named.length > 0) {
		parts.push(`${id} in (${having(` and field_value in (${named.map(quoted).join(', ')})`)})`);
	}
	if (named.length < values.length) parts.push(`${id} not in (${having('')})`);
	return `(${parts.join(' or ')})`;
}

/** SQL condition: one of the columns contains the text, letters of any case. */
export function searchPredicate(columns, text) {
	if (text.trim() === '') return 'true';
	const pattern = quoted(`%${text.trim().replace(/[\\%_]/g, '\\$&')}%`);
	return `(${columns.map((column) => `lower(cast(${column} as varchar)) like lower(${pattern}) escape '\\'`).join(' or ')})`;
}

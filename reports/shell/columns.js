// <Column> children of a table, as columns of the grid.
import { formatValue, textOf } from './format.js';
import { describe, dimensionText, filterByName } from './metrics.js';
import { cardHref } from './records.js';

const ENTITIES = ['lead', 'deal'];

/**
 * @param {any} given attributes of <Column>; empty where the page names none
 * @param {{name: string, type: string}} column of the result
 * @param {{link?: string}} [table]
 */
export function toGrid(given, column, table = {}) {
	const base = describe(column, { title: given.title, fmt: given.fmt });
	const isLink = given.contentType === 'link';
	const link = given.link ?? table.link;
	const filter = given.filter && filterByName(given.filter);
	const href = hrefOf(given, column.name, isLink ? column.name : link);
	return {
		...base,
		metric: given.metric ?? base.metric,
		align: given.align,
		isNumeric: given.align ? given.align === 'right' : base.isNumeric,
		shade: given.contentType === 'colorscale',
		bar: given.contentType === 'bar',
		alert: given.alert,
		group: given.colGroup,
		href,
		external: !given.card && (isLink || Boolean(given.link)),
		text: isLink && given.linkLabel ? (_, row) => String(row[given.linkLabel] ?? given.linkLabel) : filter ? (value) => dimensionText(value, filter) : given.texts ? (value) => textOf(given.texts, value) ?? formatValue(value) : undefined,
	};
}

/** An address that a text of the CRM may be: never a script. */
const address = (text) => (/^(https?:\/\/|\/(?!\/)|\.{0,2}\/|[?#])/i.test(text ?? '') ? text : undefined);

/** Where a cell leads: to the card of its record, or to the address in a column. */
function hrefOf({ card }, name, link) {
	const toLink = link ? (row) => address(row[link]) : undefined;
	if (!card) return toLink;
	const entityOf = (row) => (ENTITIES.includes(card) ? card : row[card]);
	return (row) => (ENTITIES.includes(entityOf(row)) && row[name] !== null ? cardHref(entityOf(row), row[name]) : toLink?.(row));
}

/** Rows in the order of a column, those of too few records last: they are not ranked. */
export function rankRows(rows, sort, isSmall) {
	const ordered = sortRows(rows, sort);
	return [...ordered.filter((row) => !isSmall(row)), ...ordered.filter(isSmall)];
}

/** Rows in the order of a column, none last. @param {any[]} rows @param {string} sort column, -column: the largest first */
export function sortRows(rows, sort) {
	const name = sort.replace(/^-/, '');
	if (!name) return rows;
	const isNone = (value) => value === null || value === undefined;
	const compare = (one, other) => {
		const [a, b] = [one[name], other[name]];
		if (a === b || (isNone(a) && isNone(b))) return 0;
		if (isNone(a)) return 1;
		if (isNone(b)) return -1;
		const order = typeof a === 'string' ? a.localeCompare(b, undefined, { numeric: true }) : a < b ? -1 : 1;
		return sort.startsWith('-') ? -order : order;
	};
	return [...rows].sort(compare);
}

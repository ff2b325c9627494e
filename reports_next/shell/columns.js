// <Column> children of a table, as columns of the grid.
import { formatValue, textOf } from './format.js';
import { describe, dimensionText, filterByName } from './metrics.js';

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
	return {
		...base,
		metric: given.metric ?? base.metric,
		align: given.align,
		isNumeric: given.align ? given.align === 'right' : base.isNumeric,
		shade: given.contentType === 'colorscale',
		bar: given.contentType === 'bar',
		alert: given.alert,
		group: given.colGroup,
		href: isLink ? (row) => address(row[column.name]) : link ? (row) => address(row[link]) : undefined,
		external: isLink || Boolean(given.link),
		text: isLink && given.linkLabel ? (_, row) => String(row[given.linkLabel] ?? given.linkLabel) : filter ? (value) => dimensionText(value, filter) : given.texts ? (value) => textOf(given.texts, value) ?? formatValue(value) : undefined,
	};
}

/** An address that a text of the CRM may be: never a script. */
const address = (text) => (/^(https?:\/\/|\/(?!\/)|\.{0,2}\/|[?#])/i.test(text ?? '') ? text : undefined);

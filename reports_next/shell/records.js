// Links from a figure to the records that it counts, and to the card of a record.
import { query } from './choice.svelte.js';
import { siteUrl } from './site.svelte.js';

/**
 * @param {string} records list and set: 'leads/received'
 * @param {Record<string, string | string[]>} [extra] filters that the cell adds to the chosen ones;
 *   `not_<filter>` excludes
 */
export function recordsHref(records, extra = {}) {
	const [list, set] = records.split('/');
	const address = new URLSearchParams(query({ withView: false }));
	for (const [name, value] of Object.entries(extra)) {
		address.delete(name);
		for (const one of Array.isArray(value) ? value : [value]) address.append(name, one ?? '');
	}
	address.set('show', set);
	return `${siteUrl(`/${list}/`)}?${address}`;
}

/** The card of a lead or deal; the filters of the reader go along. */
export const cardHref = (entity, id) => siteUrl('/card/') + query({ withView: false, extra: { [entity]: id } });

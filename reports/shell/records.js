// Links from a figure to the records that it counts, and to the card of a record.
import { query } from './choice.svelte.js';
import { open } from './page.svelte.js';
import { site, siteUrl } from './site.svelte.js';

/** Deals that a page tells by their leads are listed so too. */
const listOf = (list) => (list === 'deals' && open.page?.target('deals') === 'lead_deals' ? 'lead_deals' : list);

/**
 * @param {string} records list and set: 'leads/received'
 * @param {Record<string, string | string[]>} [extra] filters that the figure has beside the chosen
 *   ones; `not_<filter>` excludes
 * @param {string[]} [own] filters that the figure's block ignores, as it is broken down by them
 */
export function recordsHref(records, extra = {}, own = []) {
	const [list, set] = records.split('/');
	const address = new URLSearchParams(query({ withView: false }));
	// What does not narrow the figure does not narrow its list.
	for (const { name } of site.meta.filters) {
		if (open.page?.offers(name) && !own.includes(name)) continue;
		address.delete(name);
		address.delete(`not_${name}`);
	}
	for (const [name, value] of Object.entries(extra)) {
		const values = [value].flat().map((one) => one ?? '');
		const chosen = address.getAll(name);
		address.delete(name);
		const both = name.startsWith('not_') ? [...new Set([...chosen, ...values])] : chosen.length ? values.filter((one) => chosen.includes(one)) : values;
		for (const one of both) address.append(name, one);
	}
	address.set('show', set);
	return `${siteUrl(`/${listOf(list)}/`)}?${address}`;
}

/** The card of a lead or deal; the filters of the reader go along. */
export const cardHref = (entity, id) => siteUrl('/card/') + query({ withView: false, extra: { [entity]: id } });

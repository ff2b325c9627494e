// What samples allow to say: of few records nothing is shaded, ranked, or called best or worst.
import { formatCount, formatPercent } from './format.js';
import { metric } from './metrics.js';
import { site } from './site.svelte.js';
import { wilson } from './statistics.js';
import { t } from './texts/index.js';

/** Rows of fewer records are not ranked. */
export const minSample = () => site.meta.min_sample;
/** Amounts of fewer sales are called neither best nor worst. */
export const minSales = () => site.meta.min_sales;

/** Whether too few records stand behind a share of a row. */
export const isSmallSample = (row, name) => Boolean(row) && row[`${name}__part`] !== undefined && row[`${name}__n`] < minSample();

/** What a share of a row stands on: part, whole, and of a cohort the interval; undefined of no share. */
export function sampleText(row, name) {
	const [part, whole] = [row?.[`${name}__part`], row?.[`${name}__n`]];
	if (part === undefined || part === null || !whole) return undefined;
	const ends = metric(name)?.interval ? wilson(Number(part), Number(whole)).map(formatPercent) : [];
	const texts = [`${formatCount(part)} ${t.outOf} ${formatCount(whole)}`, ends.length ? `${t.interval} ${ends.join(' – ')}` : '', isSmallSample(row, name) ? t.smallSample : ''];
	return texts.filter(Boolean).join('; ');
}

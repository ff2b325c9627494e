// Colours of the charts: one meaning, one colour, on every page and in both themes.
export const COLORS = {
	accent: '#2b6cb0',
	muted: '#a0a7b4',
	alert: '#c53030',
};

/** Codes that mean the same everywhere. */
const MEANINGS = {
	quality: '#2f9e6e',
	in_progress: '#4a8fd6',
	new: '#a9c9ec',
	junk: '#b9bec6',
	sale: '#2f9e6e',
	in_work: '#4a8fd6',
	failed: '#b9bec6',
	repeat: '#e0a03c',
	unknown: '#b9bec6',
};

/** The colour of a metric by what it counts: `sales_repeat_period`, `leads_quality_cohort`. */
export function metricColor(name, i) {
	const found = ['in_progress', 'in_work', 'quality', 'junk', 'new', 'repeat', 'unknown', 'failed'].find((meaning) => `_${name}_`.includes(`_${meaning}_`));
	if (found) return MEANINGS[found];
	return i === 0 && /^sales_/.test(name) ? MEANINGS.sale : (PALETTE[i] ?? COLORS.muted);
}

const PALETTE = [
	'#2b6cb0', '#e0a03c', '#2f9e6e', '#8e5bb5', '#d1605e', '#3aa7b8',
	'#b5893d', '#6c7fd8', '#7aa64b', '#c46aa0', '#5b8a8a', '#a06a4f',
];

/** The colour of a series by its place. */
export const paletteColor = (i) => PALETTE[i] ?? COLORS.muted;

/**
 * The colour of a value of a dimension: the option's own, that of its meaning, or by its place among
 * the filter's options, which is the same on every chart.
 */
export function colorOf(value, filter, i) {
	const option = filter?.options?.find((one) => one.value === value);
	if (option?.color) return option.color;
	if (Object.hasOwn(MEANINGS, value)) return MEANINGS[value];
	const place = filter?.options?.indexOf(option) ?? -1;
	return paletteColor(place >= 0 ? place : i);
}

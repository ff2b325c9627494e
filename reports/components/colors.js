// Colours of the charts: one meaning, one colour, on every page and in both themes.
export const COLORS = {
	accent: '#2b6cb0',
	muted: '#a0a7b4',
	quality: '#2f9e6e',
	inProgress: '#4a8fd6',
	new: '#a9c9ec',
	junk: '#b9bec6',
	sale: '#2f9e6e',
	inWork: '#4a8fd6',
	failed: '#b9bec6',
	newCustomer: '#2b6cb0',
	repeatCustomer: '#e0a03c',
	unknownCustomer: '#b9bec6',
	noLead: '#d8dce2',
};

const PALETTE = [
	'#2b6cb0', '#e0a03c', '#2f9e6e', '#8e5bb5', '#d1605e', '#3aa7b8',
	'#b5893d', '#6c7fd8', '#7aa64b', '#c46aa0', '#5b8a8a', '#a06a4f',
];

/** One colour per name, by its place among all names of the page; grey past the palette. */
export const colorOf = (name, names) => PALETTE[names.indexOf(name)] ?? COLORS.muted;

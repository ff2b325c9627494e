// Light or dark: as the reader chose before, else as the device says (scripts/build.mjs sets it early).
const root = document.documentElement;
const device = matchMedia('(prefers-color-scheme: dark)');

export const theme = $state({ dark: root.dataset.theme === 'dark' });

function show(dark) {
	theme.dark = dark;
	root.dataset.theme = dark ? 'dark' : 'light';
}

let isChosen = false;
try {
	isChosen = localStorage.getItem('theme') !== null;
} catch {
	// Without storage the choice lasts as long as the page.
}

device.addEventListener('change', () => {
	if (!isChosen) show(device.matches);
});

export function toggleTheme() {
	show(!theme.dark);
	isChosen = true;
	try {
		localStorage.setItem('theme', root.dataset.theme);
	} catch {
		// As above.
	}
}

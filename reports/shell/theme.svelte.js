// Light or dark: as the device says, or as the reader chose before (scripts/build.mjs sets it early).
const root = document.documentElement;
const device = matchMedia('(prefers-color-scheme: dark)');

export const theme = $state({ dark: root.dataset.theme ? root.dataset.theme === 'dark' : device.matches });

device.addEventListener('change', () => {
	if (!root.dataset.theme) theme.dark = device.matches;
});

export function toggleTheme() {
	theme.dark = !theme.dark;
	root.dataset.theme = theme.dark ? 'dark' : 'light';
	try {
		localStorage.setItem('theme', root.dataset.theme);
	} catch {
		// Without storage the choice lasts as long as the page.
	}
}

import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';

export default [
	{ ignores: ['dist/', 'node_modules/'] },
	js.configs.recommended,
	...svelte.configs.recommended,
	{ languageOptions: { globals: { ...globals.browser, ...globals.node } } },
	{ files: ['shell/*.worker.js'], languageOptions: { globals: globals.worker } },
	{
		rules: {
			// Maps and sets of the pages are made anew, never changed while they are shown.
			'svelte/prefer-svelte-reactivity': 'off',
			// Addresses are made relative to the site's root by siteUrl().
			'svelte/no-navigation-without-resolve': 'off',
			// Does not see what a template uses.
			'no-useless-assignment': 'off',
			eqeqeq: 'error',
			'no-var': 'error',
			'prefer-const': 'off',
			'svelte/prefer-const': ['error', { excludedRunes: ['$props', '$derived', '$state'] }],
		},
	},
];

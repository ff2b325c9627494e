import { join } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { builtPage } from './scripts/markdown.mjs';
import { ROOT, listPages } from './scripts/page.mjs';

const language = process.env.REPORT_LANG === 'en' ? 'en' : 'ru';

// Names, limits and such are given once; in pages a quoted attribute is a text, as in Evidence.
const EXPECTED = ['state_referenced_locally', 'attribute_quoted'];
const warningFilter = ({ code }) => !EXPECTED.includes(code);

/** `virtual:pages`: route and title of all pages, and whether they ask for anything. */
function pages() {
	return {
		name: 'pages',
		resolveId: (id) => (id === 'virtual:pages' ? `\0${id}` : undefined),
		load(id) {
			if (id !== '\0virtual:pages') return undefined;
			const all = listPages().map(({ file }) => {
				const { route, head, blocks } = builtPage(file).page;
				return { route, title: head.title, hasBlocks: blocks.length > 0 };
			});
			return `export const pages = ${JSON.stringify(all)};`;
		},
	};
}

/** Svelte gets a page as component; sources stay what they are on disk. */
const markdownPages = {
	name: 'markdown-pages',
	markup({ content, filename }) {
		if (!filename.endsWith('.md')) return undefined;
		const { code, page } = builtPage(filename, content);
		return { code, dependencies: page.read };
	},
};

export default defineConfig({
	root: ROOT,
	base: './',
	publicDir: false,
	plugins: [pages(), svelte({ extensions: ['.svelte', '.md'], preprocess: [markdownPages], compilerOptions: { warningFilter } })],
	define: { 'import.meta.env.VITE_REPORT_LANG': JSON.stringify(language) },
	resolve: {
		alias: {
			$shell: join(ROOT, 'shell'),
			$components: join(ROOT, 'components'),
			$texts: join(ROOT, 'shell/texts', language),
		},
	},
	build: {
		outDir: process.env.SHELL_OUT ?? join(ROOT, 'dist'),
		emptyOutDir: true,
		assetsInlineLimit: 0,
		chunkSizeWarningLimit: 100_000,
		modulePreload: { polyfill: false },
		manifest: true,
		rolldownOptions: { input: join(ROOT, 'shell/main.js'), checks: { pluginTimings: false } },
		target: 'es2022',
	},
});

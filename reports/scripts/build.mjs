// Builds the shell: what a site needs beside data. Usage: node scripts/build.mjs [folder]
//
//   assets/…            code, styles, the engine, each under the hash of its content, with .gz and .br
//   <route>/index.html  one per page
//   blocks.json         what the pages ask for; the publication computes their first figures
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { builtPage } from './markdown.mjs';
import { ROOT, listPages } from './page.mjs';
import { PageError } from './tags.mjs';

const out = resolve(process.argv[2] ?? join(ROOT, 'dist'));
const language = process.env.REPORT_LANG === 'en' ? 'en' : 'ru';
process.env.SHELL_OUT = out;

const { default: words } = await import(`../shell/texts/${language}/common.js`);

function blocksOf(pages) {
	return pages.flatMap((page) =>
		page.blocks.map(({ place, ...block }) => ({
			page: page.file,
			route: page.route,
			place: `${place.file}:${place.line}`,
			...block,
			...(block.kind === 'sql' ? { defaults: Object.fromEntries((block.inputs ?? []).map((name) => [name, page.several.has(name) ? null : page.inputs[name]])) } : {}),
		}))
	);
}

const told = (pages) => ({
	language,
	pages: pages.map(({ file }) => file),
	errors: pages.flatMap(({ error }) => error ?? []),
	blocks: blocksOf(pages),
});

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const pageFile = (route) => (route === '/' ? 'index' : route.slice(1, -1).replaceAll('/', '.'));

/** The HTML of a page: it asks for the data while the script is still on its way. */
function htmlOf(page, manifest) {
	const up = page.route === '/' ? './' : '../'.repeat(page.route.split('/').length - 2);
	const main = manifest['shell/main.js'];
	const chunk = manifest[page.file];
	const scripts = new Set();
	const styles = new Set();
	const visit = (entry) => {
		if (!entry || scripts.has(entry.file)) return;
		scripts.add(entry.file);
		for (const file of entry.css ?? []) styles.add(file);
		for (const name of entry.imports ?? []) visit(manifest[name]);
	};
	visit(main);
	visit(chunk);
	const own = words.pages[page.route.replace(/(.)\/$/, '$1')] ?? words.otherPages[page.route] ?? page.head.title;
	const title = own ? `${own} — ${words.title}` : words.title;
	const preload = [...scripts].filter((file) => file !== main.file).map((file) => `<link rel="modulepreload" href="${up}${file}">`);
	const early = `let theme;try{theme=localStorage.getItem('theme')}catch{}document.documentElement.dataset.theme=theme??(matchMedia('(prefers-color-scheme: dark)').matches?'dark':'light');const json=(r)=>{if(!r.ok)throw new Error(r.status);return r.json()};const status=fetch('${up}status.json',{cache:'no-store'}).then(json);const folder=status.then((s)=>'${up}data/'+s.publication+'/');window.__early={route:'${page.route}',status,meta:folder.then((f)=>fetch(f+'meta.json')).then(json),page:${page.blocks.length ? `folder.then((f)=>fetch(f+'pages/${pageFile(page.route)}.json')).then(json).catch(()=>null)` : 'Promise.resolve(null)'}};window.__early.meta.catch(()=>{})`;
	return `<!doctype html>
<html lang="${language}" data-root="${up}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<link rel="icon" href="data:,">
<script>${early}</script>
${[...styles].map((file) => `<link rel="stylesheet" href="${up}${file}">`).join('\n')}
<script type="module" src="${up}${main.file}"></script>
${preload.join('\n')}
</head>
<body>
<div id="app"></div>
<noscript>JavaScript</noscript>
</body>
</html>
`;
}

const COMPRESSED = /\.(js|css|wasm|html|json|svg)$/;
/** Compressed once, here: 34 MB of engine at each request would keep a server busy for seconds. */
function compress(folder) {
	for (const name of readdirSync(folder, { recursive: true }).map(String)) {
		const path = join(folder, name);
		if (!COMPRESSED.test(name) || !statSync(path).isFile() || statSync(path).size < 1024) continue;
		const content = readFileSync(path);
		const isLarge = content.length > 4_000_000;
		const copies = { gz: () => gzipSync(content, { level: 9 }), br: () => brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: isLarge ? 9 : 11 } }) };
		for (const [suffix, make] of Object.entries(copies)) writeFileSync(`${path}.${suffix}`, isLarge ? kept(content, suffix, make) : make());
	}
}

/** The engine changes with its version only: its copies are kept from build to build. */
function kept(content, suffix, make) {
	const folder = join(ROOT, 'node_modules/.cache/shell');
	const path = join(folder, `${createHash('sha256').update(content).digest('hex')}.${suffix}`);
	if (!existsSync(path)) {
		mkdirSync(folder, { recursive: true });
		writeFileSync(`${path}.${process.pid}`, make());
		renameSync(`${path}.${process.pid}`, path);
	}
	return readFileSync(path);
}

const readPages = () => listPages().map(({ file }) => builtPage(file).page);

/** The pages, built. What the bundler finds wrong with a page of one's own becomes its error too. */
async function bundle() {
	const { build } = await import('vite');
	const failed = {};
	for (;;) {
		const pages = readPages();
		try {
			await build({ configFile: join(ROOT, 'vite.config.js'), logLevel: process.env.VERBOSE ? 'info' : 'warn' });
			return pages;
		} catch (error) {
			const message = String(error.message);
			const page = pages.find((one) => one.route.startsWith('/custom/') && !one.error && message.includes(one.file));
			if (!page) throw error;
			const line = message.split('\n').find((one) => one.includes(page.file) && !one.startsWith('Build failed')) ?? message;
			failed[page.file] = `${page.file}:1: ${line.replaceAll(`${ROOT}/`, '').replace(/^(Error: )?(\[[^\]]*\]:?\s*)?/, '').trim()}`;
			process.env.SHELL_FAILED_PAGES = JSON.stringify(failed);
		}
	}
}

try {
	const pages = await bundle();
	const manifest = JSON.parse(readFileSync(join(out, '.vite/manifest.json'), 'utf8'));
	rmSync(join(out, '.vite'), { recursive: true });
	for (const page of pages) {
		const target = join(out, page.route, 'index.html');
		mkdirSync(dirname(target), { recursive: true });
		writeFileSync(target, htmlOf(page, manifest));
	}
	writeFileSync(join(out, 'blocks.json'), `${JSON.stringify(told(pages), null, '\t')}\n`);
	compress(out);
} catch (error) {
	const text = error instanceof PageError || /\.md:\d+/.test(error.message) ? error.message.replace(/^\[[^\]]*\]\s*/, '') : error;
	console.error(text);
	process.exit(1);
}

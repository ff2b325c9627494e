// A page as a Svelte component: Markdown is turned into HTML, tags and expressions stay as written.
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Marked } from 'marked';
import { compile, parse } from 'svelte/compiler';
import { ROOT, readPage, routeOfFile, words } from './page.mjs';
import { PageError } from './tags.mjs';

const HTML_BLOCKS = new Set(
	'address article aside blockquote details dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section summary table tbody td tfoot th thead tr ul'.split(' ')
);
const OPEN = '\uE000';
const CLOSE = '\uE001';
const MARK = /\uE000(\d+)\uE001/g;
const ONLY_MARKS = /^\s*(?:\uE000\d+\uE001\s*)+$/;

// Indented text in a tag is text, not code.
const markdown = new Marked({ tokenizer: { code: () => undefined } });

const isBlock = ({ kind, name, code }) =>
	kind === 'comment' || (kind === 'tag' ? HTML_BLOCKS.has(name) || /^[A-Z]/.test(name) : /^[#:/@]/.test(code));

function toHtml(page) {
	const kept = [];
	let marked = '';
	let at = 0;
	for (const token of page.tokens) {
		marked += page.text.slice(at, token.start) + OPEN + kept.length + CLOSE;
		const isMetrics = token.kind === 'tag' && token.name === 'Metrics';
		kept.push({ ...token, text: isMetrics || token.kind === 'comment' ? '' : page.text.slice(token.start, token.end) });
		at = token.end;
	}
	marked += page.text.slice(at);
	const marksOf = (line) => [...line.matchAll(MARK)].map(([, i]) => kept[Number(i)]);
	const lines = marked.split('\n').map((line) => {
		const marks = marksOf(line);
		if (ONLY_MARKS.test(line) && marks.every(isBlock)) return `\n${line.trim()}\n`;
		// A line of HTML is HTML to its end.
		if (line.trim().startsWith(OPEN) && isBlock(marks[0]) && marks.some(({ kind, name }) => kind === 'tag' && HTML_BLOCKS.has(name))) {
			kept.push({ kind: 'tag', name: 'div', start: marks[0].start, text: line.trim().replace(MARK, (_, i) => kept[Number(i)].text) });
			return `\n${OPEN}${kept.length - 1}${CLOSE}\n`;
		}
		return ONLY_MARKS.test(line) ? line.trim() : line;
	});
	const html = markdown
		.parse(lines.join('\n'))
		.replace(/<p>((?:\s*\uE000\d+\uE001\s*)+)<\/p>/g, (whole, inner) => (marksOf(inner).every(isBlock) ? inner : whole))
		.replaceAll('{', '&#123;')
		.replaceAll('}', '&#125;');
	const places = [];
	const out = html.split('\n').map((line) => {
		const [first] = marksOf(line);
		const text = line.replace(MARK, (_, i) => kept[Number(i)].text);
		const place = first ? page.placeAt(first.start) : undefined;
		text.split('\n').forEach((_, i) => places.push(place && { ...place, line: place.line + i }));
		return text;
	});
	return { html: out.join('\n'), places };
}

/** Attributes of a component, as its `$props()` names them; `rest`: it takes any. */
export function propsOf(path) {
	const names = new Set();
	let rest = false;
	const tree = parse(readFileSync(path, 'utf8'), { modern: true });
	for (const node of tree.instance?.content.body ?? []) {
		for (const { id, init } of node.declarations ?? []) {
			if (init?.callee?.name !== '$props' || id.type !== 'ObjectPattern') continue;
			for (const property of id.properties) {
				if (property.type === 'RestElement') rest = true;
				else names.add(property.key.name ?? property.key.value);
			}
		}
	}
	return { names, rest };
}

const componentPath = (name) => join(ROOT, 'components', `${name}.svelte`);

function checkTags(page, script) {
	const queries = new Set(page.blocks.map(({ id }) => id));
	const declared = (name) => new RegExp(`\\b${name}\\b`).test(script) || new RegExp(`\\bas\\s+[^}]*\\b${name}\\b`).test(page.text);
	const used = new Set();
	for (const token of page.tokens) {
		if (token.kind !== 'tag' || !/^[A-Z]/.test(token.name) || token.name === 'Metrics' || token.closing) continue;
		if (new RegExp(`import\\s+[^;]*\\b${token.name}\\b`).test(script)) continue;
		const place = page.placeAt(token.start);
		if (!existsSync(componentPath(token.name))) throw new PageError(place, `<${token.name}>: there is no such component`);
		used.add(token.name);
		const { names, rest } = propsOf(componentPath(token.name));
		for (const { name, value, at } of token.attributes) {
			const where = page.placeAt(at);
			if (!rest && name !== '...' && !names.has(name.replace(/^bind:/, ''))) {
				throw new PageError(where, `<${token.name} ${name}>: this attribute is not supported; known: ${[...names].filter((one) => one !== 'children').sort().join(', ')}`);
			}
			const code = value?.code ?? '';
			if (name === 'data' && /^[A-Za-z_]\w*$/.test(code) && !queries.has(code) && !declared(code)) {
				throw new PageError(where, `<${token.name} data={${code}}>: there is no query ${code} on this page`);
			}
			if (name === 'data' && typeof value === 'string') {
				throw new PageError(where, `<${token.name} data="${value}">: write data={${value}}`);
			}
		}
	}
	return used;
}

/** What the page's component tells the shell of itself. */
export function specOf(page) {
	const aliases = Object.fromEntries(words(page.head.targets).map((pair) => pair.split('=').map((part) => part.trim())));
	return {
		route: page.route,
		title: typeof page.head.title === 'string' ? page.head.title : undefined,
		filters: words(page.head.filters),
		moreFilters: words(page.head.more_filters),
		hasPeriod: page.head.period !== 'none',
		workbook: page.head.workbook,
		hideTitle: page.head.hide_title === 'true',
		targets: aliases,
		error: page.error,
		inputs: page.inputs,
		blocks: page.blocks.map((block) => ({ ...block, place: undefined })),
	};
}

/**
 * The source of the component of a page.
 * @param {string} path
 */
export function toSvelte(path, source) {
	const page = readPage(path, undefined, source);
	const script = page.scripts.map(({ code }) => code).join('\n');
	const used = checkTags(page, script);
	const { html, places } = toHtml(page);
	const own = page.blocks.map(({ id }) => `const ${id} = $derived(page.blocks.${id}.data);`);
	const head = [
		'<script>',
		"import { t } from '$shell/texts/index.js';",
		"import { openPage } from '$shell/page.svelte.js';",
		"import { fmt } from '$shell/format.js';",
		...[...used].map((name) => `import ${name} from '$components/${name}.svelte';`),
		`const page = openPage(${JSON.stringify(specOf(page)).replaceAll('</', '<\\/')});`,
		'const { inputs, meta } = page;',
		...own,
		script,
		'</script>',
	].join('\n');
	const code = `${head}\n${html}`;
	try {
		// Told by the place in the page, not in what is made of it.
		compile(code, { filename: path, generate: false, runes: true });
	} catch (error) {
		const line = (error.start?.line ?? 0) - head.split('\n').length - 1;
		let k = line;
		while (k >= 0 && !places[k]) k -= 1;
		const place = k >= 0 ? places[k] : (page.scripts[0]?.place ?? { file: page.file, line: 1 });
		throw new PageError(place, error.message.split('\n')[0]);
	}
	return { code, page };
}

const isOwn = (path) => relative(ROOT, path).startsWith('pages/custom/');

/** Errors of own pages that only the bundler finds (scripts/build.mjs): file → message. */
const foundLater = () => JSON.parse(process.env.SHELL_FAILED_PAGES ?? '{}');

/**
 * The component of a page; for a page of one's own that cannot be built one that tells its error.
 * Errors of the project's own pages are thrown.
 * @param {string} path
 */
export function builtPage(path, source = readFileSync(path, 'utf8')) {
	try {
		const told = foundLater()[relative(ROOT, path)];
		if (told) throw new Error(told);
		return toSvelte(path, source);
	} catch (error) {
		if (!isOwn(path)) throw error;
		return failedPage(path, source, error.message.split('\n')[0]);
	}
}

function failedPage(path, source, error) {
	const title = /^title:\s*(["']?)(.*)\1\s*$/m.exec(source)?.[2];
	const file = relative(ROOT, path);
	const page = { file, path, route: routeOfFile(path), head: { title, period: 'none' }, blocks: [], inputs: {}, several: new Set(), read: [path], error };
	const code = `<script>\nimport { openPage } from '$shell/page.svelte.js';\nopenPage(${JSON.stringify(specOf(page)).replaceAll('</', '<\\/')});\n</script>\n`;
	return { code, page };
}

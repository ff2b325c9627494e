// Reads a page: front matter, partials, ```sql blocks, tags. Nothing here knows of Svelte or Vite.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PageError, scan } from './tags.mjs';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const PAGES = join(ROOT, 'pages');

const NAME = /^[A-Za-z_]\w*$/;
const RESERVED = ['t', 'inputs', 'page', 'meta', 'fmt'];
const PLACEHOLDER = /\$\{([^}]*)\}/g;
/** A word in double brackets that is no placeholder of shell/sql.js is a slip of the pen. */
const BRACKETS = /\[\[\s*([a-z_]+)(?:\s+\w+)*\s*\]\]/g;
const PLACEHOLDERS = ['where', 'period', 'period_start', 'period_end', 'window', 'grain', 'set', 'user_fields', 'as_of_date'];
const INPUT = /^inputs\.([A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)?$/;

/** All pages: the project's own and those in pages/custom/, by route. */
export function listPages() {
	const files = readdirSync(PAGES, { recursive: true })
		.map(String)
		.filter((file) => file.endsWith('.md'))
		.sort();
	return files.map((file) => ({ file: join(PAGES, file), route: routeOf(file) }));
}

function routeOf(file) {
	const path = file.replace(/\.md$/, '').replace(/(^|\/)index$/, '');
	return path === '' ? '/' : `/${path}/`;
}

/** The route of a page by its path. */
export const routeOfFile = (path) => routeOf(relative(PAGES, path));

/** Front matter: `name: text`, `name: a, b` or a list of `- item`. Enough for pages; no nesting. */
function frontMatter(lines, file) {
	const values = {};
	let last;
	lines.forEach((line, i) => {
		const [, name, value] = /^([A-Za-z_]\w*):\s*(.*)$/.exec(line) ?? [];
		const [, item] = /^\s*-\s+(.*)$/.exec(line) ?? [];
		if (name) {
			last = name;
			values[name] = value === '' ? [] : value.replace(/^(["'])(.*)\1$/, '$2');
		} else if (item && Array.isArray(values[last])) values[last].push(item.trim());
		else if (line.trim() && !line.startsWith('#')) {
			throw new PageError({ file, line: i + 2 }, `front matter: "${line}" is neither "name: value" nor a list`);
		}
	});
	return values;
}

/** The words of a list attribute or front matter entry. */
export const words = (value) =>
	(Array.isArray(value) ? value : String(value ?? '').split(',')).map((word) => word.trim()).filter(Boolean);

/**
 * A page with its blocks and tags.
 * @param {string} path
 */
export function readPage(path, route = routeOfFile(path), source = readFileSync(path, 'utf8')) {
	const file = relative(ROOT, path);
	let lines = source.replace(/\r\n?/g, '\n').replace(/^\uFEFF/, '').split('\n');
	let skipped = 0;
	let head = {};
	if (lines[0] === '---') {
		const end = lines.indexOf('---', 1);
		if (end < 0) throw new PageError({ file, line: 1 }, 'front matter without an end (---)');
		head = frontMatter(lines.slice(1, end), file);
		skipped = end + 1;
		lines = lines.slice(skipped);
	}
	const read = [path];
	const origin = lines.map((_, i) => ({ file, line: i + 1 + skipped }));
	const full = withPartials(lines, origin, read);
	const blocks = [...sharedQueries(head, file, read), ...takeSql(full)];
	const scripts = takeScripts(full);
	const text = full.lines.join('\n');
	const placeAt = placer(full);
	const tokens = scan(text);
	const page = { file, path, route, head, blocks, scripts, text, tokens, placeAt, read };
	takeMetrics(page);
	takeInputs(page);
	checkBlocks(page);
	return page;
}

/** Puts `{@partial "name.md"}` in; each line remembers where it stood. */
function withPartials(lines, origin, read, depth = 0) {
	const out = { lines: [], origin: [] };
	lines.forEach((line, i) => {
		const [, name] = /^\s*\{@partial\s+"([^"]+)"\s*\}\s*$/.exec(line) ?? [];
		if (!name) {
			out.lines.push(line);
			out.origin.push(origin[i]);
			return;
		}
		const path = join(ROOT, 'partials', name);
		if (!existsSync(path) || depth > 5) throw new PageError(origin[i], `partials/${name} does not exist`);
		read.push(path);
		const part = readFileSync(path, 'utf8').trimEnd().split('\n');
		const inner = withPartials(part, part.map((_, k) => ({ file: `partials/${name}`, line: k + 1 })), read, depth + 1);
		out.lines.push(...inner.lines);
		out.origin.push(...inner.origin);
	});
	return out;
}

/** `queries:` of the front matter: files of queries/ as blocks, `- name: file.sql` or `- file.sql`. */
function sharedQueries(head, file, read) {
	return words(head.queries).map((entry) => {
		const [first, second] = entry.split(':').map((part) => part.trim());
		const name = second ?? first;
		const path = join(ROOT, 'queries', name);
		if (!existsSync(path)) throw new PageError({ file, line: 1 }, `queries/${name} does not exist`);
		read.push(path);
		const id = second ? first : name.replace(/\.sql$/, '').replace(/\W/g, '_');
		return { id, kind: 'sql', sql: readFileSync(path, 'utf8').trim(), place: { file: `queries/${name}`, line: 1 } };
	});
}

/** Takes the named ```sql blocks out and leaves blank lines. */
function takeSql(full) {
	const blocks = [];
	for (let i = 0; i < full.lines.length; i += 1) {
		const [, id] = /^```sql\s+(\S+)\s*$/.exec(full.lines[i]) ?? [];
		if (!id) continue;
		const end = full.lines.findIndex((line, k) => k > i && /^```\s*$/.test(line));
		if (end < 0) throw new PageError(full.origin[i], `\`\`\`sql ${id}: without an end`);
		const sql = full.lines.slice(i + 1, end).join('\n').trim().replace(/;\s*$/, '');
		blocks.push({ id, kind: 'sql', sql, place: full.origin[i] });
		for (let k = i; k <= end; k += 1) full.lines[k] = '';
		i = end;
	}
	return blocks;
}

function takeScripts(full) {
	const scripts = [];
	for (let i = 0; i < full.lines.length; i += 1) {
		if (!/^<script[\s>]/.test(full.lines[i])) continue;
		const end = full.lines.findIndex((line, k) => k >= i && /<\/script>/.test(line));
		if (end < 0) throw new PageError(full.origin[i], '<script> without an end');
		const text = full.lines.slice(i, end + 1).join('\n');
		scripts.push({ code: text.replace(/^<script[^>]*>/, '').replace(/<\/script>.*$/s, ''), place: full.origin[i] });
		for (let k = i; k <= end; k += 1) full.lines[k] = '';
	}
	return scripts;
}

function placer({ lines, origin }) {
	const starts = [];
	let at = 0;
	for (const line of lines) {
		starts.push(at);
		at += line.length + 1;
	}
	return (position) => {
		let i = starts.findIndex((start) => start > position);
		if (i < 0) i = starts.length;
		return origin[Math.max(0, i - 1)] ?? { file: '?', line: 1 };
	};
}

const literal = (value) => (value === true ? true : typeof value === 'string' ? value : undefined);

/** `<Metrics …/>` tags become blocks; they show nothing themselves. */
function takeMetrics(page) {
	const KNOWN = ['name', 'metrics', 'by', 'grain', 'order', 'limit', 'compare', 'total', 'line', 'where', 'view', 'period', 'now'];
	for (const token of page.tokens.filter(({ kind, name }) => kind === 'tag' && name === 'Metrics')) {
		const place = page.placeAt(token.start);
		const given = {};
		for (const { name, value, at } of token.attributes) {
			if (!KNOWN.includes(name)) throw new PageError(page.placeAt(at), `<Metrics ${name}>: unknown attribute; known: ${KNOWN.join(', ')}`);
			const text = literal(value);
			if (text === undefined) throw new PageError(page.placeAt(at), `<Metrics ${name}>: must be a text: it is read when the site is built`);
			given[name] = text;
		}
		for (const needed of ['name', 'metrics']) {
			if (!given[needed]) throw new PageError(place, `<Metrics>: attribute ${needed} is missing`);
		}
		const alternatives = (text) => (text ? text.split('|').map((one) => words(one)) : []);
		page.blocks.push({
			id: given.name,
			kind: 'metrics',
			place,
			metrics: words(given.metrics),
			by: alternatives(given.by),
			grain: given.grain ? given.grain.split('|').map((one) => one.trim()) : [],
			order: given.order,
			limit: given.limit === undefined ? undefined : Number(given.limit),
			compare: Boolean(given.compare),
			yearAgo: given.compare === 'both',
			total: Boolean(given.total),
			line: given.line === true ? 'month' : given.line,
			where: given.where,
			view: given.view,
			period: given.period,
			now: words(given.now),
		});
	}
}

/** Inputs with the value that they begin with, where the page itself says it. */
function takeInputs(page) {
	page.inputs = {};
	/** Inputs of several values: only their component knows how they begin. */
	page.several = new Set();
	for (const token of page.tokens.filter(({ kind, name, closing }) => kind === 'tag' && !closing && ['Dropdown', 'ButtonGroup', 'DateRange', 'TextInput', 'Parameter'].includes(name))) {
		const get = (wanted) => literal(token.attributes.find(({ name }) => name === wanted)?.value);
		const name = get('name');
		if (typeof name !== 'string' || !NAME.test(name)) {
			throw new PageError(page.placeAt(token.start), `<${token.name}>: attribute name must be a word`);
		}
		const range = token.name === 'DateRange' && get('start') && get('end') ? `${get('start')}..${get('end')}` : undefined;
		if (token.attributes.some((one) => one.name === 'multiple')) page.several.add(name);
		const value = get('defaultValue') ?? range ?? firstItem(page, token);
		page.inputs[name] = ['TextInput', 'Parameter'].includes(token.name) ? (value ?? '') : (value ?? null);
	}
}

/** The option that is marked as default, else the first one. */
function firstItem(page, token) {
	if (token.empty || token.closing) return undefined;
	const after = page.tokens.filter(({ kind, start }) => kind === 'tag' && start > token.start);
	const end = after.findIndex(({ name, closing }) => name === token.name && closing);
	const items = after.slice(0, end).filter(({ name }) => ['DropdownOption', 'ButtonGroupItem'].includes(name));
	const attribute = (item, wanted) => item.attributes.find(({ name }) => name === wanted)?.value;
	const item = items.find((one) => attribute(one, 'default') !== undefined) ?? items[0];
	const value = item && attribute(item, 'value');
	return typeof value === 'string' ? value : undefined;
}

function checkBlocks(page) {
	const seen = new Map();
	for (const block of page.blocks) {
		const { id, place } = block;
		if (!NAME.test(id)) throw new PageError(place, `"${id}" is no name of a query: letters, digits, _`);
		if (RESERVED.includes(id)) throw new PageError(place, `"${id}" is taken: call the query otherwise`);
		if (seen.has(id)) throw new PageError(place, `the query ${id} is there already (line ${seen.get(id).line})`);
		seen.set(id, place);
	}
	for (const block of page.blocks.filter(({ kind }) => kind === 'sql')) {
		for (const [whole, name] of block.sql.matchAll(BRACKETS)) {
			if (!PLACEHOLDERS.includes(name)) throw new PageError(block.place, `query ${block.id}: ${whole} is no placeholder; known: ${PLACEHOLDERS.join(', ')}`);
		}
		block.chain = [];
		block.inputs = [];
		for (const [whole, inner] of block.sql.matchAll(PLACEHOLDER)) {
			const name = inner.trim();
			const [, input] = INPUT.exec(name) ?? [];
			if (input) {
				if (!(input in page.inputs)) throw new PageError(block.place, `query ${block.id}: ${whole}: no input is called ${input}`);
				block.inputs.push(input);
			} else if (seen.has(name) && name !== block.id) block.chain.push(name);
			else throw new PageError(block.place, `query ${block.id}: ${whole} is neither an input nor another query`);
		}
	}
	const byId = new Map(page.blocks.map((block) => [block.id, block]));
	const visit = (block, path) => {
		if (path.includes(block.id)) throw new PageError(block.place, `queries in a circle: ${[...path, block.id].join(' → ')}`);
		for (const name of block.chain ?? []) visit(byId.get(name), [...path, block.id]);
	};
	for (const block of page.blocks) visit(block, []);
	// A query that only other queries name is never run by itself.
	const shown = [page.text, ...page.scripts.map(({ code }) => code)].join('\n');
	for (const name of new Set(page.blocks.flatMap(({ chain }) => chain ?? []))) {
		if (!new RegExp(`\\b${name}\\b`).test(shown)) byId.get(name).inner = true;
	}
	for (const token of page.tokens.filter(({ kind, name, closing }) => kind === 'tag' && !closing && /^[A-Z]/.test(name))) {
		const get = (wanted) => token.attributes.find(({ name }) => name === wanted)?.value;
		const block = byId.get(get('data')?.code);
		if (!block) continue;
		// A click on it filters: it keeps all its rows.
		const filter = literal(get('filter'));
		if (filter && filter !== 'none') block.keep = [...new Set([...(block.keep ?? []), filter])];
		// Where none does, the filters narrow it as they do all else.
		block.picked = block.picked || filter !== 'none';
		if (token.name !== 'RecordList') continue;
		block.list = {
			sort: literal(get('sort')) ?? null,
			rows: Number(literal(get('rows')) ?? get('rows')?.code ?? 10),
			sums: words(literal(get('sums'))),
			key: literal(get('key')) ?? null,
		};
	}
}

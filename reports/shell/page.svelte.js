// A page while it is open: its blocks, its inputs, and how the choice fills their SQL.
import { choice, compared, isDefaultPeriod, setView, where } from './choice.svelte.js';
import { GRAINS, axisWindow, lineWindow, yearBefore } from './period.js';
import { Query, remember } from './query.svelte.js';
import { site } from './site.svelte.js';
import { between, fillPlaceholders, fillReferences, listSql, listTotalSql, userFieldSql } from './sql.js';
import { t } from './texts/index.js';
import { storedResult } from './values.js';

/** A choice that the page itself offers: `${inputs.x}` in SQL, `{inputs.x.value}` in text. */
class Input {
	/** Offered values: {value, label}; those that a component makes of its data or its items. */
	options = $state.raw([]);
	/** What holds until the reader chooses; undefined: the queries that need it wait. */
	initial = $state();

	constructor(name, initial) {
		this.name = name;
		this.initial = initial;
	}

	get value() {
		const text = choice.view[this.name];
		if (text === undefined) return this.initial;
		if (Array.isArray(this.initial)) return text === '' ? [] : text.split('\u001f').map((one) => this.#typed(one));
		return this.#typed(text);
	}

	get label() {
		const { value } = this;
		if (Array.isArray(value)) return value.map((one) => this.#option(one)?.label ?? one).join(', ');
		return this.#option(value)?.label ?? value;
	}

	/** First and last day of a range. */
	get start() {
		return this.value?.split?.('..')[0];
	}

	get end() {
		return this.value?.split?.('..')[1];
	}

	choose(value) {
		const isInitial = JSON.stringify(value) === JSON.stringify(this.initial);
		const text = Array.isArray(value) ? value.join('\u001f') : String(value ?? '');
		setView(this.name, isInitial ? undefined : text, false, true);
	}

	#option(value) {
		return this.options.find((one) => String(one.value) === String(value));
	}

	#typed(text) {
		return this.#option(text)?.value ?? text;
	}

	toString() {
		return String(this.value ?? '');
	}
}

/** The open page; parts of the shell (filters, lists) ask it. */
export const open = $state({ page: null });
let first = { blocks: [] };
/** The first figures of the page that is opened next. */
export const giveFirst = (stored) => (first = stored);

/** The records of a list: the set that the address names, else the page's first, else the list's. */
export function recordSet(list, first) {
	const sets = site.meta.record_sets?.[list] ?? [];
	const named = (wanted) => sets.find(({ name, aliases = [] }) => name === wanted || aliases.includes(wanted));
	return named(choice.view.show) ?? named(first) ?? sets[0];
}

class Block extends Query {
	constructor(page, spec, stored) {
		super(() => this.#texts());
		this.page = page;
		// Which user fields there are the publication says.
		const hasUserFields = spec.by?.some((names) => names.some((name) => name.endsWith('__user_fields')));
		this.spec = hasUserFields ? { ...spec, by: Object.keys(stored?.variants ?? {}).map((key) => key.split(', ')) } : spec;
		this.stored = stored;
	}

	/** Which of the offered breakdowns is chosen: its names, joined. */
	get variant() {
		const keys = (this.spec.by ?? []).map((names) => names.join(', '));
		const wanted = choice.view[`${this.spec.id}_by`];
		return keys.includes(wanted) ? wanted : (keys[0] ?? '');
	}

	get grain() {
		const wanted = choice.view[`${this.spec.id}_grain`] ?? choice.view.grain;
		const offered = this.spec.grain?.length ? this.spec.grain : GRAINS;
		return offered.includes(wanted) ? wanted : (this.spec.grain?.[0] ?? this.spec.line ?? 'month');
	}

	/** Filters that a click on this block sets: it keeps all its rows and marks the chosen. */
	get own() {
		if (this.spec.picked === false) return [];
		const by = this.spec.by?.find((names) => names.join(', ') === this.variant) ?? [];
		const broken = site.meta.filters.filter(({ dimensions = [] }) => by.some((name) => dimensions.includes(name)));
		return [...(this.spec.keep ?? []), ...broken.map(({ name }) => name)];
	}

	/** What narrows this block: its targets, and whether the period does. */
	get scope() {
		const written = this.spec.kind === 'sql' ? (this.written() ?? '') : (this.stored?.variants[this.variant]?.sql ?? '');
		const sets = [...written.matchAll(/\[\[set\s+(\w+)\s*(\w*)/g)].map(([, list, first]) => recordSet(list, first));
		const sql = [written, ...sets.map((set) => set?.sql ?? '')].join('\n');
		const targets = [...sql.matchAll(/\[\[(?:where|of)\s+(\w+)/g)].map(([, target]) => this.page.target(target));
		return { targets: [...new Set(targets)], hasPeriod: /\[\[(period|window)/.test(sql) || sets.some((set) => set?.day) };
	}

	#fill(sql, period, window) {
		return fillPlaceholders(sql, {
			where: (target) => where(this.page.target(target), (name) => this.page.offers(name) && !this.own.includes(name)),
			period,
			window,
			grain: this.grain,
			set: (list, first) => {
				const set = recordSet(list, first);
				if (!set) return 'true';
				return set.day ? `(${set.sql}) and ${between(set.day, choice.period)}` : `(${set.sql})`;
			},
			userFields: (entity) => userFieldSql(site.meta, entity),
			asOf: site.meta.as_of_date,
		});
	}

	/** SQL as written, with the queries that it names and the page's inputs; undefined: not yet. */
	written() {
		return fillReferences(this.spec.sql, this.page.inputs, (name) => this.page.blocks[name].written());
	}

	/** SQL of an own query with the present choice. */
	present() {
		const sql = this.written();
		return sql === undefined ? undefined : this.#fill(sql, choice.period, this.#window());
	}

	#window(kind = axisWindow) {
		return kind(this.grain, choice.period, site.meta.as_of_date, site.meta.first_date);
	}

	#texts() {
		if (this.spec.kind === 'sql') {
			if (this.spec.list || this.spec.inner) return null;
			const sql = this.present();
			return sql === undefined ? null : { main: sql };
		}
		const stored = this.stored?.variants[this.variant];
		if (!stored) return null;
		const window = this.#window();
		const texts = {};
		const add = (name, sql, period, days = window) => sql && (texts[name] = this.#fill(sql, period, days));
		add('main', stored.sql, choice.period);
		add('total', stored.total?.sql, choice.period);
		add('line', stored.line?.sql, choice.period, this.#window(lineWindow));
		const onAxis = this.spec.grain?.length > 0;
		const before = this.spec.compare && choice.compare !== 'none' ? compared(onAxis ? 'year' : undefined) : null;
		if (before) {
			const days = yearBefore(window);
			add('before', stored.sql, before, days);
			add('totalBefore', stored.total?.sql, before, days);
		}
		// Beside the previous period.
		const year = this.spec.yearAgo && !onAxis && choice.compare === 'previous' ? compared('year') : null;
		if (year) add('yearAgo', stored.sql, year);
		return texts;
	}

	/** Whether the address asks this block for anything but its defaults. */
	get #isChanged() {
		const { view } = choice;
		if (this.spec.kind === 'metrics') return this.grain !== (this.spec.grain?.[0] ?? this.spec.line ?? 'month');
		const inputs = [...this.spec.inputs, ...this.spec.chain.flatMap((name) => this.page.blocks[name].spec.inputs ?? [])];
		return inputs.some((name) => view[name] !== undefined) || (/\[\[set\b/.test(this.spec.sql) && view.show !== undefined);
	}

	/** Puts the first figures where the queries with the default choice will look for them. */
	seed() {
		if (!this.stored || this.#isChanged) return;
		if (this.spec.kind === 'sql') {
			const [variant] = Object.values(this.stored.variants);
			const sql = variant && this.present();
			if (!sql) return;
			if (this.spec.list) {
				const { sort, rows, sums, key } = this.spec.list;
				const order = orderOf(sort, key);
				remember(listSql(sql, { order, limit: rows }), storedResult(variant));
				if (variant.total) remember(listTotalSql(sql, { sums }), storedResult(variant.total));
			} else remember(sql, storedResult(variant));
			return;
		}
		const texts = this.#texts();
		const stored = this.stored.variants[this.variant];
		const parts = { main: stored, before: stored?.compare, total: stored?.total, totalBefore: stored?.total?.compare, line: stored?.line, yearAgo: stored?.yearAgo };
		for (const [name, part] of Object.entries(parts)) {
			if (!texts?.[name] || !part || (/before/i.test(name) && choice.compare === 'year' && !this.spec.grain.length)) continue;
			// Rows of the compared period have the columns of the others.
			const columns = part.columns ?? (['before', 'yearAgo'].includes(name) ? stored.columns : stored.total?.columns);
			const rows = Array.isArray(part) ? part : part.rows;
			if (rows) remember(texts[name], storedResult({ columns, rows }));
		}
	}
}

/** `order by` of a list: -column is from the largest; the key decides between equals. */
export function orderOf(sort, key) {
	const by = sort ? `"${sort.replace(/^-/, '').replaceAll('"', '""')}" ${sort.startsWith('-') ? 'desc' : 'asc'} nulls last` : '';
	return [by, key ? `"${key}"` : ''].filter(Boolean).join(', ');
}

class Page {
	/** @type {Record<string, Block>} */
	blocks = {};
	/** @type {Record<string, Input>} */
	inputs = {};

	constructor(spec) {
		this.spec = spec;
		this.meta = site.meta;
		/** What is wrong with a page of one's own: found when it was built, or published. */
		this.error = spec.error ?? first.error ?? '';
		for (const [name, value] of Object.entries(spec.inputs)) {
			this.inputs[name] = new Input(name, value ?? undefined);
		}
	}

	/** Whether the address chooses nothing that narrows this page: the first figures are its. */
	get isDefault() {
		const chosen = [...Object.keys(choice.values), ...Object.keys(choice.without)];
		return (!this.spec.hasPeriod || isDefaultPeriod()) && !chosen.some((name) => this.offers(name));
	}

	/** A page may mean other columns by a target: `targets: deals=lead_deals`. */
	target(name) {
		return this.spec.targets[name] ?? name;
	}

	/** Whether the page has a filter; one without a list of its own has all. */
	offers(name) {
		const { filters, moreFilters } = this.spec;
		if (filters.length + moreFilters.length === 0) return !site.meta.filters.find((filter) => filter.name === name)?.where_named;
		if (filters.includes(name) || moreFilters.includes(name)) return true;
		return Boolean(site.meta.filters.find((filter) => filter.name === name)?.user_field);
	}
}

/** Opens a page; called by its component, which scripts/markdown.mjs writes. */
export function openPage(spec) {
	const page = new Page(spec);
	const stored = new Map(first.blocks.map((block) => [block.id, block]));
	for (const block of spec.blocks) page.blocks[block.id] = new Block(page, block, stored.get(block.id));
	if (page.isDefault) for (const block of Object.values(page.blocks)) block.seed();
	for (const block of Object.values(page.blocks)) {
		if (block.spec.kind === 'metrics' && !block.stored) block.fail(t.missingBlock);
		else block.follow();
	}
	open.page = page;
	return page;
}

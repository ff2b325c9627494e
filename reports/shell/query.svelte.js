// A query on the page: what is asked now, what is shown, and how that stands to each other. Results
// are remembered by their SQL, the first figures too, so that a choice made before costs nothing.
import { untrack } from 'svelte';
import { createSubscriber } from 'svelte/reactivity';
import { EngineFailed, run, startEngine } from './engine.js';
import { checkPublication, databaseUrl } from './site.svelte.js';
import { t } from './texts/index.js';

/** @typedef {import('./values.js').Result} Result */

/** How many queries are being computed: readers who hear the page are told when it is done. */
export const activity = $state({ computing: 0 });

const KEPT = 400;
/** @type {Map<string, Result>} */
const results = new Map();

/** Puts a result where the query that has it will look. */
export function remember(sql, result) {
	results.delete(sql);
	results.set(sql, result);
	if (results.size > KEPT) results.delete(results.keys().next().value);
}

async function ask(sql, isWanted) {
	const known = results.get(sql);
	if (known) return known;
	startEngine(databaseUrl());
	const result = results.get(sql) ?? (await run(sql, () => isWanted() && !results.has(sql))) ?? results.get(sql);
	if (result) remember(sql, result);
	return result;
}

const NO_ROW = Object.freeze({});

/** An empty result whose first row may be asked for: pages write `query[0].column`. */
const withoutRows = (rows) =>
	new Proxy(rows, { get: (target, key) => (key === '0' && target.length === 0 ? NO_ROW : Reflect.get(target, key)) });

/** Rows as pages get them: an array that knows its query. */
function asData(rows, query) {
	const copy = [...rows];
	Object.defineProperty(copy, 'block', { value: query });
	return copy.length ? copy : withoutRows(copy);
}

/** One answer beside the blocks, such as all rows of a list for a file. */
export const answer = (sql) => ask(sql, () => true);

export class Query {
	/** Name of the part → SQL; null while an input has no value. @type {() => Record<string, string> | null} */
	#make;
	#texts = $derived.by(() => this.#make());
	/** Parts as last shown. @type {Record<string, Result>} */
	parts = $state.raw({});
	/** @type {'waiting' | 'computing' | 'ready' | 'failed'} */
	state = $state('waiting');
	error = $state('');
	#frames = $state(0);
	#near = $state(0);
	#isRead = $state(false);
	#reads = createSubscriber(() => {
		this.#isRead = true;
		return () => (this.#isRead = false);
	});
	#key = '';
	#data = $derived(asData(this.parts.main?.rows ?? [], this));

	constructor(make) {
		this.#make = make;
	}

	/** The rows; whoever shows them has them computed. */
	get data() {
		this.#reads();
		return this.#data;
	}

	get columns() {
		return this.parts.main?.columns ?? [];
	}

	/** What is asked now, for readers who want to see it. */
	get sql() {
		return this.#texts?.main ?? '';
	}

	/** Follows the choice; to be called while the page's component starts. */
	follow() {
		this.refresh();
		$effect(() => this.refresh());
	}

	refresh() {
		const texts = this.#texts;
		if (!texts) {
			this.#key = '';
			return;
		}
		const names = Object.keys(texts);
		const key = names.map((name) => `${name}\n${texts[name]}`).join('\n\n');
		const hits = names.map((name) => results.get(texts[name]));
		if (hits.every(Boolean)) {
			this.#key = key;
			this.#show(names, hits);
			return;
		}
		if (key === this.#key) return;
		// Far below the window, or in a part that is closed: computed when somebody comes near.
		if (this.#frames > 0 ? this.#near === 0 : !this.#isRead) {
			this.state = 'computing';
			return;
		}
		this.#key = key;
		this.state = 'computing';
		const isWanted = () => this.#key === key;
		untrack(() => (activity.computing += 1));
		Promise.all(names.map((name) => ask(texts[name], isWanted)))
			.then(
				(found) => isWanted() && found.every(Boolean) && this.#show(names, found),
				(error) => {
					if (isWanted()) this.fail(error instanceof EngineFailed ? `${t.engineFailed} (${error.message})` : String(error.message ?? error));
					checkPublication();
				}
			)
			.finally(() => (activity.computing -= 1));
	}

	#show(names, found) {
		this.parts = Object.fromEntries(names.map((name, i) => [name, found[i]]));
		this.state = 'ready';
		this.error = '';
	}

	/** Shows a message; the same question is not asked again until another was. */
	fail(message) {
		this.state = 'failed';
		this.error = message;
	}

	/** Tells the query where its block stands; for a node that shows it (`{@attach}` or use:). */
	watch(node) {
		let isNear = false;
		// Counted, not followed: the caller is an effect.
		untrack(() => (this.#frames += 1));
		const observer = new IntersectionObserver(
			([entry]) => {
				if (entry.isIntersecting !== isNear) this.#near += entry.isIntersecting ? 1 : -1;
				isNear = entry.isIntersecting;
			},
			{ rootMargin: '500px 0px' }
		);
		observer.observe(node);
		return () => {
			observer.disconnect();
			this.#frames -= 1;
			if (isNear) this.#near -= 1;
		};
	}
}

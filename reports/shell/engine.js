// The database engine of the page: DuckDB in a worker, over one file of the publication that it
// reads by HTTP Range. Started once, behind the first figures; queries are answered one by one.
import { engineResult } from './values.js';

/** @type {Promise<import('@duckdb/duckdb-wasm').AsyncDuckDBConnection> | undefined} */
let starting;

/** A slow line may need minutes for six megabytes. */
const PATIENCE = 300_000;

/** The browser can't run the engine, or its files did not come. */
export class EngineFailed extends Error {}

/** Starts the engine on the file of a publication; after a failure anew. @param {string} url */
export function startEngine(url) {
	starting ??= open(url).catch((error) => {
		starting = undefined;
		throw new EngineFailed(String(error.message ?? error));
	});
	starting.catch(() => {});
	return starting;
}

async function open(url) {
	const [duckdb, { default: ownUrl }, { default: workerUrl }, { default: wasmUrl }] = await Promise.all([
		import('@duckdb/duckdb-wasm'),
		import('./engine.worker.js?url'),
		import('@duckdb/duckdb-wasm/dist/duckdb-browser-eh.worker.js?url'),
		import('@duckdb/duckdb-wasm/dist/duckdb-eh.wasm?url'),
	]);
	const absolute = (path) => new URL(path, document.baseURI).href;
	// The worker tells nobody when its own files don't come, and would be waited for for ever.
	const there = await fetch(absolute(wasmUrl), { method: 'HEAD' });
	if (!there.ok) throw new Error(`${wasmUrl}: ${there.status}`);
	await there.text();
	const worker = new Worker(`${absolute(ownUrl)}#${encodeURIComponent(absolute(workerUrl))}`);
	const db = new duckdb.AsyncDuckDB(new duckdb.VoidLogger(), worker);
	const broken = new Promise((_, reject) => {
		worker.addEventListener('error', (event) => reject(new Error(event.message)));
		setTimeout(() => reject(new Error('timeout')), PATIENCE);
	});
	await Promise.race([db.instantiate(absolute(wasmUrl)), broken]);
	await db.open({
		// Range reads: without these the whole file is fetched.
		filesystem: { reliableHeadRequests: true, allowFullHTTPReads: false, forceFullHTTPReads: false },
		query: { castBigIntToDouble: false, castDecimalToDouble: false },
	});
	await db.registerFileURL('site.duckdb', absolute(url), duckdb.DuckDBDataProtocol.HTTP, false);
	const connection = await db.connect();
	// An extension would be looked for on a foreign host, and the query would hang.
	await connection.query('set autoinstall_known_extensions = false');
	await connection.query('set autoload_known_extensions = false');
	await connection.query(`set custom_extension_repository = '${new URL('none', document.baseURI).href}'`);
	await connection.query("attach 'site.duckdb' as site (read_only)");
	await connection.query('use site');
	return connection;
}

let last = Promise.resolve();

/**
 * Runs a query after those asked before it.
 * @param {string} sql
 * @param {() => boolean} isWanted asked when its turn comes
 * @returns {Promise<import('./values.js').Result | null>} null where it was no longer wanted
 */
export function run(sql, isWanted = () => true) {
	const engine = starting;
	const turn = last.then(async () => {
		const connection = await engine;
		return isWanted() ? engineResult(await connection.query(sql)) : null;
	});
	last = turn.then(
		() => {},
		() => {}
	);
	return turn;
}

// The database engine of the page: DuckDB in a worker, over one file of the publication that it
// reads by HTTP Range. Started once, behind the first figures; queries are answered one by one.
import { engineResult } from './values.js';

/** @type {Promise<import('@duckdb/duckdb-wasm').AsyncDuckDBConnection> | undefined} */
let starting;

/** Starts the engine on the file of a publication. @param {string} url */
export function startEngine(url) {
	starting ??= open(url);
	starting.catch(() => {});
	return starting;
}

async function open(url) {
	const [duckdb, { default: workerUrl }, { default: wasmUrl }] = await Promise.all([
		import('@duckdb/duckdb-wasm'),
		import('@duckdb/duckdb-wasm/dist/duckdb-browser-eh.worker.js?url'),
		import('@duckdb/duckdb-wasm/dist/duckdb-eh.wasm?url'),
	]);
	const absolute = (path) => new URL(path, document.baseURI).href;
	const worker = new Worker(absolute(workerUrl));
	const db = new duckdb.AsyncDuckDB(new duckdb.VoidLogger(), worker);
	await db.instantiate(absolute(wasmUrl));
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
	const turn = last.then(async () => {
		if (!starting) throw new Error('the engine is not started');
		const connection = await starting;
		return isWanted() ? engineResult(await connection.query(sql)) : null;
	});
	last = turn.then(
		() => {},
		() => {}
	);
	return turn;
}

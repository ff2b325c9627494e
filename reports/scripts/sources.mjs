// Writes the Parquet that the browser queries: one file per sources/<schema>/<table>.sql.
// Pages see it as <schema>.<table>, the names that the same table has in crm.duckdb.
// DuckDB writes the files itself: Evidence's own step passes rows through JavaScript, where an
// all-null date becomes a number, decimals become floats and an empty table breaks the site.
import { DuckDBInstance } from '@duckdb/node-api';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

const OUTPUT = '.evidence/template/static/data';

function fail(message) {
	console.error(`sources: ${message}`);
	process.exit(1);
}

const published = process.env.PUBLISHED_PARQUET;
if (!published || !path.isAbsolute(published)) {
	fail('set PUBLISHED_PARQUET to the absolute path of the published Parquet folder');
}
const files = (await readdir(published).catch((error) => fail(`cannot read PUBLISHED_PARQUET: ${error.message}`)))
	.filter((file) => file.endsWith('.parquet'));
if (files.length === 0) fail(`no .parquet file in ${published}: publish the marts first`);

const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const connection = await (await DuckDBInstance.create(':memory:')).connect();
await connection.run('create schema published');
for (const file of files) {
	const table = path.basename(file, '.parquet');
	await connection.run(
		`create view published."${table}" as select * from read_parquet(${quote(path.join(published, file))})`
	);
}

await rm(OUTPUT, { recursive: true, force: true });
const renderedFiles = {};
for (const schema of await readdir('sources')) {
	renderedFiles[schema] = [];
	for (const file of (await readdir(path.join('sources', schema))).sort()) {
		const table = path.basename(file, '.sql');
		const folder = path.join(OUTPUT, schema, table);
		const sql = await readFile(path.join('sources', schema, file), 'utf8');
		await mkdir(folder, { recursive: true });
		const result = await connection
			.run(`copy (${sql}) to ${quote(path.join(folder, `${table}.parquet`))} (format parquet, compression zstd)`)
			.catch((error) => fail(`sources/${schema}/${file}: ${error.message}`));
		console.log(`${schema}.${table}: ${result.rowsChanged} rows`);
		renderedFiles[schema].push(`static/data/${schema}/${table}/${table}.parquet`);
	}
}
await writeFile(path.join(OUTPUT, 'manifest.json'), JSON.stringify({ renderedFiles }));

// Changes to the pinned Evidence packages: [file, its text, our text], each found exactly once.

// duckdb-wasm 1.28 is the last that reads Parquet without fetching an extension; it has neither setting.
const client = ['browser', 'node'].flatMap((kind) => [
	[
		`universal-sql/src/client-duckdb/${kind}.js`,
		"await connection.query('SET ieee_floating_point_ops = false;');",
		'// no ieee_floating_point_ops in DuckDB 0.9',
	],
	[
		`universal-sql/src/client-duckdb/${kind}.js`,
		"await connection.query('SET old_implicit_casting = true;');",
		'// no old_implicit_casting in DuckDB 0.9',
	],
]);

export const fixes = [
	...client,
	// Results are cached by a 32-bit hash of the query text: two filters could share an entry.
	[
		'sdk/src/usql/query/Query.js',
		'return simpleHash(JSON.stringify(args));',
		'return simpleHash(JSON.stringify(args)) + JSON.stringify(args);',
	],
];

const table = 'core-components/dist/unsorted/viz/table';

export const words = [
	['evidence/template/src/app.html', '<html lang="en">', '<html lang="ru">'],
	[`${table}/_DataTable.svelte`, '>No Results</div>', '>Ничего не найдено</div>'],
	[`${table}/_DataTable.svelte`, '\t\t\t\t\t\tPage\n', '\t\t\t\t\t\tСтраница\n'],
	[
		`${table}/_DataTable.svelte`,
		'{displayedPageLength.toLocaleString()} of {totalRows.toLocaleString()} records',
		'{displayedPageLength.toLocaleString("ru")} из {totalRows.toLocaleString("ru")}',
	],
	[`${table}/EnterFullScreen.svelte`, 'aria-label="Enter Fullscreen"', 'aria-label="На весь экран"'],
	[`${table}/EnterFullScreen.svelte`, '<span>Fullscreen</span>', '<span>На весь экран</span>'],
	['core-components/dist/unsorted/viz/core/SearchBar.svelte', "placeholder = 'Search'", "placeholder = 'Поиск'"],
	['core-components/dist/unsorted/viz/core/EmptyChart.svelte', "emptyMessage = 'No Records'", "emptyMessage = 'Нет записей'"],
	['core-components/dist/unsorted/ui/DownloadData.svelte', "text = 'Download'", "text = 'Скачать CSV'"],
	['core-components/dist/unsorted/ui/DownloadData.svelte', "fieldSeparator: ','", "fieldSeparator: ';'"],
	['core-components/dist/unsorted/ui/DownloadData.svelte', "decimalSeparator: '.'", "decimalSeparator: ','"],
	// Numbers of tables: a dash for no value, thin spaces, decimal comma.
	['component-utilities/src/formatting.js', "\t\treturn '-';", "\t\treturn '—';"],
	[
		'component-utilities/src/formatting.js',
		'\t\tresult = fallbackFormat(value, columnUnitSummary);\n\t}\n\treturn result;',
		'\t\tresult = fallbackFormat(value, columnUnitSummary);\n\t}\n' +
			"\tif (typeof value === 'number' && typeof result === 'string') {\n" +
			"\t\tresult = result.replaceAll(',', '\\u202f').replaceAll('.', ',').replace('%', '\\u202f%');\n" +
			'\t}\n\treturn result;',
	],
	['evidence/template/src/pages/+error.svelte', '>Page Not Found</h1>', '>Страница не найдена</h1>'],
	[
		'evidence/template/src/pages/+error.svelte',
		": The page\n\t\t<span class=\"font-mono text-base bg-base-200\">{$page.url.pathname}</span> can't be found in the project.",
		': нет страницы\n\t\t<span class="font-mono text-base bg-base-200">{$page.url.pathname}</span>.',
	],
	['evidence/template/src/pages/+error.svelte', '>Application Error</h1>', '>Ошибка страницы</h1>'],
	['evidence/template/src/pages/+error.svelte', 'title="Error Details"', 'title="Подробности"'],
	['evidence/template/src/pages/+error.svelte', '>Unknown Error Encountered</h1>', '>Неизвестная ошибка</h1>'],
];

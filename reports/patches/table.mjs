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
	// The charts keep widths of texts in plain objects: a text called `__proto__` gave every object of the
	// page two keys more.
	...['this._maxSize = 10;', 'this._list.clear();'].map((before) => [
		'../zrender/lib/core/LRU.js',
		`${before}\n        this._map = {};`,
		`${before}\n        this._map = Object.create(null);`,
	]),
	// It called every page without a title in its first lines Evidence; PageHeader.svelte has the title.
	['preprocess/dist/index.mjs', '\n<title>Evidence</title>\n', '\n<!-- the page sets it -->\n'],
	// Days of a date input were turned into UTC through local midnight: one day early east of UTC.
	...[
		['start: dateToYYYYMMDD(selectedDateInput.start?.toDate(getLocalTimeZone()) ?? new Date(0))', "start: selectedDateInput.start?.toString() ?? '1970-01-01'"],
		['end: dateToYYYYMMDD(selectedDateInput.end?.toDate(getLocalTimeZone()) ?? new Date())', 'end: selectedDateInput.end?.toString() ?? endString'],
		['value: dateToYYYYMMDD(selectedDateInput.toDate(getLocalTimeZone()) ?? new Date(0))', 'value: selectedDateInput.toString()'],
	].map(([original, patched]) => ['core-components/dist/atoms/inputs/date-input/DateInput.svelte', original, patched]),
];

const table = 'core-components/dist/unsorted/viz/table';
const dates = 'core-components/dist/atoms/inputs/date-input/_DateInput.svelte';
const dropdown = 'core-components/dist/atoms/inputs/dropdown/Dropdown.svelte';

// Evidence picks presets by their English names, in either language of the pages.
const presets = {
	'Last 7 Days': 'Последние 7 дней',
	'Last 30 Days': 'Последние 30 дней',
	'Last 90 Days': 'Последние 90 дней',
	'Last 365 Days': 'Последние 365 дней',
	'Last 3 Months': 'Последние 3 месяца',
	'Last 6 Months': 'Последние 6 месяцев',
	'Last 12 Months': 'Последние 12 месяцев',
	'Last Month': 'Прошлый месяц',
	'Last Year': 'Прошлый год',
	'Month to Date': 'Весь этот месяц',
	'Month to Today': 'Этот месяц по сегодня',
	'Year to Date': 'Весь этот год',
	'Year to Today': 'Этот год по сегодня',
	'All Time': 'Всё время',
};
const englishNames = Object.fromEntries(Object.entries(presets).map(([english, russian]) => [russian, english]));

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
	...Object.entries(presets).map(([english, russian]) => [dates, `label: '${english}'`, `label: '${russian}'`]),
	[
		dates,
		'return unformattedStr.toString().toLowerCase()',
		`return (${JSON.stringify(englishNames)}[unformattedStr] ?? unformattedStr).toString().toLowerCase()`,
	],
	[dates, "const dfMedium = new DateFormatter('en-US'", "const dfMedium = new DateFormatter('ru-RU'"],
	[dates, "const dfShort = new DateFormatter('en-US'", "const dfShort = new DateFormatter('ru-RU'"],
	[dates, '> Select a Range </span>', '> Выберите период </span>'],
	[dates, '> Range </span>', '> Период </span>'],
	[dates, '<p>No Valid Presets</p>', '<p>Нет подходящих периодов</p>'],
	[dates, '<Calendar\n', '<Calendar locale="ru-RU"\n'],
	[dates, '<RangeCalendar\n', '<RangeCalendar locale="ru-RU"\n'],
	[dropdown, '<Command.Empty>No results found.</Command.Empty>', '<Command.Empty>Ничего не найдено</Command.Empty>'],
	[dropdown, '{$selectedOptions.length} Selected', 'Выбрано: {$selectedOptions.length}'],
	[dropdown, 'Select all\n', 'Выбрать все\n'],
	[dropdown, 'Clear selection\n', 'Снять выбор\n'],
	['core-components/dist/unsorted/viz/core/ECharts.svelte', 'text="Save Image"', 'text="Сохранить картинку"'],
	['core-components/dist/unsorted/viz/core/ECharts.svelte', 'text="Download Data"', 'text="Скачать данные"'],
	// Month names on the axes of charts.
	[
		'component-utilities/src/echarts.js',
		"import { registerTheme, init, connect } from 'echarts';",
		"import { registerTheme, init, connect, registerLocale } from 'echarts';\nimport langRU from 'echarts/lib/i18n/langRU.js';\nregisterLocale('RU', langRU);",
	],
	[
		'component-utilities/src/echarts.js',
		"renderer: useSvg ? 'svg' : (options.renderer ?? 'canvas')",
		"locale: 'RU',\n\t\t\trenderer: useSvg ? 'svg' : (options.renderer ?? 'canvas')",
	],
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

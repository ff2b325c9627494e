// What a table shows, as a file: CSV for a Russian Excel, and a workbook. Both say which filters,
// period and sort they were made with.
import { choice } from './choice.svelte.js';
import { formatDays, formatName } from './format.js';
import { dimensionText } from './metrics.js';
import { open } from './page.svelte.js';
import { site } from './site.svelte.js';
import { t } from './texts/index.js';

/** @typedef {{title: string, columns: {name: string, title: string, format?: string, isNumeric?: boolean, text?: (value: any, row: any) => string}[], rows: any[], foot?: any, sort?: string, search?: string, set?: {label: string, day: string | null}}} Shown */

/** Lines that say what the table shows. */
function conditions({ title, sort, columns, set, search }) {
	const { preset, start, end } = choice.period;
	const lines = [
		[title || t.title],
		[t.asOf, site.meta.as_of_text],
		[t.period, preset === 'allTime' || open.page?.spec.hasPeriod === false || (set && !set.day) ? t.allTime : formatDays(start, end)],
	];
	for (const filter of site.meta.filters.filter(({ name }) => open.page?.offers(name))) {
		const values = choice.values[filter.name]?.map((value) => dimensionText(value, filter));
		const without = choice.without[filter.name]?.map((value) => dimensionText(value, filter));
		if (values) lines.push([filter.label, values.join(', ')]);
		if (without) lines.push([filter.label, `${t.without} ${without.join(', ')}`]);
	}
	if (set) lines.push([t.show.replace(/:$/, ''), set.label]);
	if (search) lines.push([t.search, search]);
	const by = columns.find(({ name }) => name === sort?.replace(/^-/, ''));
	if (by) lines.push([t.sortBy, `${by.title} ${sort.startsWith('-') ? '↓' : '↑'}`]);
	return lines;
}

const isNone = (value) => value === null || value === undefined;
function shownValue(column, row) {
	const value = row[column.name];
	if (column.text && (!column.isNumeric || value === undefined)) return column.text(value, row);
	return formatName(column.format) === 'whole_days' && !isNone(value) ? Math.trunc(value) : value;
}
const bodyOf = ({ columns, rows, foot }) => [
	...rows.map((row) => columns.map((column) => shownValue(column, row))),
	...(foot ? [columns.map(({ name }, i) => (i === 0 ? t.total : foot[name]))] : []),
];

/** Semicolons, decimal commas, a byte order mark. @param {Shown} shown */
export function csvOf(shown) {
	const cell = (value, i, line) => {
		if (isNone(value)) return '';
		const isShare = line.length === shown.columns.length && formatName(shown.columns[i].format)?.startsWith('percent');
		if (typeof value === 'number' && isShare) return `${(value * 100).toFixed(2).replace('.', ',')}%`;
		if (typeof value === 'number') return String(value).replace('.', ',');
		// A text that a spreadsheet would take for a formula gets an apostrophe.
		const text = /^[=+\-@\t\r]/.test(String(value)) && !/^[+-][\d\s,.\u202f]+(%|п\.п\.|pp)?$/.test(String(value)) ? `'${value}` : String(value);
		return /[;"\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
	};
	const lines = [...conditions(shown), [], shown.columns.map(({ title }) => title), ...bodyOf(shown)];
	return `\uFEFF${lines.map((line) => line.map(cell).join(';')).join('\r\n')}\r\n`;
}

const xml = (text) =>
	String(text)
		// eslint-disable-next-line no-control-regex -- not allowed in XML
		.replace(/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/g, '')
		.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

function columnName(i) {
	return i < 26 ? String.fromCharCode(65 + i) : columnName(Math.floor(i / 26) - 1) + columnName(i % 26);
}

const DAY_ZERO = Date.UTC(1899, 11, 30);
/** Cell styles of the workbook, by number: see `styles` below. */
const STYLE = { text: 0, head: 1, count: 2, money: 3, percent: 4, decimal: 5, day: 6, title: 7 };

function styleOf(column) {
	switch (formatName(column.format)) {
		case 'percent':
		case 'percent0':
		case 'percent2':
			return STYLE.percent;
		case 'money':
		case 'amount':
		case 'exact':
			return STYLE.money;
		case 'days':
		case 'decimal':
			return STYLE.decimal;
		case 'count':
		case 'whole_days':
			return STYLE.count;
		default:
			return column.format === 'day' ? STYLE.day : STYLE.text;
	}
}

function cellXml(value, row, i, style) {
	if (isNone(value) || value === '') return '';
	const at = `r="${columnName(i)}${row}" s="${style}"`;
	if (typeof value === 'number' && Number.isFinite(value)) return `<c ${at}><v>${value}</v></c>`;
	if (style === STYLE.day && /^\d{4}-\d{2}-\d{2}/.test(value)) return `<c ${at}><v>${(Date.parse(value.slice(0, 10)) - DAY_ZERO) / 86_400_000}</v></c>`;
	return `<c ${at} t="inlineStr"><is><t xml:space="preserve">${xml(value)}</t></is></c>`;
}

const styles = `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="3"><numFmt numFmtId="164" formatCode="0.0%"/><numFmt numFmtId="165" formatCode="#,##0.0"/><numFmt numFmtId="166" formatCode="dd.mm.yyyy"/></numFmts><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts><fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="8"><xf/><xf fontId="1" applyFont="1" applyAlignment="1"><alignment wrapText="1" vertical="top"/></xf><xf numFmtId="3" applyNumberFormat="1"/><xf numFmtId="4" applyNumberFormat="1"/><xf numFmtId="164" applyNumberFormat="1"/><xf numFmtId="165" applyNumberFormat="1"/><xf numFmtId="166" applyNumberFormat="1"/><xf fontId="1" applyFont="1"/></cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`;

/** A workbook with one sheet. @param {Shown} shown @returns {Promise<Uint8Array>} */
export async function sheetOf(shown) {
	const { strToU8, zipSync } = await import('fflate');
	const head = conditions(shown);
	const headRow = head.length + 2;
	const line = (cells, row, style) => `<row r="${row}">${cells.map((value, i) => cellXml(value, row, i, style(i))).join('')}</row>`;
	const body = bodyOf(shown);
	const rows = [
		...head.map((cells, i) => line(cells, i + 1, () => (i === 0 ? STYLE.title : STYLE.text))),
		line(shown.columns.map(({ title }) => title), headRow, () => STYLE.head),
		...body.map((cells, i) => line(cells, headRow + 1 + i, (k) => styleOf(shown.columns[k]))),
	].join('');
	const last = columnName(shown.columns.length - 1);
	const widths = shown.columns.map(({ isNumeric }, i) => `<col min="${i + 1}" max="${i + 1}" width="${isNumeric ? 16 : 28}" customWidth="1"/>`).join('');
	const sheet = `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetViews><sheetView workbookViewId="0"><pane ySplit="${headRow}" topLeftCell="A${headRow + 1}" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><cols>${widths}</cols><sheetData>${rows}</sheetData><autoFilter ref="A${headRow}:${last}${headRow + shown.rows.length}"/></worksheet>`;
	const name = xml((shown.title || t.title).replace(/[[\]:*?/\\]/g, ' ').slice(0, 31));
	const files = {
		'[Content_Types].xml': '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/><Override PartName="/xl/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/></Types>',
		'_rels/.rels': '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>',
		'xl/workbook.xml': `<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="${name}" sheetId="1" r:id="rId1"/></sheets></workbook>`,
		'xl/_rels/workbook.xml.rels': '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>',
		'xl/worksheets/sheet1.xml': sheet,
		'xl/styles.xml': styles,
	};
	const declaration = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';
	return zipSync(Object.fromEntries(Object.entries(files).map(([path, text]) => [path, strToU8(declaration + text)])));
}

export function download(name, type, content) {
	const url = URL.createObjectURL(new Blob([content], { type }));
	const link = Object.assign(document.createElement('a'), { href: url, download: name });
	link.click();
	setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Results in one shape, whether they come from the engine or from the first figures:
// {columns: [{name, type}], rows: [object]}; type: 'number' | 'text' | 'day' | 'time' | 'boolean'.

/** @typedef {{columns: {name: string, type: string}[], rows: Record<string, unknown>[]}} Result */

const WORD = 2 ** 32;

/** A decimal of the engine (four 32-bit words, or a BigInt) as number. */
function decimal(value, scale) {
	if (value === null || value === undefined) return null;
	if (typeof value === 'number') return value;
	let whole = 0n;
	if (typeof value === 'bigint') whole = value;
	else {
		const words = Array.from(value);
		for (let i = words.length - 1; i >= 0; i -= 1) whole = whole * BigInt(WORD) + BigInt(words[i] >>> 0);
		whole = BigInt.asIntN(32 * words.length, whole);
	}
	const text = (whole < 0n ? -whole : whole).toString().padStart(scale + 1, '0');
	const digits = scale ? `${text.slice(0, -scale)}.${text.slice(-scale)}` : text;
	return Number(whole < 0n ? `-${digits}` : digits);
}

const isoDay = (milliseconds) => new Date(Number(milliseconds)).toISOString().slice(0, 10);
const isoMoment = (milliseconds) => new Date(Number(milliseconds)).toISOString().slice(0, 19).replace('T', ' ');

function reader(type) {
	const name = String(type);
	if (name.startsWith('Decimal')) return ['number', (value) => decimal(value, type.scale)];
	if (/^(Int|Uint|Float)/.test(name)) return ['number', (value) => (value === null ? null : Number(value))];
	if (name.startsWith('Date')) return ['day', (value) => (value === null ? null : isoDay(value))];
	if (name.startsWith('Timestamp')) return ['time', (value) => (value === null ? null : isoMoment(value))];
	if (name.startsWith('Time64')) return ['text', (value) => (value === null ? null : isoMoment(Number(value) / 1000).slice(11))];
	if (name === 'Bool') return ['boolean', (value) => value];
	if (name === 'Utf8' || name === 'LargeUtf8' || name.startsWith('Dictionary')) return ['text', (value) => value];
	return ['text', (value) => (value === null || value === undefined ? null : String(value))];
}

/** @param {import('apache-arrow').Table} table @returns {Result} */
export function engineResult(table) {
	const rows = Array.from({ length: table.numRows }, () => ({}));
	const columns = table.schema.fields.map(({ name, type: arrowType }, i) => {
		const [type, read] = reader(arrowType);
		const vector = table.getChildAt(i);
		for (let k = 0; k < rows.length; k += 1) rows[k][name] = read(vector.get(k) ?? null);
		return { name, type };
	});
	return { columns, rows };
}

/** SQL type → type of a column. */
function typeOf(sqlType) {
	const type = sqlType.toUpperCase();
	if (/^(TINY|SMALL|BIG|HUGE|U)?.*INT|^DECIMAL|^DOUBLE|^FLOAT|^REAL|^NUMBER/.test(type)) return 'number';
	if (type === 'DATE' || type === 'DAY') return 'day';
	if (type.startsWith('TIMESTAMP')) return 'time';
	return type.startsWith('BOOL') ? 'boolean' : 'text';
}

/** @param {{columns: {name: string, type: string}[], rows: unknown[][]}} stored @returns {Result} */
export function storedResult({ columns, rows }) {
	const read = columns.map(({ name, type }) => ({ name, type: typeOf(type) }));
	return {
		columns: read,
		rows: rows.map((row) =>
			Object.fromEntries(read.map(({ name, type }, i) => [name, type === 'number' && row[i] !== null ? Number(row[i]) : row[i]]))
		),
	};
}

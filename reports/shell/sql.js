// Fills the placeholders of a query with the present choice. Values are quoted here and nowhere else.
//
//   [[where leads]]                     filters on a target; true where none is chosen
//   [[of stages_leads lead_id marts.fct_leads lead_id]]  the same for rows that are of leads
//   [[period created_date | created_at]]  the chosen period, or the one compared with
//   [[period_start]], [[period_end]]     its first and last day
//   [[window created_date | created_at]]  the days of a time axis
//   [[reached quality_at]]               what an earlier cohort had come to at the age of the present one
//   [[grain created_date]]              start of the day, week, month … of the time axis
//   [[set leads leads_in_work_now]]     the records that a list shows; at first those of a set
//   [[user_fields lead]]                further columns of a list: the user fields of the settings
//   [[as_of_date]]                      the day of the data
//   ${inputs.x}, ${inputs.x.value}      a choice made on the page
//   ${other_query}                      another query of the page, in parentheses
const PLACEHOLDER = /\[\[(where|of|period_start|period_end|period|window|reached|grain|set|user_fields|as_of_date)\b([^\]]*)\]\]/g;

/** A text as SQL literal. */
export const quoted = (text) => `'${String(text).replaceAll("'", "''")}'`;

/** A value of a choice as SQL; lists in parentheses. */
export function literal(value) {
	if (value === null || value === undefined) return 'null';
	if (Array.isArray(value)) return value.length ? `(${value.map(literal).join(', ')})` : '(null)';
	if (typeof value === 'number' && Number.isFinite(value)) return String(value);
	if (typeof value === 'boolean') return String(value);
	return quoted(value);
}

/**
 * Days between two, both included; with `until` the last one ends at a time of day. The instants of
 * that day alone are looked at: those of all days are many bytes.
 */
export function between(day, { start, end, until }, instant) {
	const days = `${day} between date '${start}' and date '${end}'`;
	return until && instant ? `${days} and (${day} < date '${end}' or ${instant} <= timestamp '${end} ${until}')` : days;
}

/**
 * Condition of a filter.
 * @param {string | {id: string, of: string, each?: boolean} | null} column a column or expression; or,
 *   for fields with several values, the record's ID and a query of `id` and `value`; each: excluding
 *   leaves values out, not the records that have one; null where the filter leaves no row, whatever is
 *   chosen
 * @param {string[]} values '' stands for none
 */
export function condition(column, values, isExcluded = false) {
	if (column === null) return 'false';
	const named = values.filter((value) => value !== '').map(quoted).join(', ');
	const withNull = values.includes('');
	if (typeof column === 'object' && column.each) return `${column.id} in (select id from (${column.of}) where ${condition('value', values, isExcluded)})`;
	if (typeof column === 'object') {
		const parts = [];
		if (named) parts.push(`${column.id} in (select id from (${column.of}) where value in (${named}))`);
		if (withNull) parts.push(`${column.id} not in (select id from (${column.of}) where value is not null)`);
		return isExcluded ? `not (${parts.join(' or ')})` : `(${parts.join(' or ')})`;
	}
	const parts = [];
	if (isExcluded) {
		if (named) parts.push(`(${column} is null or ${column} not in (${named}))`);
		if (withNull) parts.push(`${column} is not null`);
		return parts.join(' and ');
	}
	if (named) parts.push(`${column} in (${named})`);
	if (withNull) parts.push(`${column} is null`);
	return `(${parts.join(' or ')})`;
}

/** Condition: one of the columns contains the text, letters of any case. */
export function contains(columns, text) {
	const wanted = text.trim();
	if (wanted === '' || columns.length === 0) return 'true';
	const pattern = quoted(`%${wanted.replace(/[\\%_]/g, '\\$&')}%`);
	return `(${columns.map((column) => `lower(cast(${column} as varchar)) like lower(${pattern}) escape '\\'`).join(' or ')})`;
}

/** Columns of the user fields of an entity, each with a comma before it. */
export const userFieldSql = ({ user_fields: fields = [] }, entity) =>
	fields.filter((field) => field.entity === entity).map(({ name, sql }) => `, ${sql} as ${identifier(name)}`).join('');

/** Names a column in SQL. */
export const identifier = (name) => `"${name.replaceAll('"', '""')}"`;

/** The page of a list. */
export function listSql(sql, { search = 'true', order, limit, offset = 0 }) {
	const by = order ? `\norder by ${order}` : '';
	return `select *\nfrom (\n${sql}\n) as records\nwhere ${search}${by}\nlimit ${limit} offset ${offset}`;
}

/** Count and sums of a list. */
export function listTotalSql(sql, { search = 'true', sums = [] }) {
	const columns = ['count(*) as records', ...sums.map((name) => `sum(${identifier(name)}) as ${identifier(name)}`)];
	return `select ${columns.join(', ')}\nfrom (\n${sql}\n) as records\nwhere ${search}`;
}

/**
 * @param {string} sql
 * @param {{where: (target: string) => string, period: object, window: object, grain: string,
 *   set: (list: string, first?: string) => string, userFields: (entity: string) => string, asOf: string}} choice
 */
export function fillPlaceholders(sql, choice) {
	return sql.replace(PLACEHOLDER, (whole, kind, rest) => {
		const words = rest.trim().split(/\s+/);
		const [first] = words;
		const [day, instant] = rest.split('|').map((part) => part.trim());
		switch (kind) {
			case 'where':
				return choice.where(first);
			case 'of': {
				const [target, column, table, key] = words;
				const condition = choice.where(target);
				if (condition === 'true') return condition;
				return `(${column} is null or ${column} in (select ${key} from ${table} where ${condition}))`;
			}
			case 'period':
				return between(day, choice.period, instant);
			case 'period_start':
				return `date '${choice.period.start}'`;
			case 'period_end':
				return `date '${choice.period.end}'`;
			case 'window':
				return between(day, choice.window);
			case 'reached':
				// Of an unknown time: for all that is known it was so then too, as it is now.
				return choice.period.reached ? `coalesce(${first} <= timestamp '${choice.period.reached}', true)` : 'true';
			case 'grain':
				return `cast(date_trunc('${choice.grain}', ${day}) as date)`;
			case 'set':
				return fillPlaceholders(choice.set(...words), choice);
			case 'user_fields':
				return choice.userFields(first);
			default:
				return `date '${choice.asOf}'`;
		}
	});
}

/** The value of an input: what the reader chose, or the whole object where it has no value. */
const valueOf = (input, part) => {
	const isObject = input !== null && typeof input === 'object' && !Array.isArray(input);
	if (part) return isObject ? input[part] : part === 'value' ? input : undefined;
	return isObject && 'value' in input ? input.value : input;
};

/**
 * Puts other queries and inputs in; undefined while an input has no value yet.
 * @param {string} sql
 * @param {Record<string, unknown>} inputs
 * @param {(name: string) => string | undefined} query SQL of another query of the page
 */
export function fillReferences(sql, inputs, query) {
	let out = '';
	let inQuotes = false;
	for (let i = 0; i < sql.length; i += 1) {
		if (sql.startsWith('--', i) && !inQuotes) {
			const end = sql.indexOf('\n', i);
			const stop = end < 0 ? sql.length : end;
			out += sql.slice(i, stop);
			i = stop - 1;
		} else if (sql.startsWith('${', i)) {
			const end = sql.indexOf('}', i);
			const name = sql.slice(i + 2, end).trim();
			const [, input, part] = /^inputs\.(\w+)(?:\.(\w+))?$/.exec(name) ?? [];
			if (input) {
				const value = inputs[input] === undefined ? undefined : valueOf(inputs[input], part);
				if (value === undefined) return undefined;
				out += inQuotes ? String(value ?? '').replaceAll("'", "''") : literal(value);
			} else {
				const other = query(name);
				if (other === undefined) return undefined;
				out += `(\n${other}\n)`;
			}
			i = end;
		} else {
			if (sql[i] === "'") inQuotes = !inQuotes;
			out += sql[i];
		}
	}
	return out;
}

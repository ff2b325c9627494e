// Finds component tags, HTML tags and {expressions} in a page: what Markdown must leave alone.

/** An error of a page, told with its place. */
export class PageError extends Error {
	/** @param {{file: string, line: number}} place */
	constructor(place, message) {
		super(`${place.file}:${place.line}: ${message}`);
		this.name = 'PageError';
	}
}

const TAG = /^<(\/?)([A-Za-z][\w.:-]*)/;
const ATTRIBUTE = /^[^\s=/>{}"']+/;

/**
 * The position after the brace that closes the one at `start`; strings and templates are skipped.
 * @param {string} text @param {number} start
 */
export function afterBraces(text, start) {
	let depth = 0;
	for (let i = start; i < text.length; i += 1) {
		const sign = text[i];
		if (sign === '"' || sign === "'" || sign === '`') {
			const end = afterString(text, i);
			if (end < 0) return -1;
			i = end - 1;
		} else if (sign === '{') depth += 1;
		else if (sign === '}' && (depth -= 1) === 0) return i + 1;
	}
	return -1;
}

function afterString(text, start) {
	for (let i = start + 1; i < text.length; i += 1) {
		if (text[i] === '\\') i += 1;
		else if (text[i] === text[start]) return i + 1;
		else if (text[start] === '`' && text.startsWith('${', i)) {
			const end = afterBraces(text, i + 1);
			if (end < 0) return -1;
			i = end - 1;
		}
	}
	return -1;
}

/** The tag at `start`, or null where the sign is no tag. `value`: text, {code} or true. */
export function readTag(text, start) {
	const [head, slash, name] = TAG.exec(text.slice(start, start + 80)) ?? [];
	if (!head) return null;
	const attributes = [];
	let i = start + head.length;
	while (i < text.length) {
		if (/\s/.test(text[i])) i += 1;
		else if (text[i] === '>' || text.startsWith('/>', i)) {
			const end = i + (text[i] === '>' ? 1 : 2);
			return { name, attributes, start, end, closing: slash === '/', empty: text[i] === '/' };
		} else if (text[i] === '{') {
			const end = afterBraces(text, i);
			if (end < 0) return null;
			const code = text.slice(i + 1, end - 1).trim();
			attributes.push({ name: code.startsWith('...') ? '...' : code, value: { code }, at: i });
			i = end;
		} else {
			const [attribute] = ATTRIBUTE.exec(text.slice(i)) ?? [];
			if (!attribute) return null;
			const at = i;
			i += attribute.length;
			let value = true;
			if (text[i] === '=') {
				i += 1;
				const begin = i;
				if (text[i] === '{') {
					i = afterBraces(text, i);
					if (i < 0) return null;
					value = { code: text.slice(begin + 1, i - 1).trim() };
				} else if (text[i] === '"' || text[i] === "'") {
					i = text.indexOf(text[i], i + 1) + 1;
					if (i === 0) return null;
					value = text.slice(begin + 1, i - 1);
				} else {
					while (i < text.length && !/[\s>]/.test(text[i]) && !text.startsWith('/>', i)) i += 1;
					value = text.slice(begin, i);
				}
			}
			attributes.push({ name: attribute, value, at });
		}
	}
	return null;
}

/** All tags and expressions of a text, in order; code in backticks is left out. */
export function scan(text) {
	const found = [];
	for (let i = 0; i < text.length; ) {
		if (text.startsWith('```', i)) {
			const end = text.indexOf('\n```', i + 3);
			i = end < 0 ? text.length : end + 4;
		} else if (text[i] === '`') {
			const end = text.indexOf('`', i + 1);
			i = end < 0 ? i + 1 : end + 1;
		} else if (text.startsWith('<!--', i)) {
			const end = text.indexOf('-->', i);
			const stop = end < 0 ? text.length : end + 3;
			found.push({ kind: 'comment', start: i, end: stop });
			i = stop;
		} else if (text[i] === '<') {
			const tag = readTag(text, i);
			if (tag) found.push({ kind: 'tag', ...tag });
			i = tag ? tag.end : i + 1;
		} else if (text[i] === '{') {
			const end = afterBraces(text, i);
			if (end > 0) found.push({ kind: 'expression', start: i, end, code: text.slice(i + 1, end - 1) });
			i = end > 0 ? end : i + 1;
		} else i += 1;
	}
	return found;
}

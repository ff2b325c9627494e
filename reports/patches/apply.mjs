// Applies patches/table.mjs to node_modules and fails where Evidence's text is not what was patched.
import { readFileSync, writeFileSync } from 'node:fs';
import { fixes, words } from './table.mjs';

const language = process.env.REPORT_LANG || 'ru';
if (!['ru', 'en'].includes(language)) {
	console.error(`REPORT_LANG=${language}: use ru or en`);
	process.exit(1);
}

function replace(file, wanted, other) {
	const path = `node_modules/@evidence-dev/${file}`;
	const text = readFileSync(path, 'utf8');
	if (text.includes(wanted)) return;
	if (text.split(other).length !== 2) {
		console.error(`patches: in ${file} this text does not occur exactly once (run npm ci; if it stays, Evidence's version has changed):\n${other}`);
		process.exit(1);
	}
	writeFileSync(path, text.replace(other, () => wanted));
}

for (const [file, original, patched] of fixes) replace(file, patched, original);
for (const [file, english, russian] of words) {
	if (language === 'ru') replace(file, russian, english);
	else replace(file, english, russian);
}

import assert from 'node:assert/strict';
import { register } from 'node:module';
import { test } from 'node:test';

// `$texts` is an alias of the build.
const hook = `export const resolve = (name, context, next) =>
	next(name.startsWith('$texts/') ? new URL('../shell/texts/ru/' + name.slice(7), '${import.meta.url}').href : name, context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
const { formatAmount, formatChange, formatDays, formatPercent, formatUnit, formatValue } = await import('../shell/format.js');

test('figures as they are read in Russian', () => {
	assert.equal(formatValue(1398, 'count'), '1\u202f398');
	assert.equal(formatPercent(0.0435), '4,35\u202f%');
	assert.equal(formatPercent(0.181), '18,1\u202f%');
	assert.equal(formatAmount(176_000_000), '176\u202fмлн');
	assert.equal(formatValue(1_656_100.32, 'money', { exact: true }), '1\u202f656\u202f100,32\u202f₽');
	assert.equal(formatValue(null, 'money'), '—');
	assert.equal(formatValue(0, 'money'), '0\u202f₽');
	assert.equal(formatValue(7.9, 'whole_days'), '7');
	assert.equal(formatValue('2026-03-31', 'day'), '31.03.2026');
	assert.equal(formatDays('2026-03-01', '2026-03-31'), '01.03.2026 – 31.03.2026');
	assert.equal(formatUnit('2026-01-01', 'quarter'), 'I кв. 2026');
});

test('changes', () => {
	assert.equal(formatChange(110, 100), '+10\u202f%');
	assert.equal(formatChange(99, 100), '−1,0\u202f%');
	assert.equal(formatChange(100, 100), '0\u202f%');
	assert.equal(formatChange(2000, 100), '×20');
	assert.equal(formatChange(0.2, 0.185, 'percent'), '+1,5\u202fп.п.');
	assert.equal(formatChange(5, 0), '');
	assert.equal(formatChange(null, 4), '');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chance, difference, different, maturity, quantile, wilson } from '../shell/statistics.js';

const near = (found, expected) => found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 0.0001, `${found} is not ${expected}`));

test('the normal distribution', () => near([quantile(0.975), quantile(0.995), quantile(0.9975)], [1.959964, 2.575829, 2.807034]));

// The examples of Newcombe's two papers of 1998.
test("Wilson's interval", () => {
	near(wilson(81, 263), [0.2553, 0.3662]);
	near(wilson(0, 20), [0, 0.1611]);
});

test("Newcombe's interval of a difference", () => near(difference([56, 70], [48, 80], 1.959964), [0.0524, 0.3339]));

test("Fisher's exact test", () => {
	// The lady tasting tea: 4 of 4 of 8, 1/70; 3 or more, 17/70.
	near([chance(4, 4, 4, 8), chance(3, 4, 4, 8)], [1 / 70, 17 / 70]);
	// 1 of 1 among 400 of which 300 count; none or more; a half of what is to be expected, and a bit more.
	near([chance(1, 1, 300, 400), chance(0, 50, 300, 400), chance(1500, 2000, 300_000, 400_000)], [0.75, 1, 0.512]);
});

test('a few of a small row are not called different', () => {
	// 4 of 30 where all 600 have 12: as many or more come by chance at 0.0019 (binomial coefficients), above
	// 0.05 / 20 / 2, though Newcombe's interval leaves 0 out.
	const rows = [
		{ name: 'few', quality: 4, leads: 30 },
		...Array.from({ length: 19 }, (_, i) => ({ name: `other ${i}`, quality: i < 8 ? 1 : 0, leads: 30 })),
	];
	const total = { quality: 12, leads: 600 };
	const [low] = difference([4, 30], [8, 570], quantile(1 - 0.05 / 40));
	assert.ok(low > 0);
	assert.deepEqual(different(rows, total, 'quality', 'leads', 30), []);
});

test('the latest cohort that is old enough, beside the earlier ones at that age', () => {
	const cell = (period, age, rate, n = 100) => ({ period, age, rate, rate__n: rate === null ? null : n });
	const rows = [
		...[cell('2026-01-01', 7, 0.01), cell('2026-01-01', 14, 0.036), cell('2026-01-01', 30, 0.06)],
		...[cell('2026-02-01', 7, 0.02), cell('2026-02-01', 14, 0.044), cell('2026-02-01', 30, null)],
		...[cell('2026-03-01', 7, 0.03), cell('2026-03-01', 14, 0.041), cell('2026-03-01', 30, null)],
		...[cell('2026-04-01', 7, 0.5, 29), cell('2026-04-01', 14, null), cell('2026-04-01', 30, null)],
	];
	const columns = { age: 'age', rate: 'rate', least: 30 };
	assert.deepEqual(maturity(rows, columns), { period: '2026-03-01', age: 14, rate: 0.041, low: 0.036, high: 0.044 });
	// One earlier cohort has no spread.
	assert.equal(maturity(rows.slice(0, 6), columns), undefined);
	assert.equal(maturity([], columns), undefined);
});

test('a row differs from all others together, or is not named', () => {
	const rows = [
		{ name: 'better', quality: 60, leads: 120 },
		{ name: 'the same', quality: 25, leads: 120 },
		{ name: 'worse', quality: 5, leads: 150 },
		{ name: 'few', quality: 9, leads: 10 },
	];
	const total = { quality: 99, leads: 400 };
	const found = different(rows, total, 'quality', 'leads', 30).map(({ row, side }) => [row.name, side]);
	assert.deepEqual(found, [['better', 1], ['worse', -1]]);
	assert.deepEqual(different(rows, undefined, 'quality', 'leads', 30), []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { difference, different, quantile, wilson } from '../shell/statistics.js';

const near = (found, expected) => found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 0.0001, `${found} is not ${expected}`));

test('the normal distribution', () => near([quantile(0.975), quantile(0.995), quantile(0.9975)], [1.959964, 2.575829, 2.807034]));

// The examples of Newcombe's two papers of 1998.
test("Wilson's interval", () => {
	near(wilson(81, 263), [0.2553, 0.3662]);
	near(wilson(0, 20), [0, 0.1611]);
});

test("Newcombe's interval of a difference", () => near(difference([56, 70], [48, 80], 1.959964), [0.0524, 0.3339]));

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

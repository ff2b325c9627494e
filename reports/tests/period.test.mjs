import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asOfThen, axisWindow, comparedWith, defaultPreset, lineWindow, presetDays, yearBefore } from '../shell/period.js';

const asOf = { date: '2026-03-31', time: '20:00:00' };
const compared = (start, end, mode = 'previous', at = asOf, preset = null) => comparedWith({ preset, start, end }, at, mode);

test('the running month ends with a month that has no such day', () => {
	assert.deepEqual(compared('2026-03-01', '2026-03-31'), { start: '2026-02-01', end: '2026-02-28', until: null });
});

test('the running month is cut at the same day and time', () => {
	const at = { date: '2026-03-12', time: '09:30:00' };
	assert.deepEqual(compared('2026-03-01', '2026-03-12', 'previous', at), { start: '2026-02-01', end: '2026-02-12', until: '09:30:00' });
	assert.deepEqual(compared('2026-03-01', '2026-03-12', 'year', at), { start: '2025-03-01', end: '2025-03-12', until: '09:30:00' });
});

test('finished months, quarters and years are recognised from their days', () => {
	assert.deepEqual(compared('2026-02-01', '2026-02-28'), { start: '2026-01-01', end: '2026-01-31', until: null });
	assert.deepEqual(compared('2025-10-01', '2025-12-31'), { start: '2025-07-01', end: '2025-09-30', until: null });
	assert.deepEqual(compared('2025-01-01', '2025-12-31'), { start: '2024-01-01', end: '2024-12-31', until: null });
	assert.deepEqual(compared('2024-02-01', '2024-02-29', 'year'), { start: '2023-02-01', end: '2023-02-28', until: null });
});

test('an earlier cohort is looked at as long after its end', () => {
	const then = (end, before, at = asOf) => asOfThen({ end }, before, at);
	// It is 31 March, 20:00: February is over for 30 days and 20 hours, January was so on 3 March.
	assert.equal(then('2026-02-28', { end: '2026-01-31', until: null }), '2026-03-03 20:00:00');
	// The running month is not over: the earlier one is seen where it is cut, or when it was over.
	assert.equal(then('2026-03-31', { end: '2026-02-28', until: null }), '2026-03-01 00:00:00');
	assert.equal(then('2026-03-12', { end: '2026-02-12', until: '09:30:00' }, { date: '2026-03-12', time: '09:30:00' }), '2026-02-12 09:30:00');
	// A year ago, and a period that ends after the data.
	assert.equal(then('2025-12-31', { end: '2024-12-31', until: null }), '2025-03-31 20:00:00');
	assert.equal(then('2026-05-31', { end: '2026-03-28', until: '20:00:00' }), '2026-03-28 20:00:00');
});

test('any other range is compared with as many days just before', () => {
	assert.deepEqual(compared('2026-03-10', '2026-03-12'), { start: '2026-03-07', end: '2026-03-09', until: null });
	assert.deepEqual(compared('2026-03-29', '2026-03-31'), { start: '2026-03-26', end: '2026-03-28', until: '20:00:00' });
	assert.deepEqual(compared('2026-03-29', '2026-05-31'), { start: '2026-03-26', end: '2026-03-28', until: '20:00:00' });
});

test('a running year that is also a quarter keeps the unit that was chosen', () => {
	const at = { date: '2026-03-15', time: '12:00:00' };
	assert.deepEqual(compared('2026-01-01', '2026-03-15', 'previous', at, 'year'), { start: '2025-01-01', end: '2025-03-15', until: '12:00:00' });
	assert.deepEqual(compared('2026-01-01', '2026-03-15', 'previous', at), { start: '2025-10-01', end: '2025-12-15', until: '12:00:00' });
});

test('nothing is compared with all time, a period to come, or when it is switched off', () => {
	assert.equal(compared('1900-01-01', '2999-12-31', 'previous', asOf, 'allTime'), null);
	assert.equal(compared('2026-04-01', '2026-04-30'), null);
	assert.equal(compared('2026-03-01', '2026-03-31', 'none'), null);
});

test('presets end on the day of the data', () => {
	const days = (preset) => presetDays(preset, '2026-03-31');
	assert.deepEqual(days('thisMonth'), ['2026-03-01', '2026-03-31']);
	assert.deepEqual(days('previousMonth'), ['2026-02-01', '2026-02-28']);
	assert.deepEqual(days('quarter'), ['2026-01-01', '2026-03-31']);
	assert.deepEqual(days('previousQuarter'), ['2025-10-01', '2025-12-31']);
	assert.deepEqual(days('previousYear'), ['2025-01-01', '2025-12-31']);
	assert.deepEqual(days('week'), ['2026-03-30', '2026-03-31']);
	assert.deepEqual(days('previousWeek'), ['2026-03-23', '2026-03-29']);
	assert.deepEqual(days('days30'), ['2026-03-02', '2026-03-31']);
	assert.equal(defaultPreset('2026-03-07'), 'previousMonth');
	assert.equal(defaultPreset('2026-03-08'), 'thisMonth');
});

test('a line shows whole units, never less than the period', () => {
	const window = (grain, start, end) => lineWindow(grain, { start, end }, '2026-03-31', '2024-01-10');
	assert.deepEqual(window('month', '2026-03-01', '2026-03-31'), { start: '2025-04-01', end: '2026-03-31' });
	assert.deepEqual(window('month', '1900-01-01', '2999-12-31'), { start: '2024-01-01', end: '2026-03-31' });
	assert.deepEqual(window('quarter', '2026-03-01', '2026-03-31'), { start: '2024-04-01', end: '2026-03-31' });
});

test('a time axis keeps its months while one of them is picked', () => {
	const axis = (start, end) => axisWindow('month', { start, end }, '2026-03-31', '2024-01-10');
	const present = { start: '2025-04-01', end: '2026-03-31' };
	assert.deepEqual(axis('2026-03-01', '2026-03-31'), present);
	assert.deepEqual(axis('2025-10-01', '2025-10-31'), present);
	assert.deepEqual(axis('2025-01-01', '2025-01-31'), { start: '2024-02-01', end: '2025-01-31' });
	assert.deepEqual(yearBefore(present), { start: '2024-04-01', end: '2025-03-31' });
});

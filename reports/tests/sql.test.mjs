import assert from 'node:assert/strict';
import { test } from 'node:test';
import { condition, contains, fillPlaceholders, fillReferences, literal } from '../shell/sql.js';

const choice = {
	where: (target) => `<${target}>`,
	period: { start: '2026-02-01', end: '2026-02-12', until: '09:30:00' },
	window: { start: '2025-04-01', end: '2026-03-31' },
	grain: 'month',
	set: (list, first = '') => `{${list} ${first}} and [[where ${list}]]`,
	userFields: () => '',
	asOf: '2026-03-31',
};
const fill = (sql) => fillPlaceholders(sql, choice);
const refer = (sql, inputs) => fillReferences(sql, inputs, () => 'select 1');

test('placeholders', () => {
	assert.equal(fill('where [[where leads]]'), 'where <leads>');
	assert.equal(fill('[[period d]]'), "d between date '2026-02-01' and date '2026-02-12'");
	assert.equal(fill('[[period d | t]]'), "d between date '2026-02-01' and date '2026-02-12' and (d < date '2026-02-12' or t <= timestamp '2026-02-12 09:30:00')");
	assert.equal(fill('[[of leads lead_id marts.fct_leads id]]').startsWith('(lead_id is null or lead_id in (select id from marts.fct_leads where '), fill('[[where leads]]') !== 'true');
	assert.equal(fill('[[period_start]], [[period_end]]'), "date '2026-02-01', date '2026-02-12'");
	assert.equal(fill('count(*) filter (where [[reached t]])'), 'count(*) filter (where true)');
	const earlier = { ...choice, period: { ...choice.period, reached: '2026-03-03 20:00:00' } };
	assert.equal(fillPlaceholders('[[reached t]]', earlier), "coalesce(t <= timestamp '2026-03-03 20:00:00', true)");
	assert.equal(fill('[[grain d]]'), "cast(date_trunc('month', d) as date)");
	assert.equal(fill('[[set leads]]'), '{leads } and <leads>');
	assert.equal(fill('[[set leads leads_in_work_now]]'), '{leads leads_in_work_now} and <leads>');
	assert.equal(fill('select [[1, 2], [3]]'), 'select [[1, 2], [3]]');
});

test('values of choices are quoted, whatever they hold', () => {
	const evil = "x' or 1=1 --";
	assert.equal(refer('a = ${inputs.x.value}', { x: { value: evil } }), "a = 'x'' or 1=1 --'");
	assert.equal(refer("a = '${inputs.x.value}'", { x: { value: evil } }), "a = 'x'' or 1=1 --'");
	assert.equal(refer("a like '%${inputs.x}%'", { x: 'it' }), "a like '%it%'");
	assert.equal(refer('a in ${inputs.x.value}', { x: { value: ['a', "b'"] } }), "a in ('a', 'b''')");
	assert.equal(refer('a in ${inputs.x.value}', { x: { value: [] } }), 'a in (null)');
	assert.equal(refer('limit ${inputs.n}', { n: 5 }), 'limit 5');
	assert.equal(refer("d >= '${inputs.r.start}'", { r: { start: '2026-01-01', end: '' } }), "d >= '2026-01-01'");
	assert.equal(refer('a = ${inputs.x}', { x: { value: undefined } }), undefined);
	assert.equal(literal(null), 'null');
});

test('queries are chained in parentheses; comments are left alone', () => {
	assert.equal(refer('select * from ${other}', {}), 'select * from (\nselect 1\n)');
	assert.equal(refer("-- it's ${inputs.x}\nselect 1", {}), "-- it's ${inputs.x}\nselect 1");
});

test('conditions of filters', () => {
	assert.equal(condition('c', ['a', "b'"]), "(c in ('a', 'b'''))");
	assert.equal(condition('c', ['a', '']), "(c in ('a') or c is null)");
	assert.equal(condition('c', ['a'], true), "(c is null or c not in ('a'))");
	assert.equal(condition(null, ['a'], true), 'false');
	assert.equal(condition('c', ['', 'a'], true), "(c is null or c not in ('a')) and c is not null");
	const field = { id: 'lead_id', of: 'select 1' };
	assert.equal(condition(field, ['a']), "(lead_id in (select id from (select 1) where value in ('a')))");
	assert.equal(condition(field, ['a'], true), "not (lead_id in (select id from (select 1) where value in ('a')))");
	const each = { ...field, each: true };
	assert.equal(condition(each, ['a']), "lead_id in (select id from (select 1) where (value in ('a')))");
	assert.equal(condition(each, ['a'], true), "lead_id in (select id from (select 1) where (value is null or value not in ('a')))");
});

test('the searched text is text', () => {
	assert.equal(contains(['a'], ' 50%_ '), "(lower(cast(a as varchar)) like lower('%50\\%\\_%') escape '\\')");
	assert.equal(contains(['a'], ' '), 'true');
});

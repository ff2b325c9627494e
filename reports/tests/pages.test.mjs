import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { builtPage, toSvelte } from '../scripts/markdown.mjs';
import { ROOT, readPage } from '../scripts/page.mjs';

const path = join(ROOT, 'pages/custom/test.md');
const read = (text) => readPage(path, '/custom/test/', text);
const made = (text) => toSvelte(path, text).code.split('</script>').at(-1).trim();
const QUERY = '```sql q\nselect 1 as a\n```\n\n';

test('Markdown stays Markdown, tags and expressions stay as written', () => {
	assert.equal(made(`${QUERY}## Было {q.length}\n\nИ **ещё** <Value data={q} column=a />.`), '<h2>Было {q.length}</h2>\n<p>И <strong>ещё</strong> <Value data={q} column=a />.</p>');
	assert.equal(made(`${QUERY}{#if q.length > 1}\n- {q[0].a}\n{/if}`), '{#if q.length > 1}\n<ul>\n<li>{q[0].a}</li>\n</ul>\n{/if}');
	assert.equal(made(`${QUERY}<Grid cols=2>\n    <Value data={q}/>\n    <Value data={q}/>\n</Grid>`).replace(/\s+/g, ' '), '<Grid cols=2> <Value data={q}/> <Value data={q}/> </Grid>');
	assert.match(made('`{a}` и < 5'), /<code>&#123;a&#125;<\/code> и &lt; 5/);
});

test('blocks: order, chains, inputs, lists', () => {
	const page = read('<Dropdown name=x defaultValue="a"/>\n```sql one\nselect ${inputs.x.value} as a\n```\n```sql two\nselect * from ${one};\n```\n<RecordList data={two} sort="-a" rows=5 sums="a" />');
	assert.deepEqual(
		page.blocks.map(({ id, sql, chain, inputs, list }) => ({ id, sql, chain, inputs, list })),
		[
			{ id: 'one', sql: 'select ${inputs.x.value} as a', chain: [], inputs: ['x'], list: undefined },
			{ id: 'two', sql: 'select * from ${one}', chain: ['one'], inputs: [], list: { sort: '-a', rows: 5, sums: ['a'], key: null } },
		]
	);
	assert.deepEqual(page.inputs, { x: 'a' });
});

test('queries that only others name are not run; a parameter begins empty', () => {
	const page = read('<Parameter name="lead" />\n```sql inner\nselect 1 as a where 2 = ${inputs.lead}\n```\n```sql shown\nselect * from ${inner}\n```\n<DataTable data={shown} />');
	assert.deepEqual(page.blocks.map(({ id, inner }) => [id, inner]), [['inner', true], ['shown', undefined]]);
	assert.deepEqual(page.inputs, { lead: '' });
});

test('metric blocks', () => {
	const [block] = read('<Metrics name="m" metrics="a, b" by="lead.source, lead.city | lead.manager" grain="month | year" order="-a" compare line />').blocks;
	assert.deepEqual(block.by, [['lead.source', 'lead.city'], ['lead.manager']]);
	assert.deepEqual([block.metrics, block.grain, block.order, block.compare, block.total, block.line], [['a', 'b'], ['month', 'year'], '-a', true, false, 'month']);
});

test('mistakes are told with page and line', () => {
	const cases = [
		[`${QUERY}text\n\n<BarChart data={q}\n  colour="red" />`, /test\.md:8: <BarChart colour>: this attribute is not supported/],
		['<DataTable data={nothing} />', /test\.md:1: <DataTable data=\{nothing\}>: there is no query nothing/],
		['<Nothing />', /test\.md:1: <Nothing>: there is no such component/],
		['---\ntitle: a\n---\n\n```sql q\nselect ${other}\n```', /test\.md:5: query q: \$\{other\} is neither an input nor another query/],
		['```sql q\nselect ${inputs.x}\n```', /test\.md:1: query q: .* no input is called x/],
		['```sql q\nselect 1 where [[were leads]]\n```', /test\.md:1: query q: \[\[were leads\]\] is no placeholder/],
		['```sql a\nselect * from ${b}\n```\n```sql b\nselect * from ${a}\n```', /queries in a circle/],
		[`${QUERY}\`\`\`sql q\nselect 2\n\`\`\``, /the query q is there already/],
		['<Metrics metrics="a" />', /test\.md:1: <Metrics>: attribute name is missing/],
		['one\n\n{#if x}\n\ntwo', /test\.md:\d+: /],
	];
	for (const [text, message] of cases) assert.throws(() => toSvelte(path, text), message);
});

test("pages as Evidence's documentation teaches them are taken as they are", () => {
	for (const name of ['template', 'components', 'inputs']) {
		const { page } = toSvelte(join(ROOT, `tests/evidence/${name}.md`));
		assert.ok(page.blocks.length > 0);
	}
	assert.deepEqual(readPage(join(ROOT, 'tests/evidence/template.md')).inputs, { category: '%', year: '%' });
	assert.deepEqual(readPage(join(ROOT, 'tests/evidence/inputs.md')).inputs, { outcome: 'quality', range: '2026-01-01..2026-03-31', people: null, word: '' });
});

test("a page of one's own that cannot be built is there as its error, one of the project is not", () => {
	const text = '---\ntitle: "Своя"\n---\n\n<Nothing />';
	const { code, page } = builtPage(path, text);
	assert.equal(page.error, 'pages/custom/test.md:5: <Nothing>: there is no such component');
	assert.deepEqual([page.head.title, page.route, page.blocks], ['Своя', '/custom/test/', []]);
	assert.ok(code.includes(JSON.stringify(page.error)));
	assert.throws(() => builtPage(join(ROOT, 'pages/test.md'), text), /pages\/test\.md:5: <Nothing>/);
});

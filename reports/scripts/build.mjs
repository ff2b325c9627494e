// Builds the static site into build/ and fails where a page or its data is missing:
// `evidence build` keeps files of earlier builds and exits 0 with a page that did not render.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';

function fail(message) {
	console.error(`build: ${message}`);
	process.exit(1);
}

const language = process.env.REPORT_LANG || 'ru';
if (!existsSync('.evidence/template/static/data/manifest.json')) fail('no data: run `npm run sources` first');
rmSync('build', { recursive: true, force: true });
rmSync('.evidence/template/build', { recursive: true, force: true });

function run(command, args) {
	const { status } = spawnSync(command, args, {
		stdio: 'inherit',
		env: { ...process.env, SEND_ANONYMOUS_USAGE_STATS: 'no', VITE_REPORT_LANG: language },
	});
	if (status !== 0) fail(`${[command, ...args].join(' ')} failed`);
}
run('node', ['patches/apply.mjs']);
run('evidence', ['build']);

const { renderedFiles } = JSON.parse(readFileSync('build/data/manifest.json', 'utf8'));
for (const file of Object.values(renderedFiles).flat()) {
	if (!existsSync(path.join('build', file.replace(/^static\//, '')))) fail(`${file} is missing`);
}
for (const page of readdirSync('pages', { recursive: true })) {
	// A templated page ([id].md) is one file per crawled link: there may be none.
	if (!page.endsWith('.md') || page.includes('[')) continue;
	const route = page === 'index.md' ? '' : page.replace(/(\/index)?\.md$/, '');
	const html = path.join('build', route, 'index.html');
	if (!existsSync(html)) fail(`pages/${page} did not render`);
	// Pages of the user's own may have no header.
	if (!page.startsWith('custom') && !readFileSync(html, 'utf8').includes('data-page-rendered')) {
		fail(`pages/${page} rendered without its content`);
	}
}

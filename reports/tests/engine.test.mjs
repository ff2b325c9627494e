import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import vm from 'node:vm';

/** The worker's script in a world of its own: what it would ask for, and what it runs next. */
function worker(hash) {
	const asked = [];
	const ran = [];
	class XMLHttpRequest {
		setRequestHeader(...header) {
			asked.push(header);
		}
	}
	const world = { XMLHttpRequest, location: { hash }, importScripts: (url) => ran.push(url), decodeURIComponent };
	vm.runInNewContext(readFileSync(new URL('../shell/engine.worker.js', import.meta.url), 'utf8'), world);
	return { asked, ran, request: new XMLHttpRequest() };
}

test('the engine reads no more than 256 KiB at a time', () => {
	const { asked, request } = worker('#x');
	request.setRequestHeader('Range', 'bytes=4096-16781311');
	request.setRequestHeader('Range', 'bytes=4096-266239');
	request.setRequestHeader('Range', 'bytes=10-19');
	assert.deepEqual(asked, [
		['Range', 'bytes=4096-266239'],
		['Range', 'bytes=4096-266239'],
		['Range', 'bytes=10-19'],
	]);
});

test('what has no end, and other headers, stay', () => {
	const { asked, request } = worker('#x');
	request.setRequestHeader('Range', 'bytes=0-');
	request.setRequestHeader('Accept', 'bytes=0-99999999');
	assert.deepEqual(asked, [
		['Range', 'bytes=0-'],
		['Accept', 'bytes=0-99999999'],
	]);
});

test("DuckDB's worker runs in it", () => {
	const url = 'http://127.0.0.1:8024/каталог/assets/duckdb.js';
	assert.deepEqual(worker(`#${encodeURIComponent(url)}`).ran, [url]);
});

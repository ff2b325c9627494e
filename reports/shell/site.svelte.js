// What the site folder holds beside the shell: status.json, and the data of one publication.
/** The root of the site: addresses of pages and files are relative to it. */
export const ROOT = new URL(document.documentElement.dataset.root ?? './', location.href).pathname;

/** The address of a file or page of the site. */
export const siteUrl = (path) => ROOT + path.replace(/^\//, '');

/** Route of an address of the site: '/', '/sales/' … */
export function routeOf(pathname) {
	const path = `/${pathname.slice(ROOT.length)}`.replace(/index\.html$/, '');
	return path.endsWith('/') ? path : `${path}/`;
}

/** `meta` is meta.json of the publication; see README.md. */
export const site = $state({ status: null, meta: null, publication: '', isGone: false });

export class Gone extends Error {}

async function json(path, options) {
	const response = await fetch(siteUrl(path), options);
	if (response.status === 404) throw new Gone(path);
	if (!response.ok) throw new Error(`${path}: ${response.status}`);
	return response.json();
}

/** Name of the file with the first figures of a page. */
export const pageFile = (route) => (route === '/' ? 'index' : route.replace(/^\/|\/$/g, '').replaceAll('/', '.'));

// The page's HTML asks for the first files before this script is there (scripts/build.mjs).
const early = globalThis.__early;

/** Loads status.json and meta.json. */
export async function loadSite() {
	const [status, meta] = await Promise.all([early.status, early.meta]).catch(() => loadAgain());
	site.status = status;
	site.publication = status.publication;
	site.meta = meta;
}

/** The publication may have been replaced between its name and its data. */
async function loadAgain() {
	early.page = undefined;
	const status = await json('status.json', { cache: 'no-store' });
	return [status, await json(`data/${status.publication}/meta.json`)];
}

/** The first figures of a page; none where the publication does not know the page. */
export async function loadFirst(route) {
	const hasEarly = early.page && early.route === route;
	const stored = hasEarly ? await early.page : await json(`data/${site.publication}/pages/${pageFile(route)}.json`).catch(missing);
	early.page = undefined;
	return stored ?? { blocks: [] };
}

async function missing(error) {
	if (error instanceof Gone) await checkPublication();
	return null;
}

/** Where another publication has replaced this one and its files are gone: says so and loads anew. */
export async function checkPublication() {
	const status = await json('status.json', { cache: 'no-store' }).catch(() => null);
	if (status && status.publication !== site.publication) {
		site.isGone = true;
		setTimeout(() => location.reload(), 1500);
	}
}

/** Address of the file that the engine reads. */
export const databaseUrl = () => siteUrl(`data/${site.publication}/site.duckdb`);

// One shell, one address per page: links of the site change the page without loading it anew, so
// that the engine stays.
import { tick } from 'svelte';
import { query, readAddress } from './choice.svelte.js';
import { giveFirst, open } from './page.svelte.js';
import { ROOT, loadFirst, routeOf, siteUrl } from './site.svelte.js';
import { pages } from 'virtual:pages';

const files = import.meta.glob(['/pages/**/*.md']);
const pathOf = (route) => {
	const name = route === '/' ? 'index' : route.slice(1, -1);
	return [`/pages/${name}.md`, `/pages/${name}/index.md`].find((path) => path in files);
};

/** A publication has no file for a page that asks for nothing. */
const hasBlocks = (route) => pages.find((page) => page.route === route)?.hasBlocks;

/** `visit` grows with each page that is opened. */
export const current = $state({ route: '/', isMissing: false, visit: 0 });
let component = $state.raw(null);
export const currentComponent = () => component;

/** Opens the page of the present address. */
export async function openAddress() {
	const route = routeOf(location.pathname);
	const path = pathOf(route);
	if (!path) {
		current.route = route;
		current.isMissing = true;
		return;
	}
	const [module, first] = await Promise.all([files[path](), hasBlocks(route) ? loadFirst(route) : { blocks: [] }]);
	if (routeOf(location.pathname) !== route) return;
	readAddress(location.search);
	giveFirst(first);
	open.page = null;
	component = module.default;
	current.isMissing = false;
	current.route = route;
	current.visit += 1;
}

/** The address of a page with the filters of the reader; switches of the page stay behind. */
export const pageHref = (route, extra = {}) => siteUrl(route) + query({ withView: false, extra });

export async function go(href) {
	const url = new URL(href, location.href);
	history.pushState(null, '', url);
	await openAddress();
	await tick();
	if (url.hash) document.getElementById(url.hash.slice(1))?.scrollIntoView();
	else window.scrollTo(0, 0);
	document.getElementById('content')?.focus({ preventScroll: true });
}

/** One step back in the history, where that stays on the site; else to a page. */
export function back(route) {
	if (current.visit > 1) history.back();
	else go(pageHref(route));
}

/** Whether a click on a link is ours to answer. */
function ownLink(event) {
	const link = event.target.closest?.('a[href]');
	if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return null;
	const url = new URL(link.href);
	if (url.origin !== location.origin || link.target || link.hasAttribute('download') || !url.pathname.startsWith(ROOT)) return null;
	if (url.pathname === location.pathname && url.search === location.search && url.hash) return null;
	return pathOf(routeOf(url.pathname)) ? url : null;
}

/** Follows links and the history. */
export function startRouter() {
	document.addEventListener('click', (event) => {
		const url = ownLink(event);
		if (!url) return;
		event.preventDefault();
		go(url);
	});
	window.addEventListener('popstate', () => {
		if (routeOf(location.pathname) === current.route) readAddress(location.search);
		else openAddress();
	});
	return openAddress();
}

// Words of the pages in the language that the shell is built in. `$texts` is the folder of that
// language (vite.config.js): common.js holds what several pages share, the others one page each.
import common from '$texts/common.js';

const files = import.meta.glob(['$texts/*.js', '!**/common.js'], { eager: true, import: 'default' });
const nameOf = (path) => /(\w+)\.js$/.exec(path)[1];

/** `t.leads`; words of a page: `t.of.overview.question`. @type {Record<string, any>} */
export const t = { ...common, of: Object.fromEntries(Object.entries(files).map(([path, words]) => [nameOf(path), words])) };

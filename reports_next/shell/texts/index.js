// Words of the pages in the language that the shell is built in. `$texts` is the folder of that
// language (vite.config.js): common.js, whose words stand at the top, and one file per page.
import common from '$texts/common.js';

const files = import.meta.glob(['$texts/*.js', '!**/common.js'], { eager: true, import: 'default' });
const nameOf = (path) => /(\w+)\.js$/.exec(path)[1];

/** `t.leads`; words of a page: `t.overview.question`. @type {Record<string, any>} */
export const t = { ...common, ...Object.fromEntries(Object.entries(files).map(([path, words]) => [nameOf(path), words])) };

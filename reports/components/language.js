/** Language of the pages, chosen when the site is built. @type {'ru' | 'en'} */
export const language = import.meta.env.VITE_REPORT_LANG === 'en' ? 'en' : 'ru';

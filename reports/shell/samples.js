// What samples allow to say: of fewer records nothing is called best or worst.
import { site } from './site.svelte.js';

/** Rows of fewer records are not ranked. */
export const minSample = () => site.meta.min_sample ?? 30;
/** Amounts of fewer sales are called neither best nor worst. */
export const minSales = () => site.meta.min_sales ?? 10;

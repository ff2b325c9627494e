// Sets of records that the figures count: a set is a condition on flags of the marts and the day
// that puts a record into the period (null: as of now, whenever it happened).
export const LEAD_SETS = {
	received: ['true', 'created_date'],
	junk: ['is_junk', 'created_date'],
	quality: ['is_quality', 'created_date'],
	quality_period: ['is_quality', 'quality_date'],
	in_work: ['is_in_work', 'created_date'],
	in_work_now: ['is_in_work', null],
	new: ['is_new', 'created_date'],
	in_progress: ['is_in_progress', 'created_date'],
	processed: ['(is_quality or is_junk)', 'created_date'],
	forgotten: ['is_forgotten', 'created_date'],
	forgotten_now: ['is_forgotten', null],
	without_activity: ['is_without_planned_activity', 'created_date'],
	without_activity_now: ['is_without_planned_activity', null],
	with_deal: ['has_deal', 'created_date'],
	with_deal_period: ['has_deal', 'first_deal_date'],
	with_sale: ['has_sale', 'created_date'],
	with_sale_period: ['has_sale', 'first_sold_date'],
	quality_with_deal: ['is_quality and has_deal', 'created_date'],
	quality_with_sale: ['is_quality and has_sale', 'created_date'],
	sale_not_quality: ['has_sale and not is_quality', 'created_date'],
	idle_planned_now: ['is_idle and not is_idle_without_plan', null],
	forgotten_unplanned_now: ['is_idle_without_plan', null],
	potential: ['potential_amount <> 0', 'created_date'],
	potential_now: ['potential_amount <> 0', null],
};

export const DEAL_SETS = {
	created: ['true', 'created_date'],
	in_work: ['is_in_work', 'created_date'],
	in_work_now: ['is_in_work', null],
	failed: ['is_failed', 'created_date'],
	failed_period: ['is_failed', 'failed_date'],
	forgotten: ['is_forgotten', 'created_date'],
	forgotten_now: ['is_forgotten', null],
	without_activity: ['is_without_planned_activity', 'created_date'],
	without_activity_now: ['is_without_planned_activity', null],
	idle_planned_now: ['is_idle and not is_idle_without_plan', null],
	forgotten_unplanned_now: ['is_idle_without_plan', null],
	sales: ['is_sale', 'created_date'],
	sales_period: ['is_sale', 'sold_date'],
	sales_new: ["is_sale and customer_kind = 'new'", 'created_date'],
	sales_new_period: ["is_sale and customer_kind = 'new'", 'sold_date'],
	sales_repeat: ["is_sale and customer_kind = 'repeat'", 'created_date'],
	sales_repeat_period: ["is_sale and customer_kind = 'repeat'", 'sold_date'],
	sales_with_lead_period: ['is_sale and has_counted_lead', 'sold_date'],
	sales_without_lead_period: ['is_sale and not has_counted_lead', 'sold_date'],
	sales_unknown_period: ["is_sale and customer_kind = 'unknown'", 'sold_date'],
	closed: ['(is_sale or is_failed)', 'created_date'],
};

export const SETS = { leads: LEAD_SETS, deals: DEAL_SETS };

/** SQL condition of a set within a period. */
export function setPredicate([condition, day], { start, end }) {
	return day === null ? condition : `${condition} and ${day} between '${start}' and '${end}'`;
}

/** Path of the list of a figure's records with the filters of the page. */
export function recordsHref(records, chosen, period) {
	const [list, set] = records.split('/');
	const query = filterQuery(chosen, period);
	query.set('show', set);
	return `/${list}/?${query}`;
}

/** The choice as the query of a page's address; the default period is left out. */
export function filterQuery(chosen, { preset, start, end }) {
	const query = new URLSearchParams();
	if (preset === null && start) {
		query.set('from', start);
		query.set('to', end);
	} else if (preset && preset !== 'thisMonth') {
		query.set('period', preset);
	}
	for (const [key, values] of Object.entries(chosen)) {
		for (const value of values) query.append(key, value);
	}
	return query;
}

/** Puts an address into the address bar at once: SvelteKit's replaceState renders the page again. */
export const writeAddress = (url) => history.replaceState(history.state, '', url);

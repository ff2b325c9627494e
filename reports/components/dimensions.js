// The filters that pages offer: a key in the URL, a label, and per target the column that it narrows.
import { t } from '$lib/texts/common.js';

const utm = (prefix, targets) =>
	['source', 'medium', 'campaign', 'content', 'term'].map((name) => ({
		key: `utm_${name}`,
		label: t[`utm${name[0].toUpperCase()}${name.slice(1)}`],
		columns: targets(`utm_${name}`),
		more: true,
	}));

/** Leads by their own values, deals by their own; a pipeline narrows deals alone. */
export const SALES_FILTERS = [
	{ key: 'pipeline', label: t.pipeline, columns: { deals: 'pipeline_name', pipeline: 'pipeline_name' } },
	{ key: 'manager', label: t.manager, columns: { leads: 'manager_name', deals: 'manager_name' } },
	{ key: 'source', label: t.source, columns: { leads: 'source_name', deals: 'source_name' } },
	{ key: 'city', label: t.city, columns: { leads: 'city', deals: 'city' } },
	{ key: 'deal_stage', label: t.dealStage, columns: { deals: 'pipeline_stage_name' } },
	{ key: 'state', label: t.dealState, columns: { deals: 'state' }, values: t.states, more: true },
	{ key: 'lead_stage', label: t.leadStage, columns: { leads: 'stage_name' }, more: true },
	{ key: 'lead_state', label: t.leadState, columns: { leads: 'state' }, values: t.leadStates, more: true },
	...utm('', (column) => ({ leads: column, deals: column })),
];

/** Everything by the lead's own values, the deals of leads too. */
export const MARKETING_FILTERS = [
	{ key: 'source', label: t.source, columns: { leads: 'source_name', deals: 'lead_source_name' } },
	{ key: 'manager', label: t.manager, columns: { leads: 'manager_name', deals: 'lead_manager_name' } },
	{ key: 'city', label: t.city, columns: { leads: 'city', deals: 'lead_city' } },
	{ key: 'utm_campaign', label: t.utmCampaign, columns: { leads: 'utm_campaign', deals: 'lead_utm_campaign' } },
	{ key: 'lead_stage', label: t.leadStage, columns: { leads: 'stage_name', deals: 'lead_stage_name' } },
	{ key: 'lead_state', label: t.leadState, columns: { leads: 'state', deals: 'lead_state' }, values: t.leadStates, more: true },
	...utm('', (column) => ({ leads: column, deals: `lead_${column}` })).filter(({ key }) => key !== 'utm_campaign'),
];

/** Deals by what brought their lead, under keys of their own: `source` is the deal's. */
const LEAD_OF_DEAL_FILTERS = [
	{ key: 'lead_source', label: t.leadSource, columns: { deals: 'lead_source_name', leads: 'source_name' } },
	...utm('', (column) => ({ deals: `lead_${column}`, leads: column })).map((select) => ({ ...select, key: `lead_${select.key}` })),
];

/** Sales by the lead that brought them; leads by the same values. */
export const MONEY_FILTERS = [
	...SALES_FILTERS.filter(({ key }) => ['pipeline', 'manager', 'city'].includes(key)),
	...LEAD_OF_DEAL_FILTERS.map((select) => (select.key === 'lead_utm_campaign' ? { ...select, more: false } : select)),
];

/** The list of deals: whatever a page that links to it narrows deals by. */
export const DEAL_LIST_FILTERS = [
	...SALES_FILTERS.filter(({ columns }) => columns.deals),
	...LEAD_OF_DEAL_FILTERS.map(({ key, label, columns }) => ({
		key,
		label: key === 'lead_source' ? label : `${label} (${t.lead.toLowerCase()})`,
		columns: { deals: columns.deals },
		more: true,
	})),
];

/** User fields narrow leads by the lead's values, deals by the deal's. */
export const USER_FIELD_TARGETS = { leads: 'lead', deals: 'deal' };

/** The deals of leads too by the lead's values. */
export const MARKETING_USER_FIELD_TARGETS = { leads: 'lead', deals: 'lead' };

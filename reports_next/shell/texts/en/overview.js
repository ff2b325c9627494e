export default {
	question: 'What came in, what was sold, what is forgotten',
	leads: 'Leads of the period',
	leadsNote: 'Created in the period, with their state as of the refresh; beside it the change from the previous period',
	sold: 'Sold in the period',
	soldNote: 'By the day of the sale, whenever the deal was created',
	stock: 'In work now',
	stockNote: 'As of the refresh, of all time; the period does not matter, the other filters do',
	dealsInWork: 'Deals in work',
	forgottenLeads: 'Forgotten leads',
	forgottenDeals: 'Forgotten deals',
	forgottenAmount: 'Amount of forgotten deals',
};

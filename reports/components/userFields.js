// Columns of the lists for the user fields that the settings name.
const alias = (fieldName) => fieldName.toLowerCase();
const ofEntity = (rows, entity) => Array.from(rows ?? []).filter((row) => row.entity === entity);

/** SQL of the columns of a list, at the end of its select list: null where there is no field. */
export function userFieldSql(rows, entity) {
	const columns = ofEntity(rows, entity).map(
		({ field_name }) =>
			`(select string_agg(field_value, ', ') from marts.fct_user_field_values where entity = '${entity}'` +
			` and field_name = '${field_name}' and item_id = fct_${entity}s.${entity}_id) as ${alias(field_name)}`
	);
	return columns.length ? columns.join(', ') : 'null as no_user_field';
}

/** The same columns as Table.svelte takes them. */
export const userFieldColumns = (rows, entity) =>
	ofEntity(rows, entity).map(({ field_name, field_label }) => ({ id: alias(field_name), title: field_label }));

-- Values of the user fields that the settings name.
-- Grain: one row per entity, item, user field and value.
select entity, item_id, field_name, field_value
from published.fct_user_field_values
order by entity, field_name, item_id, value_number

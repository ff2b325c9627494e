-- User fields that the settings name and some record fills, in the order of their columns.
-- Grain: one row per entity and user field.
select
    entity,
    field_name,
    any_value(field_label) as field_label
from marts.fct_user_field_values
group by entity, field_name
order by field_label, field_name, entity

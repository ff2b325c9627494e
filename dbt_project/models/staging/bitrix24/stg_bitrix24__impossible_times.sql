-- Times that the portal sets itself and that cannot be: the other staging models have null there.
-- Grain: one row per record and field with such a time.
{%- set item_times = ['created_time', 'updated_time', 'moved_time', 'last_activity_time'] %}
{%- set fields_of = {
    'leads': item_times + ['date_closed'],
    'deals': item_times,
    'contacts': ['created_time', 'updated_time'],
    'companies': ['created_time', 'updated_time'],
    'lead_stage_history': ['created_time'],
    'deal_stage_history': ['created_time'],
    'activities': ['created'],
} %}
{%- set item_of = {
    'leads': ("'lead'", 'id'),
    'deals': ("'deal'", 'id'),
    'contacts': ("'contact'", 'id'),
    'companies': ("'company'", 'id'),
    'lead_stage_history': ("'lead'", 'owner_id'),
    'deal_stage_history': ("'deal'", 'owner_id'),
    'activities': (activity_entity(), 'owner_id'),
} %}
with
{%- for table, fields in fields_of.items() %}
    {{ table }} as (
        {{ current_versions(table, key='id', created=fields[0]) }}
    ),
{% endfor %}
unioned as (
    {%- for table, fields in fields_of.items() %}
        {%- set unioned = not loop.first %}
        {%- for field in fields %}
            {{ "union all" if unioned or not loop.first }}
            select
                {{ item_of[table][0] }} as entity,
                {{ item_of[table][1] }} as item_id,
                '{{ table }}' as table_name,
                id as record_id,
                '{{ field }}' as field_name,
                {{ field }} as happened_at
            from {{ table }}
            where
                {{ field }} is not null
                and {{ possible_time(field) }} is null
        {%- endfor %}
    {%- endfor %}
)

select * from unioned

-- Pipelines of deals.
-- Grain: one row per pipeline.
with source as (
    {{ current_versions('categories', key='id') }}
),

renamed as (
    select
        id as pipeline_id,
        {{ one_line('name') }} as pipeline_name,
        sort as sort_order,
        coalesce(is_default = 'Y', false) as is_default
    from source
)

select * from renamed

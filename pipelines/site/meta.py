"""`meta.json`: what the shell must know of a publication beside its figures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import duckdb

from pipelines.metric_sql import SemanticLayer, UnknownName
from pipelines.settings import Settings
from pipelines.site import filters
from pipelines.site.choice import Choice
from pipelines.site.words import WORDS

FORMATS = {"rate": "percent"}
# Counts that only averages are divided by.
DIVISORS = re.compile(r"_with_(age|amount|dated_sale|close_date|lead_days)(_|$)")
LISTS = {"marts.fct_leads": "leads", "marts.fct_deals": "deals"}
# The list itself shows all that came.
FIRST_SETS = {"leads": "leads_received", "deals": "deals_created"}
# Names of the lists in the addresses of earlier versions: they stand in mails and bookmarks.
EARLIER_NAMES = {
    "leads": {
        "received": "leads_received",
        "junk": "leads_junk",
        "quality": "leads_quality_cohort",
        "quality_period": "leads_quality_period",
        "in_work": "leads_in_work",
        "in_work_now": "leads_in_work_now",
        "new": "leads_new",
        "in_progress": "leads_in_progress",
        "processed": "leads_processed",
        "forgotten": "leads_forgotten",
        "forgotten_now": "leads_forgotten_now",
        "without_activity": "leads_without_planned_activity",
        "without_activity_now": "leads_without_planned_activity_now",
        "with_deal": "leads_with_deal_cohort",
        "with_deal_period": "leads_with_deal_period",
        "with_sale": "leads_with_sale_cohort",
        "with_sale_period": "leads_with_sale_period",
        "quality_with_deal": "leads_quality_with_deal_cohort",
        "quality_with_sale": "leads_quality_with_sale_cohort",
        "sale_not_quality": "leads_with_sale_not_quality_cohort",
        "forgotten_unplanned_now": "leads_forgotten_without_plan_now",
        "potential": "leads_potential_amount",
        "potential_now": "leads_potential_amount_now",
    },
    "deals": {
        "created": "deals_created",
        "in_work": "deals_in_work",
        "in_work_now": "deals_in_work_now",
        "failed": "deals_failed_cohort",
        "failed_period": "deals_failed_period",
        "forgotten": "deals_forgotten",
        "forgotten_now": "deals_forgotten_now",
        "without_activity": "deals_without_planned_activity",
        "without_activity_now": "deals_without_planned_activity_now",
        "forgotten_unplanned_now": "deals_forgotten_without_plan_now",
        "sales": "sales_cohort",
        "sales_period": "sales_period",
        "sales_new": "sales_new_cohort",
        "sales_new_period": "sales_new_period",
        "sales_repeat": "sales_repeat_cohort",
        "sales_repeat_period": "sales_repeat_period",
        "sales_with_lead_period": "sales_of_leads_period",
        "sales_without_lead_period": "sales_without_lead_period",
        "sales_unknown_period": "sales_unknown_period",
        "closed": "deals_closed_cohort",
    },
}


def described(
    connection: duckdb.DuckDBPyConnection,
    layer: SemanticLayer,
    settings: Settings,
    choice: Choice,
    publication: str,
) -> dict[str, Any]:
    """The content of `meta.json`.

    Args:
        connection: Has the tables of the site.
        choice: Under which pages open.
    """
    about = connection.sql("select * from quality.refreshes").to_arrow_table().to_pylist()[0]
    start, end = choice.period
    fields = user_fields(connection)
    return {
        "publication": publication,
        "as_of": choice.as_of.isoformat(),
        "as_of_text": about["as_of_text"],
        "as_of_date": str(choice.as_of.date()),
        "as_of_time": f"{choice.as_of:%H:%M:%S}",
        "history_from_date": about["history_from_date"] and str(about["history_from_date"]),
        "language": settings.report_lang,
        "currency": about["base_currency"],
        "crm_mode": about["crm_mode"],
        "portal_url": about["portal_url"],
        "first_date": str(choice.first),
        "forgotten_lead_days": settings.forgotten_lead_days,
        "forgotten_deal_days": settings.forgotten_deal_days,
        "planned_is_not_forgotten": settings.planned_is_not_forgotten,
        "filters": _with_labels(
            filters.described(connection, layer, settings.report_lang), settings.report_lang
        ),
        "dimensions": _dimensions(layer, settings.report_lang)
        | {f"{one['entity']}__{one['name'].lower()}": {"label": one["label"]} for one in fields},
        "metrics": _metrics(connection, layer, settings.report_lang),
        "user_fields": fields,
        "has_spend": has_spend(connection),
        "min_sample": settings.min_sample,
        "min_sales": settings.min_sales,
        "record_sets": _record_sets(connection, layer, settings.report_lang),
        "default_period": {"preset": choice.preset, "start": str(start), "end": str(end)},
    }


def user_fields(connection: duckdb.DuckDBPyConnection) -> list[dict[str, str]]:
    """The user fields that the settings name, as columns of lists: name, label and SQL."""
    rows = connection.execute(
        "select entity, field_name, any_value(field_label) from marts.fct_user_field_values"
        " group by entity, field_name order by entity, field_name"
    ).fetchall()
    return [
        {
            "entity": entity,
            "name": name,
            "label": label,
            # The record's own column must not be one of the values' table.
            "sql": "(select string_agg(field_value, ', ' order by field_value) from ("
            "select item_id as valued_id, field_value from marts.fct_user_field_values"
            f" where entity = '{entity}' and field_name = '{name}') as field_values"
            f" where valued_id = {entity}_id)",
        }
        for entity, name, label in rows
    ]


def has_spend(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether anything is told of money spent: without it the pages show nothing of it."""
    return bool(connection.execute("select 1 from marts.fct_ad_costs limit 1").fetchall())


def first_day(connection: duckdb.DuckDBPyConnection) -> Any:
    """Day of the first lead or deal; None where there is none."""
    rows = connection.execute(
        "select min(created_date) from marts.fct_leads"
        " union all select min(created_date) from marts.fct_deals"
    ).fetchall()
    return min((day for (day,) in rows if day), default=None)


def _with_labels(found: list[dict[str, Any]], language: str) -> list[dict[str, Any]]:
    named = WORDS[language]
    for one in found:
        one.setdefault("label", named.get(one["name"], one["name"]))
        for option in one["options"]:
            label = named.get(f"{one['name']}.{option['value']}")
            if label:
                option["label"] = label
    return found


def _dimensions(layer: SemanticLayer, language: str) -> dict[str, dict[str, str]]:
    found = {}
    for name in layer.dimensions():
        column = name.rpartition("__")[2]
        word = column.removeprefix("touch_").removesuffix("_name")
        label = WORDS[language].get(word, column)
        found[name] = found[column] = {"label": label}
    return found


def _metrics(
    connection: duckdb.DuckDBPyConnection, layer: SemanticLayer, language: str
) -> dict[str, Any]:
    rows = connection.sql(
        f"select metric_name, label_{language} as label, definition_{language} as definition,"
        " formula, value_format, is_comparable, is_compared_at_age, has_interval,"
        " numerator is not null as is_ratio from marts.dim_metrics"
    )
    return {
        row["metric_name"]: {
            "label": row["label"],
            "definition": row["definition"],
            "formula": row["formula"],
            "format": FORMATS.get(row["value_format"], row["value_format"]),
            "comparable": row["is_comparable"],
            "at_age": row["is_compared_at_age"],
            "interval": row["has_interval"],
            "is_ratio": row["is_ratio"],
            "records": _list(layer, row["metric_name"]),
        }
        for row in rows.to_arrow_table().to_pylist()
    }


def _list(layer: SemanticLayer, metric: str) -> str | None:
    """The list of a metric's records: `leads/leads_junk`; none where it is made of others too, as
    of what was spent."""
    try:
        table = layer.records(metric).table
        is_listed = layer.facts(metric) <= LISTS.keys()
    except UnknownName:
        return None
    return f"{LISTS[table]}/{metric}" if is_listed else None


def _record_sets(
    connection: duckdb.DuckDBPyConnection, layer: SemanticLayer, language: str
) -> dict[str, list[dict[str, Any]]]:
    """Per list the records of each metric: those of the period, and those of now.

    All of them can be opened from a figure; the chooser of a list offers counts alone, as of now
    those that are read so.
    """
    rows = connection.execute(
        f"select metric_name, label_{language}, value_format, time_view from marts.dim_metrics"
    ).fetchall()
    now, created = WORDS[language]["now"], WORDS[language]["of_created"]
    found: dict[str, list[dict[str, Any]]] = {"leads": [], "deals": []}
    for name, label, value_format, view in rows:
        shown = _list(layer, name)
        if shown is None:
            continue
        listed = shown.split("/")[0]
        records = layer.records(name)
        is_count = value_format == "count" and not name.endswith("_unknown")
        is_offered = is_count and not DIVISORS.search(name)
        is_stock = view == "stock" or name.endswith("_in_work")
        of_period = {
            "name": name,
            "label": f"{label}, {created}" if is_stock else label,
            "sql": records.condition,
            "day": records.day,
            "offered": is_offered,
        }
        of_now = of_period | {
            "name": f"{name}_now",
            "label": f"{label}, {now}",
            "day": None,
            "offered": is_offered and is_stock,
        }
        found[listed] += [of_period, of_now]
    for listed, sets in found.items():
        earlier = EARLIER_NAMES[listed]
        for one in sets:
            one["aliases"] = [old for old, new in earlier.items() if new == one["name"]]
        sets.sort(key=lambda one: one["name"] != FIRST_SETS[listed])
    return found


def texts(layer: SemanticLayer, names: Iterable[str]) -> list[str]:
    """SQL that filters and lists of records need beside the pages'."""
    columns = ["is_counted", "item_id", "lead_id", "deal_id", "manager_name"]
    columns += filters.columns(layer)
    found = []
    for table in (*LISTS, "marts.fct_stage_reach"):
        conditions = [
            f"{records.condition} {records.day}"
            for name in names
            if (records := layer.records(name)).table == table
        ]
        found.append(f"from {table} {' '.join([*columns, *conditions])}")
    return [
        *found,
        "select * from quality.refreshes",
        "select * from marts.dim_metrics",
        "select kind, entity, severity, manager_name from quality.issues",
        "select kind, sort_order, label_ru, label_en from quality.issue_kinds",
        "select kind, entity, manager_name from marts.fct_reversals",
        "select file from marts.fct_ad_costs",
        # The search in the header of every page.
        "select entity, item_id, title, stage_name, manager_name, created_date"
        " from marts.fct_portal_bridge",
        "select entity, pipeline_id, pipeline_name, stage_id, stage_name, sort_order"
        " from marts.dim_stages",
        "select entity, item_id, field_name, field_label, value_number, field_value"
        " from marts.fct_user_field_values",
    ]

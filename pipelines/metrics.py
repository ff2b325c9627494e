"""Saved queries of the semantic layer as views of the published file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import PublishFailed
from pipelines.metric_sql import MetricQuery, SemanticLayer, filled, without_grain

SCHEMA = "metrics"
# Of the normal distribution: 95 % lie within as many standard deviations.
Z = 1.959963984540054
# For an analyst's own SQL: the sum of known amounts, 0 if there are no amounts, null if all are
# unknown; and Wilson's interval (95 %) of a share, null of nothing, which the views have too.
MACROS = f"""
create or replace macro {SCHEMA}.known_amount(total, unknown) as
    coalesce(total, case when unknown = 0 then 0 end);
create or replace macro {SCHEMA}.known_sum(amount, is_unknown, condition) as
    coalesce(
        sum(amount) filter (where condition),
        case when count(*) filter (where condition and is_unknown) = 0 then 0 end
    );
create or replace macro {SCHEMA}.wilson_half(share, whole) as
    {Z} * sqrt(share * (1 - share) / whole + {Z**2 / 4} / whole / whole);
create or replace macro {SCHEMA}.wilson_low(part, whole) as case when whole > 0 then greatest(
    (part / whole + {Z**2 / 2} / whole - {SCHEMA}.wilson_half(part / whole, whole))
    / (1 + {Z**2} / whole), 0) end;
create or replace macro {SCHEMA}.wilson_high(part, whole) as case when whole > 0 then least(
    (part / whole + {Z**2 / 2} / whole + {SCHEMA}.wilson_half(part / whole, whole))
    / (1 + {Z**2} / whole), 1) end;
"""
INTERVAL = ("low", "high")
VIEW_TYPES = {"HUGEINT": "BIGINT"}


def definitions(semantic_manifest: Path) -> dict[str, Any]:
    """Semantic models and metrics of a manifest that dbt wrote, as any reader of the marts may have
    them: tables without the catalog that they were built in."""
    content = json.loads(semantic_manifest.read_text(encoding="utf-8"))
    for model in content["semantic_models"]:
        relation = model["node_relation"]
        model["node_relation"] = {key: relation[key] for key in ("schema_name", "alias")}
    return {key: content[key] for key in ("semantic_models", "metrics")}


def create_views(connection: duckdb.DuckDBPyConnection, semantic_manifest: Path) -> list[str]:
    """Creates the saved queries as views in schema `metrics` of the connection's database.

    Columns stand in the order of the saved query, numerators and denominators beside their ratios,
    behind a rate of a cohort the ends of its interval, `<rate>_low` and `<rate>_high`.
    DuckDB's 128-bit sums become bigint, which every client knows. The amount of a group that has no
    record of it is 0; where none is known it is null.

    Args:
        connection: Uses the database that holds the marts.
        semantic_manifest: `semantic_manifest.json` of the dbt build of these marts.

    Returns:
        Names of the views.

    Raises:
        PublishFailed: dbt wrote no manifest.
    """
    if not semantic_manifest.exists():
        raise PublishFailed(f"{semantic_manifest} is missing: run the build first")
    content = json.loads(semantic_manifest.read_text(encoding="utf-8"))
    described_as = _descriptions(content)
    layer = SemanticLayer(content)
    connection.execute(f"create schema if not exists {SCHEMA}")
    connection.execute(MACROS)
    names = []
    for saved in content["saved_queries"]:
        groups, metrics = _groups(saved), saved["query_params"]["metrics"]
        wheres = (saved["query_params"]["where"] or {}).get("where_filters", [])
        sql = layer.sql(
            MetricQuery(
                tuple(metrics),
                tuple(groups),
                in_period=False,
                where=tuple(where["where_sql_template"] for where in wheres),
            )
        )
        sql = filled(sql)
        columns = [*groups, *metrics]
        described = connection.execute(f"describe {sql}").fetchall()
        selected = ", ".join(
            f"cast({name} as {VIEW_TYPES.get(kind, kind)}) as {column}{_interval(layer, column)}"
            for column, (name, kind, *_) in zip(columns, described, strict=True)
        )
        view = f"{SCHEMA}.{saved['name']}"
        connection.execute(f"create view {view} as select {selected} from ({sql})")
        comment(connection, "view", view, f"{saved['label']}. {saved['description']}")
        for name in columns:
            comment(
                connection, "column", f"{view}.{name}", described_as.get(without_grain(name), name)
            )
        for name in metrics:
            for end in INTERVAL if layer.has_interval(name) else ():
                text = f"{end.capitalize()} end of Wilson's interval (95 %) of {name}."
                comment(connection, "column", f"{view}.{name}_{end}", text)
        names.append(saved["name"])
    return names


def _interval(layer: SemanticLayer, column: str) -> str:
    """The ends of the interval of a cohort's rate as further columns."""
    if column not in layer.metrics or not layer.has_interval(column):
        return ""
    parts = ", ".join(layer.parts(column))
    return "".join(f", {SCHEMA}.wilson_{end}({parts}) as {column}_{end}" for end in INTERVAL)


def _groups(saved: Mapping[str, Any]) -> list[str]:
    """Names of a saved query's breakdowns: `TimeDimension('metric_time', 'month')` is
    `metric_time__month`; periods come first, as MetricFlow puts them."""
    names = ["__".join(re.findall(r"'(\w+)'", one)) for one in saved["query_params"]["group_by"]]
    return sorted(names, key=lambda name: not name.startswith("metric_time"))


def comment(connection: duckdb.DuckDBPyConnection, kind: str, name: str, text: str) -> None:
    """Puts a description onto a table, view or column."""
    escaped = " ".join(text.split()).replace("'", "''")
    connection.execute(f"comment on {kind} {name} is '{escaped}'")


def _descriptions(content: Mapping[str, Any]) -> dict[str, str]:
    """What each metric and dimension is, by the name of its column."""
    found = {"metric_time": "Period of the metrics, each by the date that its definition names."}
    for metric in content["metrics"]:
        found[metric["name"]] = (
            f"{metric['label'] or metric['name']}. {metric['description'] or ''}"
        )
    for model in content["semantic_models"]:
        for entity in model["entities"]:
            found[entity["name"]] = entity["description"] or ""
            if entity["type"] == "primary":
                found |= {
                    f"{entity['name']}__{dimension['name']}": dimension["description"] or ""
                    for dimension in model["dimensions"]
                }
    return found

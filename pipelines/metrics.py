"""Saved queries of the semantic layer as views of the published file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, cast

import duckdb
from metricflow.engine.metricflow_engine import MetricFlowEngine, MetricFlowQueryRequest
from metricflow.protocols.sql_client import SqlClient, SqlEngine
from metricflow.sql.render.duckdb_renderer import DuckDbSqlPlanRenderer
from metricflow_semantics.model.dbt_manifest_parser import (
    parse_manifest_from_dbt_generated_manifest,
)
from metricflow_semantics.model.semantic_manifest_lookup import SemanticManifestLookup

from pipelines.errors import PublishFailed

SCHEMA = "metrics"
GRAINS = ("day", "week", "month", "quarter", "year")
# The sum of known amounts: 0 if there are no amounts, null if all of them are unknown.
MACROS = f"""
create or replace macro {SCHEMA}.known_amount(total, unknown) as
    coalesce(total, case when unknown = 0 then 0 end);
create or replace macro {SCHEMA}.known_sum(amount, is_unknown, condition) as
    coalesce(
        sum(amount) filter (where condition),
        case when count(*) filter (where condition and is_unknown) = 0 then 0 end
    );
"""
VIEW_TYPES = {"HUGEINT": "BIGINT", "TIMESTAMP": "DATE"}


class _DuckDbDialect:
    """What MetricFlow needs from a database to write SQL for it without running any."""

    sql_engine_type = SqlEngine.DUCKDB
    sql_plan_renderer = DuckDbSqlPlanRenderer()


def load_engine(semantic_manifest: Path) -> MetricFlowEngine:
    """MetricFlow on a manifest from dbt, with table names without their catalog."""
    content = json.loads(semantic_manifest.read_text(encoding="utf-8"))
    spines = content["project_configuration"]["time_spines"]
    for model in [*content["semantic_models"], *spines]:
        relation = model["node_relation"]
        relation["database"] = None
        relation["relation_name"] = f"{relation['schema_name']}.{relation['alias']}"
    manifest = parse_manifest_from_dbt_generated_manifest(json.dumps(content))
    return MetricFlowEngine(SemanticManifestLookup(manifest), cast(SqlClient, _DuckDbDialect()))


def create_views(connection: duckdb.DuckDBPyConnection, semantic_manifest: Path) -> list[str]:
    """Creates the saved queries as views in schema `metrics` of the connection's database.

    Columns keep the order of the saved query, numerators and denominators next to their ratios.
    DuckDB's 128-bit sums become bigint, which every client knows, and periods become days. The
    amount of a group without records is 0 here too; if no amount is known it is null.

    Args:
        connection: uses the database with the marts.
        semantic_manifest: `semantic_manifest.json` of the dbt build of these marts.

    Returns:
        Names of the views.

    Raises:
        PublishFailed: dbt wrote no manifest.
    """
    if not semantic_manifest.exists():
        raise PublishFailed(f"{semantic_manifest} is missing: run the build first")
    described_as = _descriptions(semantic_manifest)
    connection.execute(f"create schema if not exists {SCHEMA}")
    connection.execute(MACROS)
    names = []
    for saved in saved_queries(semantic_manifest):
        described = connection.execute(f"describe {saved.sql}").fetchall()
        types = {name: VIEW_TYPES.get(kind, kind) for name, kind, *_ in described}
        columns = [name for name in types if name not in saved.metrics] + saved.metrics
        selected = ", ".join(
            f"cast({_filled(name, saved.metrics)} as {types[name]}) as {name}" for name in columns
        )
        view = f"{SCHEMA}.{saved.name}"
        connection.execute(f"create view {view} as select {selected} from ({saved.sql})")
        comment(connection, "view", view, saved.description)
        for name in columns:
            comment(connection, "column", f"{view}.{name}", described_as.get(_plain(name), name))
        names.append(saved.name)
    return names


class SavedQuery(NamedTuple):
    """A saved query of the semantic layer with MetricFlow's SQL."""

    name: str
    description: str
    metrics: list[str]
    sql: str


def saved_queries(semantic_manifest: Path) -> list[SavedQuery]:
    """The saved queries of a dbt manifest; MetricFlow takes seconds to write their SQL."""
    engine = load_engine(semantic_manifest)
    found = []
    for saved in engine.list_saved_queries():
        request = MetricFlowQueryRequest.create(saved_query_name=saved.name)
        sql = engine.explain(request).sql_statement.without_descriptions.sql
        told, metrics = f"{saved.label}. {saved.description}", list(saved.query_params.metrics)
        found.append(SavedQuery(saved.name, told, metrics, sql))
    return found


def _filled(name: str, metrics: list[str]) -> str:
    """An amount; 0 if no amount is unknown. MetricFlow joins the groups of the metrics and cannot
    fill a derived metric that does not have a row (`fill_nulls_with` is for simple metrics)."""
    unknown = f"{name}_unknown"
    return f"coalesce({name}, case when {unknown} = 0 then 0 end)" if unknown in metrics else name


def comment(connection: duckdb.DuckDBPyConnection, kind: str, name: str, text: str) -> None:
    """Sets the description of a table, view or column."""
    escaped = " ".join(text.split()).replace("'", "''")
    connection.execute(f"comment on {kind} {name} is '{escaped}'")


def _descriptions(semantic_manifest: Path) -> dict[str, str]:
    """Descriptions of metrics and dimensions by column name."""
    content = json.loads(semantic_manifest.read_text(encoding="utf-8"))
    found = {"metric_time": "Period of the metrics, each by the date that its definition names."}
    for metric in content["metrics"]:
        found[metric["name"]] = (
            f"{metric['label'] or metric['name']}. {metric['description'] or ''}"
        )
    for model in content["semantic_models"]:
        for entity in model["entities"]:
            if entity["type"] == "primary":
                found |= {
                    f"{entity['name']}__{dimension['name']}": dimension["description"] or ""
                    for dimension in model["dimensions"]
                }
    return found


def _plain(column: str) -> str:
    """A column's name without its time grain."""
    name, _, grain = column.rpartition("__")
    return name if grain in GRAINS else column

"""MetricFlow's engine without a database: what `mf query` would ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from metricflow.engine.metricflow_engine import MetricFlowEngine
from metricflow.protocols.sql_client import SqlClient, SqlEngine
from metricflow.sql.render.duckdb_renderer import DuckDbSqlPlanRenderer
from metricflow_semantics.model.dbt_manifest_parser import (
    parse_manifest_from_dbt_generated_manifest,
)
from metricflow_semantics.model.semantic_manifest_lookup import SemanticManifestLookup


class _DuckDbDialect:
    """What MetricFlow asks of a database to write SQL for it without running any."""

    sql_engine_type = SqlEngine.DUCKDB
    sql_plan_renderer = DuckDbSqlPlanRenderer()


def load_engine(semantic_manifest: Path) -> MetricFlowEngine:
    """MetricFlow on a manifest that dbt wrote, with tables named without their catalog."""
    content = json.loads(semantic_manifest.read_text(encoding="utf-8"))
    spines = content["project_configuration"]["time_spines"]
    for model in [*content["semantic_models"], *spines]:
        relation = model["node_relation"]
        relation["database"] = None
        relation["relation_name"] = f"{relation['schema_name']}.{relation['alias']}"
    manifest = parse_manifest_from_dbt_generated_manifest(json.dumps(content))
    return MetricFlowEngine(SemanticManifestLookup(manifest), cast(SqlClient, _DuckDbDialect()))

"""The user fields of a publication as dimensions of the metrics.

YAML cannot name what the settings do.
"""

from __future__ import annotations

from typing import Any

import duckdb


def add_dimensions(
    semantic_manifest: dict[str, Any], connection: duckdb.DuckDBPyConnection
) -> None:
    """Adds a dimension for each column of a user field, `lead__uf_crm_…` and `deal__uf_crm_…`.

    Args:
        connection: Has the publication as its default database.
    """
    fields = connection.execute(
        "select table_name, column_name, comment from duckdb_columns()"
        " where schema_name = 'marts' and starts_with(column_name, 'uf_crm_')"
        " and table_name in ('dim_lead_user_fields', 'dim_deal_user_fields') order by all"
    ).fetchall()
    models = {
        model["node_relation"]["alias"]: model for model in semantic_manifest["semantic_models"]
    }
    for table, name, label in fields:
        models[table]["dimensions"].append(
            {
                "name": name,
                "type": "categorical",
                "label": label,
                "description": label,
                "expr": None,
            }
        )

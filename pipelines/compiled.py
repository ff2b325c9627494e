"""Models and data tests as the SQL that dbt compiled, run again without dbt.

dbt takes ten seconds to start and to find that its project is as it was, its SQL one or two on a
small portal. The SQL is the same as long as the project, the settings and the versions are: no
macro asks the warehouse.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from pipelines.fingerprint import hash_files
from pipelines.settings import DBT_PROJECT

PARTS = ("macros", "models", "tests")
FILES = ("dbt_project.yml", "profiles.yml")
PACKAGES = ("dbt-core", "dbt-duckdb", "duckdb")
GOOD = ("success", "pass")


def digest(variables: Mapping[str, Any], project: Path = DBT_PROJECT) -> str:
    """Of all that the compiled SQL comes from: project, settings, versions of dbt and DuckDB."""
    found = hashlib.sha256(" ".join(map(version, PACKAGES)).encode())
    found.update(json.dumps(variables, sort_keys=True, ensure_ascii=False).encode())
    paths = [path for part in PARTS for path in (project / part).rglob("*") if path.is_file()]
    found.update(hash_files(project, [*(project / name for name in FILES), *paths]).encode())
    return found.hexdigest()[:16]


def nodes_in_order(manifest: Path) -> list[dict[str, Any]]:
    """Models after those that they read, each data test after its models.

    Args:
        manifest: `manifest.json` of a dbt run that compiled them all.
    """
    nodes = json.loads(manifest.read_text(encoding="utf-8"))["nodes"]
    models = {key: node for key, node in nodes.items() if node["resource_type"] == "model"}
    waiting = [node for node in nodes.values() if node["resource_type"] == "test"]
    done: dict[str, dict[str, Any]] = {}
    while models:
        ready = [
            key
            for key, node in models.items()
            if not any(parent in models for parent in node["depends_on"]["nodes"])
        ]
        for key in ready:
            done[key] = models.pop(key)
        for test in [one for one in waiting if not models.keys() & one["depends_on"]["nodes"]]:
            done[test["unique_id"]] = test
            waiting.remove(test)
    return [node for node in done.values() if node["config"]["materialized"] != "ephemeral"]


def run_nodes(
    connection: duckdb.DuckDBPyConnection, nodes: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Runs models and data tests; what fails ends what depends on it.

    Returns:
        The nodes in the form of dbt's `run_results.json`: unique_id, status, message, failures.
    """
    connection.execute("set preserve_insertion_order = false")
    results: list[dict[str, Any]] = []
    broken: set[str] = set()
    for node in nodes:
        result: dict[str, Any] = {"unique_id": node["unique_id"], "failures": None}
        results.append(result)
        if broken.intersection(node["depends_on"]["nodes"]):
            broken.add(node["unique_id"])
            result |= {"status": "skipped", "message": None}
            continue
        try:
            if node["resource_type"] == "model":
                _create(connection, node)
                result |= {"status": "success", "message": "OK"}
                continue
            failing = f"select count(*) from ({node['compiled_code']})"
            ((failures,),) = connection.execute(failing).fetchall()
        except duckdb.Error as error:
            broken.add(node["unique_id"])
            result |= {"status": "error", "message": str(error)}
            continue
        result |= {"status": "fail" if failures else "pass", "failures": failures}
        result["message"] = (
            f"Got {failures} results, configured to fail if != 0" if failures else None
        )
        if failures:
            broken.update(node["depends_on"]["nodes"])
    return results


def _create(connection: duckdb.DuckDBPyConnection, model: dict[str, Any]) -> None:
    """Puts a model in the place of the relation of its name."""
    kind, name = model["config"]["materialized"], model["relation_name"]
    connection.execute(f'create schema if not exists "{model["schema"]}"')
    other = "view" if kind == "table" else "table"
    ((there,),) = connection.execute(
        f"select count(*) from duckdb_{other}s() where schema_name = ? and {other}_name = ?",
        [model["schema"], model["alias"]],
    ).fetchall()
    if there:
        connection.execute(f"drop {other} {name}")
    if kind == "view" or not model["contract"]["enforced"]:
        connection.execute(f"create or replace {kind} {name} as ({model['compiled_code']}\n)")
        return
    columns = model["columns"].values()
    declared = ", ".join(f"{column['name']} {column['data_type']}" for column in columns)
    names = ", ".join(column["name"] for column in columns)
    connection.execute(f"create or replace table {name} ({declared})")
    connection.execute(
        f"insert into {name} ({names}) select {names} from ({model['compiled_code']}\n)"
    )

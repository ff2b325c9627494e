"""The project's models as plain SQL: dbt compiles them once, then they run in one connection.

The result equals that of `dbt build`, as a test of dbt_project checks, in one second instead of
twenty. The SQL is kept in `.pytest_cache`, by the files of the project and its settings.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import random
from typing import Any
from unittest import mock

import duckdb
import pyarrow as pa
import sqlglot
import yaml
from duckdb.func import PythonUDFType
from duckdb.sqltypes import DOUBLE, UBIGINT
from sqlglot import exp

from pipelines.compiled import GOOD, Node, digest, nodes_in_order, run_nodes
from pipelines.environment import ROOT
from pipelines.settings import DBT_PROJECT
from pipelines.statements import TABLES

CACHE = ROOT / ".pytest_cache" / "compiled_models"
# dbt's files on the project that the pipeline reads too.
MANIFESTS = ("manifest.json", "semantic_manifest.json")

BY_ROW = (exp.RowNumber, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue)


def run_models(
    folder: Path,
    variables: Mapping[str, Any] | None = None,
    project: Path = DBT_PROJECT,
    with_tests: bool = False,
    ties_by_chance: bool = False,
) -> None:
    """Builds all models of the warehouse in a folder; none of them and no data test may fail.

    Args:
        folder: holds `warehouse.duckdb`; dbt's manifests are put into `dbt` beside it.
        variables: settings that differ from those of `dbt_project.yml`.
        ties_by_chance: of rows that the order of a window does not tell apart chance decides.
    """
    results = build_models(folder, variables or {}, project, with_tests, ties_by_chance)
    wrong = [one for one in results if one["status"] not in GOOD]
    assert not wrong, wrong[:5]


def build_models(
    folder: Path,
    variables: Mapping[str, Any],
    project: Path = DBT_PROJECT,
    with_tests: bool = True,
    ties_by_chance: bool = False,
) -> list[dict[str, Any]]:
    """Runs all models and data tests; what fails ends what depends on it.

    Returns:
        The nodes in dbt's form: unique_id, status, message, failures.
    """
    source = compile_models(project, variables)
    target = folder / "dbt"
    target.mkdir(parents=True, exist_ok=True)
    for name in MANIFESTS:
        shutil.copy(source / name, target / name)
    nodes = [
        node
        for node in _in_order(source / "manifest.json")
        if with_tests or node["resource_type"] != "test"
    ]
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute(TABLES)
        if ties_by_chance:
            # Said to be no chance: DuckDB takes none as a key.
            arrow = PythonUDFType.ARROW
            connection.create_function("chance", _chance, [UBIGINT], DOUBLE, type=arrow)
            nodes = [_with_chance(one) if "compiled_code" in one else one for one in nodes]
        # Far from the portal's: no day may move.
        connection.execute("set timezone = 'Asia/Tokyo'")
        return run_nodes(connection, nodes)


def _chance(rows: pa.ChunkedArray) -> Any:
    return pa.array([random() for _ in range(len(rows))], pa.float64())


def _with_chance(node: Node) -> Node:
    """The node with chance as the last key of each order in which rows are told one by one."""
    query = sqlglot.parse_one(node["compiled_code"], read="duckdb")
    for select in query.find_all(exp.Select):
        windows = [one for one in select.find_all(exp.Window) if one.parent_select is select]
        by_row = {one.args.get("alias") for one in windows if one.this.find(*BY_ROW)}
        for window in windows:
            spec = window.args.get("spec")
            if order := window.args.get("order"):
                is_named = isinstance(window.this, exp.Identifier) and window.this in by_row
                in_rows = spec is not None and str(spec.args["kind"]).lower() == "rows"
                if is_named or in_rows or window.this.find(*BY_ROW):
                    first = exp.func("hash", order.expressions[0].this.copy())
                    order.append("expressions", exp.Ordered(this=exp.func("chance", first)))
    return {**node, "compiled_code": query.sql(dialect="duckdb")}


def dbt(
    command: list[str], cwd: Path, environment: dict[str, str], log: Path, *_: int
) -> subprocess.CompletedProcess[str]:
    """In place of `run_process` where that runs `dbt build`."""
    assert command[1:3] == ["-m", "dbt.cli.main"], command
    variables = json.loads(command[command.index("--vars") + 1])
    target = Path(command[command.index("--target-path") + 1])
    folder = Path(environment["WAREHOUSE_DIR"])
    assert target == folder / "dbt"
    results = build_models(folder, variables, cwd)
    log.write_text("\n".join(f"{one['status']} {one['unique_id']}" for one in results), "utf-8")
    (target / "run_results.json").write_text(json.dumps({"results": results}), "utf-8")
    wrong = any(one["status"] not in GOOD for one in results)
    return subprocess.CompletedProcess(command, int(wrong))


@contextmanager
def compiled_models() -> Iterator[None]:
    """Within it the pipeline's build runs compiled models instead of dbt."""
    with mock.patch("pipelines.build.run_process", dbt):
        yield


_in_order = functools.lru_cache(maxsize=8)(nodes_in_order)


def compile_models(project: Path, variables: Mapping[str, Any]) -> Path:
    """Folder with dbt's manifests of the project under the settings, which hold all SQL."""
    defaults = yaml.safe_load((project / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    values = {**defaults, **variables}
    source = CACHE / digest({}, project)
    folder = source / digest(values, project)
    if folder.exists():
        return folder
    source.mkdir(parents=True, exist_ok=True)
    with (source / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        whole = source / digest(defaults, project)
        if not whole.exists():
            _compile(project, source, defaults).rename(whole)
        if not folder.exists():
            _compile(project, source, values, whole).rename(folder)
    return folder


def compile_whole(project: Path, variables: Mapping[str, Any]) -> dict[str, str]:
    """Node → its SQL, all of them compiled under the settings; not kept."""
    with tempfile.TemporaryDirectory() as target:
        told = ["compile", "--no-write-json", "--vars", json.dumps(variables)]
        parsed = _parsed(project, CACHE / digest({}, project))
        return _sql(_dbt(project, Path(target), told, parsed))


def _compile(
    project: Path, source: Path, values: Mapping[str, Any], whole: Path | None = None
) -> Path:
    """A new folder with dbt's manifests under the settings.

    Args:
        whole: Folder of other settings. Then only what names a setting is compiled, models that is
            and few data tests.
    """
    fresh = Path(tempfile.mkdtemp(dir=source))
    command, parsed = ["compile", "--vars", json.dumps(values)], _parsed(project, source)
    if whole is None:
        _dbt(project, fresh, command, parsed)
    else:
        told = json.loads((whole / "manifest.json").read_text(encoding="utf-8"))
        nodes = told["nodes"]
        named = [node["name"] for node in nodes.values() if "var(" in node["raw_code"]]
        select = ["--indirect-selection", "empty", "--select", "resource_type:model", *named]
        command += ["--no-write-json", *select]
        for key, sql in _sql(_dbt(project, fresh, command, parsed)).items():
            nodes[key]["compiled_code"] = sql
        (fresh / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    shutil.copy(source / "parsed" / "semantic_manifest.json", fresh)
    for path in fresh.iterdir():
        if path.name not in MANIFESTS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return fresh


def _sql(done: Any) -> dict[str, str]:
    return {result.node.unique_id: result.node.compiled_code for result in done.results}


_manifests: dict[Path, Any] = {}


def _parsed(project: Path, source: Path) -> Any:
    """dbt's graph of the project; no setting but timestamp_type changes it."""
    if source not in _manifests:
        # From dbt's own cache where another process parsed it.
        _manifests[source] = _dbt(project, source / "parsed", ["parse"])
    return _manifests[source]


def _dbt(project: Path, target: Path, command: list[str], manifest: Any = None) -> Any:
    """Runs dbt in this process, on an empty warehouse."""
    from dbt.cli.main import dbtRunner

    # Under another path of the warehouse dbt parses the project anew. What is compiled opens it.
    empty = CACHE / "empty"
    if manifest is not None:
        CACHE.mkdir(parents=True, exist_ok=True)
        empty = Path(tempfile.mkdtemp(dir=CACHE, prefix="empty"))
    environment = {"WAREHOUSE_DIR": str(empty), "DBT_PROFILES_DIR": str(project)}
    with mock.patch.dict(os.environ, environment):
        done = dbtRunner(manifest).invoke(
            [
                *("--quiet", "--log-level-file", "none", "--no-send-anonymous-usage-stats"),
                *command,
                *("--project-dir", str(project), "--target-path", str(target)),
            ]
        )
    if manifest is not None:
        shutil.rmtree(empty)
    if not done.success:
        failed = [one.message for one in getattr(done.result, "results", ()) if one.message]
        raise RuntimeError(f"dbt could not {command[0]} {project}: {done.exception} {failed[:3]}")
    return done.result

"""The project's models as plain SQL: dbt compiles them once, then they run in one connection.

The result equals that of `dbt build`, as a test of dbt_project checks, in one second instead of
twenty. The SQL is kept in `.pytest_cache`, by the files of the project and its settings.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import yaml

from pipelines.environment import ROOT
from pipelines.settings import DBT_PROJECT

CACHE = ROOT / ".pytest_cache" / "compiled_models"
PARTS = ("macros", "models", "tests")
# dbt's files on the project that the pipeline reads too.
GOOD = ("success", "pass")
MANIFESTS = ("manifest.json", "semantic_manifest.json")


def run_models(
    folder: Path,
    variables: Mapping[str, Any] | None = None,
    project: Path = DBT_PROJECT,
    with_tests: bool = False,
) -> None:
    """Builds all models of the warehouse in a folder; none of them and no data test may fail.

    Args:
        folder: holds `warehouse.duckdb`; dbt's manifests are put into `dbt` beside it.
        variables: settings that differ from those of `dbt_project.yml`.
    """
    results = build_models(folder, variables or {}, project, with_tests)
    wrong = [one for one in results if one["status"] not in GOOD]
    assert not wrong, wrong[:5]


def build_models(
    folder: Path, variables: Mapping[str, Any], project: Path = DBT_PROJECT, with_tests: bool = True
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
    results: list[dict[str, Any]] = []
    broken: set[str] = set()
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("set preserve_insertion_order = false")
        # Far from the portal's: no day may move.
        connection.execute("set timezone = 'Asia/Tokyo'")
        for node in _in_order(source / "manifest.json"):
            is_test = node["resource_type"] == "test"
            if is_test and not with_tests:
                continue
            result: dict[str, Any] = {"unique_id": node["unique_id"], "failures": None}
            results.append(result)
            if broken.intersection(node["depends_on"]["nodes"]):
                broken.add(node["unique_id"])
                result |= {"status": "skipped", "message": None}
                continue
            try:
                if not is_test:
                    _create(connection, node)
                    result |= {"status": "success", "message": "OK"}
                    continue
                failing = connection.execute(f"select count(*) from ({node['compiled_code']})")
                (failures,) = failing.fetchone() or (0,)
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


def _create(connection: duckdb.DuckDBPyConnection, model: dict[str, Any]) -> None:
    """Puts a model in the place of the relation of its name."""
    kind, name = model["config"]["materialized"], model["relation_name"]
    connection.execute(f'create schema if not exists "{model["schema"]}"')
    other = "view" if kind == "table" else "table"
    there = connection.execute(
        f"select count(*) from duckdb_{other}s() where schema_name = ? and {other}_name = ?",
        [model["schema"], model["alias"]],
    ).fetchone()
    if there != (0,):
        connection.execute(f"drop {other} {name}")
    if not model["contract"]["enforced"]:
        connection.execute(f"create or replace {kind} {name} as ({model['compiled_code']}\n)")
        return
    columns = model["columns"].values()
    declared = ", ".join(f"{column['name']} {column['data_type']}" for column in columns)
    names = ", ".join(column["name"] for column in columns)
    connection.execute(f"create or replace table {name} ({declared})")
    connection.execute(
        f"insert into {name} ({names}) select {names} from ({model['compiled_code']}\n)"
    )


@functools.lru_cache(maxsize=8)
def _in_order(manifest: Path) -> list[dict[str, Any]]:
    """Models after those that they read, each test after its models."""
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


def compile_models(project: Path, variables: Mapping[str, Any]) -> Path:
    """Folder with dbt's manifests of the project under the settings, which hold all SQL."""
    defaults = yaml.safe_load((project / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    values = {**defaults, **variables}
    source = CACHE / _digest(project)
    folder = source / hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
    if folder.exists():
        return folder
    source.mkdir(parents=True, exist_ok=True)
    with (source / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        fresh = Path(tempfile.mkdtemp(dir=source))
        manifest = _parsed(project, source)
        _dbt(project, fresh, ["compile", "--vars", json.dumps(values)], manifest)
        shutil.copy(source / "parsed" / "semantic_manifest.json", fresh)
        for path in fresh.iterdir():
            if path.name not in MANIFESTS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        fresh.rename(folder)
    return folder


def _digest(project: Path) -> str:
    """Of all that dbt reads; a changed project is compiled again."""
    found = hashlib.sha256(f"{version('dbt-core')} {version('dbt-duckdb')}".encode())
    paths = [path for part in PARTS for path in (project / part).rglob("*") if path.is_file()]
    for path in sorted([project / "dbt_project.yml", *paths]):
        found.update(f"{path.relative_to(project)} ".encode() + path.read_bytes())
    return found.hexdigest()[:16]


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

    with tempfile.TemporaryDirectory() as empty:
        environment = {"WAREHOUSE_DIR": empty, "DBT_PROFILES_DIR": str(project)}
        with mock.patch.dict(os.environ, environment):
            done = dbtRunner(manifest).invoke(
                [
                    *("--quiet", "--log-level-file", "none", "--no-send-anonymous-usage-stats"),
                    *command,
                    *("--project-dir", str(project), "--target-path", str(target)),
                ]
            )
    if not done.success:
        failed = [one.message for one in getattr(done.result, "results", ()) if one.message]
        raise RuntimeError(f"dbt could not {command[0]} {project}: {done.exception} {failed[:3]}")
    return done.result

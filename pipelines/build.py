"""dbt build of the completed refreshes: models and tests in the private warehouse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import spark
from pipelines.check import CheckResult, store_results
from pipelines.compiled import GOOD, digest, forget_built, nodes_in_order, note_built, run_nodes
from pipelines.environment import Engine, without_secrets
from pipelines.errors import BuildFailed, ChecksFailed, SettingsError
from pipelines.raw_files import settle
from pipelines.settings import DBT_PROJECT, Settings
from pipelines.statements import begin_statement
from pipelines.warehouse import LOCK_FD_VARIABLE, Warehouse

MANIFEST, RESULTS, LOG = "manifest.json", "run_results.json", "build.log"
# Names what the compiled SQL in the manifest was made of.
COMPILED = "compiled_from"


def run_process(
    command: list[str], cwd: Path, environment: dict[str, str], log: Path, *locks: int
) -> subprocess.CompletedProcess[str]:
    """Runs a step's program with its output in a file; it inherits the refresh lock and `locks`."""
    refresh_lock = os.environ.get(LOCK_FD_VARIABLE)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        return subprocess.run(
            command,
            cwd=cwd,
            env={**without_secrets(os.environ), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            pass_fds=(*locks, int(refresh_lock)) if refresh_lock else locks,
        )


def build(warehouse: Warehouse, settings: Settings) -> list[CheckResult]:
    """Builds all models and runs all tests.

    Raises:
        BuildFailed: nothing is completed yet, or a model failed; says which and why.
        SettingsError: the warehouse holds what the settings or this version no longer allow.
        ChecksFailed: a dbt test failed; nothing may be published.
    """
    completed = warehouse.last_refreshes()
    if not completed:
        raise BuildFailed("no refresh is completed yet: run extract and check first")
    if settings.must_erase(completed[0].scope):
        raise SettingsError(
            "the warehouse holds values that the settings pii and keep_titles, or this version, do"
            " not allow: run a refresh, which erases them, before building"
        )
    target = warehouse.directory / "dbt"
    engine = Engine.read()
    raw_log = settle(warehouse, engine)
    # Until everything is built and tested, `publish` refuses: tables may be of two refreshes.
    unfinished = warehouse.unfinished_build
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    begin_statement(warehouse, settings)
    # A build that was killed leaves what may be personal data.
    spark.forget(warehouse, engine)
    compiled = digest(settings.dbt_vars())
    if raw_log is None and (
        results := _run_again(warehouse, target, compiled, completed[0].refresh_no)
    ):
        unfinished.unlink()
        return results
    (target / COMPILED).unlink(missing_ok=True)
    with warehouse.connect(read_only=False) as connection:
        forget_built(connection)
    if raw_log is not None:
        # The models as DuckDB reads them: views and metrics of what is published are DuckDB's.
        process = _dbt("compile", warehouse, target, settings, {"DBT_TARGET": "duckdb"})
        if process.returncode != 0:
            raise BuildFailed(f"dbt compile ended with {process.returncode}: see {target / LOG}")
        log = target / "spark" / "server.log"
        with spark.place_of_build(warehouse, engine, raw_log) as found:
            with spark.connect_server(engine, Path(found["SPARK_FOLDER"]), log) as remote:
                results = _build(
                    warehouse, target / "spark", settings, found | remote, completed[0].refresh_no
                )
            # Without the server, whose memory it would need beside its own.
            spark.load(warehouse, engine, target / MANIFEST)
        unfinished.unlink()
        return results
    results = _build(warehouse, target, settings, {}, completed[0].refresh_no)
    if compiled == digest(settings.dbt_vars()):
        with warehouse.connect(read_only=False) as connection:
            note_built(connection, nodes_in_order(target / MANIFEST))
        (target / COMPILED).write_text(compiled, encoding="utf-8")
    unfinished.unlink()
    return results


def _dbt(
    command: str,
    warehouse: Warehouse,
    target: Path,
    settings: Settings,
    environment: Mapping[str, str],
) -> subprocess.CompletedProcess[str]:
    variables, program = settings.dbt_vars(), "dbt.cli.main"
    if environment.get("DBT_TARGET") == "spark":
        variables["timestamp_type"] = spark.TIMESTAMP_TYPE
        program = "pipelines.spark_dbt"
    return run_process(
        [
            # As a module: the script's first line holds the path where the clone was set up.
            sys.executable,
            "-m",
            program,
            "--no-use-colors",
            command,
            "--target-path",
            str(target),
            "--log-path",
            str(target),
            "--vars",
            json.dumps(variables, ensure_ascii=False),
            "--exclude",
            "test_type:unit",
        ],
        DBT_PROJECT,
        {
            "WAREHOUSE_DIR": str(warehouse.directory),
            "DBT_PROFILES_DIR": str(DBT_PROJECT),
            **environment,
        },
        target / LOG,
    )


def _build(
    warehouse: Warehouse,
    target: Path,
    settings: Settings,
    environment: Mapping[str, str],
    refresh_no: int,
) -> list[CheckResult]:
    """Builds and tests with dbt; stores the results of the tests."""
    # If dbt ends before its first model, results of an earlier run would be taken for this one's.
    (target / RESULTS).unlink(missing_ok=True)
    process = _dbt("build", warehouse, target, settings, environment)
    try:
        nodes = json.loads((target / RESULTS).read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError, KeyError):
        nodes = []
    errors = [node for node in nodes if node["status"] == "error"]
    failures = [node for node in nodes if node["status"] == "fail"]
    results = [
        _test_result(node, refresh_no)
        for node in nodes
        if node["unique_id"].startswith("test.") and node["status"] != "skipped"
    ]
    if results:
        store_results(warehouse, results, "dbt")
    if errors:
        raise BuildFailed(
            f"dbt could not build {_name(errors[0])}: {errors[0]['message']} ({target / LOG})"
        )
    if failures:
        lines = [f"{_name(node)}: {node['message']}" for node in failures]
        raise ChecksFailed(
            "dbt tests failed:\n" + "\n".join(lines),
            results,
            "look up the test in dbt_project/; often reference data have a code twice, or a record"
            " contradicts itself: fix it in the portal",
        )
    if process.returncode != 0:
        raise BuildFailed(f"dbt build ended with {process.returncode}: see {target / LOG}")
    return results


def _run_again(
    warehouse: Warehouse, target: Path, compiled: str, refresh_no: int
) -> list[CheckResult]:
    """Runs what dbt compiled last where nothing of it has changed since.

    Returns:
        The results of the data tests, stored; none where dbt has to build: there is no such SQL, or
        something failed, which dbt then tells in its own words.
    """
    try:
        if (target / COMPILED).read_text(encoding="utf-8") != compiled:
            return []
        nodes = nodes_in_order(target / MANIFEST)
    except (OSError, ValueError, KeyError):
        return []
    with warehouse.connect(read_only=False) as connection:
        done = run_nodes(connection, nodes)
    if any(node["status"] not in GOOD for node in done):
        return []
    lines = ["dbt compiled these nodes before, and nothing of them has changed:"]
    lines += [
        f"{'unchanged' if node['is_unchanged'] else node['status']} {node['unique_id']}"
        for node in done
    ]
    (target / LOG).write_text("\n".join(lines), encoding="utf-8")
    results = [
        _test_result(node, refresh_no) for node in done if node["unique_id"].startswith("test.")
    ]
    store_results(warehouse, results, "dbt")
    return results


def _name(node: dict[str, Any]) -> str:
    return str(node["unique_id"]).split(".")[2]


def _test_result(node: dict[str, Any], refresh_no: int) -> CheckResult:
    return CheckResult(
        refresh_no=refresh_no,
        layer="dbt",
        entity="",
        check_name=_name(node),
        passed=node["status"] == "pass",
        failures=int(node["failures"] or 0),
        message=str(node["message"] or ""),
    )

"""Apache Spark as the engine of the build: the same dbt project on a cluster (ENGINE=spark).

The raw log is Parquet in a folder that all workers see. dbt builds and tests beside it, and the
marts are put into the warehouse in one transaction once everything is green. What was built is
removed at the end: it is no longer needed, and may be personal data.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from pipelines.environment import ROOT, Engine, without_secrets
from pipelines.errors import BuildFailed, SettingsError
from pipelines.raw_files import NUMBERED, home
from pipelines.warehouse import Warehouse

# Schemas of the models that somebody reads after the build, and the model that `publish` notes.
LOADED_SCHEMAS = ("marts", "quality")
LOADED_MODELS = ("int_statements__changed",)
SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
TOKEN = "SPARK_CONNECT_AUTHENTICATE_TOKEN"
START_SECONDS = 180
STOP_SECONDS = 20
PR_SET_PDEATHSIG = 1
# Of instants in the contracts of the models; an instant in Spark, too.
TIMESTAMP_TYPE = "timestamp"


@contextmanager
def place_of_build(warehouse: Warehouse, engine: Engine, raw_log: Path) -> Iterator[dict[str, str]]:
    """The statements as Parquet, and room for tables, until the block ends.

    Args:
        raw_log: its files.

    Returns:
        The environment in which dbt finds both.

    Raises:
        SettingsError: Spark's packages or Java are not installed.
    """
    place = home(warehouse, engine)
    _require_packages()
    forget(warehouse, engine)
    try:
        write_statements(warehouse, place)
        yield {
            "DBT_TARGET": "spark",
            "SPARK_FOLDER": str(place),
            "RAW_LOG": str(raw_log),
            "PYTHONPATH": str(ROOT),
            # PySpark warns of each new Pandas.
            "PYTHONWARNINGS": "ignore",
        }
    finally:
        forget(warehouse, engine)


def forget(warehouse: Warehouse, engine: Engine) -> None:
    """Removes the tables of a build, perhaps of one that was killed."""
    place = home(warehouse, engine)
    for one in place.iterdir() if place.exists() else ():
        if not one.is_dir():
            one.unlink()
        elif not NUMBERED.fullmatch(one.name):
            shutil.rmtree(one)
    with contextlib.suppress(OSError):
        place.rmdir()


def write_statements(warehouse: Warehouse, place: Path) -> None:
    """Writes what earlier publications said as Parquet: `statements/<table>/`."""
    with warehouse.connect() as connection:
        tables = connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'statements' order by all"
        ).fetchall()
        for (table,) in tables:
            target = place / "statements" / table
            target.mkdir(parents=True)
            connection.execute(
                f"copy statements.{table} to '{target}/0.parquet'"
                " (format parquet, compression zstd)"
            )


@contextmanager
def connect_server(engine: Engine, place: Path, log: Path) -> Iterator[dict[str, str]]:
    """The Spark Connect server that the settings name, or one of our own on loopback.

    Ours is the driver of the build. It ends with the block, also when this process dies, and lets
    in only who knows its token.

    Args:
        log: receives what a server that is started here says.

    Returns:
        The environment in which PySpark finds it.

    Raises:
        BuildFailed: the server does not start.
    """
    if engine.spark_remote:
        yield {"SPARK_REMOTE": engine.spark_remote}
        return
    master = engine.spark_master
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    is_local = master.startswith("local")
    options = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        # Tables are found by their files: no metastore outlives the build.
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(place),
        "spark.sql.connect.serverStacktrace.enabled": "false",
        "spark.log.level": "WARN",
        "spark.ui.enabled": "false",
        **({"spark.driver.host": "127.0.0.1"} if is_local else {}),
    }
    command = [
        str(_home() / "bin" / "spark-class"),
        "org.apache.spark.deploy.SparkSubmit",
        *("--class", SERVER, "--master", master, "--driver-memory", engine.spark_driver_memory),
        *(part for key, value in options.items() for part in ("--conf", f"{key}={value}")),
        "spark-internal",
    ]
    remote = {"SPARK_REMOTE": f"sc://localhost:{port}", TOKEN: secrets.token_hex(16)}
    environment = {**without_secrets(os.environ), TOKEN: remote[TOKEN], "SPARK_HOME": str(_home())}
    if is_local:
        environment["SPARK_LOCAL_IP"] = "127.0.0.1"
    # The one would make the server a client, the other replace its memory.
    for name in ("SPARK_REMOTE", "SPARK_DAEMON_MEMORY"):
        environment.pop(name, None)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(
            command,
            cwd=place,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            # Not in the group of the terminal, whose Ctrl+C dbt has to see first.
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    try:
        _wait(server, port, log)
        yield remote
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def load(warehouse: Warehouse, engine: Engine, manifest: Path) -> None:
    """Puts the tables of the marts into the warehouse, in one transaction.

    Args:
        manifest: dbt's `manifest.json` of the project on DuckDB, which has the types.

    Raises:
        BuildFailed: a table is not there whole.
    """
    place = home(warehouse, engine)
    nodes = json.loads(manifest.read_text(encoding="utf-8"))["nodes"].values()
    with warehouse.connect(read_only=False) as connection:
        connection.begin()
        for node in nodes:
            is_loaded = node["schema"] in LOADED_SCHEMAS or node["name"] in LOADED_MODELS
            if is_loaded and node["config"]["materialized"] == "table":
                _load(connection, node, place / node["schema"] / node["alias"])
        connection.commit()


def _load(connection: duckdb.DuckDBPyConnection, node: dict[str, Any], files: Path) -> None:
    table = f"{node['schema']}.{node['alias']}"
    if not (files / "_SUCCESS").exists():
        raise BuildFailed(f"Spark did not write {table} whole")
    rows = f"from read_parquet('{files}/*.parquet')"
    connection.execute(f"create schema if not exists {node['schema']}")
    other = connection.execute(
        "select count(*) from duckdb_views() where schema_name = ? and view_name = ?",
        [node["schema"], node["alias"]],
    ).fetchall()
    if other != [(0,)]:
        connection.execute(f"drop view {table}")
    if not node["contract"]["enforced"]:
        connection.execute(f"create or replace table {table} as {rows}")
        return
    columns = [f"{one['name']} {one['data_type']}" for one in node["columns"].values()]
    connection.execute(f"create or replace table {table} ({', '.join(columns)})")
    declared, written = (
        [row[:2] for row in connection.execute(f"describe {what}").fetchall()]
        for what in (table, rows)
    )
    if declared != written:
        raise BuildFailed(f"{table} breaks its contract on Spark: {set(written) - set(declared)}")
    connection.execute(f"insert into {table} {rows}")


def _require_packages() -> None:
    missing = [name for name in ("pyspark", "dbt.adapters.spark") if not _is_there(name)]
    if missing:
        raise SettingsError("ENGINE is spark, whose packages are not installed: run `make spark`")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise SettingsError(
            "ENGINE is spark, which needs Java: install it (Debian: default-jre-headless)"
        )


def _is_there(package: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(package) is not None
    return False


def _home() -> Path:
    """The Spark that PySpark brings."""
    found = importlib.util.find_spec("pyspark")
    assert found and found.origin
    return Path(found.origin).parent


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.5)
    raise BuildFailed(f"Spark did not start: see {log}")

"""Builds one warehouse on DuckDB and on Spark: rows, bytes, seconds, and whether marts are equal.

Beside a build on DuckDB stands the least that it could take: reading the columns of the raw log
that models name, once, and writing the rows of the marts, once.

`python -m scripts.benchmark_engines data/demo /tmp/million --copies 55`: the raw log of a warehouse
so many times, each copy with IDs of its own. SPARK_MASTER says where Spark runs.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import click
import duckdb

from pipelines.environment import ROOT, Engine
from pipelines.raw_files import settle
from pipelines.settings import DBT_PROJECT
from pipelines.spark import LOADED_SCHEMAS
from pipelines.warehouse import Warehouse
from scripts.benchmark import SAMPLE_SECONDS, resident

# Columns that hold an ID of a record that is copied.
IDS = {
    "leads": ("id", "company_id", "contact_id"),
    "deals": ("id", "lead_id", "company_id", "contact_id"),
    "contacts": ("id", "company_id", "lead_id"),
    "companies": ("id", "lead_id"),
    "lead_addresses": ("id",),
    "lead_stage_history": ("id", "owner_id"),
    "deal_stage_history": ("id", "owner_id"),
    "activities": ("id", "owner_id"),
}
STEP = 10_000_000


def multiply(warehouse: Path, target: Path, copies: int) -> int:
    """Writes the raw log so many times; returns its rows."""
    rows = 0
    with duckdb.connect(str(target)) as connection:
        connection.execute(f"attach '{warehouse}' as source (read_only)")
        connection.execute("create schema raw")
        tables = connection.execute(
            "select table_name from information_schema.tables where table_catalog = 'source'"
            " and table_schema = 'raw'"
        ).fetchall()
        for (table,) in tables:
            if table not in IDS:
                connection.execute(f"create table raw.{table} as from source.raw.{table}")
                continue
            replaced = [
                f"case when {name} > 0 then {name} + n * {STEP} else {name} end as {name}"
                for name in IDS[table]
            ]
            if table in ("leads", "deals"):
                listed = "from_json(contact_ids, '[\"BIGINT\"]')"
                ids = f"list_transform({listed}, lambda id: id + n * {STEP})"
                replaced.append(f"cast(to_json({ids}) as varchar) as contact_ids")
            connection.execute(
                f"create table raw.{table} as select copied.* replace ({', '.join(replaced)})"
                f" from source.raw.{table} as copied, range({copies}) as copies (n)"
            )
            ((count,),) = connection.execute(f"select count(*) from raw.{table}").fetchall()
            rows += count
    return rows


def build(folder: Path, engine: str) -> tuple[float, float, int]:
    """Seconds of the step on the wall and of CPU, and the most bytes of memory that its processes
    held at once; workers of Spark elsewhere are not among them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started, memory = time.monotonic(), 0
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", "build"],
        cwd=ROOT,
        env={**os.environ, "WAREHOUSE_DIR": str(folder), "ENGINE": engine},
    )
    while process.poll() is None:
        memory = max(memory, resident(process.pid))
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise click.ClickException(f"the build ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, cpu, memory


def least(database: Path) -> tuple[float, float]:
    """Seconds, on the wall and of CPU, of reading what a build reads and writing what it writes."""
    models = (DBT_PROJECT / "models").rglob("*.sql")
    named = {word for model in models for word in re.findall(r"\w+", model.read_text("utf-8"))}
    written = database.with_name("least.duckdb")
    written.unlink(missing_ok=True)
    with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
        connection.execute(f"attach '{database}' as built (read_only)")
        connection.execute(f"attach '{written}' as written")
        wall, cpu = time.monotonic(), time.process_time()
        for schema, table in connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'built'"
            " and (schema_name = 'raw' or list_contains(?, schema_name)) order by all",
            [LOADED_SCHEMAS],
        ).fetchall():
            source = f"built.{schema}.{table}"
            if schema == "raw":
                columns = connection.execute(f"describe {source}").fetchall()
                used = ", ".join(name for (name, *_) in columns if name in named)
                if used:
                    connection.execute(f"select bit_xor(hash({used})) from {source}").fetchall()
                continue
            connection.execute(f"create schema if not exists written.{schema}")
            connection.execute(f"create table written.{schema}.{table} as from {source}")
        connection.execute("detach written")
        took = time.monotonic() - wall, time.process_time() - cpu
    written.unlink()
    return took


def differing(one: Path, other: Path) -> list[str]:
    """Tables of the marts that are not equal row for row."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach '{one}' as one (read_only)")
        connection.execute(f"attach '{other}' as other (read_only)")
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables()"
            " where database_name = 'one' and list_contains(?, schema_name)"
            " and table_name <> 'check_results' order by all",
            [LOADED_SCHEMAS],
        ).fetchall()
        return [
            table
            for (table,) in tables
            for here, there in (("one", "other"), ("other", "one"))
            if connection.execute(
                f"select count(*) from (from {here}.{table} except all from {there}.{table})"
            ).fetchall()
            != [(0,)]
        ]


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--copies", default=55, show_default=True)
@click.option("--engine", "engines", multiple=True, default=("duckdb", "spark"))
def main(source: Path, folder: Path, copies: int, engines: tuple[str, ...]) -> None:
    """Multiply the raw log of SOURCE into FOLDER, and build it on each engine."""
    for engine in engines:
        (folder / engine).mkdir(parents=True, exist_ok=True)
        database = folder / engine / "warehouse.duckdb"
        if not database.exists():
            rows = multiply(source / "warehouse.duckdb", database, copies)
            click.echo(f"{rows:,} rows, {database.stat().st_size:,} bytes")
        if engine == "spark":
            started = time.monotonic()
            settle(Warehouse((folder / engine).resolve()), Engine(engine="spark"))
            click.echo(f"raw log to files: {time.monotonic() - started:,.1f} s")
        wall, cpu, memory = build(folder / engine, engine)
        click.echo(f"{engine}: {wall:,.1f} s, {cpu:,.1f} s of CPU, {memory / 1e9:.1f} GB")
        if engine == "duckdb":
            least_wall, least_cpu = least(database)
            click.echo(
                f"the least: {least_wall:,.1f} s, {least_cpu:,.1f} s of CPU: the build took"
                f" {wall / least_wall:.1f} and {cpu / least_cpu:.1f} times that"
            )
    if len(engines) == 2:
        one, other = (folder / engine / "warehouse.duckdb" for engine in engines)
        click.echo(f"differing: {differing(one, other) or 'none'}")


if __name__ == "__main__":
    main()

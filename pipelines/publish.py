"""Publishing: copies the marts into a new folder and switches to it with one rename.

`semantic_manifest.json` beside them says what the metrics of these marts are: pages and workbooks
compile their SQL from it. `published/crm.duckdb`, `published/parquet` and `published/excel` are
links through `published/current`; a reader with old files open keeps them, and old folders stay
for a while.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb

from pipelines.compiled import built
from pipelines.errors import PublishFailed
from pipelines.metrics import comment, create_views, definitions
from pipelines.readers import PUBLISHED, hand_over
from pipelines.side_by_side import SideBySide, results
from pipelines.statements import copy_statement, note_published
from pipelines.warehouse import Warehouse, connect_published, sync

PUBLISHED_SCHEMAS = ("marts", "quality")
DEFINITIONS = "semantic_manifest.json"
STORAGE_VERSION = "v1.4.0"
KEPT_FOLDERS = 3
# Key in a Parquet file's metadata: what its table was made of.
MADE = "made"


def switch_link(link: Path, target: str) -> None:
    """Points a symbolic link at another target in one step."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def free_name(folder: Path, name: str) -> str:
    """The name; with a number if a folder of that name exists, which readers may have open."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(free for free in names if not (folder / free).exists())


def prune(folder: Path, current: str) -> None:
    """Removes old folders next to the current one, except the newest few."""
    # Not by name: a restored warehouse starts again at a lower number.
    old = sorted(
        (path for path in folder.iterdir() if path.name != current),
        key=lambda path: path.stat().st_mtime_ns,
    )
    for path in old[: -(KEPT_FOLDERS - 1) or None]:
        shutil.rmtree(path, ignore_errors=True)


def publish(warehouse: Warehouse) -> Path:
    """Copies the published schemas to a DuckDB file and Parquet and switches to them.

    Views stay views, in the DuckDB file alone.

    Returns:
        The folder of this publication.

    Raises:
        PublishFailed: nothing is built yet, or the copy failed.
    """
    completed = warehouse.last_refreshes()
    if not completed:
        raise PublishFailed("nothing is built yet: run the refresh first")
    if warehouse.unfinished_build.exists():
        raise PublishFailed("the last build failed or was stopped: run build again before publish")
    refreshes = warehouse.published / ".refreshes"
    name = free_name(refreshes, f"{completed[0].refresh_no:06d}")
    folder, fresh = refreshes / name, refreshes / ".new"
    current = warehouse.published / "current"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        (fresh / "parquet").mkdir(parents=True)
        _copy(warehouse, fresh, current / "parquet")
        if (current / "excel").exists() and not warehouse.forgotten.exists():
            # Earlier workbooks stay until new ones are written: each shows its own as-of time.
            shutil.copytree(current / "excel", fresh / "excel")
        hand_over(fresh, PUBLISHED)
        for path in fresh.rglob("*"):
            sync(path)
        # Renamed last: an unfinished copy never counts as a publication.
        fresh.rename(folder)
        switch_link(current, f".refreshes/{name}")
    except (duckdb.Error, OSError, ValueError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise PublishFailed(f"the marts could not be copied: {error}") from error
    note_published(warehouse)
    for shown in ("crm.duckdb", "parquet"):
        link = warehouse.published / shown
        if not link.is_symlink():
            switch_link(link, f"current/{shown}")
    if warehouse.forgotten.exists():
        _drop_earlier(warehouse, name)
    prune(folder.parent, name)
    return folder


def _drop_earlier(warehouse: Warehouse, current: str) -> None:
    """Removes earlier publications and sites, which hold what is no longer allowed."""
    (warehouse.published / "site").unlink(missing_ok=True)
    for folder in (warehouse.published / ".refreshes", warehouse.published / ".sites"):
        for path in folder.iterdir() if folder.exists() else ():
            if folder.name == ".sites" or path.name != current:
                shutil.rmtree(path)
    warehouse.forgotten.unlink()


def published_as_of(warehouse: Warehouse) -> dt.datetime | None:
    """The as-of time of the published data; None before the first publication."""
    path = warehouse.published / "crm.duckdb"
    if not path.exists():
        return None
    with connect_published(path) as connection:
        connection.execute("set timezone = 'UTC'")
        row = connection.execute("select as_of from quality.refreshes").fetchone()
    return row[0] if row else None


def _copy(warehouse: Warehouse, folder: Path, earlier: Path) -> None:
    target = warehouse.directory / "dbt"
    # After an upgrade the warehouse keeps marts under old names, which would look fresh.
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    shown = {
        (node["schema"], node.get("alias") or node["name"]): node
        for node in (*manifest["nodes"].values(), *manifest["sources"].values())
        if node["resource_type"] in ("model", "source") and node["schema"] in PUBLISHED_SCHEMAS
    }
    with duckdb.connect() as connection, SideBySide(connection) as threads:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach '{warehouse.database}' as warehouse (read_only)")
        made = built(connection)
        connection.execute(
            f"attach '{folder / 'crm.duckdb'}' as published (storage_version '{STORAGE_VERSION}')"
        )
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_catalog = 'warehouse' and table_type = 'BASE TABLE'"
            " order by all"
        ).fetchall()
        copied = [one for one in tables if one in shown]
        for schema in PUBLISHED_SCHEMAS:
            connection.execute(f"create schema published.{schema}")

        copies = [threads.submit(_copy_table, *one) for one in copied]
        files = [
            threads.submit(
                _write_parquet, one, folder / "parquet", earlier, made.get(shown[one]["unique_id"])
            )
            for one in copied
        ]
        results(copies)
        copy_statement(connection, folder)
        # In one transaction: hundreds of descriptions would each wait for the disk.
        connection.begin()
        for schema, table in copied:
            _describe(connection, "table", f"published.{schema}.{table}", shown[schema, table])
        _describe_user_fields(connection)
        connection.execute("use published")
        for (schema, view), node in shown.items():
            if node["resource_type"] == "model" and node["config"]["materialized"] == "view":
                # Of the tables beside it, whatever the name under which the file is attached.
                sql = node["compiled_code"].replace(f'"{node["database"]}".', "")
                connection.execute(f"create view {schema}.{view} as {sql}")
                _describe(connection, "view", f"{schema}.{view}", node)
        create_views(connection, target / DEFINITIONS)
        connection.commit()
        results(files)
        connection.execute("use memory")
        connection.execute("detach published")
    told = json.dumps(definitions(target / DEFINITIONS), ensure_ascii=False)
    (folder / DEFINITIONS).write_text(told, encoding="utf-8")


def _copy_table(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> None:
    connection.execute(
        f"create table published.{schema}.{table} as from warehouse.{schema}.{table}"
    )


def _write_parquet(
    connection: duckdb.DuckDBPyConnection,
    table: tuple[str, str],
    folder: Path,
    earlier: Path,
    made: str | None,
) -> None:
    """Writes a table as Parquet, or links the file of the publication before if it is the same.

    Args:
        table: Schema and name.
        earlier: Folder of the Parquet files before.
        made: Hashes of the table's SQL and rows, if they are known.
    """
    file, before = (place / f"{table[1]}.parquet" for place in (folder, earlier))
    if made and before.exists() and _made(connection, before) == made:
        os.link(before, file)
        return
    told = f", kv_metadata {{{MADE}: '{made}'}}" if made else ""
    connection.execute(
        f"copy warehouse.{'.'.join(table)} to '{file}' (format parquet, compression zstd{told})"
    )


def _made(connection: duckdb.DuckDBPyConnection, file: Path) -> str | None:
    rows = connection.execute(
        "select decode(value) from parquet_kv_metadata(?) where decode(key) = ?",
        [str(file), MADE],
    ).fetchall()
    return rows[0][0] if rows else None


def _describe(
    connection: duckdb.DuckDBPyConnection, kind: str, table: str, node: dict[str, Any]
) -> None:
    """Sets the descriptions of a table or view and its columns from the YAML."""
    comment(connection, kind, table, node["description"])
    for name, column in node["columns"].items():
        comment(connection, "column", f"{table}.{name}", column["description"])


def _describe_user_fields(connection: duckdb.DuckDBPyConnection) -> None:
    """Describes the user fields that the settings name by their labels."""
    for entity, name, label in connection.execute(
        "select distinct entity, lower(field_name), field_label"
        " from published.marts.fct_user_field_values order by all"
    ).fetchall():
        comment(connection, "column", f"published.marts.dim_{entity}_user_fields.{name}", label)

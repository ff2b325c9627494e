"""The raw log as Parquet files, a folder for each table, which Spark reads where they lie.

With ENGINE=spark dlt appends to them, and schema `raw` of the warehouse has views over them in the
place of tables: what reads the raw log reads both alike. Which it is, and in which folder the files
lie, is said by the catalog of the warehouse alone, so the log moves in one transaction: all rows
are written to a folder of a new number, then the views name that one. Other numbers are removed.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from pipelines.environment import ROOT, Engine
from pipelines.errors import SettingsError
from pipelines.warehouse import Warehouse, sync

log = logging.getLogger(__name__)

NUMBERED = re.compile(r"raw_(\d+)")
# dlt notes each load that is over in a file of its own.
LOADS = "_dlt_loads"
LOADS_COLUMNS = (
    "{load_id: 'varchar', schema_name: 'varchar', status: 'bigint', inserted_at: 'timestamptz',"
    " schema_version_hash: 'varchar'}"
)


def home(warehouse: Warehouse, engine: Engine) -> Path:
    """The folder of this warehouse's raw log, in which builds put their tables; of nobody else."""
    if engine.spark_folder is None:
        return warehouse.directory / "spark"
    return ROOT / engine.spark_folder / _name(warehouse)


def settle(warehouse: Warehouse, engine: Engine) -> Path | None:
    """Brings the raw log to where the engine has it, with all rows, and the views up to date.

    Returns:
        The folder of the files, which the first load makes; None if the log is tables.

    Raises:
        SettingsError: the files are not where they were, or hold more than the tables.
    """
    place, is_files = home(warehouse, engine), engine.engine == "spark"
    named = _named(warehouse)
    if named is None and not is_files and not place.exists():
        return None
    if is_files:
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o700)
    found = _found(named, place) if named else None
    if found is None and not warehouse.raw_tables():
        # A warehouse that is lost while its raw log is not, or a first load that was stopped.
        left = [one for one in _numbered(place) if _has_refreshes(one)]
        if not left:
            shutil.rmtree(place / "raw_1", ignore_errors=True)
            return place / "raw_1" if is_files else None
        found = left[-1]
        warehouse.create()
    if found is not None:
        _show_all(warehouse, found)
    if found is not None and not (is_files and found.parent == place):
        _to_tables(warehouse, found)
        if found.parent == warehouse.directory / "spark" or found.parent.name == _name(warehouse):
            shutil.rmtree(found)
        else:
            log.warning("the raw log was moved; %s is not needed any more", found)
        found = None
    if found is None:
        _refuse_newer(warehouse, _numbered(place))
        found = _to_files(warehouse, place) if is_files else None
    for one in place.glob("raw_*"):
        if one != found:
            shutil.rmtree(one)
    if not is_files:
        with suppress(OSError):
            place.rmdir()
    return found


@contextmanager
def as_tables(warehouse: Warehouse) -> Iterator[None]:
    """The raw log as tables, for what changes or removes rows; after that as before.

    If it fails on the way, the log stays as tables until the next `settle`.
    """
    engine = Engine.read()
    folder = settle(warehouse, engine)
    if folder is not None:
        _to_tables(warehouse, folder)
    yield
    if folder is not None:
        settle(warehouse, engine)


def append(connection: duckdb.DuckDBPyConnection, table: str, name: str, rows: str) -> bool:
    """Appends the rows of a query to a table of the raw log, if that is files.

    Args:
        name: of the new file, if there are rows.
    """
    folder = _folder(connection)
    if folder is None:
        return False
    if connection.execute(f"select 1 from ({rows}) limit 1").fetchone():
        with whole(folder / table / f"{name}.parquet") as part:
            connection.execute(f"copy ({rows}) to '{_quoted(part)}' (format parquet)")
    return True


def tables(folder: Path) -> list[Path]:
    """Folders of the tables that have files."""
    return sorted(
        one
        for one in folder.iterdir()
        if not one.name.startswith("_dlt") and any(one.glob("*.parquet"))
    )


def size(warehouse: Warehouse) -> int:
    """Bytes of the warehouse and of the raw log's files."""
    named = _named(warehouse)
    files = [warehouse.database, *(named.rglob("*") if named else ())]
    return sum(file.stat().st_size for file in files if file.is_file())


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write that gets its name when it is on the disk."""
    part = path.with_name(f".{path.name}.part")
    yield part
    sync(part)
    part.replace(path)
    sync(path.parent)


def _name(warehouse: Warehouse) -> str:
    mark = hashlib.sha256(str(warehouse.directory).encode()).hexdigest()[:8]
    return f"bitrix24-analytics-{mark}"


def _named(warehouse: Warehouse) -> Path | None:
    if not warehouse.database.exists():
        return None
    with warehouse.connect() as connection:
        return _folder(connection)


def _folder(connection: duckdb.DuckDBPyConnection) -> Path | None:
    """The folder that the views name; None if the log is tables."""
    named = connection.execute(
        "select comment from duckdb_views() where schema_name = 'raw' and view_name = ?", [LOADS]
    ).fetchone()
    return Path(named[0]) if named else None


def _found(named: Path, place: Path) -> Path:
    """The folder that the views name, also where it was moved together with the warehouse."""
    for folder in (place / named.name, named):
        if folder.exists():
            return folder
    raise SettingsError(
        f"the raw log of this warehouse is in {named}, and that is not there: mount or restore it,"
        f" or put it to {place / named.name}, then run again; nothing was changed"
    )


def _numbered(place: Path) -> list[Path]:
    """Folders of the raw log, the newest last."""
    found = [
        (int(match[1]), one)
        for one in (place.iterdir() if place.exists() else ())
        if (match := NUMBERED.fullmatch(one.name))
    ]
    return [one for _, one in sorted(found)]


def _has_refreshes(folder: Path) -> bool:
    return folder / "refreshes" in tables(folder)


def _reader(files: Path) -> str:
    """SQL of the rows of a table; files of later versions may have more columns."""
    if files.name != LOADS:
        return f"from read_parquet('{_quoted(files)}/*.parquet', union_by_name = true)"
    if any(files.glob("*.jsonl")):
        return f"from read_json('{_quoted(files)}/*.jsonl', columns = {LOADS_COLUMNS})"
    return "select null::varchar as load_id, null::bigint as status where false"


def _show_all(warehouse: Warehouse, folder: Path) -> None:
    with warehouse.connect(read_only=False) as connection:
        connection.begin()
        _show(connection, folder)
        connection.commit()


def _show(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    connection.execute("create schema if not exists raw")
    for files in (*tables(folder), folder / LOADS):
        connection.execute(f'create or replace view raw."{files.name}" as {_reader(files)}')
    connection.execute(f"comment on view raw.{LOADS} is '{_quoted(folder)}'")


def _to_tables(warehouse: Warehouse, folder: Path) -> None:
    log.info("the raw log moves from %s to %s", folder, warehouse.database)
    with warehouse.connect(read_only=False) as connection:
        connection.begin()
        for files in (*tables(folder), folder / LOADS):
            connection.execute(f'drop view raw."{files.name}"')
            connection.execute(f'create table raw."{files.name}" as {_reader(files)}')
        connection.commit()
    _forget_pipeline(warehouse)


def _to_files(warehouse: Warehouse, place: Path) -> Path:
    """Moves the tables to a folder of a new number, and shrinks the warehouse by them."""
    number = max((int(one.name.removeprefix("raw_")) for one in _numbered(place)), default=0) + 1
    folder, part = place / f"raw_{number}", place / f"raw_{number}.part"
    log.info("the raw log moves from %s to %s", warehouse.database, folder)
    shutil.rmtree(part, ignore_errors=True)
    names = warehouse.raw_tables()
    with warehouse.connect(read_only=False) as connection:
        for name in names:
            if name.startswith("_dlt") and name != LOADS:
                continue
            file = part / name / ("0.jsonl" if name == LOADS else "0.parquet")
            file.parent.mkdir(parents=True)
            form = "json" if name == LOADS else "parquet, compression zstd"
            connection.execute(f"copy raw.\"{name}\" to '{_quoted(file)}' (format {form})")
            sync(file)
            sync(file.parent)
        sync(part)
        part.rename(folder)
        sync(place)
        connection.begin()
        for name in names:
            connection.execute(f'drop table raw."{name}"')
        _show(connection, folder)
        connection.commit()
    _forget_pipeline(warehouse)
    # Rows that were dropped would stay in free blocks.
    warehouse.rewrite({})
    return folder


def _refuse_newer(warehouse: Warehouse, folders: list[Path]) -> None:
    """Of a warehouse that was restored from before: what is in the files would be lost."""
    for folder in folders:
        if not _has_refreshes(folder):
            continue
        with warehouse.connect() as connection:
            (known,), (there,) = connection.execute(
                "select coalesce(max(refresh_no), 0) from raw.refreshes union all"
                f" select coalesce(max(refresh_no), 0) from ({_reader(folder / 'refreshes')})"
            ).fetchall()
        if there > known:
            raise SettingsError(
                f"{folder} holds the raw log up to refresh {there}, {warehouse.database} up to"
                f" {known}: move away the one that you do not want, then run again; nothing was"
                " changed"
            )


def _forget_pipeline(warehouse: Warehouse) -> None:
    """What dlt remembers of the destination before."""
    shutil.rmtree(warehouse.directory / ".dlt" / "bitrix24", ignore_errors=True)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")

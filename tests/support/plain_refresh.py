"""A plain loader and plain checks instead of dlt's and Great Expectations'.

They take most of the time of a small refresh. The checks are the same, as data: a test of the raw
checks holds that both engines find the same in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

from pipelines import check as check_module
from pipelines.bitrix24 import extract as extract_module
from pipelines.bitrix24 import source
from pipelines.bitrix24.entities import TABLES
from pipelines.bitrix24.pace import Clock
from pipelines.bitrix24.streams import Streams
from pipelines.bitrix24.sync import Sync
from pipelines.check import MOST_FAILURES
from pipelines.contract import Suite
from pipelines.warehouse import Warehouse


class PlainLoader:
    """Instead of dlt's pipeline: reads everything, then appends it in one transaction."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def run(self, items: Iterator[tuple[str, pl.DataFrame]], **_: Any) -> None:
        frames: dict[str, list[pl.DataFrame]] = {}
        with ExitStack() as kept:
            if self._warehouse.database.exists():
                # Opening the file takes 30 ms, but not while it is open.
                kept.enter_context(self._warehouse.connect())
            for name, frame in items:
                frames.setdefault(name, []).append(frame)
        self._warehouse.create()
        with self._warehouse.connect(read_only=False) as connection:
            connection.execute("begin")
            connection.execute("create schema if not exists raw")
            # Beside the loads of dlt, where there are any.
            connection.execute(
                """
                create table if not exists raw._dlt_loads (
                    load_id varchar, status bigint, inserted_at timestamptz
                );
                insert into raw._dlt_loads by name
                select '' as load_id, 0 as status, now() as inserted_at
                where not exists (from raw._dlt_loads where load_id = '')
                """
            )
            for name, parts in frames.items():
                rows = pl.concat(parts, how="diagonal_relaxed").with_columns(
                    _dlt_load_id=pl.lit("")
                )
                connection.register("new_rows", rows.to_arrow())
                connection.execute(
                    f"create table if not exists raw.{name} as from new_rows limit 0"
                )
                connection.execute(f"insert into raw.{name} by name from new_rows")
            connection.execute("commit")


def plain_source(
    sync: Sync, running: Streams, *_: Callable[[], None]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of the dlt source."""
    running.start()
    sources = {table.name: running.take(table.name) for table in TABLES}
    for table in TABLES:
        yield table.name, pl.DataFrame(schema=table.schema)
    while sources:
        for name, frames in list(sources.items()):
            try:
                frame = next(frames)
            except StopIteration:
                del sources[name]
                continue
            if frame is not None:
                yield name, frame
    sync.refuse_changed_portal()
    yield "load_completeness", source.completeness_rows(sync)
    yield "refreshes", source.refresh_row(sync)


def one_by_one(streams: Any, clock: Clock, _: bool) -> Streams:
    """Streams one after the other, so that drawn faults strike the same requests every time."""
    return Streams(streams, clock, side_by_side=False)


class PlainEngine:
    """Instead of Great Expectations: finds the values that a suite does not expect."""

    def validate(
        self, _: str, frame: Any, suite: Suite
    ) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
        rows = frame.to_pandas()
        for name, kind, arguments in suite:
            column = arguments["column"]
            wrong = _unexpected(kind, rows[column], arguments)
            shown = [one for one in dict.fromkeys(["entity", "record_id", column]) if one in rows]
            found = rows.loc[wrong, shown]
            yield name, len(found), found.head(MOST_FAILURES).to_dict("records")


def _unexpected(kind: str, values: pd.Series[Any], arguments: dict[str, Any]) -> pd.Series[bool]:
    if kind == "NotBeNull":
        return values.isna()
    if kind == "BeNull":
        return values.notna()
    if kind == "BeUnique":
        return values.duplicated(keep=False) & values.notna()
    if kind == "BeInSet":
        return values.notna() & ~values.isin(arguments["value_set"])
    if kind == "BeBetween":
        least, most = arguments["min_value"], arguments.get("max_value", inf)
        return values.notna() & ~values.between(least, most)
    raise ValueError(kind)


@contextmanager
def plain_checks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_module, "Engine", PlainEngine)
        yield


@contextmanager
def plain_refresh() -> Iterator[None]:
    with plain_checks(), plain_loading():
        yield


@contextmanager
def plain_loading() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract_module, "bitrix24", plain_source)
        patch.setattr(extract_module, "raw_pipeline", PlainLoader)
        patch.setattr(extract_module, "Streams", one_by_one)
        yield


@contextmanager
def opened_once() -> Iterator[None]:
    """Keeps each warehouse open: opening the file takes 30 ms, and a refresh does it 20 times."""
    opened: dict[Path, duckdb.DuckDBPyConnection] = {}
    of_the_file = Warehouse.connect

    def connect(warehouse: Warehouse, read_only: bool = True) -> duckdb.DuckDBPyConnection:
        path = warehouse.database
        if path not in opened:
            if read_only and not path.exists():
                return of_the_file(warehouse)
            opened[path] = kept.enter_context(of_the_file(warehouse, read_only=False))
        connection = opened[path].cursor()
        connection.execute("set timezone = 'UTC'")
        return connection

    with ExitStack() as kept, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Warehouse, "connect", connect)
        yield

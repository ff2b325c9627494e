"""A plain loader in place of dlt's, which takes most of the time of a small extraction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import duckdb
import polars as pl
import pytest

from pipelines.bitrix24 import extract as extract_module
from pipelines.warehouse import Warehouse


class PlainLoader:
    """In place of dlt's pipeline: reads everything, then appends it in one transaction."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def run(self, items: Iterator[tuple[str, Any]], **_: Any) -> None:
        frames: dict[str, list[Any]] = {}
        for name, frame in items:
            frames.setdefault(name, []).append(pl.from_arrow(frame))
        self._warehouse.directory.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(self._warehouse.database)) as connection:
            connection.execute("begin")
            connection.execute("create schema if not exists raw")
            connection.execute(
                "create table if not exists raw._dlt_loads as select '' as load_id, 0 as status"
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


@contextmanager
def plain_loading() -> Iterator[None]:
    def unchanged(**_: Any) -> Callable[[Any], Any]:
        return lambda function: function

    stand_in = SimpleNamespace(
        resource=unchanged,
        mark=SimpleNamespace(with_table_name=lambda frame, name: (name, frame)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract_module, "dlt", stand_in)
        patch.setattr(extract_module, "raw_pipeline", PlainLoader)
        yield

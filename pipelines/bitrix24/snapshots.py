"""Tables that are read in full every time: reference data, open activities, spend files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from pipelines.bitrix24.entities import ACTIVITIES, Table
from pipelines.bitrix24.sync import Sync, only_changed
from pipelines.errors import Bitrix24Error


def snapshot_versions(
    sync: Sync, table: Table, rows: Sequence[Mapping[str, Any]]
) -> Iterator[pl.DataFrame]:
    """Changed rows, and tombstones of rows that are gone."""
    counts = sync.counts[table.name]
    key = list(table.key)
    frame = table.typed(rows, sync.refresh_no)
    if frame.select(key).is_duplicated().any():
        raise Bitrix24Error(f"{table.method} returned a row twice: run the refresh again")
    counts.rows_read += frame.height
    counts.rows_living = frame.height
    counts.portal_total = frame.height if table.method else None
    previous = sync.previous(table, "row_hash")
    yield only_changed(table, frame, previous)
    yield table.tombstones(previous.join(frame, on=key, how="anti"), sync.refresh_no)


def open_activities(sync: Sync) -> Iterator[pl.DataFrame]:
    """All open activities; the parts of a first load leave them to the last one."""
    if not sync.reads(ACTIVITIES):
        sync.counts[ACTIVITIES.name].rows_living = sync.previous(ACTIVITIES).height
        return
    chunks = sync.chunks(ACTIVITIES, sync.activities)
    yield from snapshot_versions(sync, ACTIVITIES, [row for rows in chunks for row in rows])

"""Data that only the legacy methods give: a lead's city, phones and e-mails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from pipelines.bitrix24.client import number_of
from pipelines.bitrix24.completeness import rows_by_id
from pipelines.bitrix24.entities import DETAILS, OwnedTable
from pipelines.bitrix24.sync import Sync, only_changed
from pipelines.personal_data import protection


def legacy_versions(sync: Sync, table: OwnedTable) -> Iterator[pl.DataFrame]:
    """Changed versions; rows of deleted items stay, no model joins them.

    The rows that follow from the items wait until these are read.
    """
    if not sync.reads(table):
        return
    protect = protection(sync.settings.pii)
    previous = sync.previous(table, "row_hash")
    counts = sync.counts[table.name]
    living = set(previous["id"].to_list())
    floor = sync.part.floors[table.owner]
    seen: set[int] = set()
    for rows in _rows(sync, table, living):
        rows = [row for row in rows if number_of(row, table.id_key, table.method) not in seen]
        if table in DETAILS:
            rows = [dict(protect(row)) for row in rows]
        frame = table.typed(rows, sync.refresh_no)
        # Counted like the owner's living rows: within the loaded history.
        counts.rows_read += int((frame["id"] > floor).sum())
        seen.update(frame["id"].to_list())
        living.update(frame["id"].to_list())
        yield only_changed(table, frame, previous)
    counts.rows_living = len(living & sync.items[table.owner].living)


def _rows(sync: Sync, table: OwnedTable, living: set[int]) -> Iterator[list[dict[str, Any]]]:
    params = sync.legacy_params(table)
    for walk in sync.legacy_changes(table):
        yield from sync.chunks(table, walk)
    yield from sync.window(table, params, table.owner, sync.upper[table.owner])
    sync.client.clock.wait_for(sync.items_are_read)
    # Records that were hidden until now, or that others link to, have an old time of change; the
    # window of a full sync leaves out those older than the loaded history.
    floor = sync.part.floors[table.owner]
    owners = sync.items[table.owner].living
    asked = {item for item in owners if item <= floor} if sync.full else owners - living
    yield from rows_by_id(sync.client, table, sorted(asked), params["select"])

"""Stage history: read in full for each changed item, since Bitrix24 deletes and rewrites rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from pipelines.bitrix24.client import PAGE_SIZE, Client, Command, chunked, number_of
from pipelines.bitrix24.completeness import refuse_hidden, rows_by_id
from pipelines.bitrix24.entities import ENTITIES, OwnedTable
from pipelines.bitrix24.sync import Sync, only_changed
from pipelines.errors import Bitrix24Error

OWNERS_A_PAGE = 10
OWNERS_A_ROUND = 20_000


def history_versions(sync: Sync, table: OwnedTable) -> Iterator[pl.DataFrame]:
    """Changed rows and tombstones: of all items in a full sync, else of changed items.

    Parts of a first load are read by items too.
    """
    items = sync.items[table.owner]
    owners: pl.DataFrame | None = None
    if not sync.full or sync.part.floors[table.owner]:
        asked = items.living if sync.full else set(items.changed)
        owners = _owners(asked)
    previous = sync.previous(table, "owner_id", "row_hash", owners=owners)
    chunks = (
        sync.chunks(table, table.params, None)
        if owners is None
        else (
            rows
            for some in chunked(owners["owner_id"].to_list(), OWNERS_A_ROUND)
            for rows in _histories_of(sync.client, table, some)
        )
    )
    counts = sync.counts[table.name]
    seen: list[pl.Series] = []
    for rows in chunks:
        frame = table.typed(rows, sync.refresh_no)
        counts.rows_read += frame.height
        seen.append(frame["id"])
        yield only_changed(table, frame, previous)
    read = pl.concat(seen) if seen else pl.Series("id", [], dtype=pl.Int64())
    if read.is_duplicated().any():
        raise Bitrix24Error(f"{table.name}: a row came twice: run the refresh again")
    # Rows of deleted items stay as they are: the item's tombstone hides them.
    vanished = previous.join(pl.DataFrame({"id": read}), on="id", how="anti").join(
        _owners(items.living), on="owner_id", how="semi"
    )
    _refuse_hidden_owners(sync, table, vanished["owner_id"].unique().sort().to_list())
    yield table.tombstones(vanished, sync.refresh_no)
    counts.rows_living = read.len()


def _refuse_hidden_owners(sync: Sync, table: OwnedTable, owners: Sequence[int]) -> None:
    """Checks for hidden items: if an item was hidden after it was read, its history is gone too."""
    entity = next(entity for entity in ENTITIES if entity.name == table.owner)
    pages = rows_by_id(sync.client, entity, owners, ["id"])
    living = {number_of(row, "id", entity.method) for rows in pages for row in rows}
    gone = [number for number in owners if number not in living]
    if accepted := refuse_hidden(sync.client, entity, gone, sync.options.accept_loss):
        sync.warnings.append(accepted)


def _owners(ids: set[int]) -> pl.DataFrame:
    return pl.DataFrame({"owner_id": sorted(ids)}, schema={"owner_id": pl.Int64()})


def _histories_of(
    client: Client, table: OwnedTable, owners: Sequence[int]
) -> Iterator[list[dict[str, Any]]]:
    """Full history of the given items; after a full page the next one is read."""
    pending = [(list(piece), 0) for piece in chunked(owners, OWNERS_A_PAGE)]
    while pending:
        pages = client.lists(
            {
                f"o{index}": Command(
                    table.method,
                    {
                        **table.params,
                        "order": {"ID": "ASC"},
                        "filter": {"@OWNER_ID": piece, ">ID": after},
                    },
                )
                for index, (piece, after) in enumerate(pending)
            },
            table.items_key,
        )
        unfinished = []
        for index, (piece, _) in enumerate(pending):
            rows = pages[f"o{index}"]
            if rows:
                yield rows
            if len(rows) == PAGE_SIZE:
                unfinished.append((piece, number_of(rows[-1], "ID", table.method)))
        pending = unfinished

"""Stage history: read in full for each changed item, since Bitrix24 deletes and rewrites rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import polars as pl

from pipelines.bitrix24.client import (
    PAGE_SIZE,
    Client,
    Command,
    Walk,
    chunked,
    number_of,
    rows_of,
)
from pipelines.bitrix24.completeness import Window, refuse_hidden, rows_by_id
from pipelines.bitrix24.entities import ENTITIES, OwnedTable, Table
from pipelines.bitrix24.sync import Sync, only_changed
from pipelines.errors import Bitrix24Error

OWNERS_A_PAGE = 10
# Pages and the count of all of them are one batch; PHP takes up to a thousand values.
OWNER_PAGES_A_COUNT = 49
OWNERS_A_ROUND = 20_000
MOST_ID = 2**62


class History:
    """What one sync has read of a stage history.

    Attributes:
        last_id: the last ID of the walk.
    """

    def __init__(self) -> None:
        self.last_id = 0
        self._versions = [_digests(pl.DataFrame(schema={"id": pl.Int64, "row_hash": pl.String}))]

    def note(self, frame: pl.DataFrame) -> None:
        """Adds the rows of a frame."""
        self._versions.append(_digests(frame))

    def versions(self, table: Table) -> pl.DataFrame:
        """ID and a number for the hash of all rows.

        Raises:
            Bitrix24Error: a row came twice.
        """
        self._versions = [pl.concat(self._versions)]
        if self._versions[0]["id"].is_duplicated().any():
            raise Bitrix24Error(f"{table.name}: a row came twice: run the refresh again")
        return self._versions[0]


def _digests(frame: pl.DataFrame) -> pl.DataFrame:
    """ID and hash of versions, the hash as a number: millions stay in memory."""
    return frame.select("id", pl.col("row_hash").hash())


def history_rows(sync: Sync, table: OwnedTable, read: History) -> Iterator[pl.DataFrame]:
    """Changed rows in the order of their own ID: all of them in a full sync.

    A part of a first load begins with the first row of its items; rows of items that a later part
    brings are kept, and belong to these when they come.
    """
    floor, to_id = _window(sync, table)
    read.last_id = floor
    if floor < to_id:
        previous = sync.previous(table, "row_hash", within=(floor, to_id))
        yield from _walked(sync, table, (floor, to_id), previous, read)


def history_rest(sync: Sync, table: OwnedTable, read: History) -> Iterator[pl.DataFrame]:
    """What is known only after the items: new rows, histories of changed items, tombstones."""
    sync.client.clock.wait_for(sync.items_are_read)
    items = sync.items[table.owner]
    floor, to_id = _window(sync, table)
    if sync.full:
        # What was written since the sync began; this proves the end of the walk, too.
        to_id = MOST_ID
        previous = sync.previous(table, "row_hash", within=(read.last_id, MOST_ID))
        yield from _walked(sync, table, (read.last_id, None), previous, read)
    walked = read.versions(table)
    # In a full sync: older items that others link to; their rows may be older than the walk.
    unread_to = sync.part.floors[table.owner]
    old = {item for item in items.living if item <= unread_to}
    owners = _owners(old if sync.full else set(items.changed))
    previous = sync.previous(table, "owner_id", "row_hash", owners=owners)
    again = History()
    for some in chunked(owners["owner_id"].to_list(), OWNERS_A_ROUND):
        for rows in _histories_of(sync.client, table, some):
            frame = _typed(sync, table, rows)
            again.note(frame)
            changed = only_changed(table, frame, previous)
            new = _digests(changed).join(walked, on=["id", "row_hash"], how="anti")
            yield changed.join(new.select("id"), on="id", how="semi")
    both = pl.concat([walked, again.versions(table)]).unique()
    if both["id"].is_duplicated().any():
        raise Bitrix24Error(f"{table.name}: a row changed while it was read: run the refresh again")
    if floor < to_id:
        within = sync.previous(table, "owner_id", "row_hash", within=(floor, to_id))
        previous = pl.concat([previous, within]).unique()
    # Rows of deleted items stay as they are: the item's tombstone hides them.
    vanished = previous.join(both, on="id", how="anti").join(
        _owners(items.living), on="owner_id", how="semi"
    )
    _refuse_hidden_owners(sync, table, vanished["owner_id"].unique().sort().to_list())
    yield table.tombstones(vanished.sort("id"), sync.refresh_no)
    sync.counts[table.name].rows_living = both.height


def _window(sync: Sync, table: OwnedTable) -> Window:
    """The IDs that are read as a whole, up to the last one when the sync began."""
    to_id = sync.upper[table.name] if sync.full else sync.tops[table.name]
    return sync.part.floors[table.name], to_id


def _walked(
    sync: Sync,
    table: OwnedTable,
    window: tuple[int, int | None],
    previous: pl.DataFrame,
    read: History,
) -> Iterator[pl.DataFrame]:
    walk = Walk(table.method, table.params, table.items_key, table.id_key, *window)
    for rows in sync.chunks(table, walk):
        frame = _typed(sync, table, rows)
        read.note(frame)
        read.last_id = frame["id"].to_list()[-1]
        yield only_changed(table, frame, previous)


def _typed(sync: Sync, table: OwnedTable, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    frame = table.typed(rows, sync.refresh_no)
    sync.counts[table.name].rows_read += frame.height
    return frame


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
    """Full history of the given items: of many at once, proved by one count of all of them."""
    for some in chunked(owners, OWNERS_A_PAGE * OWNER_PAGES_A_COUNT):
        pieces = {f"o{n}": list(piece) for n, piece in enumerate(chunked(some, OWNERS_A_PAGE))}
        commands = {name: _page(table, piece, 0) for name, piece in pieces.items()}
        answers = client.batch(
            {
                **{name: command.starting(-1) for name, command in commands.items()},
                "count": _page(table, some, 0).starting(0),
            }
        )
        total = answers.pop("count").total
        pages = []
        missing = total or 0
        while answers:
            following = {}
            for name, answer in answers.items():
                rows = rows_of(answer.result, table.items_key, table.method)
                missing -= len(rows)
                pages.append(rows)
                if len(rows) == PAGE_SIZE:
                    after = number_of(rows[-1], "ID", table.method)
                    following[name] = _page(table, pieces[name], after).starting(-1)
            answers = client.batches(following) if missing else {}
        if total is None or missing:
            yield from _counted_histories_of(client, table, list(pieces.values()))
        elif total:
            # Together: what is done with rows costs as much for a page as for a batch.
            yield list(chain.from_iterable(pages))


def _counted_histories_of(
    client: Client, table: OwnedTable, pieces: Sequence[list[int]]
) -> Iterator[list[dict[str, Any]]]:
    """The same with a count of every page; after a full page the next one is read."""
    pending = [(piece, 0) for piece in pieces]
    while pending:
        pages = client.lists(
            {f"o{n}": _page(table, piece, after) for n, (piece, after) in enumerate(pending)},
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


def _page(table: OwnedTable, owners: Sequence[int], after: int) -> Command:
    condition = {"@OWNER_ID": list(owners), ">ID": after}
    return Command(table.method, {**table.params, "order": {"ID": "ASC"}, "filter": condition})

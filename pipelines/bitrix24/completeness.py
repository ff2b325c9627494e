"""Compares what is loaded with the portal: counts by ID window, sweeps, single records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl

from pipelines.bitrix24.client import (
    PAGE_SIZE,
    Client,
    Command,
    chunked,
    number_of,
    rows_of,
)
from pipelines.bitrix24.entities import EntityTable, Table
from pipelines.bitrix24.setting_names import listed
from pipelines.errors import Bitrix24Error

COUNT_WINDOW_IDS = 20_000
SWEEP_WINDOW_IDS = 400
ROWS_A_CHUNK = 20_000
# How many records that left an entity's lists are requested one by one.
MOST_ASKED_BY_ID = 500
# Error codes of crm.item.get (apidocs.bitrix24.com) for a record that it does not return.
DELETED, HIDDEN = "NOT_FOUND", "ACCESS_DENIED"

# IDs: from (exclusive) and to (inclusive).
Window = tuple[int, int]


def differing_ids(
    client: Client, table: Table, loaded: Window, living: Collection[int]
) -> tuple[int, set[int], set[int]]:
    """Compares the portal's counts with the living rows, in smaller windows where they differ.

    Args:
        loaded: the range of IDs that should be loaded.

    Returns:
        (how many we have, IDs only the portal has, IDs only we have).
    """
    inside = sorted(item for item in living if loaded[0] < item <= loaded[1])
    ids = pl.Series("id", inside, dtype=pl.Int64())
    totals = portal_totals(client, table, [loaded], COUNT_WINDOW_IDS)
    differing = [window for window, total in totals.items() if total != _within(ids, window)]
    fine = portal_totals(client, table, differing, SWEEP_WINDOW_IDS) if differing else {}
    swept = [window for window, total in fine.items() if total != _within(ids, window)]
    on_portal = sweep(client, table, swept)
    here = {
        item for start, end in swept for item in ids.filter((ids > start) & (ids <= end)).to_list()
    }
    return ids.len(), on_portal - here, here - on_portal


def portal_totals(
    client: Client, table: Table, windows: Sequence[Window], width: int
) -> dict[Window, int]:
    """The portal's count of rows by window of IDs, split into pieces of at most `width`."""
    pieces = [
        (start, min(start + width, end))
        for begin, end in windows
        for start in range(begin, end, width)
    ]
    answers = client.batches(
        {
            f"w{start}": Command(
                table.method,
                {
                    **table.params,
                    "select": ["id"],
                    "filter": {">id": start, "<=id": end},
                    "start": 0,
                },
            )
            for start, end in pieces
        }
    )
    totals: dict[Window, int] = {}
    for start, end in pieces:
        total = answers[f"w{start}"].total
        if total is None:
            raise Bitrix24Error(
                f"the portal gives no total for {table.name}: run the refresh again"
            )
        totals[start, end] = int(total)
    return totals


def sweep(client: Client, table: Table, windows: Sequence[Window]) -> set[int]:
    """All IDs that the portal has in the windows, one page of IDs per command."""
    pieces = [
        (start, min(start + PAGE_SIZE, end))
        for begin, end in windows
        for start in range(begin, end, PAGE_SIZE)
    ]
    pages = client.lists(
        {
            f"s{start}": Command(
                table.method,
                {
                    **table.params,
                    "select": ["id"],
                    "order": {"id": "ASC"},
                    "filter": {">id": start, "<=id": end},
                },
            )
            for start, end in pieces
        },
        table.items_key,
    )
    return {number_of(row, "id", table.method) for rows in pages.values() for row in rows}


def rows_by_id(
    client: Client, table: Table, ids: Sequence[int], select: Collection[str]
) -> Iterator[list[dict[str, Any]]]:
    """The rows with these IDs that the portal returns."""
    for some in chunked(ids, ROWS_A_CHUNK):
        pages = client.lists(
            {
                f"i{piece[0]}": Command(
                    table.method,
                    {
                        **table.params,
                        "select": list(select),
                        "order": {table.id_key: "ASC"},
                        "filter": {f"@{table.id_key}": list(piece)},
                    },
                )
                for piece in chunked(some, PAGE_SIZE)
            },
            table.items_key,
        )
        yield from filter(None, pages.values())


def last_ids(client: Client, tables: Sequence[EntityTable]) -> dict[str, int]:
    """The highest ID of each entity: later records wait for the next refresh."""
    commands = {
        table.name: Command(
            table.method,
            {**table.params, "select": ["id"], "order": {"id": "DESC"}, "start": -1},
        )
        for table in tables
    }
    answers = client.batch(commands)
    pages = {
        table.name: rows_of(answers[table.name].result, table.items_key, table.method)
        for table in tables
    }
    # Counting an empty table is cheap.
    empty = {name: commands[name] for name, rows in pages.items() if not rows}
    pages |= client.lists(empty, "items")
    return {
        name: number_of(rows[0], "id", "crm.item.list") if rows else 0
        for name, rows in pages.items()
    }


def refuse_hidden(client: Client, table: Table, gone: Sequence[int], accept_loss: bool) -> str:
    """Checks by ID that records that left the lists were deleted; of many, an even sample.

    Returns:
        What was accepted, in one line; empty if all were deleted.

    Raises:
        Bitrix24Error: the portal still has one of them, and that is not accepted.
    """
    asked = gone[:: -(-len(gone) // MOST_ASKED_BY_ID)] if gone else []
    answers = client.batches(
        {f"g{number}": Command("crm.item.get", {**table.params, "id": number}) for number in asked},
        taken=(DELETED, HIDDEN),
    )
    still = [number for number in asked if answers[f"g{number}"].error != DELETED]
    if not still:
        return ""
    owner = client.access.owner
    hidden = [number for number in still if answers[f"g{number}"].error == HIDDEN]
    told = (
        f"of {len(gone):,} {table.name} that the portal no longer lists"
        + (f", {len(asked)} of which were requested by ID," if len(asked) < len(gone) else "")
        + (
            f" {len(hidden)} are not deleted but hidden from {owner}"
            if hidden
            else f" {len(still)} are not deleted: it returns them by ID"
        )
        + f" (ID {listed({str(number): '' for number in hidden or still}, 10)})"
    )
    if accept_loss:
        return f"{told}: accepted with --accept-loss, the reports leave them out"
    fix = (
        f"give {owner} the right to read them"
        if hidden
        else "run the refresh again; if it happens again, ask Bitrix24 support"
    )
    raise Bitrix24Error(
        f"{told}: nothing was published; {fix}, or run the refresh once with"
        " --accept-loss to publish without them"
    )


def _within(ids: pl.Series, window: Window) -> int:
    """How many of the sorted IDs are in the window."""
    first, last = (ids.search_sorted(end, side="right") for end in window)
    return last - first

"""Compares what is loaded with the portal: counts by ID window, sweeps, single records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from pipelines.bitrix24.client import (
    PAGE_SIZE,
    Answer,
    Client,
    Command,
    chunked,
    number_of,
    rows_of,
)
from pipelines.bitrix24.entities import Table
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
    client: Client,
    table: Table,
    loaded: Window,
    living: Collection[int],
    totals: Mapping[Window, int] | None = None,
) -> tuple[int, set[int], set[int]]:
    """Compares the portal's counts with the living rows, in smaller windows where they differ.

    Args:
        loaded: the range of IDs that should be loaded.
        totals: the portal's counts of windows that cover it, if they have been asked already.

    Returns:
        (how many we have, IDs only the portal has, IDs only we have).
    """
    inside = sorted(item for item in living if loaded[0] < item <= loaded[1])
    ids = pl.Series("id", inside, dtype=pl.Int64())
    totals = totals or portal_totals(client, table, [loaded], COUNT_WINDOW_IDS)
    differing = [window for window, total in totals.items() if total != _within(ids, window)]
    if len(differing) > 1:
        # Records may have been deleted before they were read.
        again = portal_totals(client, table, differing, COUNT_WINDOW_IDS)
        differing = [window for window, total in again.items() if total != _within(ids, window)]
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
    pieces = [piece for window in windows for piece in split(window, width)]
    return totals_of(table, client.batches(count_commands(table, pieces)), pieces)


def split(window: Window, width: int) -> list[Window]:
    """A window of IDs in pieces of at most `width`."""
    begin, end = window
    return [(start, min(start + width, end)) for start in range(begin, end, width)]


def count_commands(table: Table, windows: Sequence[Window]) -> dict[str, Command]:
    """The commands that count the rows of windows, to be sent together with others."""
    return {
        f"{table.name}_{start}": Command(
            table.method,
            {
                **table.params,
                "select": ["id"],
                "filter": {">id": start, "<=id": end},
                "start": 0,
            },
        )
        for start, end in windows
    }


def totals_of(
    table: Table, answers: Mapping[str, Answer], windows: Sequence[Window]
) -> dict[Window, int]:
    """The counts of windows, from the answers to `count_commands`."""
    totals: dict[Window, int] = {}
    for start, end in windows:
        total = answers[f"{table.name}_{start}"].total
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
        pieces = {f"i{piece[0]}": list(piece) for piece in chunked(some, PAGE_SIZE)}
        pages = client.lists(
            {
                name: Command(
                    table.method,
                    {
                        **table.params,
                        "select": list(select),
                        "order": {table.id_key: "ASC"},
                        "filter": {f"@{table.id_key}": piece},
                    },
                )
                for name, piece in pieces.items()
            },
            table.items_key,
            expected={name: len(piece) for name, piece in pieces.items()},
        )
        yield from filter(None, pages.values())


def last_id_command(table: Table, up_to: int | None = None) -> Command:
    """The command for the highest ID of a table, or the highest one up to an ID."""
    condition = {} if up_to is None else {"filter": {f"<={table.id_key}": up_to}}
    key = table.id_key
    return Command(
        table.method,
        {**table.params, "select": [key], "order": {key: "DESC"}, **condition, "start": -1},
    )


def last_ids(
    client: Client, tables: Sequence[Table], answers: Mapping[str, Answer], prefix: str = "last_"
) -> dict[str, int]:
    """The highest ID of each table, from the answers to `last_id_command`; 0 if it is empty."""
    pages = {
        table.name: rows_of(answers[prefix + table.name].result, table.items_key, table.method)
        for table in tables
    }
    # Counting an empty table is cheap.
    for table in tables:
        if not pages[table.name]:
            empty = {table.name: last_id_command(table)}
            pages |= client.lists(empty, table.items_key)
    return {
        table.name: number_of(pages[table.name][0], table.id_key, table.method)
        if pages[table.name]
        else 0
        for table in tables
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

"""How far back a sync goes: a first load of a big portal is read in parts, the newest first.

A part is an ordinary refresh that reads changes as usual and also everything created in a span of
days before the earlier parts. Each part is completed on its own, so a stopped load continues after
its last part.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.bitrix24 import values
from pipelines.bitrix24.client import Answer, Client, Command, number_of, rows_of
from pipelines.bitrix24.entities import ENTITIES, HISTORIES, EntityTable, OwnedTable, Table
from pipelines.bitrix24.portal import Portal
from pipelines.errors import Bitrix24Error, SettingsError
from pipelines.warehouse import Refresh

FIRST_PART_ROWS = 50_000
SMALLEST_PART_ROWS = 20_000
LARGEST_PART_ROWS = 500_000
PART_SECONDS = 300
EPOCH = dt.timedelta(days=36_500)
SPANS_DAYS = (
    *(1, 2, 3, 5, 7, 10, 14, 21, 31, 46, 61, 92, 122, 153, 183, 244, 305, 366, 488, 610, 732),
    *(1098, 1464, 2196, 2928, 5856, EPOCH.days),
)
# Where records are looked at to learn how IDs follow time: this many rows of a part back.
SAMPLES = (0, 0.06, 0.12, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5)


@dataclass(frozen=True)
class Reach:
    """Where a sync ends in the past.

    Attributes:
        floors: entity or history → the ID up to which its rows stay unread; 0 if all are read.
        history_from: what was created since then is read; None if everything is read.
    """

    floors: Mapping[str, int]
    history_from: dt.datetime | None


NUMBERED = (*ENTITIES, *HISTORIES)
WHOLE = Reach({table.name: 0 for table in NUMBERED}, None)


@dataclass(frozen=True)
class Part:
    """The part of the history that one sync reads besides changes; by default nothing is left.

    Attributes:
        floors: entity or history → the ID up to which its rows stay unread; 0 if all are read.
        history_from: what was created since then is read; None if everything is read.
        goes_on: whether another part follows now.
    """

    floors: Mapping[str, int] = field(default_factory=lambda: WHOLE.floors)
    history_from: dt.datetime | None = None
    goes_on: bool = False


def plan(
    client: Client,
    last: Refresh | None,
    portal: Portal,
    read_to: Mapping[str, int],
    rows: int,
    history_from: dt.date | None,
) -> Part:
    """How far back this sync goes.

    Args:
        read_to: entity or history → the ID above which everything is read already; at the start its
            highest ID.
        rows: the wanted number of rows of the part.
        history_from: do not read older records yet.

    Raises:
        SettingsError: `history_from` is in the future.
    """
    not_before = None
    if history_from is not None:
        offset = dt.datetime.fromisoformat(f"2000-01-01T00:00{portal.utc_offset}")
        not_before = dt.datetime.combine(history_from, dt.time(), offset.tzinfo)
        if not_before > portal.as_of:
            raise SettingsError(
                f"--history-from {history_from} is in the future by the portal's clock: give the"
                " first day to read"
            )
    newest = last.history_from if last else portal.as_of
    if newest is None:
        return Part()
    found = reach(client, read_to, newest, rows, not_before)
    start = found.history_from
    goes_on = start is not None and (not_before is None or start > not_before)
    return Part(found.floors, start, goes_on)


def part_rows(rows: int, seconds: float) -> int:
    """Rows of the next part: a few minutes at the pace of the last one."""
    pace = rows / max(seconds, 0.001)
    return int(min(max(pace * PART_SECONDS, SMALLEST_PART_ROWS), LARGEST_PART_ROWS))


def unread_rows(part: Part) -> dict[str, Command]:
    """The commands that count what a part leaves unread, by entity."""
    return {
        f"unread_{table.name}": _list(table, part.floors[table.name], None)
        for table in ENTITIES
        if part.floors[table.name]
    }


def reach(
    client: Client,
    unread_to: Mapping[str, int],
    newest: dt.datetime,
    rows: int,
    not_before: dt.datetime | None,
) -> Reach:
    """How far back the next part goes.

    How many records were created since a day is estimated from the creation times of a few IDs: a
    count by time may take a big portal longer than it allows.

    Args:
        unread_to: entity or history → the highest ID that is not read yet.
        newest: everything created since then is read; at the start, the present time.
        rows: the wanted number of rows of the part, unless one day has more.
        not_before: do not read older records yet.

    Raises:
        Bitrix24Error: `not_before` is given, and the portal's filter by creation time is broken.
    """
    tables = [table for table in ENTITIES if unread_to[table.name]]
    counts = {f"all_{table.name}": _list(table, unread_to[table.name], None) for table in tables}
    samples = {
        f"{table.name}_{number}": _at_or_before(table, number)
        for table in tables
        for share in SAMPLES
        if (number := unread_to[table.name] - int(share * rows)) > 0
    }
    answers = client.batches(counts | samples)
    totals = {table.name: answers[f"all_{table.name}"].total or 0 for table in tables}
    if not_before is None and sum(totals.values()) <= rows:
        return WHOLE
    known = {
        table.name: _creations(
            table, [answers[name] for name in samples if name.startswith(f"{table.name}_")]
        )
        for table in tables
    }
    start = _start(known, totals, unread_to, newest, rows, not_before)
    found = client.lists(
        {table.name: _list(table, unread_to[table.name], start) for table in tables},
        "items",
        expected=dict.fromkeys((table.name for table in tables), 1),
    )
    floors = {table.name: unread_to[table.name] for table in NUMBERED}
    for name, listed in found.items():
        if listed:
            floors[name] = number_of(listed[0], "id", "crm.item.list") - 1
    if broken := [
        name
        for name, creations in known.items()
        if any(created >= start and number <= floors[name] for number, created in creations)
    ]:
        # Parts that find nothing would repeat forever.
        if not_before is not None:
            raise Bitrix24Error(
                f"the portal's filter by createdTime does not find all {broken[0]} that it"
                f" should: run without --history-from"
            )
        return WHOLE
    if not any(floors[table.name] for table in ENTITIES):
        return WHOLE
    return Reach({**floors, **_history_floors(client, unread_to, floors)}, start)


def _start(
    known: Mapping[str, Sequence[tuple[int, dt.datetime]]],
    totals: Mapping[str, int],
    unread_to: Mapping[str, int],
    newest: dt.datetime,
    rows: int,
    not_before: dt.datetime | None,
) -> dt.datetime:
    """The earliest start whose part has no more than the wanted rows; at least one day."""
    starts = [newest - dt.timedelta(days=days) for days in SPANS_DAYS]
    if not_before is not None:
        starts = [*(start for start in starts if start > not_before), min(not_before, newest)]

    def expected(start: dt.datetime) -> float:
        return sum(
            (unread_to[name] - _id_at(creations, start)) * totals[name] / unread_to[name]
            for name, creations in known.items()
        )

    fitting = [start for start in starts if expected(start) <= rows]
    return fitting[-1] if fitting else starts[0]


def _id_at(creations: Sequence[tuple[int, dt.datetime]], start: dt.datetime) -> float:
    """The ID up to which records are older, as far as a few of them tell; newest first."""
    after: tuple[int, dt.datetime] | None = None
    for number, created in creations:
        if created < start:
            if after is None:
                return number
            share = (start - created) / max(after[1] - created, dt.timedelta(seconds=1))
            return number + min(share, 1.0) * (after[0] - number)
        after = number, created
    return 0


def _creations(table: Table, answers: Sequence[Answer]) -> list[tuple[int, dt.datetime]]:
    """ID and creation time of the records that were looked at, highest ID first."""
    found: dict[int, dt.datetime] = {}
    for answer in answers:
        for row in rows_of(answer.result, table.items_key, table.method)[:1]:
            try:
                created = values.instant(row.get("createdTime"))
            except values.BAD_VALUE:
                created = None
            if created is not None:
                found[number_of(row, table.id_key, table.method)] = created
    return sorted(found.items(), reverse=True)


def _history_floors(
    client: Client, unread_to: Mapping[str, int], floors: Mapping[str, int]
) -> dict[str, int]:
    """The ID before the first row of every item above its floor: the part needs what follows it."""

    def first(table: OwnedTable) -> Command:
        condition = {">OWNER_ID": floors[table.owner], "<=ID": unread_to[table.name]}
        return Command(table.method, {**table.params, "order": {"ID": "ASC"}, "filter": condition})

    limited = [table for table in HISTORIES if unread_to[table.name] and floors[table.owner]]
    pages = client.lists(
        {table.name: first(table) for table in limited},
        "items",
        expected={table.name: 1 for table in limited},
    )
    found = {table.name: 0 for table in HISTORIES}
    for table in limited:
        rows = pages[table.name]
        ahead = number_of(rows[0], "ID", table.method) - 1 if rows else unread_to[table.name]
        found[table.name] = min(ahead, unread_to[table.name])
    return found


def _created(start: dt.datetime | None) -> dict[str, str]:
    return {} if start is None else {">=createdTime": start.isoformat(timespec="seconds")}


def _list(table: EntityTable, up_to: int, start: dt.datetime | None) -> Command:
    return Command(
        table.method,
        {
            **table.params,
            "select": ["id"],
            "order": {"id": "ASC"},
            "filter": {"<=id": up_to, **_created(start)},
            "start": 0,
        },
    )


def _at_or_before(table: EntityTable, number: int) -> Command:
    return Command(
        table.method,
        {
            **table.params,
            "select": ["id", "createdTime"],
            "order": {"id": "DESC"},
            "filter": {"<=id": number},
            "start": -1,
        },
    )

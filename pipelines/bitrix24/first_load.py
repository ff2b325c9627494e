"""How far back a sync goes: a first load of a big portal is read in parts, the newest first.

A part is an ordinary refresh that reads changes as usual and also everything created in a span of
days before the earlier parts. Each part is completed on its own, so a stopped load continues after
its last part.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.bitrix24.client import Client, Command, number_of
from pipelines.bitrix24.entities import ENTITIES, EntityTable
from pipelines.bitrix24.portal import Portal
from pipelines.errors import Bitrix24Error, SettingsError
from pipelines.warehouse import Refresh, Warehouse

FIRST_PART_ROWS = 50_000
SMALLEST_PART_ROWS = 20_000
LARGEST_PART_ROWS = 500_000
PART_SECONDS = 300
EPOCH = dt.timedelta(days=36_500)
SPANS_DAYS = (1, 3, 7, 14, 31, 92, 183, 366)


@dataclass(frozen=True)
class Reach:
    """Where a sync ends in the past.

    Attributes:
        floors: entity → the ID up to which its rows stay unread; 0 if all are read.
        history_from: what was created since then is read; None if everything is read.
        unread: entity → rows that stay unread.
    """

    floors: Mapping[str, int]
    history_from: dt.datetime | None
    unread: Mapping[str, int]


WHOLE = Reach({table.name: 0 for table in ENTITIES}, None, {table.name: 0 for table in ENTITIES})


@dataclass(frozen=True)
class Part:
    """The part of the history that one sync reads besides changes; by default nothing is left.

    Attributes:
        floors: entity → the ID up to which its rows stay unread; 0 if all are read.
        read_to: entity → the ID above which everything is read already.
        unread: entity → rows that stay unread.
        history_from: what was created since then is read; None if everything is read.
        goes_on: whether another part follows now.
    """

    floors: Mapping[str, int] = field(default_factory=lambda: WHOLE.floors)
    read_to: Mapping[str, int] = field(default_factory=lambda: WHOLE.floors)
    unread: Mapping[str, int] = field(default_factory=lambda: WHOLE.unread)
    history_from: dt.datetime | None = None
    goes_on: bool = False


def plan(
    client: Client,
    warehouse: Warehouse,
    last: Refresh | None,
    portal: Portal,
    upper: Mapping[str, int],
    rows: int,
    history_from: dt.date | None,
) -> Part:
    """How far back this sync goes, and what is read already.

    Args:
        upper: entity → its highest ID.
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
    read_to = warehouse.unread_to(last.refresh_no) if last else upper
    found = reach(client, read_to, newest, rows, not_before)
    start = found.history_from
    goes_on = start is not None and (not_before is None or start > not_before)
    return Part(found.floors, read_to, found.unread, start, goes_on)


def part_rows(rows: int, seconds: float) -> int:
    """Rows of the next part: a few minutes at the pace of the last one."""
    pace = rows / max(seconds, 0.001)
    return int(min(max(pace * PART_SECONDS, SMALLEST_PART_ROWS), LARGEST_PART_ROWS))


def reach(
    client: Client,
    unread_to: Mapping[str, int],
    newest: dt.datetime,
    rows: int,
    not_before: dt.datetime | None,
) -> Reach:
    """How far back the next part goes.

    Args:
        unread_to: entity → the highest ID that is not read yet.
        newest: everything created since then is read; at the start, the present time.
        rows: the maximum number of rows of the part, unless one day has more.
        not_before: do not read older records yet.

    Raises:
        Bitrix24Error: `not_before` is given, and the portal's filter by creation time is broken.
    """
    everything = _totals(client, unread_to, {"all": None})["all"]
    if not_before is None and sum(everything.values()) <= rows:
        return WHOLE
    epoch = _totals(client, unread_to, {"epoch": newest - EPOCH})["epoch"]
    if sum(epoch.values()) < sum(everything.values()) / 2:
        # Parts that find nothing would repeat forever.
        if not_before is not None:
            raise Bitrix24Error(
                f"the portal's filter by createdTime finds {sum(epoch.values())} of"
                f" {sum(everything.values())} records: run without --history-from"
            )
        return WHOLE
    starts = {f"d{days}": newest - dt.timedelta(days=days) for days in SPANS_DAYS}
    if not_before is not None:
        starts = {name: start for name, start in starts.items() if start > not_before}
        starts["end"] = min(not_before, newest)
    totals = _totals(client, unread_to, starts)
    fitting = [name for name in starts if sum(totals[name].values()) <= rows]
    start = starts[fitting[-1] if fitting else next(iter(starts))]
    floors = _first_ids(client, unread_to, start)
    if not any(floors.values()):
        return WHOLE
    return Reach(floors, start, _totals(client, floors, {"all": None})["all"])


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


def _totals(
    client: Client, up_to: Mapping[str, int], starts: Mapping[str, dt.datetime | None]
) -> dict[str, dict[str, int]]:
    """By start: rows of each entity created since then, with an ID up to the given one."""
    answers = client.batches(
        {
            f"{table.name}_{name}": _list(table, up_to[table.name], start)
            for name, start in starts.items()
            for table in ENTITIES
            if up_to[table.name]
        }
    )
    return {
        name: {
            table.name: int(answers[f"{table.name}_{name}"].total or 0) if up_to[table.name] else 0
            for table in ENTITIES
        }
        for name in starts
    }


def _first_ids(client: Client, up_to: Mapping[str, int], start: dt.datetime) -> dict[str, int]:
    """The ID before the first row created since the start; `up_to` if there is none."""
    commands = {
        table.name: _list(table, up_to[table.name], start)
        for table in ENTITIES
        if up_to[table.name]
    }
    floors = dict(up_to)
    for name, rows in client.lists(commands, "items").items():
        if rows:
            floors[name] = number_of(rows[0], "id", "crm.item.list") - 1
    return floors

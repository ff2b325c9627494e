"""One sync of a portal: its initial state, and what its parts share."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from tqdm import tqdm

from pipelines.bitrix24.client import (
    Answer,
    Begun,
    Client,
    Command,
    Walk,
    number_of,
    rows_of,
)
from pipelines.bitrix24.completeness import (
    COUNT_WINDOW_IDS,
    ROWS_A_CHUNK,
    Window,
    count_commands,
    last_id_command,
    last_ids,
    split,
    totals_of,
)
from pipelines.bitrix24.entities import (
    ACTIVITIES,
    AD_COSTS,
    DETAILS,
    ENTITIES,
    FIELDS,
    HISTORIES,
    LEGACY,
    REFERENCE,
    SYNC_ORDER,
    TABLES,
    EntityTable,
    OwnedTable,
    Table,
)
from pipelines.bitrix24.fields import FIELD_COMMANDS, Fields
from pipelines.bitrix24.first_load import FIRST_PART_ROWS, Part, plan, unread_rows
from pipelines.bitrix24.offsets import WrittenTimes
from pipelines.bitrix24.portal import (
    KNOWN_RECORDS,
    KnownRecords,
    Portal,
    is_administrator,
    not_an_administrator,
    open_portal,
)
from pipelines.bitrix24.setting_names import refuse_unknown_names
from pipelines.errors import Bitrix24Error
from pipelines.options import SCHEDULED, Options
from pipelines.settings import Settings
from pipelines.warehouse import Known, Refresh, Warehouse

log = logging.getLogger(__name__)


@dataclass
class Counts:
    """What one refresh did with one table; `portal_total` is None if the API gives no total.

    While only a part of the history is loaded, totals and living rows cover IDs above
    `unread_to_id`; `rows_unread` covers the rest.
    """

    portal_total: int | None = None
    rows_read: int = 0
    rows_appended: int = 0
    rows_living: int = 0
    rows_deleted: int = 0
    requests: int = 0
    rows_unread: int = 0
    unread_to_id: int = 0


@dataclass
class Items:
    """IDs of one entity's records.

    Attributes:
        living: records on the portal.
        changed: records in which more than the activity changed.
        vanished: records known to earlier refreshes that this one found deleted.
    """

    living: set[int] = field(default_factory=set)
    changed: list[int] = field(default_factory=list)
    vanished: set[int] = field(default_factory=set)


@dataclass
class Sync:
    """One sync. It is full (everything) or incremental (what changed since the last refresh).

    Attributes:
        last: the last completed refresh.
        upper: entity or history → the highest ID when the sync began.
        read_to: entity or history → in parts of a first load, the ID above which everything was
            read by earlier ones.
        tops: the same → the highest ID of the portal up to there.
        known_to: entity → the highest ID of earlier refreshes, or that a later part will read.
        part_rows: rows of a part of a first load.
        begun: walks whose first pages are read.
        totals: entity → the portal's counts by window of IDs when the sync began.
        leads_of_deals: leads that deals came from.
        items_are_read: set when `items` is complete; threads that need it wait for it.
        reference: rows of the tables that are read in full before all others.
        warnings: what a reader of the reports must know, each in one line.
    """

    client: Client
    warehouse: Warehouse
    settings: Settings
    options: Options
    refresh_no: int
    last: Refresh | None
    full: bool
    portal: Portal
    known: KnownRecords
    fields: Fields
    reference: Mapping[str, list[dict[str, Any]]]
    counts: Mapping[str, Counts]
    written_times: WrittenTimes
    upper: Mapping[str, int]
    read_to: Mapping[str, int]
    tops: Mapping[str, int]
    known_to: Mapping[str, int]
    part_rows: int = FIRST_PART_ROWS
    part: Part = field(default_factory=Part)
    begun: list[tuple[Walk, Begun]] = field(default_factory=list)
    totals: dict[str, dict[Window, int]] = field(default_factory=dict)
    items: Mapping[str, Items] = field(
        default_factory=lambda: {table.name: Items() for table in ENTITIES}
    )
    leads_of_deals: set[int] = field(default_factory=set)
    items_are_read: threading.Event = field(default_factory=threading.Event)
    warnings: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The kind as stored in `raw.refreshes`."""
        return "full" if self.full else "incremental"

    @property
    def clock_fell_meanwhile(self) -> bool:
        """Whether the portal's clock went back during the sync."""
        return self.client.clock_fell > _clock_allowed(self.settings).total_seconds()

    @property
    def since(self) -> str | None:
        """Changes since this time are read (as a filter value); None: read everything."""
        if self.full or self.last is None:
            return None
        overlap = dt.timedelta(minutes=self.settings.refresh_overlap_minutes)
        return filter_time(self.last.as_of - overlap)

    def plan(self) -> None:
        """Plans how far back this sync goes, and reads the first pages of what it reads."""
        self.part = plan(
            self.client,
            self.last,
            self.portal,
            self.read_to,
            self.part_rows,
            self.options.history_from,
        )
        for name, floor in self.part.floors.items():
            self.counts[name].unread_to_id = floor
        self._begin_walks()

    def _begin_walks(self) -> None:
        """Reads first pages of filtered walks, and counts, in few requests.

        In the order of the sync: a linked record comes before the records that link to it.
        """
        walks: list[Walk] = []
        commands: dict[str, Command] = {}

        def begin(*those: Walk) -> None:
            for walk in those:
                commands[f"walk{len(walks)}"] = walk.first_page
                walks.append(walk)

        windows = {}
        for table in SYNC_ORDER:
            begin(*self.changes(table))
            floor, upper = self.part.floors[table.name], self.upper[table.name]
            windows[table.name] = split((floor, upper), COUNT_WINDOW_IDS)
            commands |= count_commands(table, windows[table.name])
        for legacy in LEGACY:
            if self.reads(legacy):
                begin(*self.legacy_changes(legacy))
        if self.reads(ACTIVITIES):
            begin(self.activities)
        answers = self.client.batches(commands)
        self.begun = [
            (walk, walk.begun(answers[f"walk{number}"])) for number, walk in enumerate(walks)
        ]
        self.totals = {
            table.name: totals_of(table, answers, windows[table.name]) for table in SYNC_ORDER
        }

    def reads(self, table: Table) -> bool:
        """Whether the table is read from the portal in this sync."""
        if table in DETAILS:
            return self.settings.pii != "none"
        # The parts of a first load leave the open activities to the last one.
        return table is not ACTIVITIES or not self.part.goes_on or self.last is None

    def select(self, table: EntityTable) -> dict[str, Any]:
        """Parameters of an entity's list with the fields to read."""
        return {**table.params, "select": list(self.fields.asked(table).values())}

    def changes(self, table: EntityTable) -> list[Walk]:
        """Walks of an entity's rows that changed since the last refresh."""
        since, to_id = self.since, self.upper[table.name]
        if since is None or not to_id:
            return []
        # An activity does not always change updatedTime.
        fields = ["updatedTime", *(["lastActivityTime"] if table.has_state else [])]
        params = self.select(table)
        walks = [
            _walk(table, {**params, "filter": {f">={name}": since}}, 0, to_id) for name in fields
        ]
        # Restored or imported records may keep an old time, and the counts do not show them if as
        # many were deleted in the same window.
        known_to = self.known_to[table.name]
        if known_to < to_id:
            walks.append(_walk(table, params, known_to, to_id))
        return walks

    def legacy_changes(self, table: OwnedTable) -> list[Walk]:
        """The same for a legacy method."""
        since, to_id = self.since, self.upper[table.owner]
        if since is None or not to_id:
            return []
        params = {**self.legacy_params(table), "filter": {">=DATE_MODIFY": since}}
        return [_walk(table, params, 0, to_id)]

    def legacy_params(self, table: OwnedTable) -> dict[str, Any]:
        """Parameters of a legacy list; comments only if `pii` allows them."""
        params = dict(table.params)
        if self.settings.pii != "full":
            params["select"] = [name for name in params["select"] if name != "COMMENTS"]
        return params

    @property
    def activities(self) -> Walk:
        """The walk of the open activities."""
        return _walk(ACTIVITIES, ACTIVITIES.params, 0, None)

    def previous(
        self,
        table: Table,
        *columns: str,
        owners: pl.DataFrame | None = None,
        within: Window | None = None,
    ) -> pl.DataFrame:
        """The key and other columns of a table's living rows before this sync.

        Args:
            owners: for stage history, a frame `owner_id` that limits the rows.
            within: limits the rows by their ID.
        """
        names = [*table.key, *columns]
        rows = None
        if self.last is not None:
            rows = self.warehouse.latest_versions(table.name, names, table.key, owners, within)
        if rows is None:
            return pl.DataFrame(schema={name: table.schema[name] for name in names})
        return rows

    def chunks(self, table: Table, walk: Walk) -> Iterator[list[dict[str, Any]]]:
        """Pages of a walk collected into chunks, with progress on a terminal."""
        if walk.to_id is not None and walk.to_id <= walk.after:
            return
        begun = next((begun for other, begun in self.begun if other == walk), None)
        chunk: list[dict[str, Any]] = []
        total = None if walk.to_id is None else walk.to_id - walk.after
        with tqdm(desc=table.name, total=total, unit=" ids", disable=None, leave=False) as bar:
            for page in self.client.walk(walk, begun):
                chunk += page
                bar.update(int(page[-1][table.id_key]) - walk.after - bar.n)
                if len(chunk) >= ROWS_A_CHUNK:
                    yield chunk
                    chunk = []
        if chunk:
            yield chunk

    def window(
        self, table: Table, params: Mapping[str, Any], name: str, to_id: int | None
    ) -> Iterator[list[dict[str, Any]]]:
        """All rows of this part: up to the last ID in a full sync, else up to what is read.

        Args:
            name: the entity or history whose IDs limit the rows.
        """
        to = to_id if self.full else self.tops[name]
        yield from self.chunks(table, _walk(table, params, self.part.floors[name], to))

    def counted(self, table: Table, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The versions of a table; updates its counts."""
        counts = self.counts[table.name]
        before = self.client.requests_here
        for frame in frames:
            counts.requests += self.client.requests_here - before
            counts.rows_appended += frame.height
            counts.rows_deleted += int(frame["is_deleted"].sum())
            yield frame
            before = self.client.requests_here
        counts.requests += self.client.requests_here - before
        log.info(
            "%s: %s read, %s appended, %s deleted, %s living",
            table.name,
            counts.rows_read,
            counts.rows_appended,
            counts.rows_deleted,
            counts.rows_living,
        )

    def refuse_changed_portal(self) -> None:
        """Checks the portal at the end: records hidden meanwhile would look deleted.

        Raises:
            Bitrix24Error: rights are lost, another portal answers, or its clock went back.
        """
        commands = {"profile": Command("profile", {}), **self.known.commands}
        unread = unread_rows(self.part)
        answers = self.client.batches(commands | unread)
        if not is_administrator(answers["profile"].result):
            raise Bitrix24Error(not_an_administrator(self.client.access))
        self.known.refuse_another_portal(
            self.client, self.written_times, self.options.accept_loss, answers
        )
        for name in unread:
            self.counts[name.removeprefix("unread_")].rows_unread = answers[name].total or 0
        if not self.full and self.clock_fell_meanwhile:
            raise Bitrix24Error(
                f"the portal's clock went back by {self.client.clock_fell / 60:,.0f} minutes during"
                " the sync, and no filter by time finds what changed then: run the refresh again,"
                " it reads everything"
            )


def open_sync(
    client: Client,
    warehouse: Warehouse,
    settings: Settings,
    refresh_no: int,
    last: Refresh | None,
    full: bool,
    options: Options = SCHEDULED,
    part_rows: int = FIRST_PART_ROWS,
    spend: Sequence[dict[str, Any]] = (),
) -> Sync:
    """Opens the portal and reads what is needed before any record: reference data and fields.

    Args:
        spend: rows of the spend files, which are read before the portal.

    Raises:
        Bitrix24Error: it is not the portal of earlier refreshes, or does not show everything.
        SettingsError: the settings name something that the portal never had.
    """
    client.watch_clock()
    counts = {table.name: Counts() for table in TABLES}
    portal = open_portal(client)
    written_times = WrittenTimes()
    written_times.note(portal.server_time)
    if portal.lost_time(last, _clock_allowed(settings)):
        warehouse.require_full_sync(refresh_no)
    stored = warehouse.known([table.name for table in ENTITIES], KNOWN_RECORDS)
    of_table = {table.name: stored.get(table.name, Known({}, set(), 0)) for table in ENTITIES}
    known = KnownRecords({name: found.records for name, found in of_table.items()})
    filled = {
        table.name: {
            source
            for name, (source, _) in table.columns.items()
            if name in of_table[table.name].filled
        }
        for table in ENTITIES
    }
    unread = _unread_to(warehouse, last)
    pages = {
        f"rows_{table.name}": (Command(table.method, table.params), table.items_key)
        for table in REFERENCE
    }
    numbered = (*ENTITIES, *HISTORIES)
    answers = client.batches(
        {
            **known.commands,
            **FIELD_COMMANDS,
            **{name: command for name, (command, _) in pages.items()},
            **{f"last_{table.name}": last_id_command(table) for table in numbered},
            **{
                f"top_{table.name}": last_id_command(table, unread[table.name])
                for table in numbered
                if unread and unread[table.name]
            },
        }
    )
    known.refuse_another_portal(client, written_times, options.accept_loss, answers)
    fields = Fields(answers, warehouse, settings, filled, full)
    upper = last_ids(client, numbered, answers)
    read_to = upper
    if unread is not None:
        read_to = {name: upper[name] if to is None else to for name, to in unread.items()}
    elif last is not None:
        read_to = dict.fromkeys(upper, 0)
    reference = {FIELDS.name: fields.rows, AD_COSTS.name: [*spend]}
    found = client.pages(pages, answers)
    for table in REFERENCE:
        reference[table.name] = found[f"rows_{table.name}"]
    for table in (FIELDS, *REFERENCE):
        # Names are looked up in them before they are stored.
        table.typed(reference[table.name], refresh_no)
    refuse_unknown_names(reference, settings, warehouse, client)
    return Sync(
        client=client,
        warehouse=warehouse,
        settings=settings,
        options=options,
        refresh_no=refresh_no,
        last=last,
        full=full,
        portal=portal,
        known=known,
        fields=fields,
        reference=reference,
        counts=counts,
        written_times=written_times,
        upper=upper,
        read_to=read_to,
        tops=read_to | _tops(numbered, answers),
        known_to={name: max(one.last_id, read_to[name]) for name, one in of_table.items()},
        part_rows=part_rows,
    )


def _walk(table: Table, params: Mapping[str, Any], after: int, to_id: int | None) -> Walk:
    return Walk(table.method, params, table.items_key, table.id_key, after, to_id)


def _unread_to(warehouse: Warehouse, last: Refresh | None) -> dict[str, int | None] | None:
    """Entity or history → the ID up to which a first load in parts has not read it.

    None for a history that an earlier version read by its owners; None as a whole if everything is
    loaded, or nothing.
    """
    if last is None or last.history_from is None:
        return None
    stored = warehouse.unread_to(last.refresh_no)
    unread: dict[str, int | None] = {table.name: stored.get(table.name, 0) for table in ENTITIES}
    for history in HISTORIES:
        unread[history.name] = stored.get(history.name) or (None if unread[history.owner] else 0)
    return unread


def _tops(tables: Sequence[Table], answers: Mapping[str, Answer]) -> dict[str, int]:
    """The highest IDs up to what earlier parts of a first load have read."""
    return {
        table.name: max((number_of(row, table.id_key, table.method) for row in rows), default=0)
        for table in tables
        if (answer := answers.get(f"top_{table.name}"))
        for rows in [rows_of(answer.result, table.items_key, table.method)]
    }


def _clock_allowed(settings: Settings) -> dt.timedelta:
    """How far the clock may fall: half of the overlap of refreshes."""
    return dt.timedelta(minutes=settings.refresh_overlap_minutes / 2)


def only_changed(table: Table, frame: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """Rows whose content differs from their last version, and new rows."""
    key = [*table.key, "row_hash"]
    return frame.join(previous.select(key), on=key, how="anti")


def filter_time(moment: dt.datetime) -> str:
    """A moment as filters of list methods expect it."""
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds")

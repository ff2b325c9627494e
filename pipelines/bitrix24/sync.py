"""One sync of a portal: its initial state, and what its parts share."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from tqdm import tqdm

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.completeness import ROWS_A_CHUNK, last_ids
from pipelines.bitrix24.entities import (
    AD_COSTS,
    ENTITIES,
    FIELDS,
    REFERENCE,
    TABLES,
    Table,
)
from pipelines.bitrix24.fields import Fields
from pipelines.bitrix24.first_load import FIRST_PART_ROWS, Part, plan
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
        part_rows: rows of a part of a first load.
        upper: entity → the highest ID when the sync began.
        leads_of_deals: leads that deals came from.
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
    part_rows: int = FIRST_PART_ROWS
    part: Part = field(default_factory=Part)
    upper: Mapping[str, int] = field(default_factory=dict)
    items: Mapping[str, Items] = field(
        default_factory=lambda: {table.name: Items() for table in ENTITIES}
    )
    leads_of_deals: set[int] = field(default_factory=set)
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
        """Plans how far back this sync goes."""
        self.upper = last_ids(self.client, ENTITIES)
        self.part = plan(
            self.client,
            self.warehouse,
            self.last,
            self.portal,
            self.upper,
            self.part_rows,
            self.options.history_from,
        )
        for table in ENTITIES:
            self.counts[table.name].unread_to_id = self.part.floors[table.name]
            self.counts[table.name].rows_unread = self.part.unread[table.name]

    def previous(
        self, table: Table, *columns: str, owners: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """The key and other columns of a table's living rows before this sync.

        Args:
            owners: for stage history, a frame `owner_id` that limits the rows.
        """
        names = [*table.key, *columns]
        rows = self.warehouse.latest_versions(table.name, names, table.key, owners)
        if rows is None:
            return pl.DataFrame(schema={name: table.schema[name] for name in names})
        return rows

    def chunks(
        self, table: Table, params: Mapping[str, Any], to_id: int | None, last_id: int = 0
    ) -> Iterator[list[dict[str, Any]]]:
        """Pages of a walk collected into chunks, with progress on a terminal."""
        if to_id is not None and to_id <= last_id:
            return
        chunk: list[dict[str, Any]] = []
        total = None if to_id is None else to_id - last_id
        with tqdm(desc=table.name, total=total, unit=" ids", disable=None, leave=False) as bar:
            for page in self.client.walk(
                table.method, params, table.items_key, table.id_key, last_id, to_id
            ):
                chunk += page
                bar.update(int(page[-1][table.id_key]) - last_id - bar.n)
                if len(chunk) >= ROWS_A_CHUNK:
                    yield chunk
                    chunk = []
        if chunk:
            yield chunk

    def window(
        self, table: Table, params: Mapping[str, Any], entity: str, to_id: int
    ) -> Iterator[list[dict[str, Any]]]:
        """All rows of this part: up to the last ID in a full sync, else up to what is read."""
        to = to_id if self.full else self.part.read_to[entity]
        yield from self.chunks(table, params, to, self.part.floors[entity])

    def counted(self, table: Table, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The versions of a table; updates its counts."""
        counts = self.counts[table.name]
        before = self.client.requests
        # An empty frame creates the table with its types on the first refresh.
        yield pl.DataFrame(schema=table.schema)
        for frame in frames:
            counts.requests += self.client.requests - before
            counts.rows_appended += frame.height
            counts.rows_deleted += int(frame["is_deleted"].sum())
            yield frame
            before = self.client.requests
        counts.requests += self.client.requests - before
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
        if not is_administrator(self.client.call("profile").result):
            raise Bitrix24Error(not_an_administrator(self.client.access))
        self.known.refuse_another_portal(self.client, self.written_times, self.options.accept_loss)
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
    of_table = {table.name: stored.get(table.name, Known({}, set())) for table in ENTITIES}
    known = KnownRecords({name: found.records for name, found in of_table.items()})
    known.refuse_another_portal(client, written_times, options.accept_loss)
    filled = {
        table.name: {
            source
            for name, (source, _) in table.columns.items()
            if name in of_table[table.name].filled
        }
        for table in ENTITIES
    }
    before = client.requests
    fields = Fields(client, warehouse, settings, filled, full)
    counts[FIELDS.name].requests = client.requests - before
    reference = {FIELDS.name: fields.rows, AD_COSTS.name: [*spend]}
    for table in REFERENCE:
        before = client.requests
        reference[table.name] = client.pages(table.method, table.params, table.items_key)
        counts[table.name].requests = client.requests - before
    for table in (FIELDS, *REFERENCE):
        # Names are looked up in them before they are stored.
        table.typed(reference[table.name], refresh_no)
    refuse_unknown_names(reference, settings, warehouse, client)
    return Sync(
        client,
        warehouse,
        settings,
        options,
        refresh_no,
        last,
        full,
        portal,
        known,
        fields,
        reference,
        counts,
        written_times,
        part_rows,
    )


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

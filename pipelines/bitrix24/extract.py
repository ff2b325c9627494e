"""One reading of a portal into the append-only raw log, with dlt.

Every raw table is a log of versions: only rows whose content differs from their last version are
appended, what left the portal gets a tombstone (`is_deleted`). A reading is full (everything, on
the first run and every `full_read_every_days`) or incremental (what changed since the last
completed refresh began, less an overlap). It ends with the portal's own counts by ID window; what
differs is swept and mended before anything is loaded. `raw.refreshes` gets its row last, so a
reading that was stopped stays invisible. The first load of a big portal takes several readings,
each of which reaches further back (history.py).
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dlt
import polars as pl
from dlt.pipeline.exceptions import PipelineStepFailed
from tqdm import tqdm

from pipelines.bitrix24.access import OAuth, Webhook
from pipelines.bitrix24.client import (
    PAGE_SIZE,
    Client,
    Command,
    chunked,
    number_of,
    rows_of,
)
from pipelines.bitrix24.entities import (
    ACTIVITIES,
    BAD_VALUE,
    CATEGORIES,
    DEAL_STAGE_HISTORY,
    DEALS,
    DETAILS,
    DIRECTORIES,
    ENTITIES,
    FIELDS,
    HISTORIES,
    ID_LIST,
    INSTANT,
    LEAD_ADDRESSES,
    LEAD_STAGE_HISTORY,
    LEADS,
    LINKS,
    READING_ORDER,
    STATUSES,
    TABLES,
    Table,
)
from pipelines.bitrix24.history import FIRST_PART_ROWS, WHOLE, Reach, part_rows, reach
from pipelines.bitrix24.offsets import WrittenTimes
from pipelines.bitrix24.values import UserField, mapping
from pipelines.check import ACCEPTABLE, check
from pipelines.contract import DIFFERENCE
from pipelines.errors import Bitrix24Error, PipelineError, SettingsError
from pipelines.personal_data import forget, protection
from pipelines.run_file import write_atomically
from pipelines.settings import Named, Settings, did_you_mean
from pipelines.warehouse import Known, Refresh, Warehouse

log = logging.getLogger(__name__)

ROWS_A_CHUNK = 20_000
COUNT_WINDOW_IDS = 20_000
SWEEP_WINDOW_IDS = 400
OWNERS_A_PAGE = 10
OWNERS_A_ROUND = 20_000
SMALL_LOSS_ROWS = 20
# By how many records of an entity a portal is known again, and how many may all be deleted.
KNOWN_RECORDS = 50
FEW_RECORDS = 5
# How many records of an entity that left its lists are asked for one by one.
MOST_ASKED_BY_ID = 500
# Answers of crm.item.get (apidocs.bitrix24.com) about a record that it does not give.
DELETED, HIDDEN = "NOT_FOUND", "ACCESS_DENIED"


@dataclass
class Counts:
    """What one refresh did with one table; `portal_total` None where the API tells no total.

    While only a part of the history is loaded, totals and living rows are those with an ID above
    `unread_to_id`; `rows_unread` are the others.
    """

    portal_total: int | None = None
    rows_read: int = 0
    rows_appended: int = 0
    rows_living: int = 0
    rows_deleted: int = 0
    requests: int = 0
    rows_unread: int = 0
    unread_to_id: int = 0


@dataclass(frozen=True)
class Summary:
    """The outcome of a reading, for `run.json`.

    Attributes:
        history_from: what was created before is not loaded; None where everything is.
        goes_on: whether more of it is wanted now.
        warnings: what makes the reports other than they look, each in one line.
    """

    refresh_no: int
    as_of: dt.datetime
    kind: str
    counts: Mapping[str, Counts]
    requests: int
    history_from: dt.datetime | None
    goes_on: bool
    warnings: Sequence[str]

    @property
    def rows_unread(self) -> int:
        """Leads, deals, contacts and companies that are older than what is loaded."""
        return sum(counts.rows_unread for counts in self.counts.values())


@dataclass
class Reading:
    """One reading of the portal; `tables()` yields what is to be appended."""

    client: Client
    warehouse: Warehouse
    settings: Settings
    refresh_no: int
    last: Refresh | None
    full: bool
    accept_loss: bool
    not_before: dt.date | None = None
    part_rows: int = FIRST_PART_ROWS
    as_of: dt.datetime = field(init=False)
    header: dict[str, Any] = field(init=False)
    goes_on: bool = field(default=False, init=False)
    counts: dict[str, Counts] = field(init=False)
    _reach: Reach = field(default=WHOLE, init=False)
    _read_to: Mapping[str, int] = field(default_factory=dict, init=False)
    _linked_leads: set[int] = field(default_factory=set, init=False)
    _living: dict[str, set[int]] = field(default_factory=dict, init=False)
    _changed: dict[str, list[int]] = field(default_factory=dict, init=False)
    _select: dict[str, dict[str, str]] = field(default_factory=dict, init=False)
    _vanished: dict[str, set[int]] = field(default_factory=dict, init=False)
    _directories: dict[str, list[dict[str, Any]]] = field(default_factory=dict, init=False)
    _known: dict[str, dict[int, dt.datetime]] = field(default_factory=dict, init=False)
    _given: dict[str, set[str]] = field(default_factory=dict, init=False)
    fields_changed: bool = field(default=False, init=False)
    warnings: list[str] = field(default_factory=list, init=False)
    written_times: WrittenTimes = field(default_factory=WrittenTimes, init=False)

    def __post_init__(self) -> None:
        self.client.watch_clock()
        self.counts = {table.name: Counts() for table in TABLES}
        self._changed = {table.name: [] for table in ENTITIES}
        self._protect = protection(self.settings.pii)
        self._open()
        known = self.warehouse.known([table.name for table in ENTITIES], KNOWN_RECORDS)
        for table in ENTITIES:
            of_table = known.get(table.name, Known({}, set()))
            self._known[table.name] = of_table.records
            self._given[table.name] = {
                source for name, (source, _) in table.columns.items() if name in of_table.filled
            }
        self._refuse_another_portal()
        self._read_directories()
        self._refuse_unknown_names()

    def _open(self) -> None:
        """The portal's clock and properties, and whether we are shown everything.

        Raises:
            Bitrix24Error: we are let in as no administrator.
        """
        answers = self.client.batch(
            {
                "time": Command("server.time", {}),
                "profile": Command("profile", {}),
                "mode": Command("crm.settings.mode.get", {}),
                "currency": Command("crm.currency.base.get", {}),
            }
        )
        if not is_administrator(answers["profile"].result):
            raise Bitrix24Error(not_an_administrator(self.client.access))
        currency = answers["currency"].result
        try:
            server_time = dt.datetime.fromisoformat(answers["time"].result)
            mode = int(answers["mode"].result)
        except (TypeError, ValueError, ArithmeticError):
            server_time, mode = dt.datetime.min, 0
        if server_time.tzinfo is None or not isinstance(currency, str | None):
            raise Bitrix24Error(
                "the portal answered server.time, crm.settings.mode.get or crm.currency.base.get in"
                " an unknown form: run the refresh again; if it stays, report it as an error"
            )
        self.as_of = server_time.astimezone(dt.UTC)
        self.written_times.note(answers["time"].result)
        self.header = {
            "refresh_no": self.refresh_no,
            "as_of": self.as_of,
            "started_at": our_time(),
            "kind": "full" if self.full else "incremental",
            "portal_url": self.client.portal_url,
            "crm_mode": mode,
            "base_currency": currency or "",
            "utc_offset": server_time.strftime("%z"),
            "scope": self.settings.scope,
            "history_from": None,
        }
        if self.clock_went_back:
            self.warehouse.owe_full_reading(self.refresh_no)

    def _refuse_another_portal(self) -> None:
        """Records that we know are asked for once more, and whether we still see everything.

        Raises:
            Bitrix24Error: other records have their IDs, or all are gone; or we are let in as no
                administrator.
        """
        commands = {
            table.name: Command(
                table.method,
                {
                    **table.params,
                    "select": ["id", "createdTime"],
                    "order": {"id": "ASC"},
                    "filter": {"@id": sorted(self._known[table.name])},
                },
            )
            for table in ENTITIES
            if self._known[table.name]
        }
        if not commands:
            return
        same = other = 0
        for name, rows in self.client.lists(commands, "items").items():
            for row in rows:
                self.written_times.note(row.get("createdTime"))
                known = self._known[name].get(number_of(row, "id", "crm.item.list"))
                is_same = _instant(row.get("createdTime")) == known
                same, other = same + is_same, other + (not is_same)
        if other > same:
            raise Bitrix24Error(
                f"another portal answers at {self.client.portal_url}: of {same + other} records"
                f" that earlier refreshes read, {other} were created at another time there; check"
                f" {self.client.access.setting}, and give a new portal a WAREHOUSE_DIR of its own"
            )
        known_count = sum(map(len, self._known.values()))
        if not same and known_count >= FEW_RECORDS and not self.accept_loss:
            raise Bitrix24Error(
                f"none of {known_count} records that earlier refreshes read is on the portal"
                f" {self.client.portal_url}: check {self.client.access.setting} and the rights of"
                f" {self.client.access.owner}; if all were really deleted, run the refresh once"
                " with --accept-loss"
            )

    def _refuse_lost_rights(self) -> None:
        """At the end: what was hidden meanwhile would look as if it had never been there."""
        if not is_administrator(self.client.call("profile").result):
            raise Bitrix24Error(not_an_administrator(self.client.access))
        self._refuse_another_portal()

    def _refuse_clock_set_back(self) -> None:
        """At the end: what changed after that has times before `as_of`."""
        if not self.full and self.clock_fell_meanwhile:
            raise Bitrix24Error(
                f"the portal's clock went back by {self.client.clock_fell / 60:,.0f} minutes while"
                " it was read, and no filter by time finds what changed then: run the refresh"
                " again, it reads everything"
            )

    def tables(self) -> Iterator[tuple[Table, pl.DataFrame]]:
        """All versions to append, table by table."""
        upper = self._last_ids()
        self._plan(upper)
        for table in (FIELDS, *DIRECTORIES):
            yield from self._counted(table, self._snapshot(table, self._directories[table.name]))
        for table in READING_ORDER:
            yield from self._counted(table, self._entity(table, upper[table.name]))
        if self._reach.floors[LEADS.name]:
            yield from self._counted(LEADS, self._older_leads_of_deals())
        for table in (LEAD_ADDRESSES, *DETAILS):
            assert table.owner is not None
            yield from self._counted(table, self._older_list(table, upper[table.owner]))
        for table in HISTORIES:
            yield from self._counted(table, self._history(table))
        yield from self._counted(ACTIVITIES, self._open_activities())
        self._refuse_lost_rights()
        self._refuse_clock_set_back()

    def _plan(self, upper: Mapping[str, int]) -> None:
        """How far back this reading goes, and behind what everything is read already."""
        not_before = None
        if self.not_before is not None:
            offset = dt.datetime.fromisoformat(f"2000-01-01T00:00{self.header['utc_offset']}")
            not_before = dt.datetime.combine(self.not_before, dt.time(), offset.tzinfo)
            if not_before > self.as_of:
                raise SettingsError(
                    f"--history-from {self.not_before} is in the future of the portal: name the day"
                    " since which records are to be read"
                )
        newest = self.last.history_from if self.last else self.as_of
        if newest is None:
            self._read_to = WHOLE.floors
            return
        self._read_to = self.warehouse.unread_to(self.last.refresh_no) if self.last else upper
        self._reach = reach(self.client, self._read_to, newest, self.part_rows, not_before)
        start = self.header["history_from"] = self._reach.history_from
        self.goes_on = start is not None and (not_before is None or start > not_before)
        for table in ENTITIES:
            self.counts[table.name].unread_to_id = self._reach.floors[table.name]
            self.counts[table.name].rows_unread = self._reach.unread[table.name]

    def _counted(
        self, table: Table, frames: Iterable[pl.DataFrame]
    ) -> Iterator[tuple[Table, pl.DataFrame]]:
        counts = self.counts[table.name]
        before = self.client.requests
        # An empty frame makes the table with its types on the first refresh.
        yield table, pl.DataFrame(schema=table.schema)
        for frame in frames:
            counts.requests += self.client.requests - before
            counts.rows_appended += frame.height
            counts.rows_deleted += int(frame["is_deleted"].sum())
            yield table, frame
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

    @property
    def clock_went_back(self) -> bool:
        """Whether the portal's clock lost time against ours since the last refresh.

        What was changed in between then has times before that refresh, and no filter finds it.
        """
        if self.last is None:
            return False
        ahead_then = self.last.as_of - self.last.started_at
        ahead_now = self.as_of - self.header["started_at"]
        return ahead_now < ahead_then - self._clock_allowed or self.as_of < self.last.as_of

    @property
    def _clock_allowed(self) -> dt.timedelta:
        return dt.timedelta(minutes=self.settings.refresh_overlap_minutes / 2)

    @property
    def clock_fell_meanwhile(self) -> bool:
        """Whether the portal's clock went back while it was read."""
        return self.client.clock_fell > self._clock_allowed.total_seconds()

    # -- directories

    def _read_directories(self) -> None:
        """Rows of the directories, all small, and which fields of each entity are asked for."""
        before = self.client.requests
        self._directories[FIELDS.name] = self._fields()
        self.counts[FIELDS.name].requests = self.client.requests - before
        for table in DIRECTORIES:
            before = self.client.requests
            self._directories[table.name] = self.client.pages(
                table.method, table.params, table.items_key
            )
            self.counts[table.name].requests = self.client.requests - before
        for table in (FIELDS, *DIRECTORIES):
            # Names are looked for in them before they are stored.
            table.typed(self._directories[table.name], self.refresh_no)

    def _fields(self) -> list[dict[str, Any]]:
        """Field metadata of all entities."""
        answers = self.client.batch(
            {table.name: Command("crm.item.fields", table.params) for table in ENTITIES}
        )
        before = self.warehouse.latest_versions(FIELDS.name, list(FIELDS.key), FIELDS.key)
        rows: list[dict[str, Any]] = []
        for table in ENTITIES:
            try:
                told = mapping(mapping(answers[table.name].result)["fields"])
                described = {name: mapping(meta) for name, meta in told.items()}
            except (TypeError, KeyError):
                raise Bitrix24Error(
                    "the portal answered crm.item.fields in an unknown form"
                ) from None
            fields = {
                _own_name(table, name, meta): (name, meta) for name, meta in described.items()
            }
            self._refuse_vanished_fields(table, fields, before)
            self._select[table.name] = {
                name: fields[name][0] for name in self._asked(table, fields)
            }
            for name, (_, meta) in fields.items():
                label = meta.get("listLabel") or meta.get("formLabel") or meta.get("title")
                rows.append(
                    {
                        **meta,
                        "entity_type_id": table.entity_type_id,
                        "field_name": name,
                        "label": label,
                    }
                )
        return rows

    def _refuse_vanished_fields(
        self, table: Table, fields: Mapping[str, Any], before: pl.DataFrame | None
    ) -> None:
        """Fields that the marts stand on, and those that earlier refreshes found filled.

        A user field may go: then everything is read again.

        Raises:
            Bitrix24Error: one is gone, and with it the values of every record.
        """
        for needed in ("id", "createdTime", "updatedTime"):
            if needed not in fields:
                raise Bitrix24Error(f"the portal's {table.name} have no field {needed}")
        gone = sorted(self._given[table.name] - fields.keys())
        if gone and not self.full:
            raise Bitrix24Error(
                f"the portal's {table.name} no longer have the field {gone[0]}, which earlier"
                " refreshes read: nothing was published; if it was really removed, run the refresh"
                " once with --full"
            )
        if before is not None:
            known = before.filter(entity_type_id=table.entity_type_id)["field_name"].to_list()
            asked_then, asked_now = (
                self._asked(table, dict.fromkeys(names)) for names in (known, fields)
            )
            self.fields_changed |= asked_then != asked_now

    def _user_fields(self, table: Table) -> dict[str, UserField]:
        """What the portal says of an entity's user fields."""
        return {
            row["field_name"]: UserField(
                str(row.get("type")), row.get("isMultiple") in (True, "Y", 1), row.get("settings")
            )
            for row in self._directories[FIELDS.name]
            if row["entity_type_id"] == table.entity_type_id
        }

    def asked_fields(self, table: Table) -> dict[str, str]:
        """Fields of an entity that a reading asks for: our name → the portal's."""
        return self._select[table.name]

    def _asked(self, table: Table, fields: Mapping[str, Any]) -> list[str]:
        """Fields of an entity that are read: what marts need, and what `pii` allows."""
        asked = [
            source
            for source, _ in table.columns.values()
            # A portal of an older version lacks some fields; asking for them would be an error.
            if source in fields and (source != "title" or self.settings.reads_titles)
        ]
        named = self.settings.named_user_fields if table.has_state else set()
        return asked + [
            name
            for name in sorted(fields)
            if name.startswith("UF_CRM_") and (self.settings.pii == "full" or name in named)
        ]

    def _refuse_unknown_names(self) -> None:
        """Stages, pipelines and user fields that the settings name must exist, or have existed.

        Raises:
            SettingsError: one exists nowhere: it would silently change nothing.
        """
        known = self.known_names()
        unknown = [
            named
            for named in self.settings.named()
            if named.code not in known[named.what] and not self._was_known(named)
        ]
        if unknown:
            raise SettingsError(
                "\n".join(
                    f"setting {named.setting} names the {named.what} {named.code!r}, which the"
                    f" portal has not{did_you_mean(named.code, known[named.what])}\n"
                    f"  it has: {_listed(known[named.what])}"
                    for named in unknown
                )
            )

    def known_names(self) -> dict[str, dict[str, str]]:
        """Code → label of what the settings may name, by kind, as the portal has it now."""
        statuses = self._directories[STATUSES.name]
        lead_stages, deal_stages = (
            {
                row["STATUS_ID"]: row.get("NAME") or ""
                for row in statuses
                if row["ENTITY_ID"] == entity or row["ENTITY_ID"].startswith(f"{entity}_")
            }
            for entity in ("STATUS", "DEAL_STAGE")
        )
        return {
            "lead stage": lead_stages,
            "deal stage": deal_stages,
            "stage": lead_stages | deal_stages,
            "pipeline": {
                str(row["id"]): row.get("name") or "" for row in self._directories[CATEGORIES.name]
            },
            "user field": {
                row["field_name"]: row["label"] or ""
                for row in self._directories[FIELDS.name]
                if row["field_name"].startswith("UF_CRM_")
                and row["entity_type_id"] in (LEADS.entity_type_id, DEALS.entity_type_id)
            },
        }

    def open_behind_paid(self) -> list[tuple[str, str, str]]:
        """Open deal stages behind one named in `paid_stages`: code, name, name of the paid one."""
        stages = [
            (row["ENTITY_ID"], int(row.get("SORT") or 0), row)
            for row in self._directories[STATUSES.name]
            if row["ENTITY_ID"] == "DEAL_STAGE" or row["ENTITY_ID"].startswith("DEAL_STAGE_")
        ]
        stages.sort(key=lambda stage: stage[:2])
        last_paid: dict[str, Mapping[str, Any]] = {}
        found = []
        for pipeline, _, row in stages:
            if row.get("SEMANTICS") in ("S", "F"):
                continue
            if row["STATUS_ID"] in self.settings.paid_stages:
                last_paid[pipeline] = row
            elif paid := last_paid.get(pipeline):
                found.append((row["STATUS_ID"], row.get("NAME") or "", paid.get("NAME") or ""))
        return found

    def _was_known(self, named: Named) -> bool:
        """Whether earlier refreshes saw the name, or items stood on the stage."""
        table, column = {
            "pipeline": (CATEGORIES.name, "cast(id as varchar)"),
            "user field": (FIELDS.name, "field_name"),
        }.get(named.what, (STATUSES.name, "status_id"))
        if table in self.warehouse.raw_tables():
            with self.warehouse.connect() as connection:
                seen = connection.execute(
                    f"select 1 from raw.{table} where {column} = $code limit 1",
                    {"code": named.code},
                ).fetchone()
            if seen:
                return True
        histories = {
            "lead stage": [LEAD_STAGE_HISTORY],
            "deal stage": [DEAL_STAGE_HISTORY],
            "stage": [LEAD_STAGE_HISTORY, DEAL_STAGE_HISTORY],
        }.get(named.what, [])
        for history in histories:
            source, _ = history.columns["stage_id"]
            stood = self.client.call(
                history.method,
                {**history.params, "filter": {source: named.code}, "start": -1},
            )
            if rows_of(stood.result, history.items_key, history.method):
                return True
        return False

    def _open_activities(self) -> Iterator[pl.DataFrame]:
        """All of them; a part of a first load that others follow leaves them to the last one."""
        if self.goes_on and self.last is not None:
            known = self.warehouse.latest_versions(ACTIVITIES.name, ["id"], ["id"])
            self.counts[ACTIVITIES.name].rows_living = 0 if known is None else known.height
            return
        pages = self.client.walk(ACTIVITIES.method, ACTIVITIES.params, None, "ID")
        yield from self._snapshot(ACTIVITIES, [row for page in pages for row in page])

    def _snapshot(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> Iterator[pl.DataFrame]:
        """Changed rows of a table that is read whole, and tombstones of those that left it."""
        counts = self.counts[table.name]
        key = list(table.key)
        frame = table.typed(rows, self.refresh_no)
        if frame.select(key).is_duplicated().any():
            raise Bitrix24Error(f"{table.method} gave a row twice: run the refresh again")
        counts.rows_read += frame.height
        counts.rows_living = frame.height
        counts.portal_total = frame.height
        previous = self.warehouse.latest_versions(table.name, [*key, "row_hash"], key)
        if previous is None:
            yield frame
            return
        yield self._only_changed(table, frame, previous)
        yield table.tombstones(previous.join(frame, on=key, how="anti"), self.refresh_no)

    @staticmethod
    def _only_changed(table: Table, frame: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
        key = list(table.key)
        return frame.join(previous.select([*key, "row_hash"]), on=[*key, "row_hash"], how="anti")

    # -- leads, deals, contacts, companies

    def _last_ids(self) -> dict[str, int]:
        """The highest ID of each entity: what comes later waits for the next refresh."""
        commands = {
            table.name: Command(
                table.method,
                {**table.params, "select": ["id"], "order": {"id": "DESC"}, "start": -1},
            )
            for table in ENTITIES
        }
        answers = self.client.batch(commands)
        pages = {
            table.name: rows_of(answers[table.name].result, table.items_key, table.method)
            for table in ENTITIES
        }
        # To count where nothing is costs nothing.
        empty = {name: commands[name] for name, rows in pages.items() if not rows}
        pages |= self.client.lists(empty, "items")
        return {
            name: number_of(rows[0], "id", "crm.item.list") if rows else 0
            for name, rows in pages.items()
        }

    def _entity(self, table: Table, to_id: int) -> Iterator[pl.DataFrame]:
        """Changed versions of one entity, then what the portal's counts show to be amiss."""
        counts = self.counts[table.name]
        key = list(table.key)
        hashes = [*key, "row_hash", *(["state_hash"] if table.has_state else [])]
        previous = self.warehouse.latest_versions(table.name, hashes, key)
        if previous is None:
            previous = pl.DataFrame(schema={name: table.schema[name] for name in hashes})
        living_before = set(previous["id"].to_list())
        # The newest may be gone: the portal's highest ID is then below its own.
        to_id = max(to_id, max(living_before, default=0))
        floor = self._reach.floors[table.name]
        seen: set[int] = set()
        appended: set[int] = set()
        for rows in self._entity_rows(table, to_id, max(living_before, default=0)):
            rows = [row for row in rows if number_of(row, "id", table.method) not in seen]
            frame = self._typed(table, rows)
            seen.update(frame["id"].to_list())
            if not self._known[table.name]:
                first = frame.head(KNOWN_RECORDS)
                self._known[table.name] = dict(zip(first["id"], first["created_time"], strict=True))
            changed = self._new_versions(table, frame, previous)
            appended.update(changed["id"].to_list())
            yield changed
        living = living_before | seen
        gone = {item for item in living_before - seen if item > floor} if self.full else set[int]()
        living -= gone
        missing, vanished = yield from self._reconcile(table, (floor, to_id), living, previous)
        unseen = living - seen - vanished
        # No count of the portal tells of single records before the loaded history.
        older = set[int]() if self.goes_on else {item for item in unseen if item <= floor}
        again = older | (unseen & self._naming_vanished(table))
        if again:
            vanished |= older - (yield from self._renewed(table, again, previous))
        gone = (gone | (vanished & living_before)) - missing
        living = (living | missing) - vanished
        self._vanished[table.name] = living_before - living
        self._refuse_hidden(table, sorted(gone))
        self._refuse_loss(table, len(gone), len(living_before))
        # What has a version of this refresh and went since gets its tombstone from the next one.
        gone -= appended
        if gone:
            yield table.tombstones(
                pl.DataFrame({"id": sorted(gone)}, schema={"id": pl.Int64()}), self.refresh_no
            )
        counts.rows_living = sum(item > floor for item in living)
        self._living[table.name] = living

    def _naming_vanished(self, table: Table) -> set[int]:
        """Records whose last version names what this reading found gone."""
        gone = {
            name: self._vanished[LINKS[name].name]
            for name in table.columns
            if name in LINKS and self._vanished.get(LINKS[name].name)
        }
        if not gone:
            return set()
        versions = self.warehouse.latest_versions(table.name, ["id", *gone], ["id"])
        if versions is None:
            return set()
        found: set[int] = set()
        for name, numbers in gone.items():
            links = versions.select("id", name)
            if table.columns[name][1] is ID_LIST:
                links = links.with_columns(pl.col(name).str.json_decode(pl.List(pl.Int64())))
                links = links.explode(name)
            found.update(links.filter(pl.col(name).is_in(numbers))["id"].to_list())
        return found

    def _older_leads_of_deals(self) -> Iterator[pl.DataFrame]:
        """Leads before the loaded history that its deals came from: no deal loses its source."""
        self._linked_leads -= self._living[LEADS.name]
        asked = self.asked_fields(LEADS).values()
        for rows in self._by_id(LEADS, sorted(self._linked_leads), asked):
            frame = self._typed(LEADS, rows)
            self._living[LEADS.name].update(frame["id"].to_list())
            self._changed[LEADS.name] += frame["id"].to_list()
            yield frame

    def _typed(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """Rows of an entity as versions, counted."""
        own = self._under_own_names(table, rows)
        frame = table.typed(own, self.refresh_no, self._user_fields(table))
        for row in rows:
            self.written_times.note(row.get("createdTime"))
        self.counts[table.name].rows_read += frame.height
        if table is DEALS:
            self._linked_leads.update(frame["lead_id"].drop_nulls().to_list())
        return frame

    def _under_own_names(
        self, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Rows of an entity with the fields that were asked for, user fields as `UF_CRM_*`.

        Raises:
            Bitrix24Error: a row came without one of them, which would read as an empty value.
        """
        names = self.asked_fields(table)
        try:
            return [{own: row[name] for own, name in names.items()} for row in rows]
        except KeyError:
            asked = set(names.values())
            row = next(row for row in rows if asked - row.keys())
            missing = min(own for own, name in names.items() if name not in row)
            raise Bitrix24Error(
                f"{table.name} {row.get(table.id_key)} came without the field {missing}, which was"
                " asked for: run the refresh again; if it stays, the doctor names the cause"
            ) from None

    def _entity_rows(
        self, table: Table, to_id: int, known_to: int
    ) -> Iterator[list[dict[str, Any]]]:
        assert table.entity_type_id is not None
        params = {**table.params, "select": list(self.asked_fields(table).values())}
        if not self.full:
            since = self._since()
            yield from self._chunks(table, {**params, "filter": {">=updatedTime": since}}, to_id)
            if table.has_state:
                # An activity need not move updatedTime.
                active = {**params, "filter": {">=lastActivityTime": since}}
                yield from self._chunks(table, active, to_id)
            # What is restored or imported may keep an old time, and where as much was deleted in
            # its window no count tells.
            new = {**params, "filter": {">id": known_to}}
            yield from self._chunks(table, new, to_id, known_to)
        yield from self._window(table, params, table.name, to_id)

    def _window(
        self, table: Table, params: Mapping[str, Any], entity: str, to_id: int
    ) -> Iterator[list[dict[str, Any]]]:
        """All rows behind the floor: at a full reading to the last ID, else to what is read."""
        floor = self._reach.floors[entity]
        yield from self._chunks(table, params, to_id if self.full else self._read_to[entity], floor)

    def _chunks(
        self, table: Table, params: Mapping[str, Any], to_id: int | None, last_id: int = 0
    ) -> Iterator[list[dict[str, Any]]]:
        """Pages of a walk gathered into chunks, with progress on a terminal."""
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

    def _new_versions(
        self, table: Table, frame: pl.DataFrame, previous: pl.DataFrame
    ) -> pl.DataFrame:
        changed = self._only_changed(table, frame, previous)
        if table.has_state and changed.height:
            moved = changed.join(
                previous.select("id", "state_hash"), on=["id", "state_hash"], how="anti"
            )
            self._changed[table.name] += moved["id"].to_list()
        return changed

    def _since(self) -> str:
        assert self.last is not None
        overlap = dt.timedelta(minutes=self.settings.refresh_overlap_minutes)
        return filter_time(self.last.as_of - overlap)

    def _refuse_hidden(self, table: Table, gone: Sequence[int]) -> None:
        """Whether what left the lists was deleted: asked by ID, of many a part drawn evenly.

        Raises:
            Bitrix24Error: the portal has one of them still.
        """
        asked = gone[:: -(-len(gone) // MOST_ASKED_BY_ID)] if gone else []
        answers = self.client.batches(
            {
                f"g{number}": Command("crm.item.get", {**table.params, "id": number})
                for number in asked
            },
            taken=(DELETED, HIDDEN),
        )
        still = [number for number in asked if answers[f"g{number}"].error != DELETED]
        if not still:
            return
        owner = self.client.access.owner
        hidden = [number for number in still if answers[f"g{number}"].error == HIDDEN]
        told = (
            f"of {len(gone):,} {table.name} that the portal no longer lists"
            + (f", {len(asked)} of which were asked for by ID," if len(asked) < len(gone) else "")
            + (
                f" {len(hidden)} are not deleted but hidden from {owner}"
                if hidden
                else f" {len(still)} are not deleted: it gives them by ID"
            )
            + f" (ID {_listed({str(number): '' for number in hidden or still}, 10)})"
        )
        if not self.accept_loss:
            mend = (
                f"give {owner} the right to read them"
                if hidden
                else "run the refresh again, and if it stays, ask the support of Bitrix24"
            )
            raise Bitrix24Error(
                f"{told}: nothing was published; {mend}, or run the refresh once with"
                " --accept-loss to publish without them"
            )
        self.warnings.append(f"{told}: accepted with --accept-loss, the reports are without them")

    def _refuse_loss(self, table: Table, gone: int, living_before: int) -> None:
        """Lost rights look like mass deletion."""
        allowed = max(SMALL_LOSS_ROWS, self.settings.max_deleted_share * living_before)
        if gone > allowed and not self.accept_loss:
            raise Bitrix24Error(
                f"{gone} of {living_before} {table.name} are gone from the portal, more than"
                f" max_deleted_share ({self.settings.max_deleted_share:.0%}) allows: check the"
                f" rights of {self.client.access.owner}; if they were really deleted, run the"
                " refresh once with --accept-loss"
            )

    # -- completeness

    def _reconcile(
        self,
        table: Table,
        loaded: tuple[int, int],
        living: set[int],
        previous: pl.DataFrame,
    ) -> Generator[pl.DataFrame, None, tuple[set[int], set[int]]]:
        """Compares counts by ID window with the living rows and mends what differs.

        Args:
            loaded: the IDs that are to be there, from (without it) and to.

        Returns:
            (IDs that were missing and are read now, IDs that are no longer on the portal).
        """
        counts = self.counts[table.name]
        inside = sorted(item for item in living if loaded[0] < item <= loaded[1])
        ids = pl.Series("id", inside, dtype=pl.Int64())
        totals = self._portal_totals(table, [loaded], COUNT_WINDOW_IDS)
        differing = [window for window, total in totals.items() if total != _within(ids, window)]
        counts.portal_total = sum(totals.values())
        missing: set[int] = set()
        vanished: set[int] = set()
        if differing:
            fine = self._portal_totals(table, differing, SWEEP_WINDOW_IDS)
            swept = [window for window, total in fine.items() if total != _within(ids, window)]
            on_portal = self._sweep(table, swept)
            here = {item for window in swept for item in ids.filter(_inside(ids, window)).to_list()}
            missing = on_portal - here
            vanished = here - on_portal
            found = yield from self._renewed(table, missing, previous)
            # What the portal lists and does not give stays a difference, for the checks to refuse.
            refused = self._sweep(table, [(item - 1, item) for item in sorted(missing - found)])
            missing = found
            counts.portal_total = ids.len() + len(missing) + len(refused) - len(vanished)
        return missing, vanished

    def _renewed(
        self, table: Table, ids: set[int], previous: pl.DataFrame
    ) -> Generator[pl.DataFrame, None, set[int]]:
        """Changed versions of the records with these IDs.

        Returns:
            The IDs that the portal gave.
        """
        found: set[int] = set()
        for rows in self._by_id(table, sorted(ids), self.asked_fields(table).values()):
            frame = self._typed(table, rows)
            found.update(frame["id"].to_list())
            yield self._new_versions(table, frame, previous)
        return found

    def _portal_totals(
        self, table: Table, windows: Sequence[tuple[int, int]], width: int
    ) -> dict[tuple[int, int], int]:
        """The portal's count of rows with an ID in (from, to], for pieces of at most `width`."""
        pieces = [
            (start, min(start + width, end))
            for begin, end in windows
            for start in range(begin, end, width)
        ]
        answers = self.client.batches(
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
        totals: dict[tuple[int, int], int] = {}
        for start, end in pieces:
            total = answers[f"w{start}"].total
            if total is None:
                raise Bitrix24Error(f"the portal tells no total of {table.name}")
            totals[start, end] = int(total)
        return totals

    def _sweep(self, table: Table, windows: Sequence[tuple[int, int]]) -> set[int]:
        """All IDs that the portal holds in the windows, a page of IDs to a command."""
        pieces = [
            (start, min(start + PAGE_SIZE, end))
            for begin, end in windows
            for start in range(begin, end, PAGE_SIZE)
        ]
        pages = self.client.lists(
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

    def _by_id(
        self, table: Table, ids: Sequence[int], select: Collection[str]
    ) -> Iterator[list[dict[str, Any]]]:
        for some in chunked(ids, ROWS_A_CHUNK):
            pages = self.client.lists(
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

    # -- cities and histories

    def _older_list(self, table: Table, to_id: int) -> Iterator[pl.DataFrame]:
        """What only the older lists have; rows of deleted items stay and are joined by nobody."""
        if table in DETAILS and self.settings.pii == "none":
            return
        assert table.owner is not None
        counts = self.counts[table.name]
        previous = self.warehouse.latest_versions(table.name, ["id", "row_hash"], ["id"])
        if previous is None:
            previous = pl.DataFrame(schema={"id": pl.Int64(), "row_hash": pl.String()})
        params = dict(table.params)
        if self.settings.pii != "full":
            params["select"] = [name for name in params["select"] if name != "COMMENTS"]
        living = set(previous["id"].to_list())
        floor = self._reach.floors[table.owner]
        seen: set[int] = set()
        for rows in self._older_rows(table, params, to_id, living):
            rows = [row for row in rows if number_of(row, table.id_key, table.method) not in seen]
            if table in DETAILS:
                rows = [dict(self._protect(row)) for row in rows]
            frame = table.typed(rows, self.refresh_no)
            # As the owner's living rows: of the loaded history.
            counts.rows_read += int((frame["id"] > floor).sum())
            seen.update(frame["id"].to_list())
            living.update(frame["id"].to_list())
            yield self._only_changed(table, frame, previous)
        counts.rows_living = len(living & self._living[table.owner])

    def _older_rows(
        self, table: Table, params: Mapping[str, Any], to_id: int, living: set[int]
    ) -> Iterator[list[dict[str, Any]]]:
        assert table.owner is not None
        if not self.full:
            changed = {**params, "filter": {">=DATE_MODIFY": self._since()}}
            yield from self._chunks(table, changed, to_id)
        yield from self._window(table, params, table.owner, to_id)
        # Records that were hidden until now, or are linked to, have an old time of change; the
        # window of a full reading leaves out those before the loaded history.
        floor = self._reach.floors[table.owner]
        owners = self._living[table.owner]
        asked = {item for item in owners if item <= floor} if self.full else owners - living
        yield from self._by_id(table, sorted(asked), params["select"])

    def _history(self, table: Table) -> Iterator[pl.DataFrame]:
        """Stage history: all of it at a full reading, else that of the items that changed.

        Of a part of the history it is read by items too.
        """
        assert table.owner is not None
        counts = self.counts[table.name]
        columns = ["id", "owner_id", "row_hash"]
        owners: pl.DataFrame | None = None
        if not self.full or self._reach.floors[table.owner]:
            asked = self._living[table.owner] if self.full else set(self._changed[table.owner])
            owners = pl.DataFrame({"owner_id": sorted(asked)}, schema={"owner_id": pl.Int64()})
        previous = self.warehouse.latest_versions(table.name, columns, ["id"], owners)
        if previous is None:
            previous = pl.DataFrame(schema={name: table.schema[name] for name in columns})
        chunks = (
            self._chunks(table, table.params, None)
            if owners is None
            else (
                rows
                for some in chunked(owners["owner_id"].to_list(), OWNERS_A_ROUND)
                for rows in self._histories_of(table, some)
            )
        )
        seen: list[pl.Series] = []
        for rows in chunks:
            frame = table.typed(rows, self.refresh_no)
            counts.rows_read += frame.height
            seen.append(frame["id"])
            yield self._only_changed(table, frame, previous)
        read = pl.concat(seen) if seen else pl.Series("id", [], dtype=pl.Int64())
        if read.is_duplicated().any():
            raise Bitrix24Error(f"{table.name}: a row came twice: run the refresh again")
        # Rows of deleted items are left as they are: their item's tombstone hides them.
        living = pl.DataFrame(
            {"owner_id": sorted(self._living[table.owner])}, schema={"owner_id": pl.Int64()}
        )
        vanished = previous.join(pl.DataFrame({"id": read}), on="id", how="anti").join(
            living, on="owner_id", how="semi"
        )
        # An item that was hidden since it was read takes its history along.
        entity = {LEADS.name: LEADS, DEALS.name: DEALS}[table.owner]
        without = vanished["owner_id"].unique().sort().to_list()
        pages = self._by_id(entity, without, ["id"])
        listed = {number_of(row, "id", entity.method) for rows in pages for row in rows}
        self._refuse_hidden(entity, [number for number in without if number not in listed])
        yield table.tombstones(vanished, self.refresh_no)
        counts.rows_living = read.len()

    def _histories_of(self, table: Table, owners: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        """Whole histories of the given items; a full page is followed to its end."""
        pending = [(list(piece), 0) for piece in chunked(owners, OWNERS_A_PAGE)]
        while pending:
            pages = self.client.lists(
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


def _own_name(table: Table, name: str, meta: Mapping[str, Any]) -> str:
    """`UF_CRM_*` of a user field; a system field is called by the portal's name.

    Bitrix24 makes the names of user fields in two ways and keeps `UF_CRM_*` where two would be the
    same, so that only `upperName` tells which field one is.

    Raises:
        Bitrix24Error: a user field came without it.
    """
    original = meta.get("upperName", name)
    if isinstance(original, str) and original.startswith("UF_"):
        return original
    if name.startswith("uf"):
        raise Bitrix24Error(
            f"crm.item.fields of {table.name} gave the user field {name} without its upperName: run"
            " the refresh again; if it stays, report it as an error"
        )
    return name


def our_time() -> dt.datetime:
    """The clock of this machine."""
    return dt.datetime.now(dt.UTC)


def is_administrator(profile: Any) -> bool:
    """Whether what the method `profile` gave is an administrator's."""
    return isinstance(profile, dict) and profile.get("ADMIN") is True


def not_an_administrator(access: Webhook | OAuth) -> str:
    """What to tell where the portal would show us only a part."""
    return (
        f"{access.owner} is not an administrator of the portal, so Bitrix24 would hide leads and"
        f" deals without a word: {access.make_administrator}"
    )


def filter_time(moment: dt.datetime) -> str:
    """A moment as filters of list methods name it."""
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds")


def _instant(value: Any) -> dt.datetime | None:
    """A time of the portal; None where it is none."""
    try:
        moment: dt.datetime | None = INSTANT.series([value])[0]
    except BAD_VALUE:
        return None
    return moment


def _listed(labels: Mapping[str, str], most: int = 30) -> str:
    """Codes with their labels, in one line."""
    shown = [f"{code} «{label}»" if label else code for code, label in labels.items()][:most]
    more = len(labels) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown) or "none"


def _inside(ids: pl.Series, window: tuple[int, int]) -> pl.Series:
    return (ids > window[0]) & (ids <= window[1])


def _within(ids: pl.Series, window: tuple[int, int]) -> int:
    """How many of the sorted IDs lie in (from, to]."""
    first, last = (ids.search_sorted(end, side="right") for end in window)
    return last - first


def raw_pipeline(warehouse: Warehouse) -> dlt.Pipeline:
    """The dlt pipeline that appends to schema `raw`; what a stopped run left pending is dropped.

    A stopped refresh is read anew under a new number, so its package is of no use.
    """
    dlt.config["normalize.parquet_normalizer.add_dlt_load_id"] = True
    # The files of a load hold the rows once more, and would keep what was forgotten.
    dlt.config["load.delete_completed_jobs"] = True
    warehouse.directory.mkdir(parents=True, exist_ok=True)
    pipeline = dlt.pipeline(
        "bitrix24",
        pipelines_dir=str(warehouse.directory / ".dlt"),
        destination=dlt.destinations.duckdb(str(warehouse.database)),
        dataset_name="raw",
    )
    if pipeline.has_pending_data:
        pipeline.abort_packages()
    return pipeline


def _bookkeeping(reading: Reading) -> Iterator[tuple[str, pl.DataFrame]]:
    """Rows of `raw.load_completeness` and `raw.refreshes` of one reading, not yet completed."""
    written = json.dumps({"times": reading.written_times.until(reading.as_of)})
    yield (
        "load_completeness",
        pl.DataFrame(
            [
                {"refresh_no": reading.refresh_no, "entity": name, **vars(counts)}
                for name, counts in reading.counts.items()
            ],
            schema_overrides={"portal_total": pl.Int64()},
        ),
    )
    yield (
        "refreshes",
        pl.DataFrame(
            [{**reading.header, "written_times": written, "completed": False}],
            schema_overrides={"history_from": pl.Datetime("us", "UTC")},
        ),
    )


def extract(
    client: Client,
    warehouse: Warehouse,
    settings: Settings,
    full: bool = False,
    accept_loss: bool = False,
    accept: Collection[str] = (),
    history_from: dt.date | None = None,
    say: Callable[[str], None] = log.info,
) -> Summary:
    """Reads the portal and appends what changed; the last refresh is not yet completed.

    A first load of a big portal takes several refreshes, the newest records first; all but the last
    are checked and completed here, and where one was stopped the next call goes on.

    Args:
        accept: raw checks whose failure is accepted in all parts; that of counts also where the
            portal never lists as many rows as it counts.
        history_from: for now, stop at what was created before this day of the portal.
        say: takes a line of progress after each part of a first load.

    Raises:
        Bitrix24Error: the portal refused, lost or garbled something; nothing becomes visible.
        ChecksFailed: a part failed the raw contract; the parts before it stay.
    """
    client.accepts_difference = DIFFERENCE in accept
    rows, wanted = FIRST_PART_ROWS, True if full else None
    while True:
        started = time.monotonic()
        summary = _read(client, warehouse, settings, wanted, accept_loss, history_from, rows)
        if not summary.goes_on:
            return summary
        check(warehouse, settings, accept)
        read = sum(summary.counts[table.name].rows_read for table in ENTITIES)
        seconds = time.monotonic() - started
        say(_progress(summary, read, seconds))
        rows, wanted = part_rows(read, seconds), False


def _progress(summary: Summary, read: int, seconds: float) -> str:
    """How far a first load is, its pace and when it will end."""
    loaded = sum(summary.counts[table.name].rows_living for table in ENTITIES)
    pace = max(read, 1) / max(seconds, 0.001)
    return (
        f"history back to {summary.history_from:%Y-%m-%d}: {loaded:,} of"
        f" {loaded + summary.rows_unread:,} records, {pace:,.0f} a second,"
        f" about {summary.rows_unread / pace / 60:,.0f} min left"
    )


def _read(
    client: Client,
    warehouse: Warehouse,
    settings: Settings,
    full: bool | None,
    accept_loss: bool,
    history_from: dt.date | None,
    part_rows: int,
) -> Summary:
    """One reading: one refresh, not yet completed; `full` None where the settings decide."""
    completed = warehouse.last_refreshes()
    last = completed[0] if completed else None
    last_full = next((refresh for refresh in completed if refresh.kind == "full"), None)
    other_fields = last is not None and last.scope != settings.scope
    reading = Reading(
        client,
        warehouse,
        settings,
        refresh_no=warehouse.next_refresh_no(),
        last=last,
        full=bool(full) or last_full is None or other_fields,
        accept_loss=accept_loss,
        not_before=history_from,
        part_rows=part_rows,
    )
    if last_full is not None and not reading.full:
        age = reading.as_of - last_full.as_of
        # After one that was stopped changes are read first: a reading that never ends in its time
        # must not keep all others out.
        is_due = (
            full is None
            and age >= dt.timedelta(days=settings.full_read_every_days)
            and not (settings.full_read_every_days and warehouse.full_reading_begun.exists())
        )
        is_owed = last_full.refresh_no < warehouse.full_reading_owed_by()
        if is_due or is_owed or reading.fields_changed:
            reading.full = True
            reading.header["kind"] = "full"

    if last is not None and settings.must_erase(last.scope):
        # Should this reading fail and the setting go back, changes alone would not bring them back.
        warehouse.owe_full_reading(reading.refresh_no)
        forget(warehouse, titles=settings.reads_titles)
    pipeline = raw_pipeline(warehouse)
    if reading.full:
        write_atomically(warehouse.full_reading_begun, reading.refresh_no, private=True)

    # dlt would wait for the end of what is under way, the pauses between requests included.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    @dlt.resource(name="bitrix24", write_disposition="append", max_table_nesting=0)
    def versions() -> Iterator[Any]:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
        for table, frame in reading.tables():
            yield dlt.mark.with_table_name(frame.to_arrow(), table.name)
        for name, frame in _bookkeeping(reading):
            yield dlt.mark.with_table_name(frame.to_arrow(), name)

    try:
        pipeline.run(versions(), loader_file_format="parquet")
    except PipelineStepFailed as failure:
        cause: BaseException | None = failure
        while cause is not None and not isinstance(cause, PipelineError):
            cause = cause.__cause__
        if cause is None:
            raise
    else:
        cause = None
        warehouse.full_reading_begun.unlink(missing_ok=True)
    finally:
        if reading.clock_fell_meanwhile:
            warehouse.owe_full_reading(reading.refresh_no + 1)
    if cause is not None:
        raise cause
    warning = reading.written_times.difference(settings.portal_timezone, reading.as_of)
    accepted = [
        f"the portal's counts of {method} and the rows that it lists differ by up to {rows:,}:"
        f" accepted with {ACCEPTABLE[DIFFERENCE]}"
        for method, rows in sorted(client.differences.items())
    ]
    return Summary(
        reading.refresh_no,
        reading.as_of,
        str(reading.header["kind"]),
        reading.counts,
        client.requests,
        reading.header["history_from"],
        reading.goes_on,
        [*([warning] if warning else []), *reading.warnings, *accepted],
    )

"""Checks a portal and the settings before a refresh does; only reads."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pipelines.bitrix24.access import NEEDED_SCOPES, OAuth, is_open_to_others
from pipelines.bitrix24.client import (
    BATCH_SIZE,
    PAGE_SIZE,
    Client,
    refuse_unreachable,
    rows_of,
)
from pipelines.bitrix24.entities import (
    ACTIVITIES,
    ACTIVITY_FIELD,
    DEALS,
    DETAILS,
    ENTITIES,
    HISTORIES,
    LEAD_ADDRESSES,
    Table,
)
from pipelines.bitrix24.offsets import WrittenTimes
from pipelines.bitrix24.pace import OPERATING_LIMIT_SECONDS, OPERATING_WINDOW_SECONDS
from pipelines.bitrix24.portal import (
    is_administrator,
    not_an_administrator,
)
from pipelines.bitrix24.setting_names import known_names, open_behind_paid
from pipelines.bitrix24.sync import Sync, filter_time, open_sync
from pipelines.bitrix24.values import listed
from pipelines.environment import ROOT
from pipelines.errors import Bitrix24Error, SettingsError, SpendFileError
from pipelines.issues import (
    HISTORY_BEGINS_AFTER_DEAL,
    OPEN_AFTER_HAND_OVER,
    OPEN_BEHIND_PAID_STAGE,
    published_issues,
)
from pipelines.settings import Settings
from pipelines.spend import read_spend
from pipelines.warehouse import Warehouse

MOST_SKEW_SECONDS = 60
CREATED_FIELD = "createdTime"
# Narrower scopes that also allow user.get.
USER_SCOPES = {"user", "user_basic", "user_brief"}
# Reference data, counts and the last page of each table.
FIXED_REQUESTS = 30


@dataclass(frozen=True)
class Finding:
    """One line of the report; `exit_code` applies to a problem."""

    level: Literal["ok", "not tried", "warning", "problem"]
    text: str
    exit_code: int = 1


@dataclass(frozen=True)
class Load:
    """What a first load reads from one table: rows, and the portal's seconds per page."""

    name: str
    method: str
    rows: int
    page_seconds: float

    @property
    def pages(self) -> int:
        return self.rows // PAGE_SIZE + 1


@dataclass(frozen=True)
class Estimate:
    """Time of a first load.

    Attributes:
        executing: execution seconds of the portal over all pages.
        requests: a batch holds up to 50 pages; `BITRIX24_REQUESTS_PER_SECOND` limits them.
        limited: methods slowed down by the limit of execution time, with their seconds.
        seconds: the total time; the slowest method decides, since they are read side by side.
    """

    pages: int
    executing: float
    requests: int
    limited: dict[str, float]
    seconds: float


def estimate(loads: Sequence[Load], per_second: float) -> Estimate:
    """Pages of a method are read one by one, and no longer than its limit in every ten minutes.

    Args:
        per_second: requests a second; 0: no limit.
    """
    by_method: dict[str, float] = {}
    for load in loads:
        spent = load.pages * load.page_seconds
        by_method[load.method] = by_method.get(load.method, 0.0) + spent
    limited = {name: spent for name, spent in by_method.items() if spent > OPERATING_LIMIT_SECONDS}
    slower = OPERATING_WINDOW_SECONDS / OPERATING_LIMIT_SECONDS
    paced = max(
        (spent * (slower if name in limited else 1) for name, spent in by_method.items()),
        default=0.0,
    )
    requests = FIXED_REQUESTS + sum(math.ceil(load.pages / BATCH_SIZE) for load in loads)
    return Estimate(
        pages=sum(load.pages for load in loads),
        executing=sum(by_method.values()),
        requests=requests,
        limited=limited,
        seconds=max(paced, requests / per_second if per_second else 0.0),
    )


def examine(client: Client, warehouse: Warehouse, settings: Settings) -> Iterator[Finding]:
    """All findings, each as soon as it is known.

    If the portal cannot be reached or refuses access, that is the last one.
    """
    yield from _Examination(client, warehouse, settings).findings()


@dataclass
class _Examination:
    client: Client
    warehouse: Warehouse
    settings: Settings
    _is_reachable: bool = field(default=False, init=False)
    _is_open: bool = field(default=False, init=False)
    _sees_crm: bool = field(default=False, init=False)
    _offset: dt.tzinfo | None = field(default=None, init=False)
    _times: WrittenTimes = field(default_factory=WrittenTimes, init=False)
    _sync: Sync | None = field(default=None, init=False)
    _whole: set[str] = field(default_factory=set, init=False)
    _told: set[str] = field(default_factory=set, init=False)

    def findings(self) -> Iterator[Finding]:
        yield from self._way_in()
        yield from self._guarded(self._spend)
        yield from self._guarded(self._connection)
        if self._is_reachable:
            yield from self._guarded(self._clock)
        if not self._is_open:
            return
        yield from self._guarded(self._rights)
        if not self._sees_crm:
            return
        yield from self._guarded(self._mode)
        yield from self._guarded(self._offsets)
        if self._is_open:
            yield from self._guarded(self._names)
        for entity in ENTITIES:
            yield from self._guarded(partial(self._fields_of_rows, entity))
        yield from self._guarded(self._sold_or_not)
        yield from self._guarded(self._history_without_count)
        for table, name in self._time_filters():
            if table in ENTITIES and table.name not in self._whole:
                continue
            yield from self._guarded(partial(self._time_filter, table, name))
        yield from self._totals()
        yield from self._next_full_sync()

    def _guarded(self, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        try:
            yield from check()
        except Bitrix24Error as error:
            # One cause may stop several checks.
            if str(error) not in self._told:
                self._told.add(str(error))
                yield Finding("problem", str(error))
        except (SettingsError, SpendFileError) as error:
            yield Finding("problem", str(error), error.exit_code)

    def _way_in(self) -> Iterator[Finding]:
        access = self.client.access
        if is_open_to_others(ROOT / ".env"):
            yield Finding("warning", f"others can read {ROOT / '.env'}: run chmod 600 on it")
        if isinstance(access, OAuth):
            yield Finding("ok", f"{access.portal_url}, by an application; tokens in {access.file}")
            if is_open_to_others(access.file):
                yield Finding(
                    "problem",
                    f"others can read {access.file}: run chmod 600 on it, and authorise the"
                    " application again if someone may have read it",
                )
        else:
            yield Finding("ok", f"{access.portal_url}, by an inbound webhook")

    def _spend(self) -> Iterator[Finding]:
        """Reads the spend files as the extraction does: rows, days and sums of each."""
        files: dict[str, list[dict[str, Any]]] = {}
        for row in read_spend(self.settings):
            files.setdefault(row["file"], []).append(row)
        for name, rows in files.items():
            sums: dict[str, Decimal] = {}
            for row in rows:
                currency = row["currency_code"] or "in the base currency"
                sums[currency] = sums.get(currency, Decimal()) + row["cost"]
            told = ", ".join(f"{amount:,.2f} {currency}" for currency, amount in sums.items())
            yield Finding(
                "ok",
                f"{name}: {len(rows):,} rows of spend from {min(row['date_from'] for row in rows)}"
                f" to {max(row['date_to'] for row in rows)}, {told} without VAT",
            )

    def _connection(self) -> Iterator[Finding]:
        """Tries once: a refresh waits minutes for a portal that is down, the doctor does not."""
        refuse_unreachable(self.client.portal_url)
        self._is_reachable = True
        yield from ()

    def _clock(self) -> Iterator[Finding]:
        began = dt.datetime.now(dt.UTC)
        answer = self.client.call("server.time")
        self._is_open = True
        here = began + (dt.datetime.now(dt.UTC) - began) / 2
        there = dt.datetime.fromisoformat(str(answer.result))
        self._offset = there.tzinfo
        zone = self.settings.portal_timezone
        local = there.astimezone(ZoneInfo(zone))
        shown = f"the portal answers; its clock shows {there:%Y-%m-%d %H:%M:%S %z}"
        self._times.note(answer.result)
        if difference := self._times.difference(zone, there):
            yield Finding("warning", f"{shown}; {difference}")
        else:
            yield Finding("ok", f"{shown}, the reports cut days in {zone} ({local:%z})")
        skew = (here - there).total_seconds()
        if abs(skew) > MOST_SKEW_SECONDS:
            yield Finding(
                "warning",
                f"this machine's clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'}"
                " the portal's: synchronise it with a time server (reports use the portal's clock,"
                " the warning about old data the reader's)",
            )

    def _offsets(self) -> Iterator[Finding]:
        """Offsets of the oldest and newest records, if today's offset matches the time zone."""
        now, zone = dt.datetime.now(dt.UTC), self.settings.portal_timezone
        if self._times.difference(zone, now):
            return
        for table in ENTITIES:
            for order in ("ASC", "DESC"):
                params = {"select": [table.id_key, CREATED_FIELD], "order": {table.id_key: order}}
                for row in self._rows(table, {**table.params, **params, "start": -1}):
                    self._times.note(row.get(CREATED_FIELD))
        if difference := self._times.difference(zone, now):
            yield Finding("warning", difference)

    def _rights(self) -> Iterator[Finding]:
        access = self.client.access
        if is_administrator(self.client.call("profile").result):
            yield Finding("ok", f"{access.owner} is an administrator")
        else:
            self._is_open = False
            yield Finding("problem", not_an_administrator(access))
        granted = {str(scope) for scope in listed(self.client.call("scope").result)}
        if granted & USER_SCOPES:
            granted.add("user")
        self._sees_crm = "crm" in granted
        missing = [scope for scope in NEEDED_SCOPES if scope not in granted]
        if missing:
            self._is_open = False
            yield Finding(
                "problem", f"no scope {', '.join(missing)}: {access.advice['insufficient_scope']}"
            )
        else:
            yield Finding("ok", f"scopes {', '.join(NEEDED_SCOPES)} are granted")

    def _mode(self) -> Iterator[Finding]:
        if int(self.client.call("crm.settings.mode.get").result) == 1:
            yield Finding("ok", "classic CRM: leads and deals")
        else:
            yield Finding(
                "ok", "simple CRM: new leads become deals at once, so there are few lead figures"
            )

    def _names(self) -> Iterator[Finding]:
        """Opens a sync as the extraction does: fields, reference data, names in the settings."""
        self._sync = open_sync(
            self.client, self.warehouse, self.settings, refresh_no=0, last=None, full=True
        )
        known = known_names(self._sync.reference)
        named = self.settings.named()
        yield Finding(
            "ok",
            f"the portal has {len(known['lead stage'])} lead stages, {len(known['deal stage'])}"
            f" deal stages, {len(known['pipeline'])} pipelines and"
            f" {len(known['user field'])} user fields of leads and deals"
            + (f"; it knows all {len(named)} that the settings name" if named else ""),
        )

    def _fields_of_rows(self, table: Table) -> Iterator[Finding]:
        """Rows must come with the fields that a sync requests."""
        if self._sync:
            asked = self._sync.fields.asked(table)
        else:
            asked = {name: name for name in (table.id_key, CREATED_FIELD)}
        rows = self._rows(table, {**table.params, "select": list(asked.values())})
        lacking = [own for own, name in asked.items() if not all(name in row for row in rows)]
        named = sorted(self.settings.named_user_fields & asked.keys())
        if not lacking:
            self._whole.add(table.name)
            if named and rows:
                yield Finding("ok", f"{table.name}: {', '.join(named)} can be read")
        elif all(name.startswith("UF_") for name in lacking):
            self._whole.add(table.name)
            yield Finding(
                "problem",
                f"{table.name}: the portal does not return {_listed(lacking)}: allow"
                f" {self.client.access.owner} to see these fields",
            )
        else:
            yield Finding(
                "problem",
                f"{table.name}: rows come without {_listed(lacking)}: the portal ignores the"
                " `select` of our requests (as in"
                " github.com/bitrix-tools/b24-rest-docs/issues/368): report it to Bitrix24",
            )

    def _sold_or_not(self) -> Iterator[Finding]:
        """Deals that the settings should declare sold or not, with amounts once published."""
        kinds = [OPEN_BEHIND_PAID_STAGE, HISTORY_BEGINS_AFTER_DEAL]
        if not self.settings.sales_pipelines:
            kinds.append(OPEN_AFTER_HAND_OVER)
        behind = open_behind_paid(self._sync.reference, self.settings) if self._sync else []
        told = set()
        for kind, key, text in published_issues(self.warehouse, *kinds):
            if kind == OPEN_BEHIND_PAID_STAGE:
                # Published with the settings of that time.
                if key not in {code for code, _, _ in behind}:
                    continue
                told.add(key)
            level: Literal["ok", "warning"] = (
                "ok" if kind == HISTORY_BEGINS_AFTER_DEAL else "warning"
            )
            yield Finding(level, text)
        for code, name, paid in behind:
            if code in told:
                continue
            params = {**DEALS.params, "select": ["id"], "filter": {"stageId": code}, "start": 0}
            deals = self.client.call(DEALS.method, params).total or 0
            if deals:
                yield Finding(
                    "warning",
                    f'{deals:,} deals on "{name}", after "{paid}", count as not sold: add {code} to'
                    " paid_stages if they are paid",
                )
            else:
                yield Finding(
                    "ok",
                    f'"{name}" ({code}) is an open stage after "{paid}": deals on it count as not'
                    " sold; there are none now",
                )

    def _history_without_count(self) -> Iterator[Finding]:
        """`start=-1` and a keyset must return the same rows as counted pages."""
        for table in HISTORIES:
            params = {**table.params, "order": {"ID": "ASC"}}
            counted, fast = (
                [row["ID"] for row in self._rows(table, {**params, "start": start})]
                for start in (0, -1)
            )
            if counted == fast:
                yield Finding("ok", f"{table.name}: start=-1 works ({len(fast)} rows checked)")
            else:
                yield Finding(
                    "problem",
                    f"{table.name}: {table.method} returns {len(fast)} rows with start=-1 and"
                    f" {len(counted)} with start=0, so a sync would lose rows: report this",
                )

    # -- time filters

    def _time_filters(self) -> list[tuple[Table, str]]:
        """The fields by which an incremental sync and a first load in parts filter."""
        legacy = [LEAD_ADDRESSES, *(DETAILS if self.settings.pii != "none" else ())]
        completed = self.warehouse.last_refreshes()
        is_loaded = bool(completed) and completed[0].history_from is None
        return [
            *((table, CREATED_FIELD) for table in ENTITIES if not is_loaded),
            *((table, "updatedTime") for table in ENTITIES),
            *((table, ACTIVITY_FIELD) for table in ENTITIES if table.has_state),
            *((table, "DATE_MODIFY") for table in legacy),
        ]

    def _time_filter(self, table: Table, name: str) -> Iterator[Finding]:
        """Compares the newest rows, filtered here, with those that the portal's filter finds."""
        what = f"{table.name}: the filter by {name}"
        try:
            verdict, example = self._tried(table, name)
            if verdict == "differs":  # a row may have been saved between the two requests
                verdict, example = self._tried(table, name)
        except Bitrix24Error as error:
            if error.code != "INVALID_ARG_VALUE":
                raise
            verdict, example = "refused", str(error)
        level: Literal["warning", "problem"] = "problem"
        slow = "refreshes read all rows, not only changed ones"
        if name == CREATED_FIELD:
            fix = "load without --history-from, and report this"
            slow = "a first load is read in one piece, even with --history-from"
        elif self.settings.full_read_every_days == 0:
            fix, level = (
                "nothing to do: with these settings every refresh is a full sync",
                "warning",
            )
        else:
            fix = (
                "set full_read_every_days: 0 to run a full sync every time (now missed changes wait"
                f" for the full sync every {self.settings.full_read_every_days} days)"
            )
        if verdict == "right":
            yield Finding("ok", f"{what} works with {example}")
        elif verdict == "few":
            yield Finding("not tried", f"{what}: too few rows")
        elif verdict == "ignored":
            yield Finding("warning", f"{what} is ignored ({example}): {slow}")
        else:
            yield Finding(level, f"{what} {verdict} ({example}): {fix}")

    def _tried(self, table: Table, name: str) -> tuple[str, str]:
        key = table.id_key
        newest = {
            int(row[key]): dt.datetime.fromisoformat(row[name])
            for row in self._rows(
                table,
                {**table.params, "select": [key, name], "order": {key: "DESC"}, "start": -1},
            )
            if row.get(name)
        }
        moments = sorted(set(newest.values()))
        if len(moments) < 2:
            return "few", ""
        since = moments[len(moments) // 2]
        wanted = {number for number, moment in newest.items() if moment >= since}

        def found(value: str) -> set[int]:
            rows = self._rows(
                table,
                {
                    **table.params,
                    "select": [key],
                    "filter": {
                        f">={name}": value,
                        f">={key}": min(newest),
                        f"<={key}": max(newest),
                    },
                    "order": {key: "ASC"},
                    "start": 0,
                },
            )
            return {int(row[key]) for row in rows} & set(newest)

        form = filter_time(since)
        got = found(form)
        if got == wanted:
            return "right", form
        if got == set(newest):
            return "ignored", form
        told = f"{form} finds {len(got)} of {len(wanted)} rows"
        other = f"{since.astimezone(self._offset):%Y-%m-%d %H:%M:%S}"
        if found(other) == wanted:
            told += f"; {other} works: report this"
        return "differs", told

    # -- size and time

    def _totals(self) -> Iterator[Finding]:
        loads = []
        legacy = [LEAD_ADDRESSES, *(DETAILS if self.settings.pii != "none" else ())]
        for table in (*ENTITIES, *legacy, *HISTORIES, ACTIVITIES):
            try:
                loads.append(self._load(table))
            except Bitrix24Error as error:
                yield Finding("problem", f"{table.name} cannot be counted: {error}")
        shown = ", ".join(f"{load.name} {load.rows:,}" for load in loads)
        yield Finding("ok", f"on the portal: {shown}")
        per_second = self.client.pace.per_second
        expected = estimate(loads, per_second)
        text = (
            f"a first load or full sync takes about {_duration(expected.seconds)}:"
            f" {expected.pages:,} pages of {PAGE_SIZE} rows take the portal"
            f" {expected.executing:,.0f} s (one page of each table was timed),"
            f" {expected.requests:,} requests at BITRIX24_REQUESTS_PER_SECOND={per_second:g}"
            + (f" {expected.requests / per_second:,.0f} s" if per_second else " are not paced")
        )
        for method, seconds in expected.limited.items():
            text += (
                f"; {method} needs {seconds:,.0f} s and gets {OPERATING_LIMIT_SECONDS:g} s of every"
                f" {OPERATING_WINDOW_SECONDS / 60:g} minutes"
            )
        yield Finding("ok", text)

    def _load(self, table: Table) -> Load:
        key = table.id_key
        total = self.client.call(table.method, {**table.params, "select": [key], "start": 0}).total
        if total is None:
            raise Bitrix24Error("the portal gives no total")
        params: dict[str, Any] = {**table.params, "order": {key: "ASC"}, "start": -1}
        if self._sync and table in ENTITIES:
            params["select"] = list(self._sync.fields.asked(table).values())
        began = time.monotonic()
        answer = self.client.call(table.method, params)
        taken = time.monotonic() - began if answer.seconds is None else answer.seconds
        return Load(table.name, table.method, int(total), taken)

    def _next_full_sync(self) -> Iterator[Finding]:
        completed = self.warehouse.last_refreshes()
        full = next((refresh for refresh in completed if refresh.kind == "full"), None)
        days = self.settings.full_read_every_days
        if full is None:
            text = "nothing is loaded yet: the first refresh reads everything"
        elif completed[0].scope != self.settings.scope:
            text = "the next refresh reads everything: pii, its key, titles or user fields changed"
        elif full.refresh_no < self.warehouse.full_sync_required_from():
            text = "the next refresh reads everything: an earlier one requires it"
        elif days == 0:
            text = "every refresh reads everything (full_read_every_days: 0)"
        elif self.warehouse.full_sync_begun.exists():
            text = (
                "a full sync was stopped: the next refresh reads changes, the one after everything"
            )
        else:
            due = full.as_of + dt.timedelta(days=days)
            text = (
                f"the next full sync is due on {due:%Y-%m-%d %H:%M %Z}, {days} days after the"
                f" last; until then refreshes read what changed since"
                f" {completed[0].as_of:%Y-%m-%d %H:%M %Z}"
            )
        yield Finding("ok", text)

    def _rows(self, table: Table, params: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self.client.call(table.method, params)
        return rows_of(answer.result, table.items_key, table.method)


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"

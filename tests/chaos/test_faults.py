"""Each fault of the demo portal alone, and seeded mixes of them: published right, or not at all.

A refresh under faults ends in one of two ways. It is completed, and then every record that was
created up to `as_of` and lived throughout is in the raw log once, in a state that it had between
start and end of the extraction; what was deleted meanwhile may be in or out. Or it fails with a
message that names the cause, and what was completed before stays. The next quiet refresh equals
the portal. The judge reads the portal's own tables after each request and the log with its own SQL;
it uses nothing of `pipelines`.

dbt takes most of a refresh's seconds, so the mixes and most rows of the matrix run extraction and
raw checks in this process, with a plain loader instead of dlt's; the last tests run the whole
`refresh` without workbooks and site. FAULT_MIXES and FAULT_SEED draw other mixes.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import random
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from pipelines.bitrix24 import client as client_module
from pipelines.bitrix24 import portal as portal_module
from pipelines.bitrix24.access import OAuth
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import check
from pipelines.contract import DIFFERENCE
from pipelines.errors import PipelineError
from pipelines.options import Options
from pipelines.refresh import refresh as whole_refresh
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import FAULTS, Fault, HttpAnswer, HttpRequest, Portal, serve
from scripts.demo_portal.events import people_work
from tests.support.compiled_models import compiled_models
from tests.support.plain_refresh import opened_once, plain_refresh
from tests.support.small_portal import USERS, deal, deal_visit, lead, lead_visit, write_portal

MIXES = int(os.environ.get("FAULT_MIXES", "4"))
FIRST_SEED = int(os.environ.get("FAULT_SEED", "1"))
SECRET = "planted-secret-of-the-webhook"
LEADS, DEALS = 130, 60
STAGES = ["NEW", "JUNK", "CONVERTED"]

# What a message must say when the fault stops a refresh.
HTTP_5XX = r"with HTTP 50\d and no valid JSON"
LOST = r"are gone from the portal, more than|none of \d+ records from earlier refreshes"
HIDDEN = r"are not deleted but hidden from .* --accept-loss"
# The answer with the new pair was cut short, and the old pair is spent.
LOST_PAIR = "invalid_grant; .* authorise the application again"
CAUSES = {
    "http_500": HTTP_5XX,
    "http_502": HTTP_5XX,
    "http_503": HTTP_5XX,
    "reset": "the connection failed",
    "reset_midway": "the connection failed",
    "timeout": "it did not answer in time",
    "slow": "it did not answer in time",
    "moved": r"has moved to renamed\.bitrix24\.ru: put (the new|its) address into BITRIX24_",
    "broken_json": r"HTTP (200|400|401) and no valid JSON: try again later",
    "request_limit": "QUERY_LIMIT_EXCEEDED",
    "expired_token": "expired_token",
    "operating_limit": "OPERATION_TIME_LIMIT",
    "failing_command": r"refused .* \((INTERNAL_SERVER_ERROR|ERROR_CORE)\)",
    "short_page": "the portal counts .* and lists",
    "wrong_type": "cannot be read as|in an unknown form|is not a number|came without|raw checks",
    # A row without its ID is empty if only the ID was requested.
    "missing_value": r"came without|with empty rows|is not a number|raw checks",
    "missing_key": "left out 1 of .* commands",
    "high_total": "the portal counts .* and lists .* accept it once with --accept-difference",
    "changes": "run the refresh again",
    # Records and tokens of the earlier clock, which is ahead now.
    "clock": "raw checks failed|check its clock|clock went back by .* minutes during",
    "rights_lost": f"not an administrator|{LOST}|{HIDDEN}",
    "hidden_deals": HIDDEN,
    "mass_disappearance": LOST,
    "another_portal": "another portal answers at",
    "vanished_field": "no longer have the field|have no field",
}


# -- the portal


def company(folder: Path) -> Path:
    """Three pages of leads, two of deals and of users, histories, cities, activities."""

    def at(number: int) -> str:
        return f"2026-03-{number % 27 + 1:02}T{number % 10 + 9:02}:{number % 60:02}:00+03:00"

    def times(number: int) -> dict[str, str]:
        names = ("createdTime", "updatedTime", "movedTime", "lastActivityTime")
        return dict.fromkeys(names, at(number))

    leads = [
        lead(n, opportunity=n * 10, UF_CRM_1="да" if n % 3 else None, **times(n))
        for n in range(1, LEADS + 1)
    ]
    deals = [deal(n, opportunity=n * 100.25, leadId=n, **times(n + 5)) for n in range(1, DEALS + 1)]
    return write_portal(
        folder,
        leads=leads,
        deals=deals,
        contacts=[{"id": n, "createdTime": at(n), "updatedTime": at(n)} for n in range(1, 8)],
        companies=[{"id": 5, "createdTime": at(5), "updatedTime": at(5)}],
        lead_stage_history=[lead_visit(n, n, "NEW", "P", at(n)) for n in range(1, LEADS + 1)],
        deal_stage_history=[deal_visit(n, n, "NEW", "P", at(n + 5)) for n in range(1, DEALS + 1)],
        activities=[
            {
                "ID": n,
                "OWNER_ID": n,
                "OWNER_TYPE_ID": 2,
                "COMPLETED": "N" if n % 2 else "Y",
                "CREATED": at(n),
            }
            for n in range(1, 30)
        ],
        lead_addresses=[{"ID": n, "ADDRESS_CITY": "Казань"} for n in range(1, LEADS, 3)],
        users=[*USERS, *({**USERS[0], "ID": str(n), "NAME": f"И{n}"} for n in range(2, 60))],
    )


@contextmanager
def served(folder: Path, oauth: bool = False) -> Iterator[Portal]:
    with serve(company(folder), token=SECRET, oauth=oauth, operating_limit=True) as portal:
        yield portal


@dataclass
class Journal:
    """States of leads and deals since the portal last gave its time, request by request."""

    portal: Portal
    throughout: dict[str, set[int]] = field(default_factory=dict)
    states: dict[str, dict[int, set[tuple[str, Decimal]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._answer = self.portal.answer
        self._told = -1
        self._versions: dict[str, Any] = {}
        self.portal.answer = self._watched  # type: ignore[method-assign]
        self._note(True)

    def _watched(self, request: HttpRequest) -> HttpAnswer:
        answered = self._answer(request)
        told = self.portal.calls["server.time"]
        self._note(told != self._told)
        self._told = told
        return answered

    def _note(self, is_new: bool) -> None:
        for name in ("leads", "deals"):
            version = (self.portal.data.tables[name].version, self.portal.data.rights)
            if not is_new and version == self._versions.get(name):
                continue
            self._versions[name] = version
            now = portal_states(self.portal, name)
            if is_new:
                self.throughout[name], self.states[name] = set(now), {}
            self.throughout[name] &= now.keys()
            for number, state in now.items():
                self.states[name].setdefault(number, set()).add(state)


def visible(portal: Portal, name: str) -> list[dict[str, Any]]:
    return portal.data.tables[name].plain_rows(portal.data.seen(name))


def portal_states(
    portal: Portal, name: str, as_of: dt.datetime | None = None
) -> dict[int, tuple[str, Decimal]]:
    """What the portal shows; a clock that was put back leaves records in the future."""
    return {
        row["id"]: (
            row["stageId"],
            Decimal(str(row.get("opportunity") or 0)).quantize(Decimal("0.01")),
        )
        for row in visible(portal, name)
        if as_of is None or dt.datetime.fromisoformat(row["createdTime"]) <= as_of
    }


# -- the judge


def log(warehouse: Warehouse, table: str, columns: str, key: str = "id") -> list[tuple[Any, ...]]:
    """The latest version of each key among completed refreshes, if it is not a tombstone."""
    with warehouse.connect() as connection:
        doubled = connection.execute(
            f"select {key}, refresh_no from raw.{table} group by all having count(*) > 1"
        ).fetchall()
        assert doubled == [], f"{table}: versions that one refresh appended twice"
        return connection.execute(
            f"select {columns} from raw.{table} as log semi join ("
            f" select {key}, max(refresh_no) as refresh_no from raw.{table}"
            "  where refresh_no in (select refresh_no from raw.refreshes where completed)"
            f" group by {key}) using ({key}, refresh_no) where not is_deleted"
        ).fetchall()


def completed(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    if not warehouse.database.exists():
        return []
    with warehouse.connect() as connection:
        if not connection.execute(
            "from duckdb_tables() where schema_name = 'raw' and table_name = 'refreshes'"
        ).fetchall():
            return []
        return connection.execute(
            "select distinct refresh_no from raw.refreshes where completed order by 1"
        ).fetchall()


def assert_right(journal: Journal, warehouse: Warehouse) -> None:
    for name in ("leads", "deals"):
        rows = log(warehouse, name, "id, stage_id, opportunity")
        assert_states(journal, name, {number: (stage, amount) for number, stage, amount in rows})


def assert_states(
    journal: Journal,
    name: str,
    got: dict[int, tuple[str, Decimal]],
    not_yet: Collection[int] = (),
) -> None:
    lost = journal.throughout[name] - got.keys() - set(not_yet)
    assert not lost, f"{name} that lived throughout are not there: {sorted(lost)}"
    for number, state in got.items():
        had = journal.states[name].get(number)
        assert had, f"{name} {number} was not on the portal"
        assert state in had, f"{name} {number} is {state} and was {had}"


def assert_equal(portal: Portal, warehouse: Warehouse) -> None:
    """After a quiet refresh: every table as the portal has it."""
    for name in ("leads", "deals"):
        rows = log(warehouse, name, "id, stage_id, opportunity")
        assert {n: (stage, amount) for n, stage, amount in rows} == portal_states(portal, name)
        living = portal_states(portal, name).keys()
        history, stage = (
            f"{name[:-1]}_stage_history",
            "STAGE_ID" if name == "deals" else "STATUS_ID",
        )
        visits = log(warehouse, history, "id, owner_id, stage_id")
        assert sorted(row for row in visits if row[1] in living) == sorted(
            (row["ID"], row["OWNER_ID"], row[stage]) for row in visible(portal, history)
        )
    cities = {n: city for n, city in log(warehouse, "lead_addresses", "id, address_city") if city}
    living = portal_states(portal, "leads").keys()
    assert {n: city for n, city in cities.items() if n in living} == {
        int(row["ID"]): row["ADDRESS_CITY"] for row in visible(portal, "lead_addresses")
    }
    assert dict(log(warehouse, "statuses", "id, name")) == {
        int(row["ID"]): row["NAME"] for row in visible(portal, "statuses")
    }
    assert {n for (n,) in log(warehouse, "users", "id")} == {
        int(row["ID"]) for row in visible(portal, "users")
    }
    assert {n for (n,) in log(warehouse, "activities", "id")} == {
        int(row["ID"]) for row in visible(portal, "activities") if row["COMPLETED"] == "N"
    }


# -- the runs


@pytest.fixture
def plain_loader() -> Iterator[None]:
    with plain_refresh(), opened_once():
        yield


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "REQUEST_TIMEOUT_SECONDS", (5, 3))


@dataclass
class Company:
    """A portal, its warehouse, and what was said in its runs."""

    portal: Portal
    warehouse: Warehouse
    said: list[str] = field(default_factory=list)
    passed: float = 0.0

    def pass_time(self, seconds: float) -> None:
        """For the portal and for us, without waiting."""
        self.passed += seconds
        self.portal.clock.move(seconds)

    def our_time(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.passed)

    def __post_init__(self) -> None:
        self.journal = Journal(self.portal)
        if self.portal.application:
            self._first_token = self.portal.application.refresh_token
            self._tokens = {self._first_token}

    def run(self, accept: Collection[str] = (), **options: Any) -> PipelineError | None:
        """Extraction and checks; None where they were completed."""
        settings = Settings.load()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(portal_module, "our_time", self.our_time)
                extract(self.connect(), self.warehouse, settings, Options(accept=accept, **options))
            check(self.warehouse, accept=accept)
        except PipelineError as error:
            self._remember(error)
            return error
        finally:
            if self.portal.application:
                self._tokens |= {self.portal.application.refresh_token}
                self._tokens |= self.portal.application._access_ends.keys()
        return None

    def connect(self) -> Client:
        portal = self.portal
        access: str | OAuth = portal.webhook_url
        if portal.application:
            given = portal.environment
            access = OAuth(
                self.warehouse,
                given["BITRIX24_PORTAL"],
                given["BITRIX24_OAUTH_CLIENT_ID"],
                given["BITRIX24_OAUTH_CLIENT_SECRET"],
                # Of the first authorisation: since then oauth.json has its pair.
                self._first_token,
                given["BITRIX24_OAUTH_TOKEN_URL"],
            )
        return Client(access, retry_seconds=0.001, sleep=self.pass_time)

    def _remember(self, error: BaseException | None) -> None:
        while error is not None:
            self.said.append(str(error))
            error = error.__cause__ or error.__context__

    def lost_its_pair(self) -> bool:
        if not self.portal.application:
            return False
        file = self.warehouse.directory / "oauth.json"
        ours = json.loads(file.read_text())["refresh_token"] if file.exists() else self._first_token
        return bool(self.portal.application.refresh_token != ours)

    def authorise_again(self) -> None:
        """As the message of a lost pair of tokens says to."""
        assert self.portal.application
        self._first_token = self.portal.application.refresh_token = f"again-{len(self._tokens)}"
        self._tokens.add(self._first_token)

    def quiet(self, hours: int = 1, **options: Any) -> None:
        """No fault, some time later: the log equals the portal."""
        self.portal.faults.clear()
        self.portal.set_rights()
        self.pass_time(hours * 3600)
        error = self.run(**options)
        assert error is None, error
        assert_right(self.journal, self.warehouse)
        assert_equal(self.portal, self.warehouse)

    def assert_no_secret(self, *outputs: str) -> None:
        secrets = {SECRET}
        if self.portal.application:
            secrets |= {self.portal.application.client_secret, *self._tokens}
        texts = [*self.said, *outputs]
        files = [
            path
            for path in self.warehouse.directory.rglob("*")
            if path.is_file() and path.name != "oauth.json"
        ]
        for secret in secrets:
            assert not any(secret in text for text in texts)
            for path in files:
                assert secret.encode() not in path.read_bytes(), path


@pytest.fixture(scope="module")
def read_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The warehouse of a company that was read once, and our time when its clock began."""
    folder = tmp_path_factory.mktemp("once")
    with plain_refresh(), served(folder / "portal") as portal:
        began = time.time()
        company = Company(portal, Warehouse(folder / "data"))
        assert company.run() is None
        assert_right(company.journal, company.warehouse)
        assert_equal(portal, company.warehouse)
    return folder / "data", began


@pytest.fixture
def firm(tmp_path: Path, read_once: tuple[Path, float], plain_loader: None) -> Iterator[Company]:
    """A company that was read once, an hour before.

    The portal's clock and ours start again: otherwise the later of many tests would find a clock
    that lost the time which the earlier ones took.
    """
    data, began = read_once
    shutil.copytree(data, tmp_path / "data")
    with served(tmp_path / "portal") as portal:
        company = Company(portal, Warehouse(tmp_path / "data"), passed=began - time.time())
        company.pass_time(3600)
        yield company


# -- the matrix

RIGHT = ""
# After these a refresh may differ from the portal: they may hit what is read already.
CHANGING = {"changes", "new_user_field", "deleted_stages", "renamed_stages"}


@dataclass(frozen=True)
class Row:
    """One run of the matrix: its faults and how it ends (RIGHT, or what the message says)."""

    faults: tuple[Fault, ...]
    ends: str
    full: bool = False

    def __str__(self) -> str:
        names = "+".join(fault.name for fault in self.faults)
        return f"{names}{'-full' if self.full else ''}-{'right' if not self.ends else 'fails'}"


def always(name: str, **options: Any) -> tuple[Fault, ...]:
    return (Fault(name, times=None, **options),)


MATRIX = [
    *(
        Row((Fault(name, times=3, after=2),), RIGHT)
        for name in ("http_500", "http_502", "http_503")
    ),
    *(Row(always(name, after=2), CAUSES[name]) for name in ("http_500", "http_502", "http_503")),
    Row((Fault("reset", times=3, after=1), Fault("reset_midway", times=3, after=3)), RIGHT),
    Row(always("reset", after=3), CAUSES["reset"]),
    Row(always("reset_midway", after=3), CAUSES["reset_midway"]),
    Row((Fault("timeout", seconds=4, after=2),), RIGHT),
    Row((Fault("slow", seconds=0.5, times=3, after=2),), RIGHT),
    Row((Fault("moved", after=2),), CAUSES["moved"]),
    Row((Fault("broken_json", times=3, after=2),), RIGHT),
    Row(always("broken_json", after=2), CAUSES["broken_json"]),
    Row((Fault("request_limit", times=6, after=2),), RIGHT),
    Row(always("request_limit", after=2), CAUSES["request_limit"]),
    Row((Fault("operating_limit", seconds=300, method="crm.item.list"),), RIGHT),
    Row((Fault("operating_limit", seconds=300, method="crm.status.list"),), RIGHT),
    Row((Fault("operating_limit", seconds=7200, method="crm.item.list"),), "OPERATION_TIME_LIMIT"),
    Row((Fault("failing_command", times=3, method="crm.item.list"),), RIGHT),
    Row((Fault("failing_command", value="ERROR_CORE", method="crm.item.list"),), "ERROR_CORE"),
    Row(always("failing_command", method="crm.stagehistory.list"), "INTERNAL_SERVER_ERROR", True),
    Row((Fault("missing_key", times=5, after=1),), RIGHT),
    Row(always("missing_key", after=2), CAUSES["missing_key"]),
    Row(always("high_total", method="crm.item.list"), CAUSES["high_total"]),
    Row(always("high_total", method="crm.item.list"), CAUSES["high_total"], True),
    Row(always("high_total", method="user.get"), CAUSES["high_total"]),
    Row(always("ignored_time"), RIGHT),
    Row(always("ignored_time"), RIGHT, True),
    *(
        Row((Fault("short_page", times=2, method=method, after=after),), RIGHT, full)
        for method, after in (
            ("crm.item.list", 0),
            ("crm.item.list", 8),
            ("crm.stagehistory.list", 0),
            ("crm.lead.list", 0),
            ("crm.activity.list", 0),
        )
        for full in (False, True)
    ),
    Row((Fault("short_page", times=2, method="user.get"),), RIGHT),
    Row((Fault("short_page", times=2, method="crm.status.list"),), RIGHT),
    Row(always("short_page", method="user.get"), CAUSES["short_page"]),
    Row(
        (Fault("wrong_type", method="crm.item.list", value="opportunity"),),
        "field opportunity",
        True,
    ),
    Row((Fault("wrong_type", method="crm.item.list", value="stageId"),), "field stageId", True),
    Row(
        (Fault("wrong_type", method="crm.item.list", value="id", after=12),),
        CAUSES["wrong_type"],
        True,
    ),
    Row(
        (Fault("wrong_type", method="crm.stagehistory.list", value="OWNER_ID"),),
        "field OWNER_ID",
        True,
    ),
    Row((Fault("wrong_type", method="crm.status.list", value="ENTITY_ID"),), "field ENTITY_ID"),
    Row(
        (Fault("missing_value", method="crm.item.list", value="opportunity", after=1),),
        "without",
        True,
    ),
    Row(
        (Fault("missing_value", method="crm.stagehistory.list", value="STATUS_ID"),),
        "without",
        True,
    ),
    Row((Fault("changes", times=None, chance=0.4),), RIGHT),
    Row((Fault("changes", times=None, chance=0.4),), RIGHT, True),
    Row((Fault("mass_disappearance"),), CAUSES["mass_disappearance"]),
    Row((Fault("mass_disappearance", after=2),), CAUSES["mass_disappearance"]),
    Row((Fault("mass_disappearance", value=1),), CAUSES["mass_disappearance"]),
    Row((Fault("hidden_deals"),), CAUSES["hidden_deals"]),
    Row((Fault("hidden_deals"),), CAUSES["hidden_deals"], True),
    Row((Fault("rights_lost"),), CAUSES["rights_lost"]),
    Row((Fault("rights_lost", after=3),), CAUSES["rights_lost"]),
    Row((Fault("another_portal"),), CAUSES["another_portal"]),
    Row((Fault("another_portal", after=3),), "another portal answers|run the refresh again|gone"),
    Row((Fault("new_user_field"),), RIGHT),
    Row((Fault("vanished_field"),), RIGHT),
    Row((Fault("vanished_field", value="opportunity"),), CAUSES["vanished_field"]),
    Row((Fault("deleted_stages"), Fault("renamed_stages")), RIGHT),
    Row((Fault("clock", seconds=-7200),), RIGHT),
    Row((Fault("clock", seconds=86400 * 40, after=3),), RIGHT),
    Row((Fault("utc_offset", value=-5),), RIGHT),
    Row((Fault("utc_offset", value=5.5, after=3),), RIGHT),
]


@pytest.mark.parametrize("row", MATRIX, ids=str)
def test_each_fault(
    firm: Company, row: Row, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """People work; the fault happens; what is completed is right, and so is the next refresh."""
    caplog.set_level(logging.DEBUG)
    people_work(firm.portal, random.Random(3), edits=12)
    firm.pass_time(3600)
    before = completed(firm.warehouse)
    firm.portal.inject(*row.faults, seed=5)
    error = firm.run(full=row.full)
    struck = {fault.name for fault in row.faults} & set(firm.portal.faults.counts)
    assert struck == {fault.name for fault in row.faults}
    if row.ends:
        assert error is not None, "completed under a fault that it cannot stand"
        assert re.search(row.ends, str(error)), error
        assert completed(firm.warehouse) == before
    else:
        assert error is None, error
        assert_right(firm.journal, firm.warehouse)
        if not struck & CHANGING:
            assert_equal(firm.portal, firm.warehouse)
    if "another_portal" not in struck and row.ends != CAUSES["vanished_field"]:
        firm.quiet(accept_loss=True)
    firm.assert_no_secret(*capfd.readouterr(), caplog.text)


# By hand: 130 leads of 10, 20 … 1,300; 60 deals of 100.25, 200.50 … 6,015.
WHOLE = {"leads": (130, Decimal("85150.00")), "deals": (60, Decimal("183457.50"))}
STEADY = {
    "commands left out": (
        *always("missing_key", every=3),
        *always("missing_key", every=20),
    ),
    "broken JSON": always("broken_json", every=3),
    "cut bodies": always("reset_midway", every=3),
    "counts too high": always("high_total", value=3),
    "times passed over": always("ignored_time"),
}


def figures(warehouse: Warehouse) -> dict[str, tuple[int, Decimal]]:
    """Records and their amount."""
    found = {}
    for name in ("leads", "deals"):
        amounts = [amount for _, amount in log(warehouse, name, "id, opportunity")]
        found[name] = (len(amounts), sum(amounts, Decimal(0)))
    return found


@pytest.mark.parametrize("faults", STEADY.values(), ids=STEADY)
def test_steady_faults_leave_a_first_load_and_the_next_refresh_exact(
    tmp_path: Path, plain_loader: None, faults: tuple[Fault, ...]
) -> None:
    accept = [DIFFERENCE] if faults[0].name == "high_total" else []
    with served(tmp_path / "portal") as portal:
        firm = Company(portal, Warehouse(tmp_path / "data"))
        portal.inject(*faults, seed=1)
        assert firm.run(accept=accept) is None
        assert portal.faults.counts[faults[0].name] > 2
        assert figures(firm.warehouse) == WHOLE
        assert_equal(portal, firm.warehouse)
        portal.change("leads", 7, {"opportunity": 5_070})
        portal.delete("deals", [1, 60])
        firm.pass_time(3600)
        assert firm.run(accept=accept) is None
        assert figures(firm.warehouse) == {
            "leads": (130, Decimal("90150.00")),
            "deals": (58, Decimal("177342.25")),
        }
        assert_equal(portal, firm.warehouse)


def test_an_accepted_difference_is_named(tmp_path: Path, plain_loader: None) -> None:
    with served(tmp_path / "portal") as portal:
        warehouse = Warehouse(tmp_path / "data")
        portal.inject(*always("high_total", method="crm.item.list", value=4))
        client = Client(portal.webhook_url, sleep=portal.clock.move)
        summary = extract(client, warehouse, Settings.load(), Options(accept=[DIFFERENCE]))
        assert summary.warnings == [
            "the portal's count and list of crm.item.list differ by up to 4 rows:"
            " accepted with --accept-difference"
        ]


@pytest.mark.parametrize("full", [False, True])
def test_deletions_while_it_is_read_leave_the_next_refresh_exact(firm: Company, full: bool) -> None:
    """The first, a middle and the last record go, one before each request from the second on."""
    answer, asked = firm.portal.answer, 0
    going = [("leads", 130), ("deals", 60), ("leads", 1), ("deals", 1), ("leads", 65)]

    def goes(request: HttpRequest) -> HttpAnswer:
        nonlocal asked
        asked += 1
        if asked > 1 and going:
            firm.portal.delete(*going.pop(0))
        return answer(request)

    firm.portal.answer = goes  # type: ignore[method-assign]
    assert firm.run(full=full) is None
    assert not going
    assert_right(firm.journal, firm.warehouse)
    firm.quiet()
    # Less leads of 1,300, 10 and 650, and deals of 6,015 and 100.25.
    assert figures(firm.warehouse) == {
        "leads": (127, Decimal("83190.00")),
        "deals": (58, Decimal("177342.25")),
    }


@pytest.mark.parametrize("full", [False, True])
def test_hidden_deals_leave_what_was_read_exact(firm: Company, full: bool) -> None:
    """Deals of 701.75 and 3,107.75 are hidden, one of 1,203 and a lead of 400 are deleted."""
    firm.portal.delete("deals", 12)
    firm.portal.delete("leads", 40)
    firm.portal.set_rights(hidden_deals=[7, 31])
    error = firm.run(full=full)
    assert re.search(r"of 3 deals .* 2 are not deleted but hidden from .* \(ID 7, 31\)", str(error))
    assert figures(firm.warehouse) == WHOLE
    firm.quiet()
    assert figures(firm.warehouse) == {
        "leads": (129, Decimal("84750.00")),
        "deals": (59, Decimal("182254.50")),
    }
    firm.portal.set_rights(hidden_deals=[7, 31])
    firm.pass_time(3600)
    assert firm.run(full=full, accept_loss=True) is None
    assert figures(firm.warehouse)["deals"] == (57, Decimal("178445.00"))
    firm.quiet()


def test_deals_hidden_after_they_were_read_lose_no_history(firm: Company) -> None:
    """A full sync has read the deals already, and their history no longer comes."""
    answer = firm.portal.answer

    def hides(request: HttpRequest) -> HttpAnswer:
        if firm.portal.calls["crm.stagehistory.list"]:
            firm.portal.set_rights(hidden_deals=[7, 31])
        return answer(request)

    firm.portal.calls.clear()
    firm.portal.answer = hides  # type: ignore[method-assign]
    error = firm.run(full=True)
    firm.portal.answer = answer  # type: ignore[method-assign]
    assert re.search(rf"of 2 deals .* 2 {HIDDEN}", str(error))
    firm.quiet()


def test_every_fault_is_in_the_matrix_or_below() -> None:
    assert {fault.name for row in MATRIX for fault in row.faults} | {"expired_token"} == set(FAULTS)


def test_records_that_appear_with_an_old_time_come_with_all_that_is_theirs(firm: Company) -> None:
    """Hidden for a while, as by rights: no filter by time finds them, the counts do."""
    tables = ("leads", "lead_stage_history", "lead_addresses")
    kept = {
        name: [row for row in firm.portal.data.tables[name].plain_rows() if row[key] in (7, 8, 100)]
        for name, key in zip(tables, ("id", "OWNER_ID", "ID"), strict=True)
    }
    kept["lead_addresses"] = [
        row for row in visible(firm.portal, "lead_addresses") if int(row["ID"]) in (7, 8, 100)
    ]
    firm.portal.delete("leads", [7, 8, 100])
    firm.quiet()
    for name, rows in kept.items():
        firm.portal.upsert(name, rows)
    firm.quiet()
    assert {7, 100} <= {n for n, city in log(firm.warehouse, "lead_addresses", "id, address_city")}


def test_a_clock_that_was_put_back_hides_no_change(firm: Company) -> None:
    """What people did then has times before the last refresh."""
    firm.portal.clock.move(-7200)
    people_work(firm.portal, random.Random(5), edits=15)
    firm.pass_time(3 * 3600)
    firm.quiet()


def test_a_clock_that_went_back_and_on_again_hides_no_change(firm: Company) -> None:
    """The refresh in between failed: what it knew about the clock is kept."""
    firm.portal.clock.move(-7200)
    people_work(firm.portal, random.Random(5), edits=15)
    firm.portal.inject(Fault("http_500", times=None, after=2))
    assert firm.run() is not None
    firm.portal.clock.move(86_400)
    firm.quiet()
    firm.quiet()
    assert [refresh.kind for refresh in firm.warehouse.last_refreshes()][:2] == [
        "incremental",
        "full",
    ]


def test_a_clock_that_goes_back_while_it_is_read_stops_the_refresh(firm: Company) -> None:
    """Back and forward again, so at the end it does not show; the next sync is full."""
    firm.portal.inject(
        Fault("clock", seconds=-5400, after=2), Fault("clock", seconds=5400, after=3), seed=1
    )
    error = firm.run()
    assert firm.portal.faults.counts["clock"] == 2
    assert re.search("clock went back by 90 minutes during", str(error))
    firm.quiet()
    assert firm.warehouse.last_refreshes()[0].kind == "full"


def test_a_record_that_changes_and_goes_while_it_is_read_stops_nothing(firm: Company) -> None:
    """One refresh cannot append both its last version and its tombstone: the next one does."""
    firm.portal.change("leads", 9, {"opportunity": 1})
    answer, walked = firm.portal.answer, []

    def leaves(request: HttpRequest) -> HttpAnswer:
        answered = answer(request)
        if b'"opportunity"' in answered.body and not walked:
            walked.append(firm.portal.delete("leads", 9))
        return answered

    firm.portal.answer = leaves  # type: ignore[method-assign]
    assert firm.run() is None
    assert walked
    assert_right(firm.journal, firm.warehouse)
    firm.quiet()


# -- mixes

PASSING = (
    Fault("http_500", times=2),
    Fault("http_502", times=2),
    Fault("http_503", times=3),
    Fault("reset", times=2),
    Fault("reset_midway", times=2),
    Fault("slow", seconds=0.05, times=2),
    Fault("request_limit", times=4),
    Fault("failing_command", times=2),
    Fault("operating_limit", seconds=400),
    Fault("short_page", times=2),
    Fault("short_page", times=6),
    Fault("renamed_stages"),
    Fault("deleted_stages"),
    Fault("new_user_field"),
    Fault("vanished_field"),
    Fault("clock", seconds=-5400),
    Fault("clock", seconds=86400),
    Fault("utc_offset", value=-5),
    Fault("utc_offset", value=5.5),
)
STOPPING = (
    Fault("http_502", times=9),
    Fault("moved"),
    Fault("broken_json"),
    Fault("failing_command", value="ERROR_CORE"),
    Fault("missing_key"),
    Fault("wrong_type", times=2),
    Fault("missing_value", times=2),
    Fault("rights_lost"),
    Fault("hidden_deals", value=0.1),
    Fault("mass_disappearance", value=0.3),
    Fault("short_page", times=None, chance=0.3),
)


def draw_faults(draw: random.Random) -> list[Fault]:
    """One to five at once: most of them pass, in half of the draws one may stop the refresh."""
    drawn = draw.sample(PASSING, draw.randint(1, 4))
    if draw.random() < 0.5:
        drawn.append(draw.choice(STOPPING))
    faults = [
        replace(
            fault, chance=min(fault.chance, draw.choice((0.1, 0.3, 1.0))), after=draw.randrange(25)
        )
        for fault in drawn
    ]
    if draw.random() < 0.7:
        faults.append(Fault("changes", times=None, chance=draw.choice((0.1, 0.5))))
    return faults


def assert_outcome(
    firm: Company, error: BaseException | None, struck: set[str], before: list[Any]
) -> None:
    if error is None:
        assert_right(firm.journal, firm.warehouse)
        return
    causes = [CAUSES[name] for name in struck if name in CAUSES]
    if firm.lost_its_pair() and re.search(LOST_PAIR, str(error)):
        causes.append(LOST_PAIR)
        firm.authorise_again()
    assert any(re.search(cause, str(error)) for cause in causes), (struck, error)
    assert completed(firm.warehouse) == before


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + MIXES))
def test_mixes(
    seed: int,
    tmp_path: Path,
    plain_loader: None,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A first load and two later refreshes under several faults at once, then a quiet one."""
    caplog.set_level(logging.DEBUG)
    draw = random.Random(seed)
    with served(tmp_path / "portal", oauth=seed % 4 == 0) as portal:
        firm = Company(portal, Warehouse(tmp_path / "data"))
        # What went missing in a refresh that failed also stops the next one.
        struck: set[str] = set()
        for number in range(3):
            people_work(portal, draw, edits=draw.randrange(25) if number else 0)
            firm.pass_time(3600)
            before = completed(firm.warehouse)
            portal.faults.clear()
            portal.faults.counts.clear()
            faults = draw_faults(draw)
            if portal.application:
                faults.append(Fault("expired_token", times=3, chance=0.1))
            portal.inject(*faults, seed=draw.randrange(10**6))
            error = firm.run(full=draw.random() < 0.3)
            portal.set_rights()
            struck = set(portal.faults.counts) | (struck & {"mass_disappearance"})
            assert_outcome(firm, error, struck, before)
        # A refresh waits until a clock that was put back, in each of the three, is over the last.
        firm.quiet(hours=6, accept_loss=True)
        firm.assert_no_secret(*capfd.readouterr(), caplog.text)


# -- whole refreshes


def published(warehouse: Warehouse, name: str) -> dict[int, tuple[str, Decimal]]:
    key = f"{name[:-1]}_id"
    amount = "amount" if name == "deals" else "opportunity_amount"
    path = warehouse.published / "crm.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            f"select {key}, stage_id, coalesce({amount}, 0) from marts.fct_{name}"
        ).fetchall()
    assert len(rows) == len({number for number, _, _ in rows})
    return {number: (stage, amount) for number, stage, amount in rows}


@pytest.mark.parametrize("seed", range(101, 102 + MIXES // 50))
def test_whole_refreshes(
    seed: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With dlt, marts and publication: a mix of faults on a published state, then a quiet one."""
    for name in ("pipelines", "dlt", "urllib3", "requests"):  # MetricFlow tells books at this level
        caplog.set_level(logging.DEBUG, logger=name)
    draw = random.Random(seed)
    with served(tmp_path / "portal") as portal, compiled_models():
        firm = Company(portal, Warehouse(tmp_path / "data"))
        monkeypatch.setattr(portal_module, "our_time", firm.our_time)

        def run(**options: Any) -> BaseException | None:
            try:
                whole_refresh(
                    firm.warehouse,
                    Settings.load(),
                    firm.connect,
                    firm.said.append,
                    Options(**options),
                    with_report=False,
                )
            except PipelineError as error:
                firm._remember(error)
                return error
            return None

        struck: set[str] = set()
        for number in range(2):
            people_work(portal, draw, edits=10)
            firm.pass_time(3600)
            current = firm.warehouse.published / "current"
            link = current.readlink() if current.exists() else None
            before = completed(firm.warehouse)
            portal.faults.clear()
            portal.faults.counts.clear()
            # The first load has only temporary faults, so that something is published.
            portal.inject(*(draw_faults(draw) if number else draw.sample(PASSING, 3)), seed=seed)
            error = run()
            portal.set_rights()
            struck = set(portal.faults.counts) | (struck & {"mass_disappearance"})
            assert_outcome(firm, error, struck, before)
            if error is None:
                as_of = firm.warehouse.last_refreshes()[0].as_of
                for name in ("leads", "deals"):
                    states = portal_states(portal, name)
                    not_yet = states.keys() - portal_states(portal, name, as_of).keys()
                    assert_states(firm.journal, name, published(firm.warehouse, name), not_yet)
            else:
                assert (current.readlink() if current.exists() else None) == link
        portal.faults.clear()
        firm.pass_time(3600)
        error = run(accept_loss=True)
        assert error is None, error
        assert_equal(portal, firm.warehouse)
        for name in ("leads", "deals"):
            as_of = firm.warehouse.last_refreshes()[0].as_of
            assert published(firm.warehouse, name) == portal_states(portal, name, as_of)
        firm.assert_no_secret(*capfd.readouterr(), caplog.text)


def test_a_seed_repeats_the_faults_and_each_is_counted(tmp_path: Path) -> None:
    def statuses(folder: Path, seed: int) -> list[int]:
        with served(folder) as portal:
            portal.inject(Fault("http_502", times=None, chance=0.3), seed=seed)
            got = [requests.get(portal.webhook_url + "profile").status_code for _ in range(30)]
            assert portal.faults.counts == {"http_502": got.count(502)}
            return got

    assert statuses(tmp_path / "a", 4) == statuses(tmp_path / "b", 4) != statuses(tmp_path / "c", 5)


def test_an_expired_token_is_renewed_and_one_that_always_is_stops_the_refresh(
    tmp_path: Path, plain_loader: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(tmp_path / "portal", oauth=True) as portal:
        firm = Company(portal, Warehouse(tmp_path / "data"))
        portal.inject(Fault("expired_token", times=4, chance=0.4), seed=1)
        assert firm.run() is None
        assert portal.faults.counts == {"expired_token": 4}
        assert_equal(portal, firm.warehouse)
        before = completed(firm.warehouse)
        portal.inject(Fault("expired_token", times=None))
        error = firm.run()
        assert re.search(CAUSES["expired_token"], str(error))
        assert completed(firm.warehouse) == before
        firm.quiet()
        firm.assert_no_secret(*capfd.readouterr())

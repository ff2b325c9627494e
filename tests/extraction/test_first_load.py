"""A first load in parts: the newest months first, resumable, marked while it is incomplete."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines import refresh
from pipelines.bitrix24 import first_load
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.entities import TABLES
from pipelines.bitrix24.extract import Summary, extract
from pipelines.bitrix24.first_load import part_rows
from pipelines.check import check, complete
from pipelines.environment import ROOT
from pipelines.errors import Bitrix24Error, SettingsError
from pipelines.options import Options
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.plain_refresh import plain_refresh
from tests.support.small_portal import deal, deal_visit, lead, lead_visit, write_portal

LEADS = 400
PART_ROWS = 150
# One lead every other day, the last on the portal's "now" (31 March 2026); the deal of a lead comes
# thirty days after it, so the deals of any month have leads of the month before.
FIRST_DAY = dt.datetime.fromisoformat("2026-03-31T12:00:00+03:00") - dt.timedelta(days=2 * LEADS)
DEALS = range(10, LEADS - 15, 5)


def created(lead_id: int) -> str:
    return (FIRST_DAY + dt.timedelta(days=2 * lead_id)).isoformat()


def sold(lead_id: int) -> str:
    return (FIRST_DAY + dt.timedelta(days=2 * lead_id + 30)).isoformat()


def times(moment: str) -> dict[str, str]:
    names = ("createdTime", "updatedTime", "movedTime", "lastActivityTime")
    return dict.fromkeys(names, moment)


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    """400 leads of two years, a sale of every fifth, two rows of history to each lead."""
    folder = write_portal(
        tmp_path / "portal",
        leads=[lead(n, **times(created(n))) for n in range(1, LEADS + 1)],
        deals=[
            deal(n, leadId=n, stageId="WON", stageSemanticId="S", closed="Y", **times(sold(n)))
            for n in DEALS
        ],
        contacts=[{"id": n, **times(created(n))} for n in range(1, 21)],
        lead_stage_history=[
            lead_visit(2 * n + late, n, "CONVERTED" if late else "NEW", "P", created(n))
            for n in range(1, LEADS + 1)
            for late in (0, 1)
        ],
        deal_stage_history=[deal_visit(n, n, "WON", "S", sold(n)) for n in DEALS],
        activities=[{"ID": 1, "OWNER_ID": 1, "OWNER_TYPE_ID": 2, "COMPLETED": "N"}],
        lead_addresses=[{"ID": n, "ADDRESS_CITY": f"Город {n}"} for n in range(1, LEADS + 1)],
    )
    with serve(folder, log=True, rate_limit=False) as running:
        yield running


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "FIRST_PART_ROWS", PART_ROWS)
    monkeypatch.setattr(first_load, "SMALLEST_PART_ROWS", PART_ROWS)
    monkeypatch.setattr(first_load, "LARGEST_PART_ROWS", PART_ROWS)
    monkeypatch.setattr(refresh, "check", quick_check)


def quick_check(warehouse: Warehouse, *_: Any) -> list[Any]:
    """Completes the newest refresh as the raw checks do when all is well."""
    complete(warehouse, warehouse.last_refreshes(completed=False)[0].refresh_no)
    return []


def load(
    portal: Portal,
    warehouse: Warehouse,
    say: Callable[[str], None] = print,
    with_dlt: bool = False,
    **options: Any,
) -> Summary:
    client = Client(portal.webhook_url, retry_seconds=0.001, sleep=lambda _: None)
    with nullcontext() if with_dlt else plain_refresh():
        summary = refresh.extract_in_parts(
            client, warehouse, Settings.load(), Options(**options), say
        )
    refresh.check(warehouse)
    return summary


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query).fetchall()


def holds_everything(warehouse: Warehouse) -> bool:
    """Every record of the portal, once, with its history and its city."""
    return rows(
        warehouse,
        "select (select count(*) from raw.leads), (select count(distinct id) from raw.leads),"
        " (select count(*) from raw.deals), (select count(*) from raw.contacts),"
        " (select count(*) from raw.lead_stage_history),"
        " (select count(distinct id) from raw.lead_stage_history),"
        " (select count(*) from raw.deal_stage_history),"
        " (select count(*) from raw.activities),"
        " (select count(*) from raw.lead_addresses where address_city = 'Город ' || id)",
    ) == [(400, 400, len(DEALS), 20, 800, 800, len(DEALS), 1, 400)]


def test_the_newest_records_come_first_and_all_come_once(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "check", check)
    told: list[str] = []
    summary = load(portal, warehouse, say=told.append)
    assert summary.history_from is None
    assert holds_everything(warehouse)
    parts = rows(warehouse, "select refresh_no, min(id) from raw.leads group by all order by 1")
    assert len(parts) >= 3
    assert [first for _, first in parts] == sorted((first for _, first in parts), reverse=True)
    biggest = "select max(n) from (select count(*) as n from raw.leads group by refresh_no)"
    assert rows(warehouse, biggest)[0][0] <= PART_ROWS
    assert len(told) == len(parts) - 1
    form = (
        r"history back to 202\d-\d\d-\d\d: (\d+) of 495 records,"
        r" \d+ a second, about \d+ min left"
    )
    found = [re.fullmatch(form, line) for line in told]
    loaded = [int(one[1]) for one in found if one]
    assert len(loaded) == len(told)
    assert loaded == sorted(loaded)


def test_a_first_part_without_records_does_not_make_the_next_one_read_everything(
    portal: Portal, warehouse: Warehouse
) -> None:
    """735 days after the last lead: 732 days have none, and 1,098 have more than a part takes."""
    portal.set_now("2028-04-04T12:00:00+03:00")
    summary = load(portal, warehouse)
    assert summary.history_from is None
    assert holds_everything(warehouse)
    parts = rows(warehouse, "select refresh_no, count(*) from raw.leads group by all order by 1")
    assert parts[0][0] == 2
    assert max(count for _, count in parts) <= PART_ROWS
    histories = [params for method, params in portal.log if method == "crm.stagehistory.list"]
    assert histories
    assert not [params for params in histories if "@OWNER_ID" in params.get("filter", {})]


def test_a_load_that_fails_goes_on_behind_its_last_part(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = 0

    def third_part_fails(checked: Warehouse, *_: Any) -> Any:
        nonlocal parts
        parts += 1
        if parts == 3:
            raise Bitrix24Error("the network is gone")
        return quick_check(checked)

    with monkeypatch.context() as patched:
        patched.setattr(refresh, "check", third_part_fails)
        with pytest.raises(Bitrix24Error, match="the network is gone"):
            load(portal, warehouse)
    (reached,) = rows(
        warehouse,
        "select min(unread_to_id) from raw.load_completeness where entity = 'leads'"
        " and refresh_no in (select refresh_no from raw.refreshes where completed)",
    )[0]
    portal.log.clear()
    assert load(portal, warehouse).history_from is None
    again = [
        params["filter"]
        for method, params in portal.log
        if method == "crm.item.list"
        and "stageId" in params.get("select", ())
        and not {">=updatedTime", ">=lastActivityTime"} & set(params["filter"])
        and str(params["entityTypeId"]) == "1"
        and ">id" in params["filter"]
    ]
    assert again
    assert all(int(condition["<=id"]) <= reached for condition in again)
    assert rows(
        warehouse,
        "select count(*), count(distinct id) from raw.leads"
        " where refresh_no in (select refresh_no from raw.refreshes where completed)",
    ) == [(400, 400)]


def test_a_part_of_the_history_is_marked_and_its_deals_keep_their_leads(
    portal: Portal, warehouse: Warehouse
) -> None:
    """From 1 February 2026: leads 371 (31 January at noon is 370) to 400, and deals from 1 February
    on, whose leads are of January: 360 (11 January, sold 10 February) to 380."""
    summary = load(portal, warehouse, history_from=dt.date(2026, 2, 1))
    assert summary.history_from == dt.datetime.fromisoformat("2026-02-01T00:00:00+03:00")
    assert rows(warehouse, "select min(id), count(*) from raw.deals") == [(360, 5)]
    assert rows(warehouse, "select id from raw.leads where id < 371 order by id") == [
        (360,),
        (365,),
        (370,),
    ]
    assert rows(warehouse, "select count(*) from raw.leads") == [(33,)]
    histories = "select count(*), count(distinct owner_id) from raw.lead_stage_history"
    assert rows(warehouse, histories) == [(66, 33)]
    city_of_360 = "select address_city from raw.lead_addresses where id = 360"
    assert rows(warehouse, city_of_360) == [("Город 360",)]
    counts = summary.counts["leads"]
    assert (counts.portal_total, counts.rows_living, counts.rows_unread) == (30, 30, 370)

    portal.upsert("leads", lead(401, **times("2026-03-31T21:00:00+03:00")))
    portal.set_now("2026-04-01T12:00:00+03:00")
    again = load(portal, warehouse, history_from=dt.date(2026, 2, 1))
    assert (again.history_from, again.counts["leads"].rows_unread) == (summary.history_from, 370)
    assert again.counts["leads"].rows_living == 31

    portal.delete("leads", [401])
    assert load(portal, warehouse).history_from is None
    living = "select count(*) filter (not is_deleted) from raw.leads where id <= 400"
    assert rows(warehouse, living) == [(400,)]
    assert rows(warehouse, "select count(*), count(distinct id) from raw.lead_stage_history") == [
        (800, 800)
    ]


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_older_leads_of_deals_are_renewed_too(
    portal: Portal, warehouse: Warehouse, kind: str
) -> None:
    """Of the older leads 360, 365 and 370 one goes and one changes without a new time of change."""
    since = dt.date(2026, 2, 1)
    load(portal, warehouse, history_from=since)
    portal.delete("leads", 365)
    portal.upsert("leads", {"id": 360, "sourceId": "PARTNER"})
    load(portal, warehouse, history_from=since, full=kind == "full")
    assert rows(
        warehouse,
        "select id, source_id, is_deleted from raw.leads where id < 371 and refresh_no = 2"
        " order by id",
    ) == [(360, "PARTNER", False), (365, None, True)]
    # No count shows this: the city has its own time of change.
    portal.upsert("lead_addresses", {"ID": 360, "ADDRESS_CITY": "Омск"})
    load(portal, warehouse, history_from=since, full=True)
    cities = "select address_city from raw.lead_addresses where id = 360 order by refresh_no"
    assert rows(warehouse, cities) == [("Город 360",), ("Омск",)]
    # Nothing changes any more, and nothing is appended.
    load(portal, warehouse, history_from=since, full=kind == "full")
    assert rows(warehouse, "select count(*) from raw.leads where refresh_no = 4") == [(0,)]


def test_a_part_that_begins_in_the_future_is_refused(portal: Portal, warehouse: Warehouse) -> None:
    with pytest.raises(SettingsError, match="--history-from 2036-02-01 is in the future"):
        load(portal, warehouse, history_from=dt.date(2036, 2, 1))


def test_a_portal_that_finds_nothing_by_creation_is_read_in_one_part(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty parts would repeat forever."""
    created = first_load._created
    monkeypatch.setattr(
        first_load, "_created", lambda start: created(start and start + dt.timedelta(days=99_999))
    )
    with pytest.raises(
        Bitrix24Error, match=r"createdTime does not find all leads .* without --hist"
    ):
        load(portal, warehouse, history_from=dt.date(2026, 2, 1))
    assert load(portal, warehouse).history_from is None
    assert holds_everything(warehouse)


def test_what_changes_during_a_load_in_parts_is_read(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two parts a lead of the first part is moved, one deleted, one of a later deleted."""
    changed = False

    def between(checked: Warehouse, *_: Any) -> Any:
        nonlocal changed
        if not changed:
            changed = True
            moment = "2026-03-31T21:00:00+03:00"
            portal.upsert("leads", {"id": 399, "stageId": "JUNK", "updatedTime": moment})
            portal.delete("leads", [398, 5])
        return quick_check(checked)

    monkeypatch.setattr(refresh, "check", between)
    load(portal, warehouse)
    latest = (
        "select id, stage_id, is_deleted from raw.leads where id in (5, 398, 399)"
        " qualify row_number() over (partition by id order by refresh_no desc) = 1 order by id"
    )
    assert rows(warehouse, latest) == [(398, None, True), (399, "JUNK", False)]


def test_a_small_portal_is_loaded_in_one_part(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "FIRST_PART_ROWS", 1_000)
    told: list[str] = []
    assert load(portal, warehouse, say=told.append).refresh_no == 1
    assert holds_everything(warehouse)
    assert told == []


def test_parts_take_minutes() -> None:
    """From 20,000 rows on a slow portal to 500,000 on a fast one; five minutes in between."""
    assert part_rows(50_000, 10) == PART_ROWS


KILLED = """
import os, signal, sys
from pipelines import refresh
from pipelines.bitrix24 import first_load
from pipelines.bitrix24.client import Client
from tests.extraction.test_first_load import quick_check
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from pathlib import Path
refresh.FIRST_PART_ROWS = 150
first_load.SMALLEST_PART_ROWS = first_load.LARGEST_PART_ROWS = 150
refresh.check = quick_check
requests = 0
def post(self, *arguments, real=Client._post):
    global requests
    requests += 1
    if requests == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *arguments)
Client._post = post
warehouse = Warehouse(Path(sys.argv[1]))
client = Client(sys.argv[2], sleep=lambda _: None)
refresh.extract_in_parts(client, warehouse, Settings.load())
quick_check(warehouse)
"""


def test_a_killed_load_goes_on(portal: Portal, warehouse: Warehouse) -> None:
    """Killed in the first part, then in a later one, then let through."""
    codes = []
    for requests in (15, 50, 10_000):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                KILLED,
                str(warehouse.directory),
                portal.webhook_url,
                f"{requests}",
            ],
            cwd=ROOT,
            env=os.environ,
            check=False,
        )
        codes.append(done.returncode)
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    completed = "where refresh_no in (select refresh_no from raw.refreshes where completed)"
    for table, expected in (("leads", 400), ("lead_stage_history", 800), ("lead_addresses", 400)):
        query = f"select count(*), count(distinct id) from raw.{table} {completed}"
        assert rows(warehouse, query) == [(expected, expected)], table


def test_side_by_side_and_one_by_one_give_the_same_raw_log(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first load in parts: the same versions in the same order."""
    logs = []
    for side_by_side in (True, False):
        warehouse = Warehouse(tmp_path / f"data{side_by_side}")
        with monkeypatch.context() as patched:
            patched.setattr(refresh, "extract", partial(extract, side_by_side=side_by_side))
            load(portal, warehouse, with_dlt=True)
            assert holds_everything(warehouse)
        logs.append(
            {
                table.name: rows(
                    warehouse,
                    f"select * exclude (_dlt_load_id) from raw.{table.name} order by rowid",
                )
                for table in TABLES
            }
        )
    assert logs[0] == logs[1]

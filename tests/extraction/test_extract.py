"""The extraction against the demo portal: what is read, appended, found deleted, and refused."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import polars as pl
import pytest
from dlt.destinations.impl.duckdb.duck import DuckDbCopyJob

from pipelines.bitrix24 import completeness, source
from pipelines.bitrix24 import extract as extract_module
from pipelines.bitrix24 import sync as sync_module
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.entities import CONTACTS, LEADS, EntityTable
from pipelines.bitrix24.extract import LOADERS, Summary, extract
from pipelines.bitrix24.sync import Sync
from pipelines.check import complete
from pipelines.errors import Bitrix24Error, SettingsError
from pipelines.options import Options
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Fault, Portal, serve
from scripts.demo_portal.methods import Reply
from tests.support.plain_refresh import plain_refresh
from tests.support.small_portal import (
    CURRENCIES,
    STATUSES,
    deal,
    deal_visit,
    lead,
    lead_visit,
    write_portal,
)

T0 = "2026-03-01T10:00:00+03:00"
T1 = "2026-03-10T12:00:00+03:00"
LATER = "2026-04-02T12:00:00+03:00"


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    """120 leads (three pages), two deals with contacts, histories, one open activity."""
    folder = write_portal(
        tmp_path / "portal",
        leads=[lead(number) for number in range(1, 121)],
        deals=[
            deal(1, leadId=7, contactIds=[3, 2], contactId=3, opportunity=100.5, categoryId=0),
            deal(2, stageId="WON", stageSemanticId="S", closed="Y", opportunity=33),
        ],
        contacts=[{"id": 2, "createdTime": T0, "updatedTime": T0}],
        companies=[{"id": 5, "title": "Ромашка", "createdTime": T0, "updatedTime": T0}],
        lead_stage_history=[lead_visit(n, n, "NEW", "P", T0) for n in range(1, 121)],
        deal_stage_history=[
            deal_visit(1, 1, "NEW", "P", T0),
            deal_visit(2, 2, "NEW", "P", T0),
            deal_visit(3, 2, "WON", "S", T1),
        ],
        activities=[
            {"ID": 1, "OWNER_ID": 1, "OWNER_TYPE_ID": 2, "COMPLETED": "N", "CREATED": T0},
            {"ID": 2, "OWNER_ID": 2, "OWNER_TYPE_ID": 2, "COMPLETED": "Y", "CREATED": T0},
        ],
        lead_addresses=[{"ID": 7, "ADDRESS_CITY": "Казань"}],
    )
    with serve(folder) as running:
        yield running


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


def read(
    portal: Portal,
    warehouse: Warehouse,
    completed: bool = True,
    with_dlt: bool = False,
    **options: Any,
) -> Summary:
    """One extraction, completed by the raw checks unless asked otherwise."""
    client = Client(portal.webhook_url, retry_seconds=0.01)
    with nullcontext() if with_dlt else plain_refresh():
        summary = extract(client, warehouse, Settings.load(), Options(**options))
    if completed:
        complete(warehouse, summary.refresh_no)
    return summary


def appended(summary: Summary) -> dict[str, int]:
    """Tables to which rows were appended."""
    return {name: c.rows_appended for name, c in summary.counts.items() if c.rows_appended}


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query).fetchall()


def test_many_rows_are_loaded_file_by_file(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that DuckDB keeps no more of them in memory than of one file."""
    files: list[str] = []
    load = DuckDbCopyJob.run

    def noted(job: DuckDbCopyJob) -> None:
        files.append(job.job_file_info().table_name)
        load(job)

    monkeypatch.setattr(DuckDbCopyJob, "run", noted)
    read(portal, warehouse, with_dlt=True)
    assert (files.count("leads"), dlt.config["load.workers"]) == (1, LOADERS)
    # 120 changed leads in chunks of a page, three files.
    changed = [{"id": number, "updatedTime": LATER, "sourceId": "A"} for number in range(1, 121)]
    portal.set_now(LATER)
    portal.upsert("leads", changed)
    files.clear()
    monkeypatch.setattr(extract_module, "ROWS_A_FILE", 50)
    monkeypatch.setattr(sync_module, "ROWS_A_CHUNK", 50)
    monkeypatch.setenv("DATA_WRITER__BUFFER_MAX_ITEMS", "50")
    read(portal, warehouse, with_dlt=True)
    assert (files.count("leads"), dlt.config["load.workers"]) == (3, 1)
    count = "select count(*), count(distinct id) from raw.leads where source_id = 'A'"
    assert rows(warehouse, count) == [(120, 120)]


def test_first_sync_reads_everything(portal: Portal, warehouse: Warehouse) -> None:
    summary = read(portal, warehouse, with_dlt=True)

    assert summary.kind == "full"
    counts = summary.counts
    assert (counts["leads"].rows_read, counts["leads"].portal_total) == (120, 120)
    assert appended(summary)["leads"] == 120
    assert appended(summary)["deals"] == 2
    assert appended(summary)["lead_stage_history"] == 120
    assert appended(summary)["deal_stage_history"] == 3
    assert appended(summary)["activities"] == 1
    first = rows(warehouse, "select contact_ids, opportunity, lead_id from raw.deals where id = 1")
    assert first == [("[3, 2]", Decimal("100.50"), 7)]
    city = rows(warehouse, "select address_city from raw.lead_addresses where id = 7")
    assert city == [("Казань",)]
    created = rows(warehouse, "select created_time from raw.leads where id = 1")[0][0]
    assert created == dt.datetime(2026, 3, 1, 7, tzinfo=dt.UTC)


def test_streams_may_open_the_warehouse_at_once(portal: Portal, warehouse: Warehouse) -> None:
    """Each looks up the records that it found; every fifth failed where nobody waited."""
    read(portal, warehouse)
    owners = pl.DataFrame({"owner_id": [1]}).to_arrow()
    meet = threading.Barrier(3, timeout=20)

    def look_up(_: int) -> int:
        found = 0
        for _ in range(20):
            meet.wait()
            with warehouse.connect() as connection:
                connection.register("owners", owners)
                found += len(connection.execute("from owners").fetchall())
        return found

    with ThreadPoolExecutor(3) as threads:
        assert [*threads.map(look_up, range(3))] == [20, 20, 20]


def test_now_is_the_clock_of_the_portal(portal: Portal, warehouse: Warehouse) -> None:
    portal.set_now(LATER)
    as_of = dt.datetime.fromisoformat(LATER)
    assert as_of <= read(portal, warehouse).as_of < as_of + dt.timedelta(minutes=5)


def test_unchanged_portal_appends_nothing(portal: Portal, warehouse: Warehouse) -> None:
    read(portal, warehouse)
    before = portal.requests
    summary = read(portal, warehouse)

    assert summary.kind == "incremental"
    assert appended(summary) == {}
    assert summary.counts["leads"].rows_read == 0
    # Opening; known records, fields, reference data and last IDs; first pages of what changed with
    # all counts; the profile and the known records once more.
    assert portal.requests - before == 4


def test_a_portal_with_another_offset_than_the_timezone_is_told(
    portal: Portal, warehouse: Warehouse
) -> None:
    """Kyiv has +02:00 on 1 March 2026, when all was created, and +03:00 on 31 March, which is now.

    A refresh that reads nothing new knows it from the records that identify the portal.
    """
    kyiv = Settings.load().model_copy(update={"portal_timezone": "Europe/Kyiv"})
    client = Client(portal.webhook_url, retry_seconds=0.01)
    for _ in range(2):
        summary = extract(client, warehouse, kyiv)
        complete(warehouse, summary.refresh_no)
        (warning,) = summary.warnings
        assert "2026-03-01T10:00:00+03:00 where Europe/Kyiv (portal_timezone) has +02:00" in warning
    for (written,) in rows(warehouse, "select written_times from raw.refreshes"):
        first, last = json.loads(written)["times"]
        assert (first, last[:10]) == ("2026-03-01T10:00:00+03:00", "2026-03-31")
    assert read(portal, warehouse).warnings == []


def test_a_changed_lead_brings_its_history(portal: Portal, warehouse: Warehouse) -> None:
    read(portal, warehouse)
    portal.set_now(LATER)
    portal.upsert(
        "leads",
        lead(9, stageId="JUNK", stageSemanticId="F", updatedTime=LATER, movedTime=LATER),
    )
    portal.upsert("lead_stage_history", lead_visit(500, 9, "JUNK", "F", LATER))
    summary = read(portal, warehouse)

    assert appended(summary) == {"leads": 1, "lead_stage_history": 1}
    # Both visits of lead 9 were read again, nobody else's.
    assert summary.counts["lead_stage_history"].rows_read == 2


def test_an_activity_alone_leaves_the_history_alone(portal: Portal, warehouse: Warehouse) -> None:
    read(portal, warehouse)
    portal.set_now(LATER)
    portal.upsert("leads", lead(9, lastActivityTime=LATER))
    summary = read(portal, warehouse)

    assert appended(summary) == {"leads": 1}
    assert summary.counts["lead_stage_history"].rows_read == 0


def test_vanished_history_rows_get_tombstones(portal: Portal, warehouse: Warehouse) -> None:
    """Older portals delete the row of the win when a deal is reopened."""
    read(portal, warehouse)
    portal.set_now(LATER)
    portal.upsert("deals", deal(2, opportunity=33, updatedTime=LATER, movedTime=LATER))
    portal.delete("deal_stage_history", 3)
    portal.upsert("deal_stage_history", deal_visit(9, 2, "NEW", "P", LATER))
    summary = read(portal, warehouse)

    assert appended(summary) == {"deals": 1, "deal_stage_history": 2}
    gone = rows(warehouse, "select id from raw.deal_stage_history where is_deleted")
    assert gone == [(3,)]


def test_a_deleted_lead_is_found_by_the_counts(portal: Portal, warehouse: Warehouse) -> None:
    read(portal, warehouse)
    portal.delete("leads", 50)
    summary = read(portal, warehouse)

    leads = summary.counts["leads"]
    assert appended(summary) == {"leads": 1}
    assert (leads.rows_deleted, leads.rows_living, leads.portal_total) == (1, 119, 119)
    assert rows(warehouse, "select id from raw.leads where is_deleted") == [(50,)]


@pytest.mark.parametrize("full", [False, True])
def test_the_newest_lead_is_missed_too_when_it_is_deleted(
    portal: Portal, warehouse: Warehouse, full: bool
) -> None:
    """The deleted lead had a higher ID than all that the portal still has."""
    read(portal, warehouse)
    portal.delete("leads", [119, 120])
    leads = read(portal, warehouse, full=full).counts["leads"]
    assert (leads.rows_deleted, leads.rows_living, leads.portal_total) == (2, 118, 118)


def test_a_deletion_and_a_change_missed_by_time_are_both_fixed(
    portal: Portal, warehouse: Warehouse
) -> None:
    """Restored from the recycle bin, a lead has a new ID and its old updatedTime."""
    read(portal, warehouse)
    portal.delete("leads", 50)
    portal.upsert("leads", lead(121))
    summary = read(portal, warehouse)

    counts = summary.counts["leads"]
    assert appended(summary)["leads"] == 2
    assert (counts.rows_deleted, counts.rows_living, counts.portal_total) == (1, 120, 120)
    living = warehouse.latest_versions("leads", ["id"], ["id"])
    assert living is not None
    assert {50, 121} & set(living["id"]) == {121}


def customers(warehouse: Warehouse, table: str) -> list[tuple[Any, ...]]:
    """(ID, company, contact, contacts) of living records that have any."""
    columns = ["id", "company_id", "contact_id", "contact_ids"]
    versions = warehouse.latest_versions(table, columns, ["id"])
    assert versions is not None
    return sorted(row for row in versions.rows() if row[1:] != (None, None, "[]"))


@pytest.fixture
def customers_portal(tmp_path: Path) -> Iterator[Portal]:
    """Contacts 2–5 of companies 5 and 6 stand on leads and deals; 60 more leads have none."""
    times = {"createdTime": T0, "updatedTime": T0}
    folder = write_portal(
        tmp_path / "customers",
        leads=[
            lead(1, contactId=2, contactIds=[2, 3], companyId=5),
            lead(2, contactId=4, contactIds=[4]),
            *(lead(number) for number in range(3, 63)),
        ],
        deals=[
            deal(1, leadId=1, contactId=3, contactIds=[3, 2]),
            deal(2, leadId=2, contactId=2, contactIds=[2], companyId=6),
            deal(3, contactId=5, contactIds=[5, 4, 2], companyId=5),
        ],
        contacts=[
            {"id": 2, "companyId": 5, **times},
            {"id": 3, **times},
            {"id": 4, **times},
            {"id": 5, "companyId": 6, **times},
        ],
        companies=[{"id": 5, **times}, {"id": 6, **times}],
    )
    with serve(folder, log=True) as running:
        yield running


def test_what_names_a_merged_contact_is_read_again(
    customers_portal: Portal, warehouse: Warehouse
) -> None:
    """No time of change is updated: the deleted contact is the only sign."""
    portal = customers_portal
    read(portal, warehouse)
    portal.set_now(LATER)
    portal.merge("contacts", 2, 4)
    summary = read(portal, warehouse)

    assert summary.kind == "incremental"
    assert appended(summary) == {"contacts": 2, "leads": 1, "deals": 3}
    assert summary.counts["contacts"].rows_deleted == 1
    assert customers(warehouse, "leads") == [(1, 5, 4, "[4, 3]"), (2, None, 4, "[4]")]
    assert customers(warehouse, "deals") == [
        (1, None, 3, "[3, 4]"),
        (2, 6, 4, "[4]"),
        (3, 5, 5, "[5, 4]"),
    ]
    # Histories are read of what was read again; nothing of it is read twice.
    assert appended(read(portal, warehouse)) == {}
    assert appended(read(portal, warehouse, full=True)) == {}


def test_what_names_a_merged_company_is_read_again(
    customers_portal: Portal, warehouse: Warehouse
) -> None:
    """Its contacts, too."""
    portal = customers_portal
    read(portal, warehouse)
    portal.merge("companies", 5, 6)
    assert appended(read(portal, warehouse)) == {
        "companies": 2,
        "contacts": 1,
        "leads": 1,
        "deals": 1,
    }
    assert customers(warehouse, "leads")[0] == (1, 6, 2, "[2, 3]")
    assert customers(warehouse, "deals")[2] == (3, 6, 5, "[5, 4, 2]")
    assert rows(warehouse, "select company_id from raw.contacts where id = 2") == [(5,), (6,)]
    assert appended(read(portal, warehouse, full=True)) == {}


def test_what_names_a_deleted_contact_company_or_lead_is_read_again(
    customers_portal: Portal, warehouse: Warehouse
) -> None:
    """The portal takes it off the leads and deals; a deal keeps the number of its lead."""
    portal = customers_portal
    read(portal, warehouse)
    portal.delete("contacts", [2, 5])
    portal.delete("companies", 6)
    portal.delete("leads", 2)
    summary = read(portal, warehouse)
    assert appended(summary) == {"contacts": 2, "companies": 1, "leads": 2, "deals": 3}
    assert customers(warehouse, "deals") == [(1, None, 3, "[3]"), (3, 5, 4, "[4]")]
    assert summary.counts["deals"].rows_read == 3
    assert appended(read(portal, warehouse, full=True)) == {}


def test_a_merge_while_the_portal_is_read_waits_for_the_next_refresh(
    customers_portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merged into a new contact when contacts were read; leads and deals come as they were."""
    portal = customers_portal
    read(portal, warehouse)
    portal.set_now(LATER)
    portal.upsert("deals", {"id": 1, "opportunity": 7, "updatedTime": LATER})
    versions = source.item_versions

    def merged_behind_contacts(sync: Sync, table: EntityTable) -> Iterator[pl.DataFrame]:
        yield from versions(sync, table)
        if table is CONTACTS:
            portal.upsert("contacts", {"id": 9, "createdTime": LATER, "updatedTime": LATER})
            portal.merge("contacts", 2, 9)

    with monkeypatch.context() as patched:
        patched.setattr(source, "item_versions", merged_behind_contacts)
        assert appended(read(portal, warehouse)) == {"deals": 1}
    # First pages of all tables are of one moment: the contact that was merged is still known.
    assert customers(warehouse, "deals")[:2] == [(1, None, 3, "[3, 2]"), (2, 6, 2, "[2]")]

    assert appended(read(portal, warehouse)) == {"contacts": 2, "leads": 1, "deals": 3}
    assert customers(warehouse, "deals")[1] == (2, 6, 9, "[9]")
    assert appended(read(portal, warehouse, full=True)) == {}


def test_directories_lose_what_left_the_portal(portal: Portal, warehouse: Warehouse) -> None:
    read(portal, warehouse)
    portal.replace("statuses", [row for row in STATUSES if row["STATUS_ID"] != "JUNK"])
    portal.replace("currencies", CURRENCIES[:1])
    portal.upsert(
        "activities",
        {"ID": 1, "OWNER_ID": 1, "OWNER_TYPE_ID": 2, "COMPLETED": "Y", "CREATED": T0},
    )
    summary = read(portal, warehouse)

    assert appended(summary) == {"statuses": 1, "currencies": 1, "activities": 1}
    assert rows(warehouse, "select currency from raw.currencies where is_deleted") == [("USD",)]
    assert rows(warehouse, "select id from raw.activities where is_deleted") == [(1,)]


def test_an_incomplete_refresh_stays_invisible_and_is_read_again(
    portal: Portal, warehouse: Warehouse
) -> None:
    read(portal, warehouse)
    portal.set_now(LATER)
    portal.upsert("leads", lead(9, sourceId="WEB", updatedTime=LATER))
    read(portal, warehouse, completed=False)

    assert [refresh.refresh_no for refresh in warehouse.last_refreshes()] == [1]
    sources = warehouse.latest_versions("leads", ["id", "source_id"], ["id"])
    assert sources is not None
    assert sources.filter(id=9)["source_id"].to_list() == [None]

    summary = read(portal, warehouse)
    assert summary.refresh_no == 3
    assert appended(summary)["leads"] == 1
    sources = warehouse.latest_versions("leads", ["id", "source_id"], ["id"])
    assert sources is not None
    assert sources.filter(id=9)["source_id"].to_list() == ["WEB"]


def test_a_full_sync_of_an_unchanged_portal_appends_nothing(
    portal: Portal, warehouse: Warehouse
) -> None:
    read(portal, warehouse)
    summary = read(portal, warehouse, full=True)

    assert summary.kind == "full"
    assert summary.counts["leads"].rows_read == 120
    assert appended(summary) == {}


def test_a_full_sync_is_due_after_the_set_days(portal: Portal, warehouse: Warehouse) -> None:
    read(portal, warehouse)
    portal.set_now("2026-04-07T21:00:00+03:00")
    assert read(portal, warehouse).kind == "full"


def test_after_a_stopped_full_sync_changes_are_read_first(
    portal: Portal, warehouse: Warehouse
) -> None:
    """One that never finishes does not block others: the refresh after it reads changes."""
    read(portal, warehouse)
    portal.set_now("2026-04-07T21:00:00+03:00")
    portal.inject(Fault("http_500", times=None, after=10))
    with pytest.raises(Bitrix24Error):
        read(portal, warehouse)
    portal.faults.clear()
    kinds = [read(portal, warehouse).kind for _ in range(3)]
    assert kinds == ["incremental", "full", "incremental"]


def test_if_every_sync_is_full_a_stopped_one_changes_nothing(
    portal: Portal, warehouse: Warehouse
) -> None:
    """full_read_every_days: 0 is for portals whose filters by time miss changes."""
    settings = Settings.model_validate({**Settings.load().model_dump(), "full_read_every_days": 0})
    for faults in ([], [Fault("http_500", times=None, after=10)], []):
        portal.faults.clear()
        portal.inject(*faults)
        with pytest.raises(Bitrix24Error) if faults else nullcontext():
            summary = extract(Client(portal.webhook_url, retry_seconds=0.01), warehouse, settings)
            complete(warehouse, summary.refresh_no)
    assert [refresh.kind for refresh in warehouse.last_refreshes()] == ["full", "full"]


def test_mass_deletion_stops_the_refresh(portal: Portal, warehouse: Warehouse) -> None:
    read(portal, warehouse)
    for number in range(1, 41):
        portal.delete("leads", number)
    with pytest.raises(Bitrix24Error, match=r"40 of 120 leads are gone.*--accept-loss"):
        read(portal, warehouse)
    assert [refresh.refresh_no for refresh in warehouse.last_refreshes()] == [1]

    summary = read(portal, warehouse, accept_loss=True)
    assert summary.counts["leads"].rows_living == 80


def test_hidden_deals_are_no_deleted_ones(portal: Portal, warehouse: Warehouse) -> None:
    """The webhook's owner stays administrator; 3 of 120 are within max_deleted_share."""
    read(portal, warehouse)
    portal.delete("deals", 1)
    portal.set_rights(hidden_deals=[2])
    with pytest.raises(
        Bitrix24Error,
        match=r"of 2 deals that the portal no longer lists 1 are not deleted but hidden from the"
        r" webhook's owner \(ID 2\): nothing was published; give .* --accept-loss",
    ):
        read(portal, warehouse)
    assert [refresh.refresh_no for refresh in warehouse.last_refreshes()] == [1]

    summary = read(portal, warehouse, accept_loss=True)
    assert summary.counts["deals"].rows_deleted == 2
    assert summary.warnings == [
        "of 2 deals that the portal no longer lists 1 are not deleted but hidden from the webhook's"
        " owner (ID 2): accepted with --accept-loss, the reports leave them out"
    ]
    portal.set_rights()
    summary = read(portal, warehouse)
    assert (summary.counts["deals"].rows_appended, summary.warnings) == (1, [])


def test_records_that_the_lists_leave_out_are_no_deleted_ones(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal counts and lists fewer, and returns them by ID: a stale index, for example."""
    read(portal, warehouse)
    portal.set_rights(hidden_deals=[2])
    monkeypatch.setitem(
        portal.methods.by_name, "crm.item.get", ("crm", lambda _: Reply({"item": {"id": 2}}))
    )
    with pytest.raises(Bitrix24Error, match=r"1 are not deleted: it returns them by ID \(ID 2\)"):
        read(portal, warehouse)


def test_of_many_that_are_gone_a_part_is_asked_for(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fifth of 50 where ten are allowed."""
    monkeypatch.setattr(completeness, "MOST_ASKED_BY_ID", 10)
    read(portal, warehouse)
    portal.delete("leads", range(1, 51))
    before = portal.calls["crm.item.get"]
    read(portal, warehouse, accept_loss=True)
    assert portal.calls["crm.item.get"] - before == 10


# The names of user fields: by their digits, by their words, mixed, and two that would be one name.
USER_FIELDS = {
    "UF_CRM_1720019876534": "Казань",
    "UF_CRM_SOME_NAME": "окна",
    "UF_CRM_PART2": "б",
    "UF_CRM_A_B": "в",
    "UF_CRM_A__B": "г",
}
SHOWN = ("ufCrm_1720019876534", "ufCrmSomeName", "ufCrm_PART2", "ufCrmAB", "UF_CRM_A__B")


@pytest.fixture
def with_user_fields(tmp_path: Path) -> Iterator[Portal]:
    folder = write_portal(
        tmp_path / "fields", leads=[lead(1, **USER_FIELDS), lead(2)], deals=[deal(1)]
    )
    with serve(folder, log=True) as running:
        yield running


def everything() -> Settings:
    return Settings.model_validate(Settings.load().model_dump() | {"pii": "full"})


def test_user_fields_are_asked_for_in_camel_case_and_stored_under_their_codes(
    with_user_fields: Portal, warehouse: Warehouse
) -> None:
    client = Client(with_user_fields.webhook_url)
    complete(warehouse, extract(client, warehouse, everything()).refresh_no)
    with_user_fields.change("leads", 2, {"UF_CRM_SOME_NAME": "двери"})
    complete(warehouse, extract(client, warehouse, everything()).refresh_no)
    stored = rows(warehouse, "select id, refresh_no, user_fields from raw.leads order by all")
    empty = dict.fromkeys(USER_FIELDS)
    assert [(item, number, json.loads(fields)) for item, number, fields in stored] == [
        (1, 1, USER_FIELDS),
        (2, 1, empty),
        (2, 2, empty | {"UF_CRM_SOME_NAME": "двери"}),
    ]
    described = rows(warehouse, "select field_name from raw.fields where field_name ilike 'uf%'")
    assert sorted(name for (name,) in described) == sorted(USER_FIELDS)
    asked = [params for method, params in with_user_fields.log if method == "crm.item.list"]
    assert all("useOriginalUfNames" not in params for _, params in with_user_fields.log)
    assert {name for params in asked for name in params["select"] if name[:2] in "UFuf"} == {*SHOWN}


def test_a_user_field_that_does_not_come_is_no_empty_one(
    with_user_fields: Portal, warehouse: Warehouse
) -> None:
    listed = with_user_fields.methods.by_name["crm.item.list"][1]

    def answer_without(*names: str) -> None:
        def answer(params: Any) -> Reply:
            reply = listed(params)
            items = [
                {k: v for k, v in row.items() if k not in names} for row in reply.result["items"]
            ]
            return replace(reply, result={"items": [row or [] for row in items]})

        with_user_fields.methods.by_name["crm.item.list"] = ("crm", answer)

    client = Client(with_user_fields.webhook_url)
    answer_without("ufCrm_PART2")
    with pytest.raises(
        Bitrix24Error, match="leads 1 came without the requested field UF_CRM_PART2"
    ):
        extract(client, warehouse, everything())
    answer_without("id", "createdTime")
    with pytest.raises(Bitrix24Error, match=r"crm\.item\.list with empty rows.* a proxy"):
        extract(client, warehouse, everything())
    assert "leads" not in warehouse.raw_tables() or rows(warehouse, "from raw.leads") == []


def test_a_value_of_the_wrong_type_is_named() -> None:
    with pytest.raises(Bitrix24Error, match="leads 2: field companyId holds a str"):
        LEADS.typed([lead(1), lead(2, companyId="Ромашка")], refresh_no=1)
    with pytest.raises(Bitrix24Error, match="leads 1: field createdTime holds a str"):
        LEADS.typed([lead(1, createdTime="вчера")], refresh_no=1)


def test_a_webhook_of_no_administrator_is_refused(tmp_path: Path, warehouse: Warehouse) -> None:
    folder = write_portal(tmp_path / "weak", leads=[lead(1)])
    settings = (folder / "portal.json").read_text(encoding="utf-8")
    (folder / "portal.json").write_text(settings.replace('"admin": true', '"admin": false'))
    with serve(folder) as weak, pytest.raises(Bitrix24Error, match="not an administrator"):
        read(weak, warehouse)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is not set"),
        ("https://acme.bitrix24.ru/", "does not have the form"),
        ("http://acme.bitrix24.ru/rest/1/planted-secret/", "must start with https"),
    ],
)
def test_a_bad_webhook_is_a_setting_error(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Client(url)
    assert "planted-secret" not in str(caught.value)


def test_the_secret_is_in_no_message_and_no_file(portal: Portal, warehouse: Warehouse) -> None:
    """Neither a working nor a refused nor an unreachable portal leaves the webhook's code."""
    secret = portal.webhook_url.rstrip("/").split("/")[-1]
    read(portal, warehouse)
    wrong = portal.webhook_url.replace(secret, "planted-secret")
    with pytest.raises(Bitrix24Error) as refused:
        Client(wrong, retry_seconds=0.01).call("server.time")
    with pytest.raises(Bitrix24Error) as unreachable:
        Client("http://127.0.0.1:9/rest/1/planted-secret/", retry_seconds=0.01).call("profile")

    assert "INVALID_CREDENTIALS" in str(refused.value)
    assert "copy its address" in str(refused.value)
    assert "cannot reach the portal http://127.0.0.1:9" in str(unreachable.value)
    for caught in (refused, unreachable):
        chain: BaseException | None = caught.value
        while chain is not None:
            assert "planted-secret" not in str(chain)
            chain = chain.__context__
    for path in warehouse.directory.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path

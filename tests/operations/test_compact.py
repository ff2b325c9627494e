"""Compaction and restore: fewer raw rows, a smaller file, and the same marts to the last row."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

import pipelines.warehouse
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import Summary, extract
from pipelines.check import complete
from pipelines.compact import compact
from pipelines.environment import ROOT
from pipelines.errors import CompactFailed, NotEnoughSpace
from pipelines.options import Options
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.compiled_models import run_models
from tests.support.plain_refresh import plain_refresh
from tests.support.raw_tables import query
from tests.support.small_portal import CURRENCIES, deal, deal_visit, lead, lead_visit, write_portal

CREATED = "2026-03-01T10:00:00+03:00"

Tables = dict[str, list[tuple[Any, ...]]]


def day(number: int) -> str:
    return f"2026-03-{number:02}T12:00:00+03:00"


def read(
    portal: Portal, warehouse: Warehouse, now: str, settings: Settings | None = None
) -> Summary:
    portal.set_now(now)
    client = Client(portal.webhook_url, retry_seconds=0.01)
    with plain_refresh():
        return extract(client, warehouse, settings or Settings.load(), Options(accept_loss=True))


def refresh(
    portal: Portal, warehouse: Warehouse, now: str, settings: Settings | None = None
) -> Summary:
    summary = read(portal, warehouse, now, settings)
    complete(warehouse, summary.refresh_no)
    return summary


def activity(number: int, owner: int, deadline: str) -> dict[str, Any]:
    return {
        "ID": number,
        "OWNER_TYPE_ID": 2,
        "OWNER_ID": owner,
        "TYPE_ID": 2,
        "RESPONSIBLE_ID": 1,
        "COMPLETED": "N",
        "CREATED": CREATED,
        "DEADLINE": deadline,
    }


def won(number: int, time: str, **values: Any) -> dict[str, Any]:
    values = {"updatedTime": time, "movedTime": time, **values}
    return deal(number, stageId="WON", stageSemanticId="S", closed="Y", **values)


@contextmanager
def company(folder: Path) -> Iterator[Portal]:
    data = write_portal(
        folder,
        leads=[lead(1), lead(2), lead(3)],
        deals=[won(1, day(5), opportunity=900), deal(2, opportunity=500, currencyId="USD")],
        contacts=[
            {
                "id": 1,
                "createdTime": CREATED,
                "updatedTime": CREATED,
                "assignedById": 1,
                "leadId": 2,
            }
        ],
        lead_stage_history=[
            lead_visit(1, 1, "NEW", "P", CREATED),
            lead_visit(2, 2, "NEW", "P", CREATED),
        ],
        deal_stage_history=[
            deal_visit(1, 1, "NEW", "P", CREATED),
            deal_visit(2, 1, "WON", "S", day(5)),
            deal_visit(3, 2, "NEW", "P", CREATED),
        ],
        activities=[activity(number, 2, day(20)) for number in (1, 2, 3)],
    )
    with serve(data) as running:
        yield running


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with company(tmp_path / "portal") as running:
        yield running


def live(portal: Portal, warehouse: Warehouse) -> None:
    """Seven refreshes, the fourth never completed.

    Lead 1 sees an activity before refreshes 2, 3 and 5, is worked on before 6 and deleted before 7.
    Leads 2 and 3 see an activity before refresh 2, and 3 is deleted before 3. Deal 1 is reopened
    before refresh 2 and the portal forgets the win; it is deleted before 3 and back before 5. Deal
    2 changes owner before refresh 3. Contact 1 is saved unchanged before 2 and 3, and passed on
    before 5. Activities 1 and 3 are put off before refresh 2, and 1 is done before 3; activity 2 is
    done before 7. The dollar changes before refreshes 2 and 3.
    """
    refresh(portal, warehouse, day(10))

    portal.upsert("leads", [lead(number, lastActivityTime=day(11)) for number in (1, 2, 3)])
    portal.upsert("deals", deal(1, opportunity=900, updatedTime=day(11)))
    portal.delete("deal_stage_history", 2)
    portal.upsert("contacts", {"id": 1, "updatedTime": day(11)})
    portal.upsert("activities", [activity(1, 2, day(28)), activity(3, 2, day(29))])
    portal.replace("currencies", [CURRENCIES[0], {**CURRENCIES[1], "AMOUNT": "95.0000"}])
    refresh(portal, warehouse, day(12))

    portal.upsert("leads", lead(1, lastActivityTime=day(13), updatedTime=day(13)))
    portal.delete("leads", 3)
    portal.delete("deals", 1)
    portal.upsert("deals", deal(2, opportunity=500, currencyId="USD", assignedById=2))
    portal.upsert("deals", {"id": 2, "updatedTime": day(13)})
    portal.upsert("contacts", {"id": 1, "updatedTime": day(13)})
    portal.delete("activities", 1)
    portal.replace("currencies", [CURRENCIES[0], {**CURRENCIES[1], "AMOUNT": "97.0000"}])
    refresh(portal, warehouse, day(14))

    portal.upsert("leads", lead(1, lastActivityTime=day(15), updatedTime=day(15)))
    read(portal, warehouse, day(16))

    portal.upsert("leads", lead(1, lastActivityTime=day(17), updatedTime=day(17)))
    portal.upsert("deals", deal(1, opportunity=900, updatedTime=day(17)))
    portal.upsert("contacts", {"id": 1, "updatedTime": day(17), "assignedById": 2})
    refresh(portal, warehouse, day(18))

    portal.upsert("leads", lead(1, updatedTime=day(19), stageId="JUNK", stageSemanticId="F"))
    portal.upsert("lead_stage_history", lead_visit(3, 1, "JUNK", "F", day(19)))
    refresh(portal, warehouse, day(20))

    portal.delete("leads", 1)
    portal.delete("activities", 2)
    refresh(portal, warehouse, day(22))


def marts(warehouse: Warehouse) -> Tables:
    """Builds everything; the rows of every published table, in order."""
    run_models(warehouse.directory)
    names = query(
        warehouse.directory,
        "select schema_name || '.' || table_name from duckdb_tables()"
        " where schema_name in ('marts', 'quality') order by all",
    )
    return {
        name: query(warehouse.directory, f"select * from {name} order by all") for (name,) in names
    }


def versions(warehouse: Warehouse, table: str) -> list[tuple[Any, ...]]:
    """(key, refresh, deleted) of each raw row."""
    return query(
        warehouse.directory,
        f"select id, refresh_no, is_deleted from raw.{table} order by all",
    )


@dataclass(frozen=True)
class Lived:
    """A portal after seven refreshes, and its warehouse."""

    portal: Portal
    warehouse: Warehouse

    def copied(self, folder: Path) -> Warehouse:
        return Warehouse(shutil.copytree(self.warehouse.directory, folder / "data"))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("lived")
    with company(folder / "portal") as portal:
        warehouse = Warehouse(folder / "data")
        live(portal, warehouse)
        # A crash between writing and noting it: the deals of refresh 3 are there twice.
        with warehouse.connect(read_only=False) as connection:
            connection.execute(
                "insert into raw.deals by name select * replace ('0' as _dlt_load_id)"
                " from raw.deals where refresh_no = 3"
            )
        yield Lived(portal, warehouse)


@pytest.fixture(scope="module")
def marts_of_lived(lived: Lived) -> Tables:
    return marts(lived.warehouse)


def test_rows_that_go_and_rows_that_stay(lived: Lived, tmp_path: Path) -> None:
    warehouse = lived.copied(tmp_path)
    compact(warehouse)
    # Lead 1 as first seen, the work and the deletion: 2, 3 and 5 saw activities alone, and 4 was
    # never completed. Lead 2 as first seen and as it is.
    assert versions(warehouse, "leads") == [
        (1, 1, False),
        (1, 6, False),
        (1, 7, True),
        (2, 1, False),
        (2, 2, False),
        (3, 1, False),
        (3, 3, True),
    ]
    assert versions(warehouse, "deals") == [
        (1, 1, False),
        (1, 2, False),
        (1, 3, True),
        (1, 5, False),
        (2, 1, False),
        (2, 3, False),
    ]
    assert versions(warehouse, "contacts") == [(1, 1, False), (1, 5, False)]
    # Activity 1 is gone from the portal; that activity 2 is, the last refresh has seen.
    assert versions(warehouse, "activities") == [(2, 7, True), (3, 2, False)]
    # Leads 1 and 3 are deleted; the log has no tombstones of cities.
    assert versions(warehouse, "lead_addresses") == [(2, 1, False)]
    # Row 1 went with its deal, which came back without it.
    assert versions(warehouse, "deal_stage_history") == [
        (1, 1, False),
        (1, 5, True),
        (2, 1, False),
        (2, 2, True),
        (3, 1, False),
    ]
    assert query(
        warehouse.directory,
        "select refresh_no from raw.currencies where currency = 'USD' order by 1",
    ) == [(1,), (2,), (3,)]
    assert query(
        warehouse.directory, "select distinct refresh_no from raw.refreshes order by all"
    ) == [(1,), (2,), (3,), (5,), (6,), (7,)]

    unchanged = refresh(lived.portal, warehouse, day(23))
    assert unchanged.refresh_no == 8
    assert sum(counts.rows_appended for counts in unchanged.counts.values()) == 0
    assert unchanged.counts["leads"].rows_living == 1


def test_marts_are_the_same_after_compaction(
    lived: Lived, marts_of_lived: Tables, tmp_path: Path
) -> None:
    warehouse = lived.copied(tmp_path)
    kinds = query(warehouse.directory, "select distinct kind from marts.fct_reversals")
    assert {kind for (kind,) in kinds} == {"deleted", "history_row_vanished", "reopened_after_win"}
    compact(warehouse)
    after = marts(warehouse)
    assert after.keys() == marts_of_lived.keys()
    for name, rows in marts_of_lived.items():
        assert after[name] == rows, name


def test_an_extraction_that_waits_for_its_checks_is_kept(portal: Portal, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "data")
    refresh(portal, warehouse, day(10))
    portal.upsert("leads", lead(1, lastActivityTime=day(11), updatedTime=day(11)))
    read(portal, warehouse, day(12))
    compact(warehouse)
    assert versions(warehouse, "leads") == [
        (1, 1, False),
        (1, 2, False),
        (2, 1, False),
        (3, 1, False),
    ]
    assert [refresh.refresh_no for refresh in warehouse.last_refreshes(completed=False)] == [2, 1]


@pytest.mark.parametrize("waits", [False, True])
def test_details_of_a_deleted_record_go_and_come_back_with_it(
    portal: Portal, tmp_path: Path, waits: bool
) -> None:
    """Where a refresh that waits for its checks has seen it again, they are not read once more."""
    warehouse = Warehouse(tmp_path / "data")
    contact = {"id": 1, "createdTime": CREATED, "updatedTime": CREATED, "name": "Пелагея"}
    portal.upsert("contacts", contact)

    def details() -> list[list[tuple[Any, ...]]]:
        return [versions(warehouse, name) for name in ("lead_addresses", "contact_details")]

    with_details = Settings.model_validate(Settings.load().model_dump() | {"pii": "full"})
    refresh(portal, warehouse, day(10), with_details)
    portal.delete("leads", 3)
    portal.delete("contacts", 1)
    refresh(portal, warehouse, day(12), with_details)
    before = [[(1, 1, False), (2, 1, False), (3, 1, False)], [(1, 1, False)]]
    assert details() == before
    portal.upsert("leads", lead(3))
    portal.upsert("contacts", contact)
    if waits:
        waiting = read(portal, warehouse, day(14), with_details)
        compact(warehouse)
        assert details() == before
        complete(warehouse, waiting.refresh_no)
    else:
        compact(warehouse)
        assert details() == [[(1, 1, False), (2, 1, False)], []]
        refresh(portal, warehouse, day(14), with_details)
        assert details() == [[(1, 1, False), (2, 1, False), (3, 3, False)], [(1, 3, False)]]
    for name, living in {"lead_addresses": 3, "contact_details": 1}.items():
        found = warehouse.latest_versions(name, ["id"], ["id"])
        assert found is not None
        assert found.height == living


def test_the_file_gets_smaller_and_nothing_is_left_beside_it(
    portal: Portal, tmp_path: Path
) -> None:
    """Half a million rows left by a refused refresh."""
    warehouse = Warehouse(tmp_path / "data")
    read(portal, warehouse, day(9))
    refresh(portal, warehouse, day(10))
    with warehouse.connect(read_only=False) as connection:
        connection.execute(
            "insert into raw.leads by name select range as id, md5(range::varchar) as title,"
            " 1 as refresh_no, false as is_deleted, '0' as _dlt_load_id from range(500_000)"
        )
    done = compact(warehouse)
    assert done.rows["leads"] == (500_006, 3)
    # An md5 holds 16 bytes that no compression takes away.
    assert done.bytes_before - done.bytes_after > 500_000 * 16
    assert {path.name for path in warehouse.directory.iterdir()} == {"warehouse.duckdb", ".dlt"}


def test_a_crash_before_the_rename_leaves_the_file_and_the_next_try_succeeds(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(tmp_path / "data")
    live(portal, warehouse)
    leads = versions(warehouse, "leads")

    def dies(path: Path) -> None:
        raise OSError("the power is cut")

    monkeypatch.setattr(pipelines.warehouse, "sync", dies)
    with pytest.raises(CompactFailed, match="the power is cut"):
        compact(warehouse)
    assert versions(warehouse, "leads") == leads
    monkeypatch.undo()
    compact(warehouse)
    assert len(versions(warehouse, "leads")) == 7


def test_what_a_crash_left_in_the_log_is_in_the_new_file(portal: Portal, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "data")
    refresh(portal, warehouse, day(10))
    dies = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]);"
        "c.execute('create table raw.late as select 1 as x'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", dies, warehouse.database], check=True)
    log = warehouse.database.with_name("warehouse.duckdb.wal")
    assert log.exists()
    assert compact(warehouse).rows["late"] == (1, 1)
    assert not log.exists()
    assert query(warehouse.directory, "select x from raw.late") == [(1,)]


def test_a_full_disk_stops_compaction_before_it_begins(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(tmp_path / "data")
    with pytest.raises(CompactFailed, match="nothing to compact"):
        compact(warehouse)
    refresh(portal, warehouse, day(10))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(NotEnoughSpace, match="has 1,000 bytes free"):
        compact(warehouse)
    assert not warehouse.database.with_name("warehouse.rewritten").exists()


def test_a_backup_restores_the_same_marts_and_the_next_refresh_reads_on(
    lived: Lived, marts_of_lived: Tables, tmp_path: Path
) -> None:
    """The procedure of docs/operations.md: a copy under the lock, damage, the copy put back."""
    warehouse = lived.copied(tmp_path)
    backup = tmp_path / "backup.duckdb"
    lock = warehouse.directory / "refresh.lock"
    subprocess.run(["flock", "-n", lock, "cp", warehouse.database, backup], check=True)
    lived.portal.upsert("leads", lead(4, createdTime=day(24), updatedTime=day(24)))
    refresh(lived.portal, warehouse, day(25))

    os.truncate(warehouse.database, warehouse.database.stat().st_size // 2)
    with pytest.raises(duckdb.Error):
        versions(warehouse, "leads")
    shutil.copy(backup, warehouse.database)
    with warehouse.connect(read_only=False) as connection:
        connection.execute("drop schema marts cascade; drop schema quality cascade")

    assert marts(warehouse) == marts_of_lived
    again = refresh(lived.portal, warehouse, day(26))
    assert (again.refresh_no, again.counts["leads"].rows_appended) == (8, 1)


def test_what_the_docs_stop_is_a_running_refresh_too() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    stopped = re.findall(r"systemctl stop ([a-z0-9-]+\.\w+)(?:\s+([a-z0-9-]+\.\w+))?", text)
    assert stopped == [("bitrix24-analytics.timer", "bitrix24-analytics.service")] * 4
    assert not re.search("with the timer stopped|Stop the timer,", text)


def test_a_copy_is_refused_while_a_refresh_runs(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with warehouse.lock():
        copied = subprocess.run(
            ["flock", "-n", tmp_path / "refresh.lock", "true"], check=False, close_fds=True
        )
    assert copied.returncode == 1

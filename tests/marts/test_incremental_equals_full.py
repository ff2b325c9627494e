"""Ten refreshes of a portal that changes in every way = one full sync of it, and each build after
them, which leaves what reads the same rows as it is = a build of everything.

For a portal that erases its history the raw tables are compared, up to the last version of each
record: the log has more than the portal. For one that keeps it, all marts, views and issues. And
after each of CHANGES changes, one kind at a time: CHANGES=100 are part of `make soak`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import polars.selectors as cs
import pytest

from pipelines import changed_items
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.entities import ENTITIES, HISTORIES, TABLES, OwnedTable
from pipelines.bitrix24.extract import Summary, extract
from pipelines.changed_items import ChangedItems
from pipelines.check import complete
from pipelines.compiled import forget_built
from pipelines.metrics import MACROS, create_views
from pipelines.options import Options
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.compiled_models import build_models, run_models
from tests.support.equal_tables import differing_tables
from tests.support.plain_refresh import plain_refresh
from tests.support.small_portal import (
    CURRENCIES,
    STATUSES,
    USERS,
    deal,
    deal_visit,
    lead,
    status,
    write_portal,
)

FIRST_DAY = dt.datetime.fromisoformat("2026-03-01T10:00:00+03:00")
REFRESHES = 10
IMPORT_DAY, IMPORTED, FIRST_IMPORTED = 5, 120, 50_000
SEED = int(os.environ.get("RANDOM_SEED", "1"))
CHANGES = int(os.environ.get("CHANGES", "8"))
# BUILDS=all: after each of them.
BUILT_AFTER = range(REFRESHES) if "BUILDS" in os.environ else (0, 5, 8, 9)
LEAD_STAGES, DEAL_STAGES = ("NEW", "JUNK", "CONVERTED"), ("NEW", "WON", "LOSE")


class Company:
    """People at work: each change is one kind of what happens on real portals."""

    def __init__(self, portal: Portal, seed: int, erases_history: bool) -> None:
        self.portal = portal
        self.random = random.Random(seed)
        self.erases_history = erases_history
        self.changes: tuple[Callable[[], None], ...] = (
            self.stages_move,
            self.a_deal_is_handed_over,
            self.an_import,
            self.contacts_are_merged,
            self.companies_are_merged,
            self.records_are_deleted,
            self.a_lead_is_restored,
            self.directories_change,
            self.activities_come_and_go,
            self.odd_times,
            self.owners_change,
            *([self.the_portal_erases_history] if erases_history else []),
        )

    def day(self, number: int) -> None:
        now = FIRST_DAY + dt.timedelta(days=number)
        self.number = number
        self.now = now.isoformat()
        self.portal.set_now(now)
        self.new_customers()
        for change in self.random.sample(self.changes, len(self.changes)):
            change()

    def hours_later(self, hours: int) -> str:
        """One kind of change, or none, after some hours; its name."""
        self.number += 1
        now = dt.datetime.fromisoformat(self.now) + dt.timedelta(hours=hours)
        self.portal.set_now(now)
        self.now = now.isoformat()
        kinds = (*self.changes, self.new_customers, self.stages_are_renamed, self.nothing)
        change = self.random.choice(kinds)
        change()
        return change.__name__

    def nothing(self) -> None:
        """Only time has gone by."""

    def stages_are_renamed(self) -> None:
        """One of them now means a failure, or work again."""
        changed = {"NAME": f"Доставка {self.number}", "SEMANTICS": self.random.choice((None, "F"))}
        self.portal.upsert("statuses", {"ID": 8, **changed})

    def rows(self, name: str) -> list[dict[str, Any]]:
        return self.portal.data.tables[name].plain_rows()

    def one(self, name: str) -> int:
        numbers = [row["id"] for row in self.rows(name) if row["id"] < FIRST_IMPORTED]
        return int(self.random.choice(numbers))

    def new_customers(self) -> None:
        times = {"createdTime": self.now, "updatedTime": self.now}
        for name in ("contacts", "companies"):
            last = max(row["id"] for row in self.rows(name))
            self.portal.upsert(name, [{"id": last + n, **times} for n in (1, 2)])
        for _ in range(3):
            contacts = sorted({self.one("contacts"), self.one("contacts")})
            links = {"contactIds": contacts, "contactId": contacts[0]}
            links["companyId"] = self.one("companies")
            lead_id = self.portal.create("leads", "NEW", 0, **links)
            self.portal.create("deals", "NEW", self.random.randrange(900), leadId=lead_id, **links)

    def stages_move(self) -> None:
        for _ in range(4):
            self.portal.move("leads", self.one("leads"), self.random.choice(LEAD_STAGES))
            # Also back from a final stage: reopened.
            self.portal.move("deals", self.one("deals"), self.random.choice(DEAL_STAGES))

    def a_deal_is_handed_over(self) -> None:
        number = self.one("deals")
        self.portal.move("deals", number, "WON")
        self.portal.change("deals", number, {"categoryId": 3, "stageId": "C3:NEW"})
        self.portal.change("deals", number, {"stageSemanticId": "P", "closed": "N"})
        table = self.portal.data.tables["deal_stage_history"]
        if self.erases_history:
            self.portal.delete("deal_stage_history", table.ids_where("OWNER_ID", [number]))
            return
        row_id = max(row["ID"] for row in self.rows("deal_stage_history")) + 1
        visit = deal_visit(row_id, number, "C3:NEW", "P", self.now)
        self.portal.upsert("deal_stage_history", visit | {"CATEGORY_ID": 3, "TYPE_ID": 5})

    def the_portal_erases_history(self) -> None:
        """Of a reopened deal, as portals of older versions do."""
        number = self.one("deals")
        history = self.portal.data.tables["deal_stage_history"]
        self.portal.delete("deal_stage_history", history.ids_where("OWNER_ID", [number])[-1:])
        self.portal.change("deals", number, {"stageId": "NEW", "stageSemanticId": "P"})

    def an_import(self) -> None:
        last = max(row["id"] for row in self.rows("leads"))
        old = dict.fromkeys(
            ("createdTime", "updatedTime", "movedTime"), "2019-05-01T10:00:00+03:00"
        )
        self.portal.upsert("leads", [lead(last + n, **old) for n in (1, 2)])
        if self.number == IMPORT_DAY:
            self.a_night_of_imported_sales()

    def a_night_of_imported_sales(self) -> None:
        """Sold in 2025; the portal writes their history when they come."""
        times = dict.fromkeys(
            ("createdTime", "updatedTime", "movedTime"), "2025-06-01T10:00:00+03:00"
        )
        last_visit = max((row["ID"] for row in self.rows("deal_stage_history")), default=0)
        for n in range(1, IMPORTED + 1):
            number = FIRST_IMPORTED + n
            sold = deal(number, **times, stageId="WON", stageSemanticId="S", closed="Y")
            self.portal.upsert("deals", sold | {"opportunity": 1_000_000})
            visit = deal_visit(last_visit + n, number, "WON", "S", self.now)
            self.portal.upsert("deal_stage_history", visit | {"TYPE_ID": 3})

    def contacts_are_merged(self) -> None:
        first, second = self.random.sample([row["id"] for row in self.rows("contacts")], 2)
        self.portal.merge("contacts", first, second)

    def companies_are_merged(self) -> None:
        first, second = self.random.sample([row["id"] for row in self.rows("companies")], 2)
        self.portal.merge("companies", first, second)

    def records_are_deleted(self) -> None:
        for name in ("leads", "deals", "contacts", "companies"):
            self.portal.delete(name, self.one(name))

    def a_lead_is_restored(self) -> None:
        """With a new ID and its old times."""
        row = self.random.choice(self.rows("leads"))
        self.portal.delete("leads", row["id"])
        last = max(row["id"] for row in self.rows("leads"))
        self.portal.upsert("leads", {**row, "id": last + 1})

    def directories_change(self) -> None:
        number = self.random.randrange(100, 10_000)
        self.portal.upsert("statuses", {"ID": 7, "NAME": f"Сайт {number}"})
        self.portal.upsert("statuses", status(number, "SOURCE", f"S{number}") | {"NAME": "Сайт"})
        self.portal.upsert("users", {"ID": 1, "LAST_NAME": self.random.choice(("Орлова", "Ли"))})
        rate = {**CURRENCIES[1], "AMOUNT": f"{self.random.randrange(80, 100)}.0000"}
        self.portal.replace("currencies", [CURRENCIES[0], rate])

    def activities_come_and_go(self) -> None:
        number = self.random.randrange(1, 6)
        done = self.random.choice("YN")
        owner = {"OWNER_ID": self.one("leads"), "OWNER_TYPE_ID": 1, "COMPLETED": done}
        self.portal.upsert("activities", {"ID": number, **owner, "CREATED": self.now})
        # It does not always change updatedTime.
        self.portal.upsert("leads", {"id": self.one("leads"), "lastActivityTime": self.now})

    def odd_times(self) -> None:
        number = self.one("deals")
        self.portal.change("deals", number, {"closedate": "2031-01-01T03:00:00+03:00"})
        self.portal.change("deals", number, {"movedTime": "1999-12-31T23:00:00+03:00"})

    def owners_change(self) -> None:
        self.portal.change("deals", self.one("deals"), {"assignedById": 2})
        number = self.one("leads")
        self.portal.upsert("lead_addresses", {"ID": number, "ADDRESS_CITY": "Казань"})
        self.portal.change("leads", number, {})


def read(portal: Portal, warehouse: Warehouse) -> Summary:
    client = Client(portal.webhook_url, retry_seconds=0.01)
    # No full sync is due in between, which would fix what incremental ones miss.
    settings = Settings.load().model_copy(update={"full_read_every_days": 99})
    summary = extract(client, warehouse, settings, Options(accept_loss=True))
    complete(warehouse, summary.refresh_no)
    return summary


def latest(warehouse: Warehouse) -> Mapping[str, pl.DataFrame]:
    """Living rows by raw table; histories and cities without those of items that are gone."""
    found: dict[str, pl.DataFrame] = {}
    for table in TABLES:
        columns = [*table.columns, *(["user_fields"] if table.has_user_fields else [])]
        columns = [name for name in columns if name not in table.key]
        rows = warehouse.latest_versions(table.name, [*table.key, *columns], table.key)
        if rows is not None:
            found[table.name] = rows.sort(table.key)
    for table in TABLES:
        if isinstance(table, OwnedTable) and table.name in found:
            owner = "owner_id" if table in HISTORIES else "id"
            living = found[table.owner]["id"].implode()
            found[table.name] = found[table.name].filter(pl.col(owner).is_in(living))
    return found


def lay_out(folder: Path) -> Path:
    """A portal with two pipelines, on which nothing has happened yet."""
    times = dict.fromkeys(("createdTime", "updatedTime"), FIRST_DAY.isoformat())
    return write_portal(
        folder,
        leads=[lead(1), lead(2)],
        contacts=[{"id": number, **times} for number in range(1, 9)],
        companies=[{"id": number, **times} for number in range(1, 9)],
        statuses=[
            *STATUSES,
            status(8, "DEAL_STAGE_3", "C3:NEW") | {"CATEGORY_ID": "3"},
        ],
        categories=[
            {"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"},
            {"id": 3, "name": "Доставка", "sort": 200, "isDefault": "N"},
        ],
        users=[*USERS, {"ID": "2", "ACTIVE": True, "NAME": "Борис", "UF_DEPARTMENT": [1]}],
    )


def ten_refreshes_and_one(
    folder: Path,
    erases_history: bool,
    after: Callable[[Warehouse, int], None] = lambda warehouse, number: None,
) -> tuple[Warehouse, Warehouse]:
    """A warehouse of ten refreshes, and one that read the same portal once.

    Args:
        after: Called with the first after each of its refreshes.
    """
    data = lay_out(folder / "portal")
    many, once = Warehouse(folder / "many"), Warehouse(folder / "once")
    with serve(data, rate_limit=False) as portal, plain_refresh():
        company = Company(portal, SEED, erases_history)
        for number in range(REFRESHES):
            company.day(number)
            portal.set_now(FIRST_DAY + dt.timedelta(days=number, hours=5))
            kind = read(portal, many).kind
            assert number == 0 or kind == "incremental"
            after(many, number)
        portal.set_now(FIRST_DAY + dt.timedelta(days=REFRESHES - 1, hours=5))
        read(portal, once)
    return many, once


def test_ten_refreshes_equal_one_full_sync(tmp_path: Path) -> None:
    many, once = ten_refreshes_and_one(tmp_path, erases_history=True)
    incremental, full = latest(many), latest(once)
    assert incremental.keys() == full.keys()
    assert all(full[table.name].height for table in (*ENTITIES, *HISTORIES))
    for name, rows in full.items():
        different = incremental[name].join(rows, on=rows.columns, how="anti", nulls_equal=True)
        lost = rows.join(incremental[name], on=rows.columns, how="anti", nulls_equal=True)
        assert (different.rows(), lost.rows()) == ([], []), f"seed {SEED}: {name}"


# What only the log of versions can know: tables that are this log, and columns of others.
LOG = {"fct_item_versions", "fct_item_owners", "fct_reversals"}
OF_THE_REFRESH = {
    # rows_living of a history counts the items that this refresh read.
    "load_completeness": {
        *("refresh_no", "rows_read", "rows_appended", "rows_deleted", "rows_living", "requests"),
        "deleted_base_amount",
    },
    "refreshes": {"refresh_no", "kind", "first_as_of_date"},
}
# Records and codes of the past, which a full sync never saw.
OF_THE_PAST = {
    "fct_portal_bridge": "bridge_kind <> 'deleted'",
    "dim_sources": "not is_deleted",
    "issues": "kind <> 'deleted_since_refresh'",
}


class Builds:
    """Builds after refreshes, each of which leaves the same as a build of everything.

    For one of them a setting is another.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unchanged: list[int] = []

    def __call__(self, warehouse: Warehouse, number: int) -> None:
        if number not in BUILT_AFTER:
            return
        variables = {"repeat_means": "sale"} if number == REFRESHES - 2 else {}
        done = build_models(warehouse.directory, variables)
        assert {one["status"] for one in done} == {"success", "pass"}
        self.unchanged.append(sum(one["is_unchanged"] for one in done))
        whole = Warehouse(self.folder / f"whole-{number}")
        whole.directory.mkdir()
        shutil.copy(warehouse.database, whole.database)
        with whole.connect(read_only=False) as connection:
            forget_built(connection)
        run_models(whole.directory, variables)
        compare(warehouse.database, whole.database, f"seed {SEED}, refresh {number}")


def compare(ours: Path, whole: Path, told: str) -> None:
    """All relations have the same rows, and what the build noted of them is true."""
    differing = differing_tables(ours, whole)
    assert not differing, f"{told}: {differing}"
    noted = []
    for path in (ours, whole):
        with duckdb.connect(str(path), read_only=True) as connection:
            ((made,),) = connection.execute("from build.nodes").fetchall()
        noted.append(json.loads(made))
    for key, (_, _, rows) in noted[1].items():
        # Of a view only that it may differ is noted.
        if "stg_" not in key:
            assert noted[0][key][2] == rows, f"{told}: {key}"


def build(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    """All models and views of a warehouse."""
    run_models(warehouse.directory)
    connection = duckdb.connect(str(warehouse.database))
    connection.execute("set timezone = 'UTC'")
    return connection


def test_marts_views_and_issues_equal_those_of_a_full_sync(tmp_path: Path) -> None:
    """Also: 120 deals sold in 2025 and imported on 6 March bring March no sale."""
    builds = Builds(tmp_path)
    many, once = ten_refreshes_and_one(tmp_path, erases_history=False, after=builds)
    first, *later = builds.unchanged
    assert first == 0 and min(later) > 50
    with build(many) as incremental, build(once) as full:
        create_views(full, once.directory / "dbt" / "semantic_manifest.json")
        incremental.execute("create schema metrics")
        incremental.execute(MACROS)
        for (sql,) in full.execute(
            "select sql from duckdb_views() where schema_name = 'metrics'"
        ).fetchall():
            incremental.execute(sql)
        names = full.execute(
            "select table_schema, table_name from information_schema.tables"
            " where table_schema in ('marts', 'quality', 'metrics') order by all"
        ).fetchall()
        assert {schema for schema, _ in names} == {"marts", "quality", "metrics"}
        for schema, name in names:
            if name in LOG:
                continue
            left_out = ", ".join(sorted(OF_THE_REFRESH.get(name, ())))
            query = (
                f"select * {f'exclude ({left_out})' if left_out else ''} from {schema}.{name}"
                f" where {OF_THE_PAST.get(name, 'true')} order by all"
            )
            ours, theirs = (
                pl.DataFrame(c.sql(query).to_arrow_table()) for c in (incremental, full)
            )
            assert ours.schema == theirs.schema
            # Sums of floats differ by their order.
            ours, theirs = (frame.with_columns(cs.float().round(6)) for frame in (ours, theirs))
            wrong = [column for column in ours.columns if not ours[column].equals(theirs[column])]
            assert not wrong, f"seed {SEED}: {schema}.{name}: {wrong}"
        handed_over, imported, sold_in_march = full.execute(
            f"""
            select
                count(*) filter (is_handed_over),
                count(*) filter (deal_id > {FIRST_IMPORTED} and sold_date = date '2025-06-01'),
                count(*) filter (deal_id > {FIRST_IMPORTED} and sold_date >= date '2026-03-01')
            from marts.fct_deals
            """
        ).fetchone() or (0, 0, 1)
        assert handed_over > 0
        assert (imported, sold_in_march) == (IMPORTED, 0)
        (listed,) = full.execute(
            "select count(*) from quality.issues where kind = 'imported_history'"
            f" and item_id > {FIRST_IMPORTED}"
        ).fetchone() or (0,)
        assert listed == IMPORTED


def test_a_build_of_changed_items_equals_one_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each change: of records, reference data, rates, settings, or of time alone."""
    # In a small company one change is of many of its records.
    monkeypatch.setattr(changed_items, "MOST_DIFFERENT", 1.0)
    updated: Counter[str] = Counter()
    update = ChangedItems.update

    def count(items: ChangedItems, connection: Any, model: Any, columns: Any) -> tuple[int, int]:
        updated[model["name"]] += 1
        return update(items, connection, model, columns)

    monkeypatch.setattr(ChangedItems, "update", count)
    warehouse, whole = Warehouse(tmp_path / "ours"), Warehouse(tmp_path / "whole")
    with serve(lay_out(tmp_path / "portal"), rate_limit=False) as portal, plain_refresh():
        company = Company(portal, SEED, erases_history=True)
        for number in range(5):
            company.day(number)
        for number in range(CHANGES):
            change = company.hours_later(company.random.choice((1, 20, 24 * 9)))
            told = f"seed {SEED}, change {number}: {change}"
            read(portal, warehouse)
            variables = {"repeat_means": "sale"} if number % 10 == 7 else {}
            done = build_models(warehouse.directory, variables)
            assert {one["status"] for one in done} == {"success", "pass"}, told
            whole.directory.mkdir(exist_ok=True)
            shutil.copy(warehouse.database, whole.database)
            with whole.connect(read_only=False) as connection:
                forget_built(connection)
            build_models(whole.directory, variables)
            compare(warehouse.database, whole.database, told)
    assert updated["fct_leads"] and updated["fct_stage_reach"]

"""Ten refreshes of a portal that changes in every way = one full reading of it.

What the marts read, the latest version of each record of each raw table, is compared; only the
log behind it (earlier versions, rates, times of refreshes) can know more than a full reading.
"""

from __future__ import annotations

import datetime as dt
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.entities import ENTITIES, HISTORIES, TABLES
from pipelines.bitrix24.extract import Summary, extract
from pipelines.check import complete
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.small_portal import CURRENCIES, STATUSES, USERS, lead, status, write_portal

FIRST_DAY = dt.datetime.fromisoformat("2026-03-01T10:00:00+03:00")
REFRESHES = 10
SEED = int(os.environ.get("RANDOM_SEED", "1"))
LEAD_STAGES, DEAL_STAGES = ("NEW", "JUNK", "CONVERTED"), ("NEW", "WON", "LOSE")


class Company:
    """People at work: each change is one kind of what happens on real portals."""

    def __init__(self, portal: Portal, seed: int) -> None:
        self.portal = portal
        self.random = random.Random(seed)
        self.changes: tuple[Callable[[], None], ...] = (
            self.stages_move,
            self.a_deal_is_handed_over,
            self.the_portal_erases_history,
            self.an_import,
            self.contacts_are_merged,
            self.companies_are_merged,
            self.records_are_deleted,
            self.a_lead_is_restored,
            self.directories_change,
            self.activities_come_and_go,
            self.odd_times,
            self.owners_change,
        )

    def day(self, number: int) -> None:
        now = FIRST_DAY + dt.timedelta(days=number)
        self.now = now.isoformat()
        self.portal.set_now(now)
        self.new_customers()
        for change in self.random.sample(self.changes, len(self.changes)):
            change()

    def rows(self, name: str) -> list[dict[str, Any]]:
        return self.portal.data.tables[name].plain_rows()

    def one(self, name: str) -> int:
        return int(self.random.choice(self.rows(name))["id"])

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
        self.portal.change("deals", number, {"categoryId": 3, "stageId": "C3:NEW"})
        self.portal.change("deals", number, {"stageSemanticId": "P", "closed": "N"})
        table = self.portal.data.tables["deal_stage_history"]
        self.portal.delete("deal_stage_history", table.ids_where("OWNER_ID", [number]))

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
        # It need not move updatedTime.
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
    # No full reading is due in between, which would mend what the changes leave.
    settings = Settings.load().model_copy(update={"full_read_every_days": 99})
    summary = extract(client, warehouse, settings, accept_loss=True)
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
        if table.owner and table.name in found:
            owner = "owner_id" if table in HISTORIES else "id"
            living = found[table.owner]["id"].implode()
            found[table.name] = found[table.name].filter(pl.col(owner).is_in(living))
    return found


def test_ten_refreshes_equal_one_full_reading(tmp_path: Path) -> None:
    times = dict.fromkeys(("createdTime", "updatedTime"), FIRST_DAY.isoformat())
    folder = write_portal(
        tmp_path / "portal",
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
    many, once = Warehouse(tmp_path / "many"), Warehouse(tmp_path / "once")
    with serve(folder, rate_limit=False) as portal:
        company = Company(portal, SEED)
        for number in range(REFRESHES):
            company.day(number)
            portal.set_now(FIRST_DAY + dt.timedelta(days=number, hours=5))
            kind = read(portal, many).kind
            assert number == 0 or kind == "incremental"
        read(portal, once)

    incremental, full = latest(many), latest(once)
    assert incremental.keys() == full.keys()
    assert all(full[table.name].height for table in (*ENTITIES, *HISTORIES))
    for name, rows in full.items():
        different = incremental[name].join(rows, on=rows.columns, how="anti", nulls_equal=True)
        lost = rows.join(incremental[name], on=rows.columns, how="anti", nulls_equal=True)
        assert (different.rows(), lost.rows()) == ([], []), f"seed {SEED}: {name}"

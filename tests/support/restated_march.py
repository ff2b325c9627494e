"""A portal of which March is published, and what then happens to it, a record for each reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.build import build
from pipelines.check import check
from pipelines.options import Options
from pipelines.publish import publish
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.compiled_models import compiled_models
from tests.support.plain_refresh import plain_refresh
from tests.support.small_portal import (
    CURRENCIES,
    STATUSES,
    deal,
    deal_visit,
    lead,
    lead_visit,
    status,
    write_portal,
)

CREATED, SOLD = "2026-03-01T10:00:00+03:00", "2026-03-10T12:00:00+03:00"
CHANGED, LATER = "2026-04-03T12:00:00+03:00", "2026-04-03T13:00:00+03:00"
EURO = {"CURRENCY": "EUR", "AMOUNT_CNT": "1", "AMOUNT": "100.0000", "BASE": "N", "SORT": "300"}
PIPELINES = [
    {"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"},
    {"id": 3, "name": "Сервис", "sort": 200, "isDefault": "N"},
]


def read(portal: Portal, warehouse: Warehouse, now: str, settings: Settings) -> None:
    portal.set_now(now)
    client = Client(portal.webhook_url, retry_seconds=0.01)
    extract(client, warehouse, settings, Options(accept_loss=True))
    check(warehouse, settings)


def build_and_publish(warehouse: Warehouse, settings: Settings) -> None:
    with compiled_models():
        build(warehouse, settings)
        publish(warehouse)


def quality_lead(number: int, **values: Any) -> dict[str, Any]:
    times = {"movedTime": SOLD, "updatedTime": SOLD}
    return lead(number, **{**times, "stageId": "CONVERTED", "stageSemanticId": "S", **values})


def won(number: int, amount: float, **values: Any) -> dict[str, Any]:
    times = {"movedTime": SOLD, "updatedTime": SOLD, "closed": "Y", "opportunity": amount}
    return deal(number, **{**times, "stageId": "WON", "stageSemanticId": "S", **values})


def in_service(number: int, owner: int, time: str) -> dict[str, Any]:
    return deal_visit(number, owner, "C3:NEW", "P", time) | {"CATEGORY_ID": 3}


def march(folder: Path) -> Path:
    """Leads 1, 6 and 7 became quality in March; eight deals were sold."""
    leads = {1: quality_lead(1, sourceId="WEB"), 2: lead(2, sourceId="WEB"), 3: lead(3)}
    leads[4] = lead(4, sourceId="ADS")
    leads |= {number: quality_lead(number, sourceId="WEB") for number in (6, 7)}
    deals = {11: won(11, 100, leadId=7), 12: won(12, 200), 13: won(13, 300)}
    deals |= {14: won(14, 400, leadId=4), 15: won(15, 500), 18: won(18, 800), 20: won(20, 1000)}
    # The portal does not know the rate of the euro.
    deals[17] = won(17, 10, currencyId="EUR")
    deals[16] = deal(16, categoryId=3, stageId="C3:NEW", opportunity=600)
    deals[21] = deal(21, opportunity=50)
    deals[22] = deal(22, stageId="UC_PAID", opportunity=70, movedTime=SOLD, updatedTime=SOLD)
    return write_portal(
        folder,
        leads=list(leads.values()),
        deals=list(deals.values()),
        lead_stage_history=[
            *(lead_visit(number, number, "NEW", "P", CREATED) for number in leads),
            *(lead_visit(100 + n, n, "CONVERTED", "S", SOLD) for n in (1, 6, 7)),
        ],
        deal_stage_history=[
            *(deal_visit(n, n, "NEW", "P", CREATED) for n in deals if n != 16),
            *(
                deal_visit(100 + number, number, "WON", "S", SOLD)
                for number, row in deals.items()
                if row["stageId"] == "WON"
            ),
            # Of deal 16 the portal tells the history of its present pipeline alone.
            in_service(116, 16, "2026-03-20T12:00:00+03:00"),
            deal_visit(122, 22, "UC_PAID", "P", SOLD),
        ],
        statuses=[
            *STATUSES,
            status(8, "SOURCE", "ADS"),
            status(9, "DEAL_STAGE", "UC_PAID", "P"),
            status(10, "DEAL_STAGE_3", "C3:NEW") | {"CATEGORY_ID": "3"},
        ],
        categories=PIPELINES,
    )


def april(portal: Portal) -> None:
    """One record for each reason."""
    now = {"updatedTime": CHANGED, "movedTime": CHANGED}
    portal.upsert("leads", lead(1, sourceId="WEB", **now))
    portal.upsert("lead_stage_history", lead_visit(201, 1, "NEW", "P", CHANGED))
    portal.upsert("leads", lead(3, sourceId="WEB", updatedTime=CHANGED))
    portal.upsert("leads", lead(6, sourceId="WEB", stageId="JUNK", stageSemanticId="F", **now))
    portal.upsert("lead_stage_history", lead_visit(206, 6, "JUNK", "F", CHANGED))
    for number in (2, 4):
        portal.delete("leads", number)
        portal.delete("lead_stage_history", number)
    portal.upsert("leads", lead(50, sourceId="WEB", updatedTime=CHANGED))

    portal.delete("deals", 12)
    portal.delete("deal_stage_history", [12, 112])
    portal.upsert("deals", deal(13, opportunity=300, **now))
    portal.upsert("deal_stage_history", deal_visit(213, 13, "NEW", "P", CHANGED))
    moved = {"updatedTime": LATER, "movedTime": LATER, "categoryId": 3, "stageId": "C3:NEW"}
    portal.upsert("deals", deal(15, opportunity=500, **moved))
    portal.upsert("deal_stage_history", deal_visit(215, 15, "NEW", "P", CHANGED))
    portal.upsert("deal_stage_history", in_service(315, 15, LATER))
    portal.upsert(
        "deals", deal(16, categoryId=3, stageId="C3:NEW", opportunity=600, updatedTime=CHANGED)
    )
    portal.upsert("deal_stage_history", deal_visit(16, 16, "NEW", "P", CREATED))
    portal.upsert("deal_stage_history", deal_visit(115, 16, "WON", "S", SOLD))
    portal.replace("currencies", [*CURRENCIES, EURO])
    portal.upsert("deals", won(18, 850, updatedTime=CHANGED))
    portal.upsert("deals", won(19, 900, updatedTime=CHANGED))
    lost = {"stageId": "LOSE", "stageSemanticId": "F", "closed": "Y", **now}
    portal.upsert("deals", deal(20, opportunity=1000, **lost))
    portal.upsert("deal_stage_history", deal_visit(220, 20, "LOSE", "F", CHANGED))
    portal.upsert("deals", won(21, 50, updatedTime=CHANGED))


def publish_march_twice(folder: Path) -> Warehouse:
    """The warehouse in a folder after two publications: of 2 April, and of 5 April."""
    warehouse, settings = Warehouse(folder / "data"), Settings.load()
    with serve(march(folder / "portal")) as portal, plain_refresh():
        read(portal, warehouse, "2026-04-02T12:00:00+03:00", settings)
        build_and_publish(warehouse, settings)
        april(portal)
        read(portal, warehouse, "2026-04-05T12:00:00+03:00", settings)
        build_and_publish(warehouse, settings)
    return warehouse

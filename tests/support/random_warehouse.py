"""A warehouse that read random companies, packed into one portal; settings to build it with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import complete
from pipelines.options import Options
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import serve
from tests.support import calculation
from tests.support.calculation.bridge import Deleted
from tests.support.random_companies import (
    CITY_FIELD,
    IMPORT_DAY,
    SYNCS,
    USER_FIELDS,
    RandomPortal,
    currencies,
    draw,
)
from tests.support.raw_tables import insert_rows

RULES = [
    {"entity": "lead", "stages": ["UC_NEED", "TALK"], "originator_ids": ["1C", "import"]},
    {"entity": "deal", "originator_ids": ["1C"]},
    {"created_on": [IMPORT_DAY, "2025-12-31"]},
    {"created_before": "2025-10-01"},
    {"first_history_final": True, "created_before": "2026-01-01"},
]
# Several fit, some nothing; the case is not that of the labels.
SPEND_RULES = [
    {"utm_source": "YAN*", "utm_campaign": "*вес*", "source": "WEB"},
    {"utm_campaign": "{any}СНА", "utm_medium": "google", "source": "web"},
    {"source_code": "s*_WEB", "utm_term": "*", "source": "WEB"},
    {"utm_content": "100%_*", "source": "WEB"},
    {"utm_source": "{source}_", "source": "WEB"},
]
SETTINGS: dict[str, Callable[[RandomPortal], dict[str, Any]]] = {
    "default": lambda portal: {},
    "changed": lambda portal: {
        "portal_timezone": "Asia/Yekaterinburg",
        "paid_stages": portal.paid_stages,
        "sales_pipelines": portal.sales_pipelines,
        "attribution": "customer",
        "repeat_means": "sale",
        "planned_is_not_forgotten": True,
        "forgotten_lead_days": 10,
        "forgotten_deal_days": 5,
        "lead_stage_outcomes": {"UC_NEED": "quality", "UC_REFUSED": "in_work"},
        "legacy_rules": [{"entity": "deal", "originator_ids": ["import"]}],
        "spend_rules": SPEND_RULES,
    },
    "legacy": lambda portal: {
        "portal_timezone": "Europe/Berlin",
        "legacy_rules": RULES,
        "city_field": CITY_FIELD,
        "user_fields": [*USER_FIELDS],
        "sales_pipelines": portal.sales_pipelines,
    },
    "legacy counted": lambda portal: {
        "portal_timezone": "America/New_York",
        "legacy_rules": RULES,
        "include_legacy": True,
        "spend_rules": SPEND_RULES[::-1],
        "attribution": "customer",
        "repeat_means": "sale",
        "paid_stages": portal.paid_stages,
        "lead_stage_outcomes": {"TALK": "junk", "JUNK": "in_work"},
        "user_fields": ["UF_CRM_DAY", "UF_CRM_AT"],
        "forgotten_lead_days": 0,
    },
}


@dataclass(frozen=True)
class Companies:
    """The random companies, and the warehouse that read them."""

    portal: RandomPortal
    rows: calculation.Portal
    warehouse: Warehouse
    as_of: dt.datetime
    deleted: Sequence[Deleted]


def read_companies(folder: Path, seeds: Sequence[int]) -> Companies:
    """Draws the companies and reads their portal three times over HTTP."""
    drawn = draw(seeds)
    drawn.write(folder / "portal")
    warehouse = Warehouse(folder / "data")
    read = {"city_field": CITY_FIELD, "keep_titles": True, "user_fields": [*USER_FIELDS]}
    settings = Settings.load().model_copy(update=read)
    with serve(folder / "portal") as portal:
        for number, moment in enumerate(SYNCS):
            portal.set_now(moment)
            portal.replace("currencies", currencies(number))
            for name, rows in drawn.deleted.items():
                if number == 0:
                    portal.upsert(name, rows)
                if number == 1:
                    portal.delete(name, [row["id"] for row in rows])
            for name, rows in drawn.former.items():
                if number == 0:
                    portal.upsert(name, rows)
                if number == 1:
                    now = {row["id"]: row for row in drawn.tables[name]}
                    portal.upsert(name, [now[row["id"]] for row in rows])
            client = Client(portal.webhook_url, retry_seconds=0.01)
            summary = extract(client, warehouse, settings, Options(accept_loss=True))
            complete(warehouse, summary.refresh_no)
    insert_rows(
        warehouse.database,
        "ad_costs",
        [{**row, "refresh_no": summary.refresh_no} for row in drawn.ad_costs],
    )
    rows = calculation.Portal.read(folder / "portal")
    rows.ad_costs = list(drawn.ad_costs)
    syncs = [
        (sync.as_of, currencies(number))
        for number, sync in enumerate(reversed(warehouse.last_refreshes()))
    ]
    rows.rate_log = syncs[:-1]
    rows.version_log = [
        (name.removesuffix("s"), row) for name, rows in drawn.former.items() for row in rows
    ]
    # The second sync finds them gone.
    missed_at = syncs[1][0]
    deleted = [
        (name.removesuffix("s"), row, missed_at)
        for name, rows in drawn.deleted.items()
        for row in rows
    ]
    return Companies(drawn, rows, warehouse, summary.as_of, deleted)

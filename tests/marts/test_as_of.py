"""Now is the portal's clock when extraction began: what comes later waits for the next refresh."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import complete
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import serve
from tests.support.compiled_models import run_models
from tests.support.raw_tables import query
from tests.support.small_portal import NOW, deal, deal_visit, lead, lead_visit, write_portal

BEFORE = "2026-03-01T20:00:00+03:00"
# The first refresh begins at NOW, 31 March, 20:00, and finds what happened while it ran.
AFTER = "2026-03-31T20:30:00+03:00"
NEXT = "2026-04-01T20:00:00+03:00"
Marts = Callable[[int, str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def marts(tmp_path_factory: pytest.TempPathFactory) -> Marts:
    """Rows of a query on the marts of refresh 1 or 2.

    Lead 1 is of 1 March; while the first refresh runs it moves on, and lead 2 and deal 1, which is
    of lead 1, are created.
    """
    folder = tmp_path_factory.mktemp("as_of")
    data = write_portal(
        folder / "portal",
        leads=[
            lead(1, stageId="TALK", createdTime=BEFORE, movedTime=AFTER, lastActivityTime=AFTER),
            lead(2, createdTime=AFTER, movedTime=AFTER, lastActivityTime=AFTER),
        ],
        deals=[deal(1, leadId=1, createdTime=AFTER, movedTime=AFTER, lastActivityTime=AFTER)],
        lead_stage_history=[
            lead_visit(1, 1, "NEW", "P", BEFORE),
            lead_visit(2, 1, "TALK", "P", AFTER),
            lead_visit(3, 2, "NEW", "P", AFTER),
        ],
        deal_stage_history=[deal_visit(1, 1, "NEW", "P", AFTER)],
        activities=[
            {"ID": 1, "OWNER_ID": 1, "OWNER_TYPE_ID": 1, "COMPLETED": "N", "CREATED": AFTER}
        ],
    )
    built: dict[int, Path] = {}
    with serve(data) as portal:
        for number, now in enumerate((NOW, NEXT), start=1):
            portal.set_now(now)
            warehouse = Warehouse(folder / "data")
            client = Client(portal.webhook_url, retry_seconds=0.01)
            complete(warehouse, extract(client, warehouse, Settings.load()).refresh_no)
            run_models(warehouse.directory)
            built[number] = folder / str(number)
            built[number].mkdir()
            copy = built[number] / "warehouse.duckdb"
            copy.write_bytes(warehouse.database.read_bytes())
    return lambda number, sql: query(built[number], sql)


LEADS = "select lead_id, has_deal, has_planned_activity from marts.fct_leads order by lead_id"
DEALS = "select deal_id from marts.fct_deals"
VISITS = """
    select stage_id, is_from_history, days_on_stage_now
    from marts.fct_stage_visits where lead_id = 1 order by visit_number
"""


def test_what_comes_after_as_of_waits_in_raw(marts: Marts) -> None:
    assert marts(1, "select id from raw.leads order by id") == [(1,), (2,)]
    assert marts(1, LEADS) == [(1, False, False)]
    assert marts(1, DEALS) == []


def test_the_next_refresh_has_it(marts: Marts) -> None:
    assert marts(2, LEADS) == [(1, True, True), (2, False, False)]
    assert marts(2, DEALS) == [(1,)]


def test_durations_to_as_of_never_go_below_0(marts: Marts) -> None:
    """The move to TALK after as_of is seen by the lead's own stage only: it lasts 0 days yet."""
    assert marts(1, VISITS) == [("NEW", True, None), ("TALK", False, 0)]
    assert marts(1, "select idle_days, floor(age_days) from marts.fct_leads") == [(0, 30)]
    stages = marts(2, VISITS)
    assert [stage[:2] for stage in stages] == [("NEW", True), ("TALK", True)]
    # From 20:30 to 20:00 on the next day.
    assert stages[1][2] == pytest.approx(23.5 / 24, abs=5 / 1440)

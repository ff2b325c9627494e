"""A portal in the simple CRM mode: deals only, from the portal to published figures."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.build import build
from pipelines.check import check
from pipelines.publish import publish
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import serve
from tests.support.compiled_models import compiled_models
from tests.support.small_portal import deal, deal_visit, write_portal


def at(day: str) -> str:
    return f"2026-{day}T10:00:00+03:00"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a refresh publishes; its raw checks and data tests hold.

    Deal 1 is sold in March, deal 2 of the same contact is in work, deal 3 failed and has no
    customer.
    """
    folder = tmp_path_factory.mktemp("simple")
    won, lost = {"stageId": "WON", "stageSemanticId": "S"}, {"stageId": "LOSE"}
    data = write_portal(
        folder / "portal",
        mode=2,
        deals=[
            deal(1, createdTime=at("02-20"), opportunity=1000, contactIds=[1], closed="Y", **won),
            deal(2, createdTime=at("03-05"), opportunity=500, contactIds=[1]),
            deal(3, createdTime=at("03-06"), opportunity=200, closed="Y", **lost)
            | {"stageSemanticId": "F"},
        ],
        deal_stage_history=[
            deal_visit(1, 1, "NEW", "P", at("02-20")),
            deal_visit(2, 1, "WON", "S", at("03-10")),
            deal_visit(3, 2, "NEW", "P", at("03-05")),
            deal_visit(4, 3, "NEW", "P", at("03-06")),
            deal_visit(5, 3, "LOSE", "F", at("03-08")),
        ],
        contacts=[{"id": 1, "createdTime": at("02-20"), "updatedTime": at("02-20")}],
    )
    warehouse, settings = Warehouse(folder / "data"), Settings.load()
    with serve(data) as portal:
        extract(Client(portal.webhook_url, retry_seconds=0.01), warehouse, settings)
    check(warehouse)
    with compiled_models():
        build(warehouse, settings)
    publish(warehouse)
    return warehouse.published / "crm.duckdb"


def query(published: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(published), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_deals_have_their_figures(published: Path) -> None:
    rows = query(
        published,
        """
        select deal_id, state, customer_kind, lead_link, lead_source_name, days_to_close
        from marts.fct_deals order by deal_id
        """,
    )
    assert rows == [
        (1, "sale", "new", "none", "без лида", 18),
        (2, "in_work", "repeat", "none", "без лида", None),
        (3, "failed", "unknown", "none", "без лида", 2),
    ]
    months = query(
        published,
        """
        select month(metric_time__month), deals_created, deals_in_work, deals_failed_cohort,
            sales_cohort, sales_period, sales_amount_period, potential_amount
        from metrics.sales_dynamics order by 1
        """,
    )
    assert months == [
        (2, 1, 0, 0, 1, 0, Decimal("0.00"), Decimal("0.00")),
        (3, 2, 1, 1, 0, 1, Decimal(1000), Decimal(500)),
    ]


def test_there_is_nothing_about_leads(published: Path) -> None:
    assert query(published, "select crm_mode from quality.refreshes") == [("simple",)]
    assert query(published, "select count(*) from marts.fct_leads") == [(0,)]
    rows = query(
        published,
        """
        select sum(leads_received), sum(leads_with_sale_period), max(lead_to_sale_rate_cohort),
            max(revenue_per_lead_period), sum(sales_of_leads_period)
        from metrics.sales_dynamics
        """,
    )
    assert rows == [(0, 0, None, None, 0)]
    views = query(published, "select view_name from duckdb_views() where schema_name = 'metrics'")
    assert views
    for (name,) in views:
        query(published, f"select * from metrics.{name}")

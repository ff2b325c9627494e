"""Real data, exact: the Olist set through the demo portal, the client and the marts.

The first refresh is compared with figures computed straight from the source files; then the
portal changes, one thing at a time, and each refresh reads only what it must while every figure
follows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.bitrix24.client import Client
from pipelines.refresh import Run, refresh
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.compiled_models import compiled_models
from tests.support.plain_refresh import plain_refresh

# Requests of a refresh that finds nothing new: opening; known records, reference data and last IDs;
# that there are no contacts; first pages of what changed with all counts; at the end our rights and
# known records.
QUIET_REQUESTS = 5


@dataclass
class Company:
    """The Olist portal and the warehouse that follows it."""

    portal: Portal
    warehouse: Warehouse
    rows: dict[str, dict[int, dict[str, Any]]]
    expected: dict[str, Any]
    run: Run | None = None
    requests: int = 0

    def refresh(self) -> Run:
        before = self.portal.requests
        self.run = refresh(
            self.warehouse,
            Settings.load(),
            lambda: Client(self.portal.webhook_url, retry_seconds=0.01),
            lambda _: None,
            with_report=False,
        )
        self.requests = self.portal.requests - before
        return self.run

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        path = str(self.warehouse.published / "crm.duckdb")
        with duckdb.connect(path, read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def appended(self) -> dict[str, int]:
        assert self.run is not None
        counts = {name: c["rows_appended"] for name, c in self.run.entities.items()}
        return {name: int(count) for name, count in counts.items() if count}


@pytest.fixture(scope="module")
def company(olist_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("olist")
    shutil.copytree(olist_dir / "portal", folder / "portal")
    rows = {
        name: {
            row["id"]: row
            for row in map(
                json.loads,
                (folder / "portal" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(),
            )
        }
        for name in ("leads", "deals")
    }
    expected = json.loads((olist_dir / "expected.json").read_text(encoding="utf-8"))
    with serve(folder / "portal") as portal, compiled_models():
        found = Company(portal, Warehouse(folder / "data"), rows, expected)
        found.refresh()
        with plain_refresh():
            yield found


def total(company: Company) -> dict[str, Any]:
    """Headline figures as an analyst would query them."""
    names = (
        "leads_received, leads_quality, leads_in_work, leads_junk, leads_new, leads_with_deal,"
        "leads_with_sale, sales_amount, sales, deals_in_work, potential"
    ).replace(" ", "")
    (row,) = company.query(
        """
        select
            count(*), count(*) filter (is_quality), count(*) filter (is_in_work),
            count(*) filter (is_junk), count(*) filter (is_new), count(*) filter (has_deal),
            count(*) filter (has_sale), sum(sales_amount),
            (select count(*) filter (is_sale) from marts.fct_deals where is_counted),
            (select count(*) filter (is_in_work) from marts.fct_deals where is_counted),
            (select sum(base_amount) filter (is_in_work) from marts.fct_deals where is_counted)
        from marts.fct_leads
        where is_counted
        """
    )
    return dict(zip(names.split(","), row, strict=True))


FIGURES = """
    {key},
    count(*) as leads_received,
    count(*) filter (is_quality) as leads_quality,
    count(*) filter (is_in_work) as leads_in_work,
    count(*) filter (is_junk) as leads_junk,
    count(*) filter (is_new) as leads_new,
    count(*) filter (has_deal) as leads_with_deal,
    count(*) filter (has_sale) as leads_with_sale,
    sum(sales_count) as sales,
    sum(sales_amount) as sales_amount_brl,
    count(*) filter (has_sale) / count(*) as lead_to_sale_rate,
    sum(sales_amount)::double / count(*) as revenue_per_lead_brl,
    sum(sales_amount)::double / nullif(sum(sales_count), 0) as average_sale_brl,
    avg((epoch(first_sold_at) - epoch(created_at)) / 86400) as days_to_sale_avg,
    median((epoch(first_sold_at) - epoch(created_at)) / 86400) as days_to_sale_median
"""


def figures(company: Company, key: str) -> dict[Any, dict[str, Any]]:
    """The expected file's figures, grouped by an expression over fct_leads."""
    path = str(company.warehouse.published / "crm.duckdb")
    with duckdb.connect(path, read_only=True) as connection:
        result = connection.execute(
            f"select {FIGURES.format(key=key + ' as key')} from marts.fct_leads"
            " where is_counted group by all"
        )
        names = [column[0] for column in result.description]
        rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    return {row.pop("key"): row for row in rows}


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if name not in found:
            continue
        got = found[name]
        if isinstance(got, int | Decimal) and not isinstance(value, float):
            assert got == value, name
        elif value is None:
            assert got is None, name
        else:
            assert float(got) == pytest.approx(value, rel=1e-12), name


def test_totals(company: Company) -> None:
    same(figures(company, "1")[1], company.expected["total"])


def test_by_source(company: Company) -> None:
    found = figures(company, "coalesce(lower(source_id), '(empty)')")
    assert set(found) == set(company.expected["by_source"])
    for source, expected in company.expected["by_source"].items():
        same(found[source], expected)


def test_by_month_of_the_lead(company: Company) -> None:
    found = figures(company, "strftime(created_date, '%Y-%m')")
    expected = company.expected["by_month_cohort"]
    assert set(found) == set(expected)
    for month, values in expected.items():
        same(found[month], values)


def test_by_month_of_the_sale(company: Company) -> None:
    sales = company.query(
        "select strftime(sold_date, '%Y-%m'), count(*), sum(base_amount) from marts.fct_deals"
        " where is_sale and is_counted group by all"
    )
    found = {month: (count, amount) for month, count, amount in sales}
    expected = {
        month: (values["sales"], Decimal(str(values["sales_amount_brl"])))
        for month, values in company.expected["by_month_period"].items()
        if values["sales"]
    }
    assert found == expected


def test_completeness_is_published(company: Company) -> None:
    rows = company.query(
        "select entity, portal_total, rows_living from quality.load_completeness"
        " where entity in ('leads', 'deals', 'companies', 'contacts') order by entity"
    )
    assert rows == [
        ("companies", 842, 842),
        ("contacts", 0, 0),
        ("deals", 842, 842),
        ("leads", 8000, 8000),
    ]


def test_an_unchanged_portal_appends_nothing(company: Company) -> None:
    before = total(company)
    company.refresh()
    assert company.appended() == {}
    assert company.requests == QUIET_REQUESTS
    assert total(company) == before


def test_a_deleted_lead_leaves_every_figure(company: Company) -> None:
    before = total(company)
    # Lead 1 is new, without a deal; lead 1815 brought deal 1 (amount 0).
    company.portal.delete("leads", 1)
    company.portal.delete("leads", 1815)
    company.refresh()
    after = total(company)
    assert company.appended() == {"leads": 2}
    # One finer count of the window and one sweep of the two differing pieces.
    # A sweep of its window, and the deals that name it are read again; that it is deleted, by ID.
    assert company.requests == QUIET_REQUESTS + 4
    assert after["leads_received"] == before["leads_received"] - 2
    assert after["leads_new"] == before["leads_new"] - 1
    assert after["leads_with_sale"] == before["leads_with_sale"] - 1
    assert after["sales"] == before["sales"]
    links = company.query("select lead_link from marts.fct_deals where deal_id = 1")
    assert links == [("deleted",)]


def test_a_lead_moves_to_junk(company: Company) -> None:
    before = total(company)
    now = "2018-11-16T10:00:00+03:00"
    company.portal.set_now(now)
    lead = company.rows["leads"][2]
    moved = {"stageId": "JUNK", "stageSemanticId": "F", "movedTime": now, "updatedTime": now}
    company.portal.upsert("leads", {**lead, **moved, "dateClosed": now})
    company.portal.upsert(
        "lead_stage_history",
        {
            "ID": 900001,
            "TYPE_ID": 3,
            "OWNER_ID": 2,
            "CREATED_TIME": now,
            "STATUS_ID": "JUNK",
            "STATUS_SEMANTIC_ID": "F",
        },
    )
    company.refresh()
    after = total(company)
    assert company.appended() == {"leads": 1, "lead_stage_history": 1}
    assert company.requests == QUIET_REQUESTS + 1
    assert (after["leads_junk"], after["leads_new"]) == (
        before["leads_junk"] + 1,
        before["leads_new"] - 1,
    )
    outcome = company.query(
        "select outcome, strftime(outcome_at at time zone 'Europe/Moscow', '%Y-%m-%d %H:%M')"
        " from marts.fct_leads where lead_id = 2"
    )
    assert outcome == [("junk", "2018-11-16 10:00")]


def test_a_won_deal_is_reopened(company: Company) -> None:
    """An older portal removes the row of the win."""
    before = total(company)
    now = "2018-11-17T10:00:00+03:00"
    company.portal.set_now(now)
    deal = next(row for row in company.rows["deals"].values() if row["opportunity"] > 0)
    number = deal["id"]
    company.portal.upsert(
        "deals",
        {
            **deal,
            "stageId": "NEW",
            "stageSemanticId": "P",
            "closed": "N",
            "movedTime": now,
            "updatedTime": now,
        },
    )
    company.portal.delete("deal_stage_history", number)
    company.portal.upsert(
        "deal_stage_history",
        {
            "ID": 900001,
            "TYPE_ID": 2,
            "OWNER_ID": number,
            "CREATED_TIME": now,
            "CATEGORY_ID": 0,
            "STAGE_ID": "NEW",
            "STAGE_SEMANTIC_ID": "P",
        },
    )
    company.refresh()
    after = total(company)
    # The deal, its new visit, and the tombstone of the win.
    assert company.appended() == {"deals": 1, "deal_stage_history": 2}
    # Its history, and that a deal whose history lost a row is there.
    assert company.requests == QUIET_REQUESTS + 2
    amount = Decimal(str(deal["opportunity"]))
    assert after["sales"] == before["sales"] - 1
    assert after["leads_with_sale"] == before["leads_with_sale"] - 1
    assert after["leads_with_deal"] == before["leads_with_deal"]
    assert after["sales_amount"] == before["sales_amount"] - amount
    assert after["deals_in_work"] == before["deals_in_work"] + 1
    assert after["potential"] == amount


def test_a_new_lead_arrives(company: Company) -> None:
    before = total(company)
    now = "2018-11-18T10:00:00+03:00"
    company.portal.set_now("2018-11-18T12:00:00+03:00")
    times = dict.fromkeys(("createdTime", "updatedTime", "movedTime", "lastActivityTime"), now)
    company.portal.upsert("leads", {**company.rows["leads"][2], **times, "id": 8001})
    company.portal.upsert(
        "lead_stage_history",
        {
            "ID": 900002,
            "TYPE_ID": 1,
            "OWNER_ID": 8001,
            "CREATED_TIME": now,
            "STATUS_ID": "NEW",
            "STATUS_SEMANTIC_ID": "P",
        },
    )
    company.refresh()
    after = total(company)
    assert company.appended() == {"leads": 1, "lead_addresses": 1, "lead_stage_history": 1}
    # The history of the lead.
    assert company.requests == QUIET_REQUESTS + 1
    assert after["leads_received"] == before["leads_received"] + 1
    assert after["leads_new"] == before["leads_new"] + 1


def test_a_stage_is_deleted_from_the_reference_data(company: Company) -> None:
    before = total(company)
    path = company.warehouse.directory.parent / "portal" / "statuses.jsonl"
    statuses = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    left = [
        row for row in statuses if not (row["ENTITY_ID"] == "STATUS" and row["STATUS_ID"] == "NEW")
    ]
    company.portal.replace("statuses", left)
    company.refresh()
    after = total(company)
    assert company.appended() == {"statuses": 1}
    assert company.requests == QUIET_REQUESTS
    names = company.query("select distinct stage_name from marts.fct_leads where stage_id = 'NEW'")
    assert names == [("удалённый этап (NEW)",)]
    # The stage of lowest SORT is now another one, on which nobody stands.
    assert after["leads_new"] == 0
    assert after["leads_in_work"] == before["leads_in_work"]
    company.portal.replace("statuses", statuses)


def test_a_currency_is_removed(company: Company) -> None:
    """The open deal loses its base amount; the sale keeps the rate that the log knows."""
    path = company.warehouse.directory.parent / "portal" / "currencies.jsonl"
    brl = json.loads(path.read_text(encoding="utf-8"))
    usd = {**brl, "CURRENCY": "USD", "BASE": "N", "AMOUNT": "4.0000", "FULL_NAME": "USD"}
    sold = "2018-11-18T15:00:00+03:00"
    company.portal.set_now("2018-11-18T16:00:00+03:00")
    company.portal.replace("currencies", [brl, usd])
    won = company.rows["deals"][1]
    times = dict.fromkeys(("createdTime", "updatedTime", "movedTime", "lastActivityTime"), sold)
    visit = {"TYPE_ID": 3, "CREATED_TIME": sold, "CATEGORY_ID": 0}
    foreign = {**won, **times, "leadId": None, "companyId": None, "currencyId": "USD"}
    company.portal.upsert("deals", {**foreign, "id": 9001, "opportunity": 20})
    company.portal.upsert(
        "deal_stage_history",
        {**visit, "ID": 900011, "OWNER_ID": 9001, "STAGE_ID": "WON", "STAGE_SEMANTIC_ID": "S"},
    )
    open_deal = {"stageId": "NEW", "stageSemanticId": "P", "closed": "N", "opportunity": 10}
    company.portal.upsert("deals", {**foreign, **open_deal, "id": 9002})
    company.portal.upsert(
        "deal_stage_history",
        {**visit, "ID": 900012, "OWNER_ID": 9002, "STAGE_ID": "NEW", "STAGE_SEMANTIC_ID": "P"},
    )
    company.refresh()
    amounts = (
        "select deal_id, amount, base_amount from marts.fct_deals"
        " where deal_id in (9001, 9002) order by deal_id"
    )
    assert company.query(amounts) == [(9001, 20, 80), (9002, 10, 40)]

    company.portal.replace("currencies", [brl])
    company.refresh()
    assert company.appended() == {"currencies": 1}
    assert company.requests == QUIET_REQUESTS
    assert company.query(amounts) == [(9001, 20, 80), (9002, 10, None)]


def test_an_activity_is_completed(company: Company) -> None:
    now = "2018-11-19T10:00:00+03:00"
    company.portal.set_now(now)
    activity = {
        "ID": 1,
        "OWNER_ID": 3,
        "OWNER_TYPE_ID": 1,
        "COMPLETED": "N",
        "CREATED": now,
        "DEADLINE": "2018-11-25T10:00:00+03:00",
    }
    planned = (
        "select has_planned_activity, next_activity_at is not null"
        " from marts.fct_leads where lead_id = 3"
    )
    company.portal.upsert("activities", activity)
    company.refresh()
    assert company.appended()["activities"] == 1
    assert company.query(planned) == [(True, True)]

    company.portal.upsert("activities", {**activity, "COMPLETED": "Y"})
    company.refresh()
    assert company.appended() == {"activities": 1}
    assert company.requests == QUIET_REQUESTS
    assert company.query(planned) == [(False, False)]

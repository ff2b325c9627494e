"""How many requests and counts a first load and a refresh take: the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import refresh
from pipelines.bitrix24 import first_load, stage_history
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.entities import Table
from pipelines.bitrix24.extract import extract
from pipelines.check import complete
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.small_portal import write_portal

LEADS, DEALS, CONTACTS, COMPANIES = 9_000, 2_000, 1_000, 100
VISITS = 6
FIRST_PART_ROWS = 5_000
LATER = "2026-03-31T21:00:00+03:00"


def created(ids: pl.Expr, last: int) -> pl.Expr:
    """One record every hour or so, the last on 31 March 2026."""
    now = pl.datetime(2026, 3, 31, 12, 0, 0)
    hours = (last - ids) * (20_000 / last)
    return (now - pl.duration(minutes=60 * hours)).dt.strftime("%Y-%m-%dT%H:%M:%S+03:00")


def numbered(count: int, step: int) -> pl.DataFrame:
    """IDs with every `step`-th there, and the times of their records."""
    ids = pl.int_range(1, count + 1, eager=True).alias("id") * step
    names = ("createdTime", "updatedTime", "movedTime", "lastActivityTime")
    frame = pl.DataFrame({"id": ids})
    return frame.with_columns(**dict.fromkeys(names, created(pl.col("id"), count * step)))


def visits(items: pl.DataFrame, step: int, **columns: Any) -> pl.DataFrame:
    """Six rows of history for each item, those of an item not side by side."""
    rows = pl.concat(
        [
            items.select(
                OWNER_ID=pl.col("id"),
                CREATED_TIME=pl.col("createdTime"),
                at=pl.col("id") + number * 50,
            )
            for number in range(VISITS)
        ]
    ).sort("at", "OWNER_ID")
    values = {name: pl.lit(value) for name, value in columns.items()}
    ids = (pl.int_range(1, rows.height + 1) * step).alias("ID")
    return rows.drop("at").with_columns(ids, TYPE_ID=pl.lit(2), **values)


def write(folder: Path, step: int) -> Path:
    """A portal whose IDs are dense, or half of which are missing."""
    write_portal(folder)
    leads, deals, contacts, companies = (
        numbered(count, step) for count in (LEADS, DEALS, CONTACTS, COMPANIES)
    )
    status = {"STATUS_ID": "NEW", "STATUS_SEMANTIC_ID": "P"}
    stage = {"STAGE_ID": "NEW", "STAGE_SEMANTIC_ID": "P", "CATEGORY_ID": 0}
    city = leads.select(ID=pl.col("id"), ADDRESS_CITY=pl.lit("Казань"))
    item = {"stageId": pl.lit("NEW"), "stageSemanticId": pl.lit("P")}
    for name, frame in {
        "leads": leads.with_columns(**item),
        "deals": deals.with_columns(leadId=pl.col("id"), categoryId=pl.lit(0), **item),
        "contacts": contacts,
        "companies": companies,
        "lead_stage_history": visits(leads, step, **status),
        "deal_stage_history": visits(deals, step, **stage),
        "lead_addresses": city,
    }.items():
        (folder / f"{name}.jsonl").unlink(missing_ok=True)
        frame.write_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture
def small_first_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "FIRST_PART_ROWS", FIRST_PART_ROWS)
    monkeypatch.setattr(first_load, "LARGEST_PART_ROWS", 500_000)
    monkeypatch.setattr(first_load, "SMALLEST_PART_ROWS", 500_000)
    monkeypatch.setattr(
        refresh,
        "check",
        lambda warehouse, *_: complete(
            warehouse, warehouse.last_refreshes(completed=False)[0].refresh_no
        ),
    )


def client_of(portal: Portal) -> Client:
    return Client(portal.webhook_url, per_second=0)


def asked(portal: Portal) -> tuple[int, int, int]:
    """Requests, calls and counted calls since the log was cleared."""
    counted = sum(
        "filter" in params and int(params.get("start", 0)) >= 0 for _, params in portal.log
    )
    return portal.requests, len(portal.log), counted


def clear(portal: Portal) -> None:
    portal.requests = 0
    portal.log.clear()


def rows_in(warehouse: Warehouse) -> dict[str, tuple[int, int]]:
    """Rows and different rows of each raw table."""
    tables = ("leads", "deals", "contacts", "companies", "lead_addresses")
    with warehouse.connect() as connection:
        return {
            table: connection.execute(
                f"select count(*), count(distinct id) from raw.{table}"
            ).fetchall()[0]
            for table in (*tables, "lead_stage_history", "deal_stage_history")
        }


@pytest.mark.parametrize(("step", "factor"), [(1, 1.05), (2, 1.3)], ids=["dense", "half missing"])
@pytest.mark.usefixtures("small_first_part")
def test_a_first_load_takes_full_batches(tmp_path: Path, step: int, factor: float) -> None:
    """In two parts: 2,500 rows a request, and thirty more for all that is around them."""
    expected = {
        "leads": LEADS,
        "deals": DEALS,
        "contacts": CONTACTS,
        "companies": COMPANIES,
        "lead_addresses": LEADS,
        "lead_stage_history": VISITS * LEADS,
        "deal_stage_history": VISITS * DEALS,
    }
    warehouse = Warehouse(tmp_path / "data")
    with serve(write(tmp_path / "portal", step), log=True) as portal:
        summary = refresh.extract_in_parts(client_of(portal), warehouse, Settings.load())
        complete(warehouse, summary.refresh_no)
        requests, calls, counted = asked(portal)
    assert summary.refresh_no == 2
    assert rows_in(warehouse) == {name: (rows, rows) for name, rows in expected.items()}
    assert requests <= factor * sum(expected.values()) / 2_500 + 30
    assert counted <= 0.02 * calls


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Portal, Warehouse]]:
    folder = tmp_path_factory.mktemp("requests")
    warehouse = Warehouse(folder / "data")
    with serve(write(folder / "portal", 1), log=True) as portal:
        summary = extract(client_of(portal), warehouse, Settings.load(), part_rows=1_000_000)
        complete(warehouse, summary.refresh_no)
        yield portal, warehouse


@pytest.mark.parametrize("changed", [0, 9, 90, 900])
def test_the_requests_of_a_refresh_follow_what_changed(
    loaded: tuple[Portal, Warehouse], changed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0, 0.1, 1 and 10 % of the leads; all counts of windows of 20,000 IDs go with the first pages.

    Changed leads come by their time of change, and so do their cities; histories of 490 leads come
    in a batch and the rest of its full pages, and are compared together. The counts: a window, a
    first page or two of each entity, cities and activities.
    """
    portal, warehouse = loaded
    portal.set_now(f"2026-04-01T1{len(str(changed))}:00:00+03:00")
    later = portal.clock.iso(portal.clock.seconds())
    portal.upsert(
        "leads",
        [
            {"id": number, "sourceId": f"S{changed}", "updatedTime": later}
            for number in range(7, 7 + changed)
        ],
    )
    clear(portal)
    compared: list[str] = []
    usual = stage_history.only_changed

    def noted(table: Table, frame: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
        compared.append(table.name)
        return usual(table, frame, previous)

    monkeypatch.setattr(stage_history, "only_changed", noted)
    summary = extract(client_of(portal), warehouse, Settings.load())
    complete(warehouse, summary.refresh_no)
    requests, _, counted = asked(portal)
    assert summary.counts["leads"].rows_appended == changed
    assert summary.counts["lead_stage_history"].rows_read == VISITS * changed
    assert requests <= 4 + 2 * ceil(changed / 2_500) + 2 * ceil(changed / 490)
    assert counted <= 12 + ceil(changed / 490)
    assert len(compared) == ceil(changed / 490)

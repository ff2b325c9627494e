"""No query of the pages and workbooks, and none that makes a site's tables, compares all rows of a
fact with all of another: at a million leads such a join never ends, and nothing shows it before."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from pipelines.excel import workbooks
from pipelines.metric_sql import SemanticLayer, filled
from pipelines.publish import DEFINITIONS
from pipelines.site import database
from pipelines.site.choice import Choice
from pipelines.site.figures import Figures
from pipelines.user_fields import add_dimensions
from pipelines.warehouse import connect_published
from tests.support.plans import Watched, joins_of_all_in_the_browser
from tests.support.reports_fixtures import Sites

pytestmark = pytest.mark.site

# One side may be the months of a year or the ages of a lead.
FEW = 12


def squares(found: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
    """Statements that join more than a few rows to all of others."""
    return {sql: joins for sql, joins in found.items() if any(min(rows) > FEW for rows in joins)}


@pytest.fixture(scope="module")
def asked(sites: Sites) -> Iterator[Watched]:
    """The tables of the company's site, asked all that its pages ask: at first, and by each other
    breakdown under a filter."""
    site, data = sites.folder("company"), sites.data("company")
    meta = json.loads((data / "meta.json").read_text(encoding="utf-8"))
    blocks = json.loads((site / "blocks.json").read_text(encoding="utf-8"))["blocks"]
    current = sites.published("company") / "current"
    manifest = json.loads((current / DEFINITIONS).read_text(encoding="utf-8"))
    with duckdb.connect(str(current / "crm.duckdb"), read_only=True) as connection:
        add_dimensions(manifest, connection)
    (managers,) = [one["columns"] for one in meta["filters"] if one["name"] == "manager"]
    # A name that occurs: a plan of nothing joins nothing.
    (name,) = [
        one["options"][0]["value"].replace("'", "''")
        for one in meta["filters"]
        if one["name"] == "manager"
    ]
    where = {
        target: f"{column} in ('{name}')" if column else "false"
        for target, column in managers.items()
    }
    choice = Choice(
        dt.datetime.fromisoformat(meta["as_of"]), dt.date.fromisoformat(meta["first_date"])
    )
    with Watched(duckdb.connect(str(data / "site.duckdb"), read_only=True)) as watched:
        answers = Figures(watched, SemanticLayer(manifest), choice, meta["user_fields"])  # type: ignore[arg-type]
        for route in dict.fromkeys(block["route"] for block in blocks):
            if route.startswith("/custom/"):
                continue
            for block in answers.page([one for one in blocks if one["route"] == route]):
                for variant in block["variants"].values():
                    if sql := variant.get("sql"):
                        days = {"period": choice.period, "window": choice.axis("month")}
                        watched.execute(filled(answers.named(sql), where=where, **days))
        yield watched


def test_no_query_of_a_page_compares_all_with_all(asked: Watched) -> None:
    assert len(asked.statements) > 200
    assert squares(asked.found) == {}


def test_nor_does_the_engine_of_the_browser(asked: Watched, sites: Sites) -> None:
    """An older one, which takes other joins."""
    database = sites.data("company") / "site.duckdb"
    assert squares(joins_of_all_in_the_browser(database, asked.statements)) == {}


def test_the_browsers_engine_is_asked(sites: Sites) -> None:
    """It takes a nested loop where a condition of one side alone stands in a left join."""
    sql = (
        "select count(deal_id) from marts.fct_leads left join marts.fct_deals"
        " on fct_leads.is_counted and fct_leads.lead_id = fct_deals.lead_id"
    )
    database = sites.data("company") / "site.duckdb"
    assert list(squares(joins_of_all_in_the_browser(database, [sql]))) == [sql]


def test_no_query_of_a_workbook_does(sites: Sites, tmp_path: Path) -> None:
    current = (sites.published("company") / "current").resolve()
    settings = sites.settings("company")
    with Watched(connect_published(current / "crm.duckdb")) as watched:
        published = workbooks.Published(current, watched)  # type: ignore[arg-type]
        day = dt.date(2026, 3, 31)
        as_of = dt.datetime(2026, 3, 31, 20, tzinfo=dt.UTC)
        published.set_period(workbooks.period_of(day.replace(day=1), day, as_of))
        for write in (workbooks.sales_dynamics, workbooks.marketing):
            write(tmp_path / f"{write.__name__}.xlsx", published, settings)
    assert len(watched.statements) > 40
    assert squares(watched.found) == {}


def test_none_that_makes_the_tables_of_a_site_does(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Watched] = []

    def connect(*values: Any) -> Watched:
        opened.append(Watched(duckdb.connect(*values)))
        return opened[-1]

    monkeypatch.setattr(database, "duckdb", SimpleNamespace(connect=connect))
    published = sites.published("company") / "current" / "crm.duckdb"
    tables = ("fct_leads", "fct_deals", "fct_stage_reach", "fct_stage_visits", "fct_portal_bridge")
    database.write_tables(
        published,
        tmp_path / "site.duckdb",
        [f"select * from marts.{table}" for table in tables],
        "Europe/Moscow",
    )
    (watched,) = opened
    assert len(watched.statements) > len(tables)
    assert squares(watched.found) == {}

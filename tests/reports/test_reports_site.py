"""The site in a browser: what its pages show under a choice, and how the choice is kept.

Which figures are right is proven without a browser (test_page_figures.py); here the page must show
what the publication's SQL says under the choice that the reader made.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import duckdb
import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.types import ASGIApp

from pipelines.metric_sql import filled
from scripts.benchmark_pages import Line
from scripts.screenshots import served
from tests.reports.test_page_figures import condition, front_matter
from tests.support.reports_fixtures import FRESH, PAGES, Sites, settle, visit

pytestmark = pytest.mark.site

OpenPage = Callable[..., Page]
MARCH = (dt.date(2026, 3, 1), dt.date(2026, 3, 31))
FEBRUARY = (dt.date(2026, 2, 1), dt.date(2026, 2, 28))
# Pages with figures of a period.
PERIOD_PAGES = ["/", "/sales/", "/marketing/", "/money/"]
# What is transferred before the first figures, compressed.
FIRST_BYTES = 300_000
LAYOUT_SHIFT = 0.05
# Of the company's database of some thousand records, for a filter of a page.
FILTER_BYTES = 1_000_000
FILTER_REQUESTS = 20


@dataclass(frozen=True)
class Data:
    """What the company's site shows."""

    folder: Path
    meta: dict[str, Any]
    connection: duckdb.DuckDBPyConnection

    def figures(self, route: str, days: tuple[dt.date, dt.date], **chosen: str) -> dict[str, Any]:
        """Value of each figure of the blocks without a breakdown, by block/metric."""
        aliases = dict(re.findall(r"(\w+)=(\w+)", front_matter(route).get("targets", "")))
        filters = {one["name"]: one for one in self.meta["filters"]}
        targets = {"leads", "deals", "lead_sales", "stages", "stages_leads", "stages_deals"}
        targets.add("ad_costs")
        where = {}
        for target in targets:
            parts = [
                condition(filters[name]["columns"][aliases.get(target, target)], value)
                for name, value in chosen.items()
                if aliases.get(target, target) in filters[name]["columns"]
            ]
            where[target] = " and ".join(parts) or "true"
        # Of a filter that costs do not have there is no cost.
        if any("ad_costs" not in filters[name]["columns"] for name in chosen):
            where["ad_costs"] = "false"
        name = "index" if route == "/" else route.strip("/")
        page = json.loads((self.folder / "pages" / f"{name}.json").read_text(encoding="utf-8"))
        found = {}
        for block in page["blocks"]:
            sql = block["variants"].get("", {}).get("sql")
            if sql is None or "[[set" in sql or "[[window" in sql or "[[grain" in sql:
                continue
            result = self.connection.execute(filled(sql, period=days, where=where))
            columns = [column[0] for column in result.description]
            rows = result.fetchall()
            if len(rows) == 1:
                row = zip(columns, rows[0], strict=True)
                found |= {f"{block['id']}/{column}": value for column, value in row}
        return found


@pytest.fixture(scope="module")
def data(sites: Sites) -> Iterator[Data]:
    folder = sites.data("company")
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    with duckdb.connect(str(folder / "site.duckdb"), read_only=True) as connection:
        yield Data(folder, meta, connection)


READ_FIGURES = """() => Object.fromEntries([...document.querySelectorAll('[data-figure]')].map(
    (figure) => [
        `${figure.closest('[data-block]')?.dataset.block}/${figure.dataset.figure}`,
        figure.querySelector('.tile-value')?.title ?? '',
    ]))"""


SHOW = "(name) => document.querySelector(`[data-block='${name}']`)?.scrollIntoView()"


def number(text: str) -> float | None:
    """A figure as it is written to its last digit; None for a dash."""
    digits = re.sub(r"[^0-9,−-]", "", text).replace(",", ".").replace("−", "-")
    return float(digits) if re.search(r"\d", digits) else None


def is_shown(text: str, value: Any) -> bool:
    """Whether the text is the value, as far as it tells its digits."""
    shown = number(text)
    if value is None or shown is None:
        return value is None and shown is None
    wanted = float(value) * (100 if "%" in text else 1)
    if "%" in text or "дн" in text:
        return abs(shown - wanted) <= 0.051
    return abs(shown - wanted) <= 0.0051


def expect_figures(page: Page, expected: dict[str, Any]) -> None:
    """Waits until the page's figures are these; each must be among them."""
    wrong: dict[str, Any] = {"": ""}
    for _ in range(600):
        shown = page.evaluate(READ_FIGURES)
        wrong = {
            name: (text, expected.get(name, "unknown"))
            for name, text in shown.items()
            if name not in expected or not is_shown(text, expected[name])
        }
        if shown and not wrong:
            return
        # A block far below is computed when it comes near.
        page.evaluate(SHOW, next(iter(wrong), "").split("/")[0])
        page.wait_for_timeout(100)
    assert not wrong, wrong


def second(data: Data, name: str) -> str:
    """A value of a filter that some records have and others have not."""
    (found,) = [one for one in data.meta["filters"] if one["name"] == name]
    return str(found["options"][1]["value"])


@pytest.mark.parametrize("route", PERIOD_PAGES)
def test_figures_follow_period_and_filters(
    open_page: OpenPage, company: str, data: Data, route: str
) -> None:
    page = open_page(company, route)
    expect_figures(page, data.figures(route, MARCH))
    page.locator('[data-chip="period"]').click()
    page.locator('[data-preset="previousMonth"]').click()
    expect_figures(page, data.figures(route, FEBRUARY))
    manager = second(data, "manager")
    visit(page, f"{company}{route}?{urlencode({'period': 'previousMonth', 'manager': manager})}")
    expect_figures(page, data.figures(route, FEBRUARY, manager=manager))
    page.locator('[data-chip="manager"]').click()
    expect_figures(page, data.figures(route, FEBRUARY))
    page.go_back()
    expect(page.locator('[data-chip="manager"]')).to_have_count(1)
    expect_figures(page, data.figures(route, FEBRUARY, manager=manager))
    page.locator("[data-reset]").click()
    expect_figures(page, data.figures(route, MARCH))
    assert urlsplit(page.url).query == ""


def test_a_filter_is_ticked_and_carried_along(
    open_page: OpenPage, company: str, data: Data
) -> None:
    page = open_page(company, "/sales/")
    value = second(data, "source")
    page.get_by_role("button", name=re.compile("^Фильтры")).click()
    select = page.locator('[data-filter="source"]')
    select.locator("summary").click()
    select.locator(f'[data-value="{value}"] input').first.click()
    page.keyboard.press("Escape")
    assert parse_qs(urlsplit(page.url).query) == {"source": [value]}
    expect_figures(page, data.figures("/sales/", MARCH, source=value))
    page.get_by_role("link", name="Маркетинг", exact=True).first.click()
    page.wait_for_url("**/marketing/?**")
    settle(page)
    assert parse_qs(urlsplit(page.url).query) == {"source": [value]}
    expect_figures(page, data.figures("/marketing/", MARCH, source=value))
    page.go_back()
    page.wait_for_url("**/sales/?**")
    expect_figures(page, data.figures("/sales/", MARCH, source=value))
    page.reload()
    settle(page)
    expect_figures(page, data.figures("/sales/", MARCH, source=value))


def test_what_is_left_out_is_left_out(open_page: OpenPage, company: str, data: Data) -> None:
    """`not_source=`: all but one; what was counted with and without it is all."""
    value = second(data, "source")
    page = open_page(company, f"/sales/?{urlencode({'not_source': value})}")
    whole, of_one = (data.figures("/sales/", MARCH, **chosen) for chosen in ({}, {"source": value}))
    names = [name for name in whole if name.endswith(("/leads_received", "/deals_created"))]
    assert names
    for name in names:
        shown = page.evaluate(READ_FIGURES)
        if name in shown:
            assert number(shown[name]) == whole[name] - of_one[name]


def test_wrong_addresses_change_nothing(open_page: OpenPage, company: str, data: Data) -> None:
    page = open_page(company, "/?from=2026-02-31&to=' or true --&unknown=1")
    expect(page.locator('[data-chip="period"]')).to_contain_text("01.03.2026 – 31.03.2026")
    expect_figures(page, data.figures("/", MARCH))
    visit(page, f"{company}/?{urlencode({'source': chr(39) + ' or true --'})}")
    expect_figures(page, data.figures("/", MARCH, source="' or true --"))


@pytest.mark.parametrize("timezone", ["America/New_York", "Asia/Vladivostok"])
def test_the_viewers_timezone_changes_nothing(
    open_page: OpenPage, company: str, data: Data, timezone: str
) -> None:
    for route in ("/", "/sales/"):
        page = open_page(company, f"{route}?from=2026-03-31&to=2026-03-31", timezone_id=timezone)
        last_day = (dt.date(2026, 3, 31), dt.date(2026, 3, 31))
        expect_figures(page, data.figures(route, last_day))


def test_the_reference_month(open_page: OpenPage, company: str) -> None:
    """Figures that the users know by heart."""
    page = open_page(company, "/sales/?pipeline=Продажи")
    shown = {name.split("/")[1]: number(text) for name, text in page.evaluate(READ_FIGURES).items()}
    assert shown["leads_received"] == 1398
    assert shown["leads_junk"] == 896
    assert shown["leads_quality_cohort"] == 253
    assert shown["leads_in_work"] == 249
    assert shown["processing_days_avg"] == 5
    assert shown["deals_created"] == 373
    assert shown["sales_period"] == 11
    visit(page, f"{company}/sales/")
    text = page.locator("#content").inner_text().replace("\u202f", " ").replace("\xa0", " ")
    assert "0,79 %" in text
    assert "18,1 %" in text


@pytest.mark.parametrize("route", PAGES)
def test_the_first_figures_come_without_the_engine(
    chromium: Browser, company: str, data: Data, route: str
) -> None:
    """They are there though the engine never loads, after few bytes, and nothing jumps."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, locale="ru-RU")
    page = context.new_page()
    page.add_init_script("""
        window.shift = 0;
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries())
                if (!entry.hadRecentInput) window.shift += entry.value;
        }).observe({ type: 'layout-shift', buffered: true });
    """)
    page.route("**/*.wasm", lambda one: one.abort())
    page.goto(company + route)
    page.wait_for_selector("[data-page-rendered]")
    page.wait_for_function(
        "() => document.querySelector('[data-state=ready], [data-figure] .tile-value') !== null"
        " || document.querySelector('[data-block]') === null"
    )
    transferred = page.evaluate(
        "() => performance.getEntriesByType('resource')"
        ".filter((one) => !/wasm|worker|echarts/.test(one.name))"
        ".reduce((sum, one) => sum + one.encodedBodySize, 0)"
    )
    if route in PERIOD_PAGES:
        expect_figures(page, data.figures(route, MARCH))
    page.wait_for_timeout(500)
    shift = page.evaluate("window.shift")
    context.close()
    assert transferred <= FIRST_BYTES, f"{transferred:,} bytes"
    assert shift <= LAYOUT_SHIFT


@pytest.mark.parametrize("route", PERIOD_PAGES)
def test_a_filter_fetches_little_of_the_database(
    chromium: Browser, sites: Sites, company: str, data: Data, route: str
) -> None:
    """Few blocks, in few requests: a slow line has either for seconds."""
    address = urlencode({"manager": second(data, "manager")})
    lines: list[Line] = []

    def around(app: ASGIApp) -> ASGIApp:
        lines.append(Line(app, is_slow=False))
        return lines[0]

    with served(sites.folder("company"), around) as site:
        page = chromium.new_page()
        page.goto(f"{site}{route}?{address}")
        settle(page)
        page.close()
    (network,) = lines
    fetched = network.megabytes * 1e6
    assert 0 < fetched <= FILTER_BYTES, f"{fetched:,.0f} bytes"
    assert len(network.ranges) <= FILTER_REQUESTS, f"{len(network.ranges)} requests"


def test_data_that_are_gone_are_told_and_loaded_anew(
    open_page: OpenPage, sites: Sites, company: str
) -> None:
    """Another publication has replaced that of an open page, and its files are gone."""
    page = open_page(company, "/leads/", expected_error="404")
    folder = sites.folder("company")
    (folder / "status.json").write_text(json.dumps({**FRESH, "publication": "000002"}))
    old, new = folder / "data" / "000001", folder / "data" / "000002"
    old.rename(new)
    try:
        page.goto(f"{company}/leads/?manager=nobody")
        settle(page)
        expect(page.locator("[data-records-count] strong")).to_have_text("0")
    finally:
        new.rename(old)
        (folder / "status.json").write_text(json.dumps(FRESH))

"""The company's site in headless Chromium: every filter of every page, against SQL on the marts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.report_figures import (
    DAYS,
    FIGURES,
    PRESETS,
    SPACES,
    USER_FIELDS,
    State,
    values,
    written,
)
from tests.report_portals import HOSTILE_CAMPAIGN, HOSTILE_SOURCE, HOSTILE_TITLES
from tests.reports_fixtures import PAGES, Sites, settle

OpenPage = Callable[..., Page]

expect.set_options(timeout=60_000)  # the engine of the browser starts slowly on a busy machine

PRESET_NAMES = {
    "thisMonth": "Месяц",
    "previousMonth": "Прошлый месяц",
    "quarter": "Квартал",
    "previousQuarter": "Прошлый квартал",
    "year": "Год",
    "previousYear": "Прошлый год",
    "allTime": "Всё время",
}
NO_VALUE = "не указано"

READ_FIGURES = """() => Object.fromEntries([
    ...[...document.querySelectorAll('[data-figure]')].map((figure) => [
        `${figure.closest('[data-block]').dataset.block}/${figure.dataset.figure}`,
        figure.querySelector('.value')?.innerText ?? '…',
    ]),
    ...[...document.querySelectorAll('[data-records-count] span')].map((count) => [
        `${count.closest('[data-table]').dataset.table}_count/records`, count.innerText,
    ]),
])"""


@pytest.fixture(scope="module")
def marts(sites: Sites) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published marts of the company."""
    path = sites.published("company") / "crm.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def expected_figures(marts: duckdb.DuckDBPyConnection, route: str, state: State) -> dict[str, str]:
    figures = FIGURES[route][1]
    found = values(marts, route, state)
    return {name: written(value, figures[name].format) for name, value in found.items()}


def figures(page: Page) -> dict[str, str]:
    """Text of every figure by block/column, thin spaces as plain ones."""
    found: dict[str, str] = page.evaluate(READ_FIGURES)
    return {name: text.translate(SPACES) for name, text in found.items()}


def expect_figures(
    page: Page, marts: duckdb.DuckDBPyConnection, route: str, state: State
) -> dict[str, str]:
    """Waits until all figures of the page are those of the marts, and returns them."""
    expected = expected_figures(marts, route, state)
    end = time.monotonic() + 60
    while figures(page) != expected and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert figures(page) == expected, state
    return expected


def choose_preset(page: Page, preset: str) -> None:
    group = page.get_by_role("group", name="Период")
    group.get_by_role("button", name=PRESET_NAMES[preset], exact=True).click()


def type_days(page: Page, start: str, end: str) -> None:
    for label, day in (("Период с", start), ("Период по", end)):
        box = page.get_by_label(label, exact=True)
        box.fill(".".join(reversed(day.split("-"))))
        box.press("Tab")


def choose(page: Page, key: str, index: int) -> str:
    """Ticks a value of a filter, by its place among those offered, and returns it."""
    select = page.locator(f'[data-filter="{key}"]')
    select.get_by_role("button").first.click()
    option = select.locator("label").nth(index)
    text = option.inner_text()
    option.locator("input").click()
    page.keyboard.press("Escape")
    return "" if text == NO_VALUE else text


def offered(page: Page) -> list[str]:
    """Keys of the filters that the page offers, those behind «ещё» too."""
    more = page.locator("[data-more-filters][aria-expanded=false]")
    if more.count():
        more.click()
    keys: list[str] = page.locator("[data-filter]").evaluate_all(
        "all => all.map(one => one.dataset.filter)"
    )
    return keys


def chips(page: Page) -> Locator:
    return page.locator('[data-chip]:not([data-chip="period"])')


@pytest.mark.parametrize("route", FIGURES)
def test_each_filter_on_each_page(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection, route: str
) -> None:
    page = open_page(company, route)
    for preset, days in PRESETS.items():
        choose_preset(page, preset)
        expect_figures(page, marts, route, State(days))
    type_days(page, *DAYS[:2])
    expect_figures(page, marts, route, State(DAYS))
    expect(page.locator('[data-chip="period"]')).to_have_text("Период: 10.02.2026 – 01.03.2026")

    choose_preset(page, "year")
    unfiltered = expect_figures(page, marts, route, State(PRESETS["year"]))
    keys = offered(page)
    assert set(keys) == {*FIGURES[route][0], *USER_FIELDS}
    for key in keys:
        value = choose(page, key, 1)
        expect(page.locator(f'[data-chip="{key}"]')).to_contain_text(value or NO_VALUE)
        found = expect_figures(page, marts, route, State(PRESETS["year"], {key: [value]}))
        assert found != unfiltered, f"{key} = {value} changes nothing"
        page.locator(f'[data-chip="{key}"]').click()
        expect(chips(page)).to_have_count(0)

    two = {"source": [choose(page, "source", 0), choose(page, "source", 1)]}
    manager = {"manager": [choose(page, "manager", 1)]}
    expect_figures(page, marts, route, State(PRESETS["year"], two | manager))
    page.reload()
    settle(page)
    expect_figures(page, marts, route, State(PRESETS["year"], two | manager))
    page.get_by_role("button", name="Сбросить", exact=True).click()
    expect_figures(page, marts, route, State())
    expect(chips(page)).to_have_count(0)
    assert urlsplit(page.url).query == ""


@pytest.mark.parametrize("timezone", ["America/New_York", "Asia/Vladivostok"])
@pytest.mark.parametrize("route", FIGURES)
def test_the_viewers_timezone_changes_nothing(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection, route: str, timezone: str
) -> None:
    page = open_page(company, route, timezone_id=timezone)
    expect_figures(page, marts, route, State())
    last_day = ("2026-03-31", "2026-03-31", "2026-03-30", "2026-03-30")
    type_days(page, *last_day[:2])
    on_it = expect_figures(page, marts, route, State(last_day))
    choose_preset(page, "previousMonth")
    before = expect_figures(page, marts, route, State(PRESETS["previousMonth"]))
    assert on_it != before


def test_change_to_the_period_before(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    page = open_page(company)
    choose_preset(page, "previousMonth")
    state = State(PRESETS["previousMonth"])
    expect_figures(page, marts, "/", state)
    now, before = (values(marts, "/", state, compared) for compared in (False, True))
    for name, format in (("leads/received", "%"), ("leads/quality_rate", "п.п.")):
        block, column = name.split("/")
        change = (now[name] / before[name] - 1 if format == "%" else now[name] - before[name]) * 100
        digits = 0 if format == "%" and abs(change) >= 10 else 1
        sign = "−" if change < 0 else "+"
        text = f"{sign}{abs(change):.{digits}f} {format}".replace(".", ",", 1)
        shown = page.locator(f'[data-block="{block}"] [data-figure="{column}"] [data-change]')
        assert shown.inner_text().translate(SPACES) == text
        assert "01.01.2026 – 31.01.2026" in (shown.get_attribute("title") or "")


def test_wrong_days_change_nothing(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    page = open_page(company, "/?from=2026-02-31&to=' or true --&source=' or true --")
    period = page.locator('[data-chip="period"]')
    expect(period).to_have_text("Период: 01.03.2026 – 31.03.2026")
    expect_figures(page, marts, "/", State(chosen={"source": ["' or true --"]}))
    page.get_by_role("button", name="Сбросить", exact=True).click()
    start = page.get_by_label("Период с", exact=True)
    start.fill("31.04.2026")
    start.press("Tab")
    expect(start).to_have_attribute("aria-invalid", "true")
    start.fill("01.04.2026")
    start.press("Tab")
    expect(page.get_by_role("alert")).to_have_text("Начало периода позже конца")
    expect(period).to_have_text("Период: 01.03.2026 – 31.03.2026")
    expect_figures(page, marts, "/", State())


@pytest.mark.parametrize("route", FIGURES)
def test_each_figure_opens_the_list_of_its_records(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection, route: str
) -> None:
    """The list has as many records as the figure says, with the filters of the page."""
    page = open_page(company, f"{route}?period=quarter&source=Сайт")
    state = State(PRESETS["quarter"], {"source": ["Сайт"]})
    shown = expect_figures(page, marts, route, state)
    links: dict[str, str] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('[data-records]')].map((link) => [
            `${link.closest('[data-block]').dataset.block}/${link.closest('[data-figure]').dataset.figure}`,
            link.getAttribute('href'),
        ]))"""
    )
    counts = {name for name, figure in FIGURES[route][1].items() if figure.records}
    assert links.keys() >= {name for name in counts if not name.endswith("_count/records")}
    for name, href in links.items():
        assert parse_qs(urlsplit(href).query)["source"] == ["Сайт"]
        if name in counts:
            page.goto(company + href)
            settle(page)
            listed = page.locator("[data-records-count] span")
            pattern = r"\s".join(map(re.escape, shown[name].split(" ")))
            expect(listed, name).to_have_text(re.compile(f"^{pattern}$"))


@pytest.mark.parametrize("route", PAGES)
def test_each_page_says_as_of_when(open_page: OpenPage, company: str, route: str) -> None:
    page = open_page(company, route)
    expect(page.locator("[data-as-of]")).to_have_text("Данные на 31.03.2026 20:00, время портала")
    expect(page.locator("[data-banner]")).to_have_count(0)
    links = page.locator("nav a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert links == [*PAGES_IN_ORDER, "/custom/weekdays/"]
    assert page.locator("nav [aria-current=page]").get_attribute("href") == route


PAGES_IN_ORDER = [
    *("/", "/sales/", "/marketing/", "/money/", "/forgotten/", "/leads/", "/deals/"),
    *("/quality/", "/bridge/", "/definitions/"),
]

"""The company's site in headless Chromium: every filter of every page, against SQL on the marts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import duckdb
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.report_figures import (
    DAYS,
    FIGURES,
    NOT_ZERO,
    PRESETS,
    SPACES,
    WITHOUT_PERIOD,
    State,
    values,
    written,
)
from tests.support.reports_fixtures import Sites, settle

OpenPage = Callable[..., Page]

PRESET_NAMES = {
    "thisMonth": "Месяц",
    "previousMonth": "Прошлый месяц",
    "quarter": "Квартал",
    "previousQuarter": "Прошлый квартал",
    "year": "Год",
    "previousYear": "Прошлый год",
    "allTime": "Всё время",
}

READ_FIGURES = """() => Object.fromEntries([
    ...[...document.querySelectorAll('[data-figure]')].map((figure) => [
        `${figure.closest('[data-block]').dataset.block}/${figure.dataset.figure}`,
        figure.querySelector('.value')?.innerText ?? '…',
    ]),
    ...[...document.querySelectorAll('[data-step]')].map((step) => [
        `funnel/${step.dataset.step}`, step.querySelector('.tabular-nums').innerText,
    ]),
    ...[...document.querySelectorAll('.conversions [data-row]')].flatMap((row) =>
        ['cohort', 'cohort_rate', 'period', 'period_rate'].map((column, i) => [
            `conversions/${row.dataset.row}_${column}`, row.cells[i + 1].innerText.replace('?', ''),
        ])),
    ...[...document.querySelectorAll('[data-records-count] span')].map((count) => [
        `${count.closest('[data-table]').dataset.table}_count/records`, count.innerText,
    ]),
])"""


READ_LINKS = """() => Object.fromEntries([
    ...[...document.querySelectorAll('[data-figure] a[data-records]')].map((link) => [
        `${link.closest('[data-block]').dataset.block}/${link.closest('[data-figure]').dataset.figure}`,
        link.getAttribute('href'),
    ]),
    ...[...document.querySelectorAll('[data-step] a:not(.definition)')].map((link) => [
        `funnel/${link.closest('[data-step]').dataset.step}`, link.getAttribute('href'),
    ]),
])"""


@pytest.fixture(scope="module")
def marts(sites: Sites) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published marts of the company."""
    path = sites.published("company") / "crm.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def expected_figures(marts: duckdb.DuckDBPyConnection, route: str, state: State) -> dict[str, str]:
    filters, figures = FIGURES[route]
    found = values(marts, filters, figures, state)
    return {
        name: written(value, figures[name].format)
        for name, value in found.items()
        if value or name not in NOT_ZERO
    }


def shown_figures(page: Page) -> dict[str, str]:
    """Text of every figure by block/column, thin spaces as plain ones."""
    found: dict[str, str] = page.evaluate(READ_FIGURES)
    return {name: text.strip().translate(SPACES) for name, text in found.items()}


def expect_figures(
    page: Page, marts: duckdb.DuckDBPyConnection, route: str, state: State
) -> dict[str, str]:
    """Waits until all figures of the page are those of the marts, and returns them."""
    expected = expected_figures(marts, route, state)
    end = time.monotonic() + 60
    while shown_figures(page) != expected and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert shown_figures(page) == expected, state
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
    value = option.get_attribute("data-value") or ""
    option.locator("input").click()
    page.keyboard.press("Escape")
    return value


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


def shown_text(page: Page) -> str:
    """What the page says, its filters left out."""
    parts = page.locator("[data-block], [data-table], [data-matrix]")
    return "\n".join(parts.all_inner_texts())


# The bridge opens with leads, which have no pipeline; a field of leads narrows a diagram; all that
# is forgotten is in work.
NOTHING_IN_WORDS = {
    ("/bridge/", "pipeline"),
    ("/money/", "UF_CRM_LANDING"),
    ("/forgotten/", "state"),
}


@pytest.mark.parametrize("route", FIGURES)
def test_each_filter_on_each_page(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection, route: str
) -> None:
    page = open_page(company, route)
    days = PRESETS["thisMonth"] if route in WITHOUT_PERIOD else PRESETS["year"]
    if route not in WITHOUT_PERIOD:
        for preset, of_preset in PRESETS.items():
            choose_preset(page, preset)
            expect_figures(page, marts, route, State(of_preset))
        type_days(page, *DAYS[:2])
        expect_figures(page, marts, route, State(DAYS))
        chip = page.locator('[data-chip="period"]')
        expect(chip).to_have_text("Период: 10.02.2026 – 01.03.2026")
        choose_preset(page, "year")

    expect_figures(page, marts, route, State(days))
    filters = FIGURES[route][0]
    keys = offered(page)
    assert set(keys) == filters.columns.keys() | filters.user_fields
    for key in keys:
        before = shown_text(page)
        value = choose(page, key, 1)
        expect(page.locator(f'[data-chip="{key}"]')).to_have_count(1)
        expect_figures(page, marts, route, State(days, {key: [value]}))
        settle(page)
        if (route, key) not in NOTHING_IN_WORDS:
            assert shown_text(page) != before, f"{key} = {value} changes nothing"
        page.locator(f'[data-chip="{key}"]').click()
        expect(chips(page)).to_have_count(0)

    source = next(key for key in ("lead_source", "source", "entity") if key in keys)
    chosen = {
        source: [choose(page, source, 0), choose(page, source, 1)],
        "manager": [choose(page, "manager", 1)],
    }
    expect_figures(page, marts, route, State(days, chosen))
    page.reload()
    settle(page)
    expect_figures(page, marts, route, State(days, chosen))
    page.get_by_role("button", name="Сбросить", exact=True).click()
    expect_figures(page, marts, route, State())
    expect(chips(page)).to_have_count(0)
    assert urlsplit(page.url).query == ""


def test_the_address_tells_a_choice_at_once(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    """Timers stand still meanwhile: a reload or a copied address never lacks the last choice."""
    page = open_page(company, "/sales/")
    settle(page)
    page.clock.pause_at("2030-06-15T23:00:00Z")
    manager = choose(page, "manager", 1)
    query = parse_qs(urlsplit(page.evaluate("location.href")).query)
    assert query == {"manager": [manager]}
    page.clock.resume()
    page.get_by_role("link", name="Маркетинг").first.click()
    page.wait_for_url("**/marketing/**")
    settle(page)
    page.go_back()
    page.wait_for_url("**/sales/**")
    settle(page)
    expect_figures(page, marts, "/sales/", State(chosen={"manager": [manager]}))
    page.get_by_role("link", name="Динамика продаж").first.click()
    page.wait_for_url(f"{company}/sales/")
    expect_figures(page, marts, "/sales/", State())
    expect(page.locator('[data-chip="manager"]')).to_have_count(0)


def test_the_address_tells_a_switch(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    """The bridge of deals, reloaded: it is no longer that of leads, and the choice is the same."""
    page = open_page(company, "/bridge/")
    settle(page)
    deals = page.locator('[data-switch="bridge_entity"] button').nth(1)
    deals.click()
    pipeline = choose(page, "pipeline", 0)
    assert parse_qs(urlsplit(page.evaluate("location.href")).query) == {
        "bridge_entity": ["deal"],
        "pipeline": [pipeline],
    }
    page.reload()
    settle(page)
    expect(deals).to_have_attribute("aria-pressed", "true")
    page.locator('[data-switch="bridge_entity"] button').first.click()
    assert "bridge_entity" not in page.evaluate("location.href")


@pytest.mark.parametrize("timezone", ["America/New_York", "Asia/Vladivostok"])
@pytest.mark.parametrize("route", sorted(FIGURES.keys() - WITHOUT_PERIOD))
def test_the_viewers_timezone_changes_nothing(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection, route: str, timezone: str
) -> None:
    """The last day of a period is in it: 31 March has figures of its own, and so has February."""
    page = open_page(company, route, timezone_id=timezone)
    expect_figures(page, marts, route, State())
    last_day = ("2026-03-31", "2026-03-31", "2026-03-30", "2026-03-30")
    type_days(page, *last_day[:2])
    on_it = expect_figures(page, marts, route, State(last_day))
    choose_preset(page, "previousMonth")
    assert on_it != expect_figures(page, marts, route, State(PRESETS["previousMonth"]))


def test_change_to_the_period_before(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    page = open_page(company)
    choose_preset(page, "previousMonth")
    state = State(PRESETS["previousMonth"])
    expect_figures(page, marts, "/", state)
    now, before = (values(marts, *FIGURES["/"], state, compared) for compared in (False, True))
    for name, format in (("leads/received", "%"), ("leads/quality_rate", "п.п.")):
        block, column = name.split("/")
        change = (now[name] / before[name] - 1 if format == "%" else now[name] - before[name]) * 100
        digits = 0 if format == "%" and abs(change) >= 10 else 1
        sign = "−" if change < 0 else "+"
        text = f"{sign}{abs(change):.{digits}f} {format}".replace(".", ",", 1)
        shown = page.locator(f'[data-block="{block}"] [data-figure="{column}"] [data-change]')
        assert shown.inner_text().translate(SPACES) == text
        assert "01.01.2026 – 28.01.2026" in (shown.get_attribute("title") or "")


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
    filters, figures = FIGURES[route]
    wanted = {"manager": "Анна Лебедева", "pipeline": "Продажи", "lead_source": "Сайт"}
    chosen = {key: [value] for key, value in wanted.items() if key in filters.columns}
    state = State(PRESETS["thisMonth" if route in WITHOUT_PERIOD else "quarter"], chosen)
    page = open_page(company, f"{route}?{urlencode({'period': 'quarter', **chosen}, doseq=True)}")
    shown = expect_figures(page, marts, route, state)
    links: dict[str, str] = page.evaluate(READ_LINKS)
    assert links.keys() >= {name for name, figure in figures.items() if figure.records}
    for name, href in links.items():
        figure = figures[name]
        if figure.format != "count":
            continue
        page.goto(company + href)
        settle(page)
        listed = page.locator("[data-records-count] span")
        pattern = r"\s".join(map(re.escape, shown[name].split(" ")))
        expect(listed, name).to_have_text(re.compile(f"^{pattern}$"), timeout=10_000)


def test_the_reference_month(open_page: OpenPage, company: str) -> None:
    """Figures that the users know by heart."""
    page = open_page(company, "/sales/")
    found = shown_figures(page)
    known = {
        "lead_figures/received": "1 398",
        "lead_figures/junk": "896",
        "lead_figures/quality": "253",
        "lead_figures/quality_rate": "18,1 %",
        "lead_figures/in_work": "249",
        "lead_figures/processing_days": "5,0 дн.",
        "deal_figures/forgotten": "15",
        "sold_figures/sales": "11",
        "conversions/quality_period": "253",
        "conversions/sale_period": "11",
        "conversions/sale_period_rate": "0,79 %",
        "conversions/sale_cohort": "0",
        "conversions/sale_cohort_rate": "0,0 %",
    }
    assert {name: found[name] for name in known} == known
    page.locator('[data-switch="funnel_view"] button').nth(1).click()
    sale = page.locator('[data-step="sale_period"]')
    expect(sale).to_contain_text(re.compile(r"0,79\s%"))
    expect(sale).to_contain_text(re.compile(r"4,35\s%"))
    page.goto(f"{company}/sales/?pipeline=Продажи")
    settle(page)
    expect(page.locator('[data-figure="created"] .value')).to_have_text("373")
    expect(
        page.locator('[data-block="deal_figures"] [data-figure="forgotten"] .value')
    ).to_have_text("15")

"""What every page of the company's site has: its moment, links, clicks, and no foreign code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.report_portals import HOSTILE_CAMPAIGN, HOSTILE_SOURCE, HOSTILE_TITLES
from tests.support.reports_fixtures import FRESH, PAGES, Sites, settle

OpenPage = Callable[..., Page]

IN_ORDER = [
    *("/", "/sales/", "/marketing/", "/money/", "/forgotten/", "/leads/", "/deals/"),
    *("/quality/", "/bridge/", "/definitions/"),
]


@pytest.fixture(scope="module")
def definitions(sites: Sites) -> set[str]:
    """Anchors of the page of definitions."""
    html = (sites.folder("company") / "definitions" / "index.html").read_text(encoding="utf-8")
    return set(re.findall(r'\bid="([a-z0-9_]+)"', html))


@pytest.mark.parametrize("route", PAGES)
def test_each_page_has_its_moment_the_menu_and_definitions(
    open_page: OpenPage, company: str, definitions: set[str], route: str
) -> None:
    page = open_page(company, route)
    expect(page.locator("[data-as-of]")).to_have_text("Данные на 31.03.2026 20:00, время портала")
    expect(page.locator("[data-banner]")).to_have_count(0)
    links = page.locator("header nav a").evaluate_all(
        "all => all.map(one => one.getAttribute('href'))"
    )
    assert links == [*IN_ORDER, "/custom/weekdays/"]
    expect(page.locator("header nav [aria-current=page]")).to_have_attribute("href", route)
    named = page.locator("[data-metric]").evaluate_all("all => all.map(one => one.dataset.metric)")
    assert set(named) <= definitions
    bare = page.locator("[data-figure]:not(:has([data-metric]))")
    found = bare.evaluate_all("all => all.map(one => one.dataset.figure)")
    assert set(found) <= NOT_METRICS.get(route, set())


# Figures about the data and the portal's own, which no metric of ours defines.
NOT_METRICS = {
    "/quality/": {"rows_not_loaded", "checks_passed", "errors", "errors_amount", "warnings"},
    "/bridge/": {"portal_rate"},
}


@pytest.fixture
def status_file(sites: Sites, company: str) -> Iterator[Path]:
    """The site's status.json, put back as it was: of a refresh that is fresh by `open_page`."""
    file = sites.folder("company") / "status.json"
    yield file
    file.write_text(json.dumps(FRESH))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"as_of": "2030-06-13T23:59:00+00:00"}, "Данные устарели"),
        ({"as_of": "2030-06-15T10:00:00+00:00", "stale_after_hours": 1}, "Данные устарели"),
        ({"status": "failed"}, "Последнее обновление не удалось"),
    ],
)
def test_banner_over_stale_data(
    open_page: OpenPage, company: str, status_file: Path, change: dict[str, str], text: str
) -> None:
    status_file.write_text(json.dumps({**FRESH, **change}))
    page = open_page(company, "/definitions/")
    expect(page.locator("[data-banner]")).to_have_text(
        f"{text}. Показаны данные на 15.06.2030 00:00."
    )


def test_no_banner_without_a_status_file(
    open_page: OpenPage, company: str, status_file: Path
) -> None:
    status_file.unlink()
    page = open_page(company, "/definitions/", expected_error="404")
    expect(page.locator("[data-banner]")).to_have_count(0)


def test_a_page_of_ones_own_is_built_and_linked(
    open_page: OpenPage, sites: Sites, company: str
) -> None:
    page = open_page(company)
    page.get_by_role("link", name="Лиды по дням недели").click()
    expect(page.locator("[data-weekday]")).to_have_count(7)
    assert page.url == f"{company}/custom/weekdays/"


def test_a_definition_is_shown(open_page: OpenPage, company: str) -> None:
    page = open_page(company)
    page.locator('[data-figure="received"] [data-metric]').click()
    section = page.locator("#leads_received")
    expect(section).to_be_in_viewport()
    expect(section).to_contain_text("Поступило лидов")


def chips(page: Page) -> Locator:
    return page.locator('[data-chip]:not([data-chip="period"])')


def undo(page: Page) -> None:
    page.get_by_role("button", name="Сбросить", exact=True).click()
    expect(chips(page)).to_have_count(0)
    settle(page)


def test_a_page_without_a_period_offers_no_records_of_one(
    open_page: OpenPage, company: str
) -> None:
    page = open_page(company, "/forgotten/?show_deals=sales_period")
    for entity in ("leads", "deals"):
        chosen = page.locator(f'[data-record-set="{entity}"]')
        expect(chosen).to_have_value("forgotten_now")
        texts = chosen.locator("option").all_inner_texts()
        assert 3 < len(texts) < 15
        assert all(re.search("сейчас|за всё время", text) for text in texts), texts


@pytest.mark.parametrize("route", ["/", "/sales/", "/marketing/", "/money/", "/forgotten/"])
def test_a_row_that_is_clicked_becomes_a_filter(
    open_page: OpenPage, company: str, route: str
) -> None:
    page = open_page(company, route)
    rows = "tr[title='Нажмите, чтобы отфильтровать']"
    tables = page.locator(f"[data-table]:has({rows}), [data-matrix]:has({rows})")
    names = tables.evaluate_all("all => all.map(one => one.dataset.table ?? one.dataset.matrix)")
    assert names or route == "/"
    for name in names:
        table = page.locator(f'[data-table="{name}"], [data-matrix="{name}"]')
        cells = table.locator(rows).first.locator("td").all_inner_texts()
        named = table.locator(rows).filter(has=page.get_by_text(cells[0], exact=True))
        named.first.locator("td").first.click()
        expect(chips(page), name).to_have_count(1)
        value = chips(page).inner_text().split(": ")[-1].removesuffix(" ×")
        assert value in cells, name
        settle(page)
        undo(page)


@pytest.mark.parametrize("route", ["/", "/sales/", "/marketing/", "/money/", "/forgotten/"])
def test_a_chart_element_that_is_clicked_becomes_a_filter(
    open_page: OpenPage, company: str, route: str
) -> None:
    page = open_page(company, f"{route}?period=year")
    names = page.locator("[data-chart]:has(canvas)").evaluate_all(
        "all => all.map(one => one.dataset.chart)"
    )
    before = page.url
    period = page.get_by_role("group", name="Период")
    for name in set(names) - NO_FILTER:
        canvas = page.locator(f'[data-chart="{name}"] canvas').first
        click_an_element(page, canvas)
        page.wait_for_url(lambda url, before=before: url != before)
        undo(page)
        if period.count():
            period.get_by_role("button", name="Год", exact=True).click()
            page.wait_for_url(before)
        settle(page)


# Flows show two steps at once, and the bins of a distribution are no filter.
NO_FILTER = {"source_to_sale", "closing_time"}


def click_an_element(page: Page, canvas: Locator) -> None:
    """Clicks where the pointer shows that something can be clicked."""
    page.wait_for_timeout(500)  # charts are drawn anew where their data changed
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(1200)  # the elements grow for a second
    box = canvas.bounding_box()
    assert box
    for down in (0.5, 0.3, 0.7, 0.15, 0.85, 0.05, 0.6, 0.4):
        for right in (0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95):
            page.mouse.move(box["x"] + right * box["width"], box["y"] + down * box["height"])
            cursor = canvas.evaluate("canvas => getComputedStyle(canvas.parentElement).cursor")
            if cursor == "pointer":
                page.mouse.down()
                page.mouse.up()
                return
    raise AssertionError("nothing in the chart can be clicked")


def test_what_strangers_wrote_does_nothing(open_page: OpenPage, company: str) -> None:
    """A title, a source and a campaign with code in them are texts on every page."""
    page = open_page(company, "/leads/?period=allTime")
    for title in HOSTILE_TITLES:
        page.get_by_label("Найти").fill(title)
        expect(page.locator("[data-records-count] span")).to_have_text("1")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody tr")).to_contain_text(title)
    search = page.get_by_label("Найти")
    for text in ("%", "_", "' or true --"):
        search.fill(text)
        expect(page.locator("[data-table] [data-empty]")).to_be_visible()
    for route in ("/", "/sales/", "/marketing/", "/money/", "/forgotten/", "/quality/"):
        page.goto(f"{company}{route}?period=allTime")
        settle(page)
        for chart in page.locator("[data-chart] canvas").all():
            hover_over(page, chart)
        assert page.evaluate("window.planted") is None, route
        assert page.locator("img[src=x]").count() == 0, route


def hover_over(page: Page, canvas: Locator) -> None:
    """Brings out the tooltips of a chart."""
    canvas.hover()
    box = canvas.bounding_box()
    assert box
    for down in range(1, 16):
        for right in (0.2, 0.35):
            page.mouse.move(box["x"] + right * box["width"], box["y"] + down / 16 * box["height"])
            page.wait_for_timeout(10)


def test_hostile_names_can_be_filtered_by(open_page: OpenPage, company: str) -> None:
    page = open_page(company, "/marketing/?period=allTime")
    for key, value in (("source", HOSTILE_SOURCE), ("utm_campaign", HOSTILE_CAMPAIGN)):
        page.locator(f'[data-filter="{key}"] button').first.click()
        page.locator(f'[data-filter="{key}"] label').get_by_text(value, exact=True).click()
        page.keyboard.press("Escape")
        expect(page.locator(f'[data-chip="{key}"]')).to_contain_text(value)
        settle(page)
        expect(page.locator('[data-table="sources"] tbody tr')).to_have_count(1)
        undo(page)
        page.get_by_role("button", name="Всё время", exact=True).click()


@pytest.mark.parametrize(
    ("route", "key", "label"),
    [
        ("/leads/", "UF_CRM_LANDING", "Посадочная страница"),
        ("/deals/", "UF_CRM_DIRECTION", "Направление"),
    ],
)
def test_a_user_field_is_a_filter_and_a_column(
    open_page: OpenPage, company: str, route: str, key: str, label: str
) -> None:
    page = open_page(company, route)
    page.locator("[data-more-filters]").click()
    button = page.locator(f'[data-filter="{key}"] button').first
    expect(button).to_contain_text(label)
    button.click()
    options = page.locator(f'[data-filter="{key}"] label')
    expect(options.filter(has_text="не указано")).to_have_count(1)
    option = page.locator(f'[data-filter="{key}"] label:not([data-value=""])').first
    value = option.inner_text()
    option.click()
    page.keyboard.press("Escape")
    settle(page)
    expect(page.locator("thead th").filter(has_text=label)).not_to_have_count(0)
    headings = page.locator("thead th").all_inner_texts()
    column = [text.strip() for text in headings].index(label)
    cells = page.locator(f"tbody td:nth-child({column + 1})")
    expect(cells.filter(has_not_text=value)).to_have_count(0)
    expect(cells.first).to_have_text(value)
    assert set(cells.all_inner_texts()) == {value}


def test_a_user_field_is_a_breakdown(open_page: OpenPage, company: str) -> None:
    page = open_page(company, "/sales/")
    switch = page.locator('[data-switch="user_field"]')
    switch.get_by_role("button", name="Посадочная страница").click()
    table = page.locator('[data-table="user_field"]')
    expect(table.locator("tbody")).to_contain_text("/okna")

"""Portals with nothing, little or too much in them: every page says so or stays readable."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.report_portals import MANAGERS, SOURCES
from tests.support.reports_fixtures import PAGES, Sites, settle

OpenPage = Callable[..., Page]

# Texts of a failed query, and of values that JavaScript has not.
BROKEN = ("Ошибка запроса", "Query failed", "NaN", "undefined", "[object Object]", "Infinity")


def check(page: Page) -> None:
    """Nothing failed, every chart without data says so, nothing sticks out."""
    settle(page)
    text = page.locator("body").inner_text()
    assert [word for word in BROKEN if word in text] == []
    for chart in page.locator("[data-chart]").all():
        expect(chart.locator("canvas, [data-empty]").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400


def every_state(page: Page) -> None:
    """Checks the page as it opens, for all time, and with each switch turned."""
    check(page)
    presets = page.locator(".filters [role=group] button")
    if presets.count():
        presets.last.click()
        check(page)
    for button in page.locator("[data-switch] button[aria-pressed=false]").all():
        button.click()
        check(page)


@pytest.mark.parametrize("route", PAGES)
@pytest.mark.parametrize("portal", ["empty", "simple", "one_day"])
def test_a_portal_with_little_in_it(
    open_page: OpenPage, sites: Sites, portal: str, route: str
) -> None:
    page = open_page(sites.address(portal), route)
    expect(page.locator("[data-as-of]")).to_contain_text("31.03.2026 20:00")
    marked = page.locator("[data-partial-history]")
    expect(marked).to_have_count(1 if portal == "one_day" else 0)
    if portal == "one_day":
        expect(marked).to_contain_text("записи, созданные с 31.03.2026")
    every_state(page)


def figure(page: Page, block: str, column: str) -> str:
    value = page.locator(f'[data-block="{block}"] [data-figure="{column}"] .value')
    return value.inner_text().replace("\u202f", " ")


def test_an_empty_portal_has_zeros_and_dashes(open_page: OpenPage, sites: Sites) -> None:
    page = open_page(sites.address("empty"))
    assert figure(page, "leads", "received") == "0"
    assert figure(page, "leads", "quality_rate") == "—"
    assert figure(page, "sold", "sales_amount") == "0 ₽"
    assert figure(page, "sold", "average_sale") == "—"


def test_a_portal_without_leads_says_so(open_page: OpenPage, sites: Sites) -> None:
    """By hand: deal 1 of 1000 was sold on 10 March, deal 2 of 500 is in work, deal 3 failed."""
    address = sites.address("simple")
    page = open_page(address)
    expect(page.get_by_text("На портале простой режим CRM: лидов нет").first).to_be_visible()
    expect(page.locator('[data-block="leads"] [data-figure]')).to_have_count(0)
    expect(page.locator('[data-figure="forgotten_leads"]')).to_have_count(0)
    assert figure(page, "sold", "sales") == "1"
    assert figure(page, "sold", "sales_amount") == "1 000 ₽"
    assert figure(page, "stock", "in_work") == "1"
    assert figure(page, "stock", "potential_amount") == "500 ₽"
    for route in ("/sales/", "/marketing/", "/money/", "/forgotten/", "/leads/"):
        page.goto(address + route)
        settle(page)
        expect(page.get_by_text("лидов нет").first).to_be_visible()


def test_a_portals_first_day(open_page: OpenPage, sites: Sites) -> None:
    """By hand: two leads, one of them quality, and an open deal of 700, all of the last day."""
    page = open_page(sites.address("one_day"), timezone_id="America/New_York")
    assert figure(page, "leads", "received") == "2"
    assert figure(page, "leads", "quality_rate") == "50,0 %"
    assert figure(page, "stock", "potential_amount") == "700 ₽"
    page.get_by_role("button", name="Прошлый месяц", exact=True).click()
    expect(page.locator('[data-figure="received"] .value')).to_have_text("0")
    page.get_by_role("button", name="Всё время", exact=True).click()
    expect(page.locator('[data-figure="received"] .value')).to_have_text("2")


def test_a_part_of_the_history_is_not_called_all(open_page: OpenPage, sites: Sites) -> None:
    """By hand: the portal has three leads, one of them is of 2020 and not loaded."""
    page = open_page(sites.address("one_day"), "/quality/")
    verdict = page.locator("[data-verdict]")
    expect(verdict).to_contain_text("Загружена часть истории: более ранних записей ещё 1;")
    assert figure(page, "verdict", "rows_not_loaded") == "1"
    leads = page.locator('[data-table="completeness"] tbody tr').filter(has_text="Лиды")
    expect(leads.locator("td")).to_have_text(["Лиды", "3", "2", "0", "0", "1"])


@pytest.mark.parametrize("route", ["/sales/", "/marketing/", "/money/", "/forgotten/"])
def test_300_sources_and_200_managers(open_page: OpenPage, sites: Sites, route: str) -> None:
    page = open_page(sites.address("wide"), f"{route}?period=allTime")
    every_state(page)
    for table in page.locator("[data-table]").all():
        assert table.locator("tbody tr").count() <= 50
    for matrix in page.locator("[data-matrix]").all():
        assert matrix.locator("tbody tr").count() <= 50
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height < 12_000


def test_all_of_300_sources_are_shown_and_found(open_page: OpenPage, sites: Sites) -> None:
    page = open_page(sites.address("wide"), "/marketing/?period=allTime")
    table = page.locator('[data-table="sources"]')
    expect(table.locator("tbody tr")).to_have_count(15)
    table.get_by_role("button", name=f"Показать все ({SOURCES})").click()
    expect(table.locator("tbody tr")).to_have_count(SOURCES)
    for key, count, name in (
        ("source", SOURCES, "Источник 299"),
        ("manager", MANAGERS, "Имя199 Фамилия199"),
    ):
        select = page.locator(f'[data-filter="{key}"]')
        select.get_by_role("button").first.click()
        expect(select.locator("label")).to_have_count(min(count, 200))
        select.get_by_placeholder("Найти").fill(name)
        expect(select.locator("label")).to_have_count(1)
        select.locator("label").click()
        page.keyboard.press("Escape")
        expect(page.locator(f'[data-chip="{key}"]')).to_contain_text(name)

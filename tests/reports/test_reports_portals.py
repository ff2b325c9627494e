"""Portals with nothing, little or too much in them: every page says so or stays readable."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.report_portals import MANAGERS, SOURCES
from tests.support.reports_fixtures import PAGES, Sites, settle, visit

OpenPage = Callable[..., Page]

# Texts of a failed query, and of values that JavaScript has not.
BROKEN = (
    *("Ошибка запроса", "На этой странице ошибка", "нет столбца", "нет этого блока"),
    *("NaN", "undefined", "null", "[object Object]", "Infinity"),
)


def check(page: Page) -> None:
    """Nothing failed, every chart without data says so, nothing sticks out."""
    settle(page)
    # What is far below is computed when it comes near.
    while (far := page.locator('[data-state="computing"]')).count():
        far.first.scroll_into_view_if_needed()
        settle(page)
    text = page.locator("body").inner_text()
    # Formulas of definitions are SQL.
    broken = [word for word in BROKEN if word != "null" or "/definitions/" not in page.url]
    assert [word for word in broken if word in text] == []
    assert page.locator('[data-state="failed"]').count() == 0
    for chart in page.locator(".metric-chart").all():
        expect(chart.locator(".plot svg, [data-empty]").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400


def every_state(page: Page) -> None:
    """Checks the page as it opens, with all that is folded, and with each switch turned."""
    check(page)
    page.locator("main details.details:not([open]) > summary").evaluate_all(
        "all => all.forEach((one) => one.click())"
    )
    check(page)
    switches = page.locator(".switch button[aria-pressed=false], [role=tab][aria-selected=false]")
    for button in switches.all():
        if button.is_visible():
            button.click()
            check(page)


@pytest.mark.parametrize("route", PAGES)
@pytest.mark.parametrize("portal", ["empty", "simple", "one_day"])
def test_a_portal_with_little_in_it(
    open_page: OpenPage, sites: Sites, portal: str, route: str
) -> None:
    address = sites.address(portal)
    page = open_page(address, route)
    expect(page.locator("[data-as-of]")).to_contain_text("31.03.2026 20:00")
    marked = page.locator("[data-partial-history]")
    expect(marked).to_have_count(1 if portal == "one_day" else 0)
    if portal == "one_day":
        expect(marked).to_contain_text("записи, созданные с 31.03.2026")
    every_state(page)
    visit(page, f"{address}{route}?period=allTime")
    check(page)


def figure(page: Page, block: str, metric: str, where: str = ".tile-value") -> str:
    value = page.locator(f'[data-block="{block}"] [data-figure="{metric}"] {where}')
    return value.inner_text().replace("\u202f", " ")


def test_an_empty_portal_has_zeros_and_dashes(open_page: OpenPage, sites: Sites) -> None:
    page = open_page(sites.address("empty"))
    assert figure(page, "tiles", "leads_received") == "0"
    assert figure(page, "tiles", "lead_to_quality_rate_cohort") == "—"
    assert figure(page, "tiles", "sales_amount_period") == "0 ₽"
    visit(page, f"{sites.address('empty')}/sales/")
    assert figure(page, "strip", "sales_period") == "0"
    assert figure(page, "strip", "average_sale_period") == "—"


def test_a_portal_without_leads_says_so(open_page: OpenPage, sites: Sites) -> None:
    """By hand: deal 1 of 1000 was sold on 10 March, deal 2 of 500 is in work, deal 3 failed."""
    address = sites.address("simple")
    page = open_page(address)
    assert figure(page, "tiles", "sales_amount_period") == "1 000 ₽"
    assert figure(page, "tiles", "sales_amount_period", ".tile-below strong") == "1"
    assert figure(page, "tiles", "potential_amount") == "500 ₽"
    assert figure(page, "tiles", "potential_amount", ".tile-below strong") == "1"
    for route in ("/sales/", "/marketing/", "/money/", "/leads/", "/bridge/"):
        visit(page, address + route)
        expect(page.get_by_text("лидов нет").first).to_be_visible()
    for route in ("/", "/sales/", "/marketing/", "/forgotten/"):
        visit(page, address + route)
        expect(page.locator('[data-figure^="lead"]')).to_have_count(0)


def test_a_portals_first_day(open_page: OpenPage, sites: Sites) -> None:
    """By hand: two leads, one of them quality, and an open deal of 700, all of the last day."""
    page = open_page(sites.address("one_day"), timezone_id="America/New_York")
    assert figure(page, "tiles", "leads_received") == "2"
    assert figure(page, "tiles", "lead_to_quality_rate_cohort") == "50,0 %"
    assert figure(page, "tiles", "potential_amount") == "700 ₽"
    received = page.locator('[data-block="tiles"] [data-figure="leads_received"] .tile-value')
    for preset, count in (("previousMonth", "0"), ("allTime", "2"), ("today", "2")):
        page.locator('[data-chip="period"]').click()
        page.locator(f'[data-preset="{preset}"]').click()
        expect(received).to_have_text(count)


def test_a_part_of_the_history_is_not_called_all(open_page: OpenPage, sites: Sites) -> None:
    """By hand: the portal has three leads, one of them is of 2020 and not loaded."""
    page = open_page(sites.address("one_day"), "/quality/")
    verdict = page.locator("[data-verdict]")
    expect(verdict).to_contain_text("Загружена часть истории: более ранних записей ещё 1;")
    assert figure(page, "verdict", "rows_not_loaded") == "1"
    rows = page.locator('[data-block="completeness"] tbody tr')
    leads = rows.filter(has=page.get_by_text("Лиды", exact=True))
    expect(leads.locator("td")).to_have_text(["Лиды", "3", "2", "0", "0", "1"])


@pytest.mark.parametrize("route", ["/", "/sales/", "/marketing/", "/money/", "/forgotten/"])
def test_300_sources_and_200_managers(open_page: OpenPage, sites: Sites, route: str) -> None:
    page = open_page(sites.address("wide"), f"{route}?period=allTime")
    every_state(page)
    for table in page.locator("main table.grid").all():
        assert table.locator("tbody tr").count() <= 50
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height < 12_000


def test_all_of_300_sources_are_shown_and_found(open_page: OpenPage, sites: Sites) -> None:
    page = open_page(sites.address("wide"), "/marketing/?period=allTime")
    block = page.locator('[data-block="sources"].metric-table')
    expect(block.locator("tbody tr")).to_have_count(12)
    block.get_by_role("button", name=f"Показать все ({SOURCES})").click()
    expect(block.locator("tbody tr")).to_have_count(SOURCES)
    page.get_by_role("button", name="Фильтры").click()
    for key, count, name in (
        ("source", SOURCES, "Источник 299"),
        ("manager", MANAGERS, "Имя199 Фамилия199"),
    ):
        select = page.locator(f'[data-filter="{key}"]')
        select.locator("summary").click()
        expect(select.locator(".option")).to_have_count(min(count, 200))
        select.get_by_placeholder("Найти").fill(name)
        expect(select.locator(".option")).to_have_count(1)
        select.locator(".option label").click()
        expect(page.locator(f'[data-chip="{key}"]')).to_contain_text(name)


def test_money_spent_is_shown_where_files_tell_of_it(
    open_page: OpenPage, company: str, sites: Sites
) -> None:
    """What fits nothing has its reason; a filter by which costs are not told apart says so."""
    page = open_page(company, "/marketing/?city=Казань")
    settle(page)
    table = page.locator('#spend [data-block="spend"]')
    expect(table.locator("[data-note]")).to_have_text(
        "расход не показан: его не делят по фильтру «Город»"
    )
    expect(table.locator("tfoot td").nth(1)).to_have_text("—")
    page = open_page(company, "/marketing/")
    settle(page)
    expect(page.locator("#spend")).not_to_contain_text("расход не показан")
    page.locator("#spend summary", has_text="Не сопоставлено:").click()
    unmatched = page.locator('#spend [data-block="unmatched"] tbody tr')
    expect(unmatched).to_have_count(1)
    expect(unmatched).to_contain_text("tg_posevy")
    expect(unmatched).to_contain_text("такой метки нет ни у источников, ни у лидов")
    page = open_page(sites.address("one_day"), "/marketing/")
    settle(page)
    expect(page.locator("#dynamics")).to_have_count(1)
    expect(page.locator("#spend")).to_have_count(0)

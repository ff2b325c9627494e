"""The built site in headless Chromium: figures, filters, charts, languages, banner."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Page, expect

from tests.reports_fixtures import ReportsProject

OpenPage = Callable[..., Page]

expect.set_options(timeout=60_000)  # the engine of the browser starts slowly on a busy machine

SPACES = {0x202F: " ", 0xA0: " "}
FRESH = {
    "status": "published",
    "as_of": "2030-06-15T00:00:00+03:00",
    "as_of_text": "15.06.2030 00:00",
    "finished_at": "2030-06-15T00:10:00+03:00",
    "stale_after_hours": 36,
}


@pytest.fixture(autouse=True)
def status_file(reports_project: ReportsProject, reports_site: str) -> Iterator[Path]:
    """The site's status.json, of a refresh that is fresh by the browser's clock (`open_page`)."""
    file = reports_project.site / "status.json"
    file.write_text(json.dumps(FRESH))
    yield file


def figure(page: Page, block: str, column: str) -> str:
    """Text of a figure, with plain spaces."""
    text = page.locator(f'[data-block="{block}"] [data-figure="{column}"] .text-2xl').inner_text()
    return text.translate(SPACES)


def expect_figure(page: Page, block: str, column: str, text: str) -> None:
    """Waits until the figure shows the text (thin spaces written as plain ones)."""
    value = page.locator(f'[data-block="{block}"] [data-figure="{column}"] .text-2xl')
    pattern = r"\s".join(re.escape(part) for part in text.split(" "))
    expect(value).to_have_text(re.compile(f"^{pattern}$"))


def source_column(page: Page, index: int) -> list[str]:
    """Cells of a column of the table by source, the total row left out."""
    cells = page.locator(f'[data-testid="DataTable-sources"] td:nth-child({index})')
    rows = [text.translate(SPACES) for text in cells.all_inner_texts()]
    return rows[:-1]


def test_figures_of_the_default_period(open_page: OpenPage, reports_site: str) -> None:
    page = open_page(reports_site)
    expect(page.locator("[data-as-of]")).to_contain_text("31.03.2026 20:00")
    expect(page.locator('[data-chip="period"]')).to_have_text("Период: 01.03.2026 – 31.03.2026")
    leads = {
        "received": "8",
        "junk": "2",
        "in_work": "3",
        "new_leads": "1",
        "quality": "3",
        "quality_rate": "37,5 %",
        "processing_days": "4,0 дн.",
        "forgotten": "1",
    }
    assert {column: figure(page, "leads", column) for column in leads} == leads
    deals = {
        "created": "8",
        "in_work": "3",
        "failed": "1",
        "forgotten": "1",
        "sales": "4",
        "sales_amount": "350 000 ₽",
        "average_sale": "87 500 ₽",
        "new_sales": "3",
    }
    assert {column: figure(page, "deals", column) for column in deals} == deals
    sold = {
        "sales": "5",
        "sales_amount": "1,35 млн ₽",
        "average_sale": "270 000 ₽",
        "new_sales": "3",
    }
    assert {column: figure(page, "sold", column) for column in sold} == sold


def test_funnel_and_conversions_show_their_shares(open_page: OpenPage, reports_site: str) -> None:
    page = open_page(reports_site)
    steps = page.locator(".funnel > div").all_inner_texts()
    assert [" ".join(step.translate(SPACES).split()) for step in steps] == [
        "Поступило 8",
        "Качественные 3 37,5 % от поступивших",
        "Со сделкой 2 25,0 % от поступивших · 66,7 % от предыдущего",
        "С продажей 1 12,5 % от поступивших · 50,0 % от предыдущего",
    ]
    rows = page.locator(".conversions tbody tr").all_inner_texts()
    assert [" ".join(row.translate(SPACES).split()) for row in rows] == [
        "В качественные 3 37,5 % 4 50,0 %",
        "В сделку 3 37,5 % 5 62,5 %",
        "В продажу 2 25,0 % 3 37,5 %",
    ]


def test_table_by_source_sorts_by_each_column(open_page: OpenPage, reports_site: str) -> None:
    page = open_page(reports_site)
    expect(page.locator('[data-testid="DataTable-sources"] tr:has(td)')).to_have_count(4)
    assert source_column(page, 1) == ["Сайт", "Реклама", "Кафе д'Арк"]
    assert source_column(page, 9) == ["25,0 %", "0,0 %", "100,0 %"]
    assert source_column(page, 11) == ["25 000", "0", "50 000"]
    total = page.locator('[data-testid="DataTable-sources"] tr:has(td)').last.locator("td")
    assert [text.translate(SPACES) for text in total.all_inner_texts()] == [
        *("Всего", "8", "2", "1", "3", "3", "37,5 %", "37,5 %", "25,0 %", "150 000", "18 750"),
    ]
    ascending = {
        2: ["1", "3", "4"],
        7: ["0,0 %", "33,3 %", "50,0 %"],
        8: ["0,0 %", "50,0 %", "100,0 %"],
        9: ["0,0 %", "25,0 %", "100,0 %"],
        10: ["0", "50 000", "100 000"],
        11: ["0", "25 000", "50 000"],
    }
    headers = page.locator('[data-testid="DataTable-sources"] thead tr').last.locator("th")
    for index, values in ascending.items():
        headers.nth(index - 1).click()
        if source_column(page, index) != values:
            headers.nth(index - 1).click()
        assert source_column(page, index) == values
        headers.nth(index - 1).click()
        assert source_column(page, index) == values[::-1]


@pytest.mark.parametrize("timezone", ["Europe/Moscow", "America/New_York", "Asia/Vladivostok"])
def test_period_changes_the_figures(
    open_page: OpenPage, reports_site: str, reports_project: ReportsProject, timezone: str
) -> None:
    page = open_page(reports_site, timezone_id=timezone)
    page.get_by_role("button", name="Прошлый месяц").click()
    expect(page.locator('[data-chip="period"]')).to_have_text("Период: 01.02.2026 – 28.02.2026")
    expect_figure(page, "leads", "received", "2")
    expect_figure(page, "leads", "processing_days", "12,5 дн.")
    expect_figure(page, "deals", "sales_amount", "1,3 млн ₽")
    expect_figure(page, "sold", "sales_amount", "300 000 ₽")

    page.get_by_label("Период с").fill("10.02.2026")
    page.get_by_label("Период с").press("Tab")
    page.get_by_label("Период по").fill("01.03.2026")
    page.get_by_label("Период по").press("Tab")
    expect(page.locator('[data-chip="period"]')).to_have_text("Период: 10.02.2026 – 01.03.2026")
    query = """
        select count(*)
        from read_parquet(?)
        where is_counted and created_date between '2026-02-10' and '2026-03-01'
    """
    with duckdb.connect() as connection:
        counts = {
            table: connection.execute(
                query, [str(reports_project.published / f"{table}.parquet")]
            ).fetchall()[0][0]
            for table in ("fct_leads", "fct_deals")
        }
    # By hand: leads 1, 10 and 11; deals 5 and 8.
    assert counts == {"fct_leads": 3, "fct_deals": 2}
    expect_figure(page, "leads", "received", str(counts["fct_leads"]))
    expect_figure(page, "deals", "created", str(counts["fct_deals"]))


def test_source_filter_lives_in_the_url(open_page: OpenPage, reports_site: str) -> None:
    page = open_page(reports_site)
    page.get_by_role("button", name="Источник").click()
    page.get_by_label("Кафе д'Арк").check()
    expect_figure(page, "leads", "received", "1")
    expect_figure(page, "deals", "sales_amount", "50 000 ₽")
    expect(page.locator('[data-chip="source"]')).to_contain_text("Кафе д'Арк")
    names = page.locator('[data-testid="DataTable-sources"] td:nth-child(1)')
    expect(names).to_have_text(["Кафе д'Арк", "Всего"])

    page.reload()
    expect_figure(page, "leads", "received", "1")
    expect(page.locator('[data-chip="source"]')).to_contain_text("Кафе д'Арк")

    page.get_by_role("button", name="Сбросить").click()
    expect_figure(page, "leads", "received", "8")
    expect(page.locator('[data-chip="source"]')).to_have_count(0)
    assert page.url == f"{reports_site}/"


def test_filters_add_up(open_page: OpenPage, reports_site: str) -> None:
    page = open_page(reports_site, "/?period=allTime&source=Сайт&source=Реклама&manager=Петров")
    # Leads of Petrov from the two sources: 2, 4, 7, 10, 13; deals: 2, 5, 6.
    expect_figure(page, "leads", "received", "5")
    expect_figure(page, "deals", "created", "3")
    expect(page.locator('[data-chip="period"]')).to_have_text("Период: Всё время")


def test_wrong_days_change_nothing(open_page: OpenPage, reports_site: str) -> None:
    page = open_page(reports_site, "/?from=2026-02-31&to=' or true --")
    expect(page.locator('[data-chip="period"]')).to_have_text("Период: 01.03.2026 – 31.03.2026")
    page.get_by_label("Период с").fill("31.04.2026")
    page.get_by_label("Период с").press("Tab")
    expect(page.get_by_label("Период с")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Период с").fill("01.04.2026")
    page.get_by_label("Период с").press("Tab")
    expect(page.get_by_role("alert")).to_have_text("Начало периода позже конца")
    expect(page.locator('[data-chip="period"]')).to_have_text("Период: 01.03.2026 – 31.03.2026")
    expect_figure(page, "leads", "received", "8")


def test_charts_are_drawn(open_page: OpenPage, reports_site: str) -> None:
    page = open_page(reports_site)
    expect(page.locator("[data-chart] canvas")).to_have_count(3)
    page.wait_for_timeout(1000)  # the bars grow for half a second
    colours = page.locator("[data-chart] canvas").evaluate_all(
        """canvases => canvases.map(canvas => {
            const { width, height } = canvas;
            const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
            const seen = new Set();
            for (let i = 0; i < data.length; i += 4) {
                if (data[i + 3] === 255) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
            }
            return [...seen];
        })"""
    )
    quality, in_progress, new, junk, accent = (
        *("47,158,110", "74,143,214", "169,201,236", "185,190,198", "29,95,168"),
    )
    for drawn, wanted in zip(
        colours, ({quality, in_progress, new, junk}, {accent, new}, {accent}), strict=True
    ):
        assert wanted <= set(drawn)


@pytest.mark.parametrize("width", [1400, 390])
def test_visible_words_are_russian(open_page: OpenPage, reports_site: str, width: int) -> None:
    page = open_page(reports_site, viewport={"width": width, "height": 800})
    page.locator('[data-testid="DataTable-sources"]').hover()
    page.get_by_role("button", name="Менеджер").click()
    text = page.locator("body").inner_text()
    attributes: list[Any] = page.locator("body *").evaluate_all(
        """all => all.flatMap(element =>
            ['title', 'placeholder', 'aria-label'].map(name => element.getAttribute(name)))"""
    )
    words = re.findall(r"[A-Za-z]{2,}", " ".join([text, page.title(), *filter(None, attributes)]))
    assert set(words) <= {"CSV"}
    assert page.locator("html").get_attribute("lang") == "ru"
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_no_banner_over_fresh_data(open_page: OpenPage, reports_site: str) -> None:
    page = open_page(reports_site)
    page.wait_for_load_state("networkidle")
    expect(page.locator("[data-banner]")).to_have_count(0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"as_of": "2030-06-13T23:59:00+00:00"}, "Данные устарели"),
        ({"status": "failed"}, "Последнее обновление не удалось"),
    ],
)
def test_banner_over_stale_data(
    open_page: OpenPage,
    reports_site: str,
    status_file: Path,
    change: dict[str, str],
    text: str,
) -> None:
    status_file.write_text(json.dumps({**FRESH, **change}))
    page = open_page(reports_site)
    expect(page.locator("[data-banner]")).to_have_text(
        f"{text}. Показаны данные на 15.06.2030 00:00."
    )


def test_no_banner_without_a_status_file(
    open_page: OpenPage, reports_site: str, status_file: Path
) -> None:
    status_file.unlink()
    page = open_page(reports_site, expected_error="404")
    page.wait_for_load_state("networkidle")
    expect(page.locator("[data-banner]")).to_have_count(0)

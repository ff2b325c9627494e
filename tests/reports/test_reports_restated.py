"""The page that names what changed in finished months, in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pipelines import report
from pipelines.settings import Settings
from tests.support.reports_fixtures import FRESH, PUBLICATION, built_shell, serve, visit
from tests.support.restated_march import publish_march_twice

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site of a portal whose March was published twice."""
    folder = tmp_path_factory.mktemp("restated")
    published = publish_march_twice(folder).published / "current"
    built, site = built_shell("ru").folder, folder / "site"
    shutil.copytree(built, site)
    blocks = json.loads((built / "blocks.json").read_text(encoding="utf-8"))["blocks"]
    data = site / "data" / PUBLICATION
    assert not report.write_data(published.resolve(), data, blocks, Settings.load(), PUBLICATION)
    (site / "status.json").write_text(json.dumps(FRESH))
    with serve(site) as served:
        yield served


def test_the_page_tells_month_figure_and_records(open_page: OpenPage, address: str) -> None:
    page = open_page(address, "/quality/")
    page.locator("#restated").scroll_into_view_if_needed()
    figures = page.locator('[data-block="restatements"] tbody tr')
    sold = figures.filter(has_text="Сумма продаж за период").filter(has_text="все источники")
    expect(sold).to_contain_text("01.03.2026")
    expect(sold).to_contain_text("3 300")
    expect(sold).to_contain_text("3 900")
    expect(sold).to_contain_text("новый курс: 1")
    visit(page, f"{address}/quality/?restated_record_search=передано")
    page.locator("#restated").scroll_into_view_if_needed()
    records = page.locator('[data-block="restated_records"] tbody tr')
    expect(records).to_have_count(1)
    expect(records).to_contain_text("16")
    link = records.locator('a[href$="/crm/deal/details/16/"]')
    expect(link).to_have_count(1)


def test_the_overview_says_that_its_month_has_changed(open_page: OpenPage, address: str) -> None:
    """On 5 April the period is March by itself; of April nothing was said yet."""
    page = open_page(address)
    told = page.locator("[data-restated] a")
    expect(told).to_have_attribute("href", "/quality/#restated")
    visit(page, f"{address}/?period=thisMonth")
    expect(told).to_have_count(0)

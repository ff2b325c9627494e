"""What every page of the company's site has: its moment, links, clicks, and no foreign code."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlencode, urlsplit

import duckdb
import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect

from pipelines import report as report_module
from pipelines.errors import ReportFailed
from pipelines.report import report, write_data
from pipelines.site.shell import Shell
from pipelines.warehouse import Warehouse
from tests.support.report_portals import HOSTILE_CAMPAIGN, HOSTILE_SOURCE, HOSTILE_TITLES
from tests.support.reports_fixtures import FRESH, PAGES, Sites, built_shell, settle, visit

OpenPage = Callable[..., Page]

IN_ORDER = [
    *("/", "/sales/", "/marketing/", "/money/", "/forgotten/", "/leads/", "/deals/"),
    *("/quality/", "/bridge/", "/definitions/"),
]
OWN = ["/custom/failing/", "/custom/unbuilt/", "/custom/weekdays/"]
# Pages whose tables and charts filter.
CLICKED = ["/", "/sales/", "/marketing/", "/money/", "/forgotten/", "/bridge/", "/quality/"]


@pytest.fixture(scope="module")
def marts(sites: Sites) -> Iterator[duckdb.DuckDBPyConnection]:
    """What the company's site reads."""
    file = sites.data("company") / "site.duckdb"
    with duckdb.connect(str(file), read_only=True) as connection:
        yield connection


def one(marts: duckdb.DuckDBPyConnection, sql: str, *values: Any) -> Any:
    """The value that the SQL comes to."""
    row = marts.execute(sql, list(values)).fetchone()
    assert row
    return row[0]


# Figures about the data, which no metric of ours defines.
NOT_METRICS = {
    "/quality/": {"rows_not_loaded", "checks_passed", "errors", "errors_amount", "warnings"}
}

# Where the definition of each figure leads; '' where it has none. Heads of tables that are metrics
# are figures too.
READ_DEFINITIONS = """async (metrics) => {
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const figures = [
        ...[...document.querySelectorAll('[data-figure]')].map((one) => [one.dataset.figure, one]),
        ...[...document.querySelectorAll('.metric-table th[data-column]')]
            .map((one) => [one.dataset.column, one])
            .filter(([name]) => metrics.includes(name)),
    ];
    const found = [];
    for (const [name, node] of figures) {
        const button = node.querySelector('button.info');
        button?.click();
        await frame();
        await frame();
        const panel = button && document.getElementById(button.getAttribute('popovertarget'));
        const link = panel?.querySelector('a[href*="/definitions/#"]');
        found.push([name, link?.getAttribute('href') ?? '', panel?.innerText ?? '']);
        panel?.hidePopover();
    }
    return found;
}"""


@pytest.mark.parametrize("route", PAGES)
def test_each_page_has_its_moment_the_menu_and_definitions(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection, route: str
) -> None:
    page = open_page(company, route, fresh=True)
    expect(page.locator("[data-as-of]")).to_have_text("Данные на 31.03.2026 20:00, время портала")
    expect(page.locator("[data-banner]")).to_have_count(0)
    links = page.locator("header nav a").evaluate_all(
        "all => all.map(one => one.getAttribute('href'))"
    )
    assert links == [*IN_ORDER, *OWN]
    current = page.locator("header nav [aria-current=page]").evaluate_all(
        "all => all.map(one => one.getAttribute('href'))"
    )
    assert current == ([route] if route in IN_ORDER else [])
    rows = marts.execute(
        "select metric_name, definition_ru from marts.dim_metrics"
        " where not ends_with(metric_name, '_unknown')"
    ).fetchall()
    defined = dict(rows)
    for name, href, text in page.evaluate(READ_DEFINITIONS, [*defined]):
        if name in NOT_METRICS.get(route, set()):
            assert href == ""
        else:
            assert href == f"/definitions/#{name}"
            assert re.sub(r"\s+", "", defined[name]) in re.sub(r"\s+", "", text), name


def test_each_metric_has_its_anchor(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    page = open_page(company, "/definitions/")
    for group in page.locator("[data-group] > summary").all():
        # Each has a name of its own: else its code would stand there.
        assert re.match("[А-Я]", group.inner_text())
        group.click()
    anchors = page.locator("[data-definition]").evaluate_all("all => all.map(one => one.id)")
    defined = marts.execute(
        "select metric_name from marts.dim_metrics where not ends_with(metric_name, '_unknown')"
    ).fetchall()
    assert sorted(anchors) == sorted(name for (name,) in defined)


def test_a_definition_is_shown(open_page: OpenPage, company: str) -> None:
    page = open_page(company)
    page.locator('[data-figure="leads_received"] button.info').click()
    page.locator('a[href="/definitions/#leads_received"]').click()
    section = page.locator("#leads_received")
    expect(section).to_be_in_viewport()
    expect(section).to_contain_text("Поступило лидов")


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
    page = open_page(company, "/definitions/", fresh=True)
    expect(page.locator("[data-banner]")).to_have_text(
        f"{text}. Показаны данные на 15.06.2030 00:00."
    )


def test_no_banner_just_before_data_are_stale(
    open_page: OpenPage, company: str, status_file: Path
) -> None:
    """By hand: 36 hours before noon UTC of 15 June are midnight of 14 June."""
    status_file.write_text(json.dumps({**FRESH, "as_of": "2030-06-14T00:01:00+00:00"}))
    page = open_page(company, "/definitions/", fresh=True)
    expect(page.locator("[data-banner]")).to_have_count(0)


def test_a_site_without_its_status_file_says_so(
    open_page: OpenPage, company: str, status_file: Path
) -> None:
    page = open_page(company, "/definitions/", expected_error="404")
    status_file.unlink()
    page.goto(f"{company}/definitions/")
    expect(page.get_by_role("heading", name="Данных отчёта нет")).to_be_visible()


# Pages of one's own.


def test_a_page_of_ones_own_is_built_and_linked(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    page = open_page(company)
    page.get_by_role("link", name="Лиды по дням недели").click()
    expect(page.locator("[data-weekday]")).to_have_count(7)
    assert page.url == f"{company}/custom/weekdays/"
    expect(page.get_by_role("heading", level=1)).to_have_text("Лиды по дням недели")
    counts = marts.execute(
        "select count(*) from marts.fct_leads where is_counted"
        " group by extract(isodow from created_date) order by extract(isodow from created_date)"
    ).fetchall()
    assert page.locator("[data-weekday]").all_inner_texts() == [str(n) for (n,) in counts]


@pytest.mark.parametrize(
    ("name", "title", "text"),
    [
        ("failing", "Без таблицы", "pages/custom/failing.md:5: nothing: .*fct_nothing"),
        ("unbuilt", "Без компонента", "pages/custom/unbuilt.md:5: <Nothing>: there is no such"),
    ],
)
def test_an_own_page_that_failed_tells_its_error(
    open_page: OpenPage, company: str, name: str, title: str, text: str
) -> None:
    page = open_page(company, f"/custom/{name}/", expected_error="fct_nothing")
    expect(page.locator("[data-page-error]")).to_have_text(
        re.compile(f"^На этой странице ошибка: {text}", re.DOTALL)
    )
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    page.get_by_role("link", name="Обзор", exact=True).click()
    settle(page)
    expect(page.locator("[data-page-error]")).to_have_count(0)
    expect(page.locator('[data-figure="leads_received"]')).to_be_visible()


def test_the_shell_tells_its_pages_and_those_that_failed(sites: Sites) -> None:
    told = json.loads((sites.folder("company") / "blocks.json").read_text(encoding="utf-8"))
    own = {f"pages/custom/{name}.md" for name in ("failing", "unbuilt", "weekdays")}
    ours = {"pages/index.md", *(f"pages/{route.strip('/')}.md" for route in PAGES[1:])}
    assert set(told["pages"]) == own | ours
    (error,) = told["errors"]
    assert error.startswith("pages/custom/unbuilt.md:5: <Nothing>")


def test_a_page_of_the_project_that_failed_stops_the_build() -> None:
    with pytest.raises(ReportFailed, match=r"pages/broken\.md:1: <Nothing>: there is no such"):
        built_shell("ru", {"../broken.md": "<Nothing />\n"})


def sql_block(route: str, sql: str) -> dict[str, Any]:
    name = route.strip("/") or "index"
    return {
        **{"page": f"pages/{name}.md", "route": route, "place": f"pages/{name}.md:3", "id": "q"},
        **{"kind": "sql", "sql": sql, "chain": [], "inputs": [], "defaults": {}},
    }


GOOD = sql_block("/custom/good/", "select 6 * 7 as answer")
BAD = sql_block("/custom/bad/", "select * from marts.fct_nothing")


def test_sql_of_an_own_page_fails_alone(sites: Sites, tmp_path: Path) -> None:
    publication = (sites.published("empty") / "current").resolve()
    settings = sites.settings("empty")
    failed = write_data(publication, tmp_path / "data", [GOOD, BAD], settings, "1")
    (error,) = failed
    assert error.startswith("pages/custom/bad.md:3: q: ")
    pages = {
        path.stem: json.loads(path.read_text()) for path in (tmp_path / "data" / "pages").iterdir()
    }
    assert pages["custom.bad"] == {"blocks": [], "error": error}
    ((part,),) = [block["variants"].values() for block in pages["custom.good"]["blocks"]]
    assert part["rows"] == [[42]]
    assert json.loads((tmp_path / "data" / "meta.json").read_text())["publication"] == "1"
    with pytest.raises(ReportFailed, match=r"pages/index\.md:3: q: "):
        write_data(publication, tmp_path / "ours", [sql_block("/", BAD["sql"])], settings, "1")


def test_a_report_with_a_failed_page_is_in_place_and_names_it(sites: Sites, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "data")
    published = sites.published("empty")
    shutil.copytree(published, warehouse.published, symlinks=True)
    shell = tmp_path / "shell"
    shell.mkdir()
    (shell / "index.html").write_text("<!doctype html>")

    def build(*blocks: dict[str, Any], errors: list[str]) -> Path:
        (shell / "blocks.json").write_text(json.dumps({"blocks": blocks}))
        with mock.patch.object(report_module, "shell", return_value=Shell(shell, [], errors)):
            return report(warehouse, sites.settings("empty"))

    unbuilt = "pages/custom/unbuilt.md:1: <Nothing>: there is no such component"
    with pytest.raises(ReportFailed) as raised:
        build(GOOD, BAD, errors=[unbuilt])
    assert unbuilt in str(raised.value)
    assert "pages/custom/bad.md:3: q: " in str(raised.value)
    site = (warehouse.published / "site").resolve()
    status = json.loads((site / "status.json").read_text())
    assert status["status"] == "published"
    assert (site / "data" / status["publication"] / "pages" / "custom.good.json").exists()
    with pytest.raises(ReportFailed, match=r"pages/index\.md:3"):
        build(sql_block("/", BAD["sql"]), errors=[])
    assert (warehouse.published / "site").resolve() == site
    assert build(GOOD, errors=[]).resolve() != site


# Clicks.


def chips(page: Page) -> Locator:
    return page.locator('[data-chip]:not([data-chip="period"])')


def undo(page: Page) -> None:
    page.locator("[data-reset]").click()
    expect(chips(page)).to_have_count(0)
    settle(page)


def unfold(page: Page) -> None:
    """Opens what is folded: it is computed then."""
    page.locator("main details.details:not([open]) > summary").evaluate_all(
        "all => all.forEach((one) => one.click())"
    )
    settle(page)


def test_a_row_of_figures_stays_as_high_as_it_was(open_page: OpenPage, company: str) -> None:
    """A filter that leaves a tile a line less moves nothing below it; another width does."""
    page = open_page(company, "/", fresh=True)
    row = page.locator(".tile-row").first
    height = row.evaluate("node => node.clientHeight")
    row.evaluate("node => node.querySelectorAll('.tile-change').forEach((one) => one.remove())")
    page.wait_for_timeout(100)
    assert row.evaluate("node => node.clientHeight") == height
    page.set_viewport_size({"width": 1300, "height": 900})
    page.wait_for_function(
        "height => document.querySelector('.tile-row').clientHeight < height", arg=height
    )


# Every SQL that the page sends to its engine.
LISTEN = """() => {
    window.asked = [];
    const { postMessage } = Worker.prototype;
    Worker.prototype.postMessage = function (message, ...rest) {
        window.asked.push(JSON.stringify(message?.data) ?? '');
        return postMessage.call(this, message, ...rest);
    };
}"""


def test_what_is_folded_is_asked_for_when_it_is_opened(open_page: OpenPage, company: str) -> None:
    page = open_page(company, "/marketing/", fresh=True)
    page.evaluate(LISTEN)
    page.locator('[data-block="sources"] tbody tr.pickable').first.click()
    expect(chips(page)).to_have_count(1)
    settle(page)
    asked = page.evaluate("asked.join('\\n')")
    assert "revenue_per_lead_period" in asked
    assert "as lead__state" not in asked
    unfold(page)
    page.locator('[data-block="lead_states"]').scroll_into_view_if_needed()
    settle(page)
    assert "as lead__state" in page.evaluate("asked.join('\\n')")


def named(page: Page, selector: str) -> list[str]:
    """The blocks that have such an element."""
    return page.locator(f"[data-block]:has({selector})").evaluate_all(
        "all => [...new Set(all.map(one => one.dataset.block))]"
    )


ROWS = "tbody tr.pickable"


@pytest.mark.parametrize("route", CLICKED)
def test_a_row_that_is_clicked_becomes_a_filter(
    open_page: OpenPage, company: str, route: str
) -> None:
    """The table keeps its rows and marks the one that was clicked."""
    page = open_page(company, route)
    unfold(page)
    names = named(page, ROWS)
    assert names or route == "/"
    for name in names:
        rows = page.locator(f'[data-block="{name}"] {ROWS}')
        before = rows.count()
        cells = rows.first.locator("td").all_inner_texts()
        rows.first.locator("td").last.click(position={"x": 2, "y": 2})
        expect(chips(page), name).to_have_count(1)
        assert chips(page).locator("bdi").inner_text() == cells[0], name
        settle(page)
        expect(rows, name).to_have_count(before)
        expect(rows.first.locator("button.cell"), name).to_have_attribute("aria-pressed", "true")
        others = rows.filter(has_not=page.locator("button[aria-pressed=true]"))
        for row in others.all()[:3]:
            expect(row, name).to_have_class(re.compile(r"\bfaded\b"))
        undo(page)


def test_ctrl_adds_a_row_and_alt_leaves_it_out(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    page = open_page(company, "/marketing/?period=allTime")
    rows = page.locator(f'[data-block="sources"] {ROWS}')
    first, second, third = (rows.nth(n).locator("td").first.inner_text() for n in range(3))
    rows.nth(0).locator("button.cell").click()
    rows.nth(1).locator("button.cell").click(modifiers=["Control"])
    assert parse_qs(urlsplit(page.url).query)["source"] == [first, second]
    counted = "select count(*) from marts.fct_leads where is_counted and"
    expect_received(page, one(marts, f"{counted} source_name in (?, ?)", first, second))
    rows.nth(1).locator("button.cell").click(modifiers=["Control"])
    expect_received(page, one(marts, f"{counted} source_name = ?", first))
    undo(page)
    visit(page, f"{company}/marketing/?period=allTime")
    rows.nth(2).locator("button.cell").click(modifiers=["Alt"])
    expect(chips(page)).to_contain_text("без")
    expect_received(page, one(marts, f"{counted} source_name is distinct from ?", third))
    expect(rows.nth(2)).to_have_class(re.compile(r"\bexcluded\b"))


def expect_received(page: Page, count: int) -> None:
    """The page's figure of received leads."""
    value = page.locator('[data-block="tiles"] [data-figure="leads_received"] .tile-value')
    expect(value).to_have_text(f"{count:,}".replace(",", "\u202f"))


BARS = ".chart.clickable"


@pytest.mark.parametrize("route", CLICKED)
def test_a_bar_that_is_clicked_becomes_a_filter(
    open_page: OpenPage, company: str, route: str
) -> None:
    page = open_page(company, f"{route}?period=year")
    unfold(page)
    names = named(page, BARS)
    assert names or route == "/quality/"
    for name in names:
        before = page.url
        for plot in page.locator(f'[data-block="{name}"] {BARS} .plot').all():
            for _ in range(3):
                click_an_element(page, plot)
                # A chart that is drawn anew between press and release loses the click, once in some
                # hundreds: one clicks again.
                with suppress(TimeoutError):
                    page.wait_for_url(lambda url, before=before: url != before, timeout=5_000)
                    break
            assert page.url != before, name
            page.go_back()
            page.wait_for_url(before)
            settle(page)


CURSOR = "([x, y]) => getComputedStyle(document.elementFromPoint(x, y)).cursor"


def click_an_element(page: Page, plot: Locator) -> None:
    """Clicks where the pointer shows that something can be clicked."""
    plot.locator("svg").wait_for()
    plot.evaluate("node => node.scrollIntoView({ block: 'center' })")
    settle(page)
    page.wait_for_timeout(200)  # charts are drawn anew where their data changed
    box = plot.bounding_box()
    assert box
    for down in (0.5, 0.3, 0.7, *(step / 40 for step in range(1, 40))):
        for right in (0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95):
            at = [box["x"] + right * box["width"], box["y"] + down * box["height"]]
            page.mouse.move(*at)
            if page.evaluate(CURSOR, at) == "pointer":
                page.mouse.down()
                page.mouse.up()
                return
    raise AssertionError("nothing in the chart can be clicked")


def test_a_page_without_a_period_shows_records_of_all_time(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    """Also where the address has one, which another page has chosen."""
    page = open_page(company, "/forgotten/?period=previousMonth")
    count = one(
        marts,
        "select count(*) from marts.fct_deals where is_counted and is_in_work and is_forgotten"
        " and not is_on_success_like_stage",
    )
    listed = page.locator('[data-block="deal_list"] [data-records-count] strong')
    expect(listed).to_have_text(f"{count:,}".replace(",", "\u202f"))
    expect(page.locator('[data-chip="period"]')).to_have_count(0)


# Texts of strangers.


def test_what_strangers_wrote_does_nothing(open_page: OpenPage, company: str) -> None:
    """A title, a source and a campaign with code in them are texts on every page."""
    page = open_page(company, "/leads/?period=allTime")
    search = page.get_by_label("Найти", exact=True)
    count = page.locator("[data-records-count] strong")
    for title in HOSTILE_TITLES:
        search.fill(title)
        expect(count).to_have_text("1")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody tr")).to_contain_text(title)
    for text in ("%", "_", "' or true --"):
        search.fill(text)
        expect(count).to_have_text("0")
        expect(page.locator('[data-block="leads"] [data-empty]')).to_be_visible()
    for route in ("/", "/sales/", "/marketing/", "/money/", "/forgotten/", "/quality/", "/bridge/"):
        visit(page, f"{company}{route}?period=allTime")
        for chart in page.locator(".plot").all():
            hover_over(page, chart)
        assert page.evaluate("window.planted") is None, route
        assert page.locator("img[src=x]").count() == 0, route


def hover_over(page: Page, plot: Locator) -> None:
    """Brings out the tooltips of a chart."""
    plot.scroll_into_view_if_needed()
    plot.locator("svg").wait_for()
    box = plot.bounding_box()
    assert box
    for down in range(1, 12):
        for right in (0.2, 0.35):
            page.mouse.move(box["x"] + right * box["width"], box["y"] + down / 12 * box["height"])
            page.wait_for_timeout(10)


@pytest.mark.parametrize(
    ("key", "column", "value"),
    [
        ("source", "source_name", HOSTILE_SOURCE),
        ("utm_campaign", "utm_campaign", HOSTILE_CAMPAIGN),
    ],
)
def test_hostile_names_can_be_filtered_by(
    open_page: OpenPage,
    company: str,
    marts: duckdb.DuckDBPyConnection,
    key: str,
    column: str,
    value: str,
) -> None:
    page = open_page(company, "/marketing/?period=allTime")
    tick(page, key, value)
    expect(page.locator(f'[data-chip="{key}"]')).to_contain_text(value)
    assert parse_qs(urlsplit(page.url).query)[key] == [value]
    counted = f"select count(*) from marts.fct_leads where is_counted and {column} = ?"
    count = one(marts, counted, value)
    assert count > 0
    expect_received(page, count)


def tick(page: Page, key: str, text: str) -> None:
    """Chooses a value in the menu of filters."""
    page.get_by_role("button", name=re.compile("^Фильтры")).click()
    select = page.locator(f'[data-filter="{key}"]')
    select.locator("summary").click()
    select.locator(".option label").filter(has=page.get_by_text(text, exact=True)).click()
    page.keyboard.press("Escape")
    settle(page)


# User fields.


@pytest.mark.parametrize(
    ("route", "entity", "key", "label"),
    [
        ("/leads/", "lead", "UF_CRM_LANDING", "Посадочная страница"),
        ("/deals/", "deal", "UF_CRM_DIRECTION", "Направление"),
    ],
)
def test_a_user_field_is_a_filter_and_a_column(
    open_page: OpenPage,
    company: str,
    marts: duckdb.DuckDBPyConnection,
    route: str,
    entity: str,
    key: str,
    label: str,
) -> None:
    value, count = marts.execute(
        "select field_value, count(*) from marts.fct_user_field_values as field"
        f" join marts.fct_{entity}s as item on field.item_id = item.{entity}_id"
        " where entity = ? and field_name = ? and is_counted"
        " group by field_value order by field_value limit 1",
        [entity, key],
    ).fetchone() or ("", 0)
    page = open_page(company, f"{route}?period=allTime")
    page.get_by_role("button", name=re.compile("^Фильтры")).click()
    summary = page.locator(f'[data-filter="{key}"] summary')
    expect(summary).to_contain_text(label)
    summary.click()
    expect(page.locator(f'[data-filter="{key}"] [data-value=""]')).to_contain_text("не указано")
    page.keyboard.press("Escape")
    tick(page, key, value)
    expect(page.locator("[data-records-count] strong")).to_have_text(
        f"{count:,}".replace(",", "\u202f")
    )
    page.get_by_role("button", name=re.compile("^Столбцы")).click()
    page.locator(".column-menu label").filter(has_text=label).locator("input").check()
    page.keyboard.press("Escape")
    settle(page)
    headings = page.locator("thead th").evaluate_all("all => all.map(one => one.dataset.column)")
    cells = page.locator(f"tbody td:nth-child({headings.index(key) + 1})")
    expect(cells.first).to_have_text(value)
    assert set(cells.all_inner_texts()) == {value}


def test_a_user_field_is_a_breakdown(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection
) -> None:
    page = open_page(company, "/marketing/?period=allTime")
    page.locator("summary").filter(has_text="По своему полю").click()
    settle(page)
    block = page.locator('[data-block="user_field"]')
    switch = block.locator('[data-switch="user_field_by"]')
    if switch.count():
        switch.get_by_role("button", name="Посадочная страница").click()
        settle(page)
    count = one(
        marts,
        "select count(distinct lead_id) from marts.fct_leads join marts.fct_user_field_values"
        " on item_id = lead_id and entity = 'lead' and field_name = 'UF_CRM_LANDING'"
        " where is_counted and field_value = '/okna'",
    )
    row = block.locator("tbody tr").filter(has=page.get_by_text("/okna", exact=True))
    expect(row.locator("td").nth(1)).to_have_text(f"{count:,}".replace(",", "\u202f"))


# Keyboard, search, files.


def test_a_page_by_the_keyboard(open_page: OpenPage, company: str) -> None:
    """Skip link, popovers with Esc, rows of a table."""
    page = open_page(company, "/marketing/", fresh=True)
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    info = page.locator('[data-figure="leads_received"] button.info')
    info.focus()
    page.keyboard.press("Enter")
    panel = page.locator(f"#{info.get_attribute('popovertarget')}")
    expect(panel).to_be_visible()
    page.keyboard.press("Tab")
    expect(panel.locator("a").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(info).to_be_focused()
    page.locator('[data-block="sources"] thead button.cell').last.focus()
    row = page.locator('[data-block="sources"] tbody tr').first.locator("button.cell")
    for _ in range(5):
        page.keyboard.press("Tab")
        if row.evaluate("node => node === document.activeElement"):
            break
    expect(row).to_be_focused()
    page.keyboard.press("Enter")
    expect(chips(page)).to_have_count(1)
    settle(page)
    expect(row).to_be_focused()


@pytest.mark.parametrize("kind", ["number", "title", "link"])
def test_search_opens_the_card_of_a_record(
    open_page: OpenPage, company: str, marts: duckdb.DuckDBPyConnection, kind: str
) -> None:
    lead_id, title, url = marts.execute(
        "select lead_id, title, crm_url from marts.fct_leads where title = ?", [HOSTILE_TITLES[0]]
    ).fetchone() or (0, "", "")
    page = open_page(company)
    page.locator("[data-record-search]").fill(
        {"number": f"№{lead_id}", "title": title[:30], "link": url}[kind]
    )
    found = page.get_by_role("option").filter(has_text=f"Лид №{lead_id}")
    expect(found).to_have_count(1)
    # A deal may have the number too: the arrows choose between them.
    for _ in range(page.get_by_role("option").count()):
        if found.get_attribute("aria-selected") == "true":
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/card/?*lead={lead_id}*")
    settle(page)
    expect(page.locator("main")).to_contain_text(title)
    assert page.evaluate("window.planted") is None


def test_a_table_as_csv_has_the_rows_that_are_shown(open_page: OpenPage, company: str) -> None:
    """Semicolons, decimal commas, a byte order mark; in the order of the table."""
    page = open_page(company, f"/marketing/?{urlencode({'period': 'allTime'})}")
    block = page.locator('[data-block="sources"]')
    block.locator('th[data-column="lead_to_quality_rate_cohort"] button.cell').click()
    more = block.get_by_role("button", name=re.compile("^Показать все"))
    if more.count():
        more.click()
    headings = [
        text.replace("\xa0↓", "").replace("\xad", "")
        for text in block.locator("thead button.cell").all_inner_texts()
    ]
    shown = [
        row.locator("td").all_inner_texts()[: len(headings)]
        for row in block.locator("tbody tr").all()
    ]
    with page.expect_download() as download:
        block.locator('[data-export="csv"]').click()
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    lines = list(csv.reader(io.StringIO(content[3:].decode("utf-8")), delimiter=";"))
    head = next(at for at, line in enumerate(lines) if line[:1] == ["Источник"])
    titles = [title.replace("\xad", "") for title in lines[head]]
    # The head of a column of money tells its unit too.
    assert [text.removesuffix(", ₽") for text in headings] == titles
    body, (foot,) = lines[head + 1 : head + 1 + len(shown)], lines[head + 1 + len(shown) :]
    assert [row[0] for row in body] == [row[0] for row in shown]
    assert [number(row[1]) for row in body] == [number(row[1]) for row in shown]
    assert number(foot[1]) == sum(number(row[1]) for row in body)
    for row, seen in zip(body, shown, strict=True):
        assert re.fullmatch(r"\d+,\d\d%", row[2])
        assert abs(number(row[2]) - number(seen[2])) <= 0.051
    assert "." not in "".join(cell for row in body for cell in row[1:])


def number(text: str) -> float:
    return float(re.sub(r"[^0-9,−-]", "", text).replace(",", ".").replace("−", "-"))

"""A portal in which every text is a hostile word: marts, metrics, workbooks and pages show it.

How a page shows its tables and filters is known to `expand`, `tables` and `records` alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import duckdb
import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet
from playwright.sync_api import Page, expect

from pipelines.excel.lists import TEXT_LIMIT
from pipelines.excel.workbooks import excel
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from tests.support.hostile_portal import COMMON, LABELS
from tests.support.hostile_words import BLANKS, LONG, WORDS, names, shown
from tests.support.reports_fixtures import PAGES, Sites, settle, visit

OpenPage = Callable[..., Page]

NUMBERED = dict(enumerate(WORDS, 1))
UTM = [f"utm_{name}" for name in ("source", "medium", "campaign", "content", "term")]
LEADS, DEALS = 2 * len(WORDS) + len(BLANKS) + 1, len(WORDS) + len(BLANKS) + 1


def is_shown(texts: Any, number: int) -> bool:
    """Whether the thing of a number stands among the texts by its name."""
    ids: list[int | str] = [number, f"SOURCE{number}", f"STAGE{number}", f"C{number}:NEW"]
    return any(name in texts for one in ids for name in names(NUMBERED[number], one))


def missing(texts: Any, numbered: dict[int, str] = NUMBERED) -> list[str]:
    return [ascii(word) for number, word in numbered.items() if not is_shown(texts, number)]


@pytest.fixture(scope="module")
def marts(sites: Sites) -> Iterator[duckdb.DuckDBPyConnection]:
    path = sites.published("words") / "crm.duckdb"
    # Attached: the workbooks open the file with settings of their own.
    with duckdb.connect() as connection:
        connection.execute(f"attach '{path}' as crm (read_only)")
        connection.execute("use crm")
        yield connection


OF_ITEMS = ["title", "city", *UTM, "source_name", "manager_name", "department_name"]
OF_DEALS = ["pipeline_name", "lead_source_name", "lead_manager_name", "lead_city"]
TEXTS = {
    **{f"lead {name}": f"select lead_id, {name} from marts.fct_leads" for name in OF_ITEMS},
    **{
        f"deal {name}": f"select deal_id, {name} from marts.fct_deals"
        for name in [*OF_ITEMS, *OF_DEALS, *(f"lead_{name}" for name in UTM)]
    },
    **{
        f"{entity} {field}": "select item_id, field_value from marts.fct_user_field_values"
        f" where entity = '{entity}' and field_name = '{field}' and field_value <> '{COMMON}'"
        for entity in ("lead", "deal")
        for field in ("UF_CRM_TEXT", "UF_CRM_LIST", "UF_CRM_MANY")
    },
    "lead stage": "select cast(substr(stage_id, 6) as int), stage_name from marts.dim_stages"
    " where entity = 'lead' and stage_id like 'STAGE%'",
    "deal stage": "select pipeline_id, stage_name from marts.dim_stages"
    " where entity = 'deal' and stage_id like 'C%:NEW'",
    "position": "select manager_id, work_position from marts.dim_managers",
    "contact": "select item_id, name from marts.dim_contact_details where entity = 'contact'",
}


@pytest.mark.parametrize("text", TEXTS)
def test_the_marts_tell_each_word(marts: duckdb.DuckDBPyConnection, text: str) -> None:
    found = dict(marts.execute(TEXTS[text]).fetchall())
    told = {number: found[number] for number in NUMBERED}
    assert [
        (ascii(word), ascii(told[number]))
        for number, word in NUMBERED.items()
        if not is_shown([told[number]], number)
    ] == []


def test_labels_of_fields_are_words(marts: duckdb.DuckDBPyConnection) -> None:
    rows = marts.execute(
        "select distinct field_name, field_label from marts.fct_user_field_values"
        " where field_name like 'UF_CRM_LABEL%'"
    ).fetchall()
    assert dict(rows) == {name: shown(word) for name, word in LABELS.items()}


def test_blank_texts_are_none(marts: duckdb.DuckDBPyConnection) -> None:
    first = len(WORDS) + 1
    for number in range(first, first + len(BLANKS)):
        row = marts.execute(
            f"select title, city, {', '.join(UTM)} from marts.fct_leads where lead_id = {number}"
        ).fetchone()
        assert row == (f"Лид №{number}", None, *(None for _ in UTM))


def test_no_text_is_lost(marts: duckdb.DuckDBPyConnection) -> None:
    long = marts.execute(f"select title from marts.fct_leads where lead_id = {DEALS}").fetchone()
    assert long == (shown(LONG),)
    counts = [marts.execute(f"select count(*) from marts.fct_{name}s").fetchone()
              for name in ("lead", "deal")]  # fmt: skip
    assert counts == [(LEADS,), (DEALS,)]


METRICS = {
    ("marketing", "lead__source_name"): ("leads_received", LEADS),
    ("sales_dynamics_leads", "lead__source_name"): ("leads_received", LEADS),
    ("sales_dynamics_leads", "lead__manager_name"): ("leads_received", LEADS),
    ("sales_dynamics_leads", "lead__department_name"): ("leads_received", LEADS),
    ("sales_dynamics_leads", "lead__city"): ("leads_received", LEADS),
    **{("marketing_campaigns", f"lead__{name}"): ("leads_received", LEADS) for name in UTM},
    **{
        ("sales_dynamics_deals", f"deal__{name}"): ("deals_created", DEALS)
        for name in ("pipeline_name", "source_name", "manager_name", "department_name", "city")
    },
}


@pytest.mark.parametrize(("view", "dimension"), METRICS)
def test_metrics_by_words_add_up(
    marts: duckdb.DuckDBPyConnection, view: str, dimension: str
) -> None:
    """One of each word; together all that there are."""
    metric, total = METRICS[view, dimension]
    rows = marts.execute(
        f"select {dimension}, sum({metric}) from metrics.{view}"
        f" group by {dimension} having sum({metric}) > 0"
    ).fetchall()
    ones = [name for name, count in rows if count == 1]
    assert missing(ones) == []
    assert sum(count for _, count in rows) == total


def test_files_have_names_of_ours(sites: Sites, marts: duckdb.DuckDBPyConnection) -> None:
    published = sites.published("words")
    parquet = {path.stem for path in (published / "parquet").iterdir()}
    tables = marts.execute("select table_name from duckdb_tables()").fetchall()
    assert parquet == {name for (name,) in tables}
    for table in parquet:
        of_file = f"(from '{published / 'parquet' / table}.parquet')"
        (schema,) = marts.execute(
            "select schema_name from duckdb_tables() where table_name = ?", [table]
        ).fetchone() or ("",)
        rows = marts.execute(f"from {schema}.{table} except all {of_file}").fetchall()
        assert rows == [], table


# Workbooks.

ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")


def written(value: Any) -> Any:
    """A cell as Excel shows it: `_x0041_` in a file is an A."""
    return ESCAPED.sub(lambda m: chr(int(m[1], 16)), value) if isinstance(value, str) else value


def column(sheet: Worksheet, heading: str) -> list[Any]:
    """The cells below the first heading of this text, to the end of the sheet."""
    rows = [[written(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    top = next(number for number, row in enumerate(rows) if heading in row)
    at = rows[top].index(heading)
    return [row[at] for row in rows[top + 1 :]]


@pytest.fixture(scope="module")
def workbooks(sites: Sites) -> dict[str, openpyxl.Workbook]:
    sites.published("words")
    folder = sites.root / "words"
    written = excel(Warehouse(folder), Settings.load(folder / "settings.yml"))
    return {path.stem: openpyxl.load_workbook(path) for path in written.iterdir()}


SHEETS = {
    ("sales_dynamics", "Показатели"): ["Воронка"],
    ("sales_dynamics", "Этапы"): ["Воронка", "Этап"],
    ("sales_dynamics", "Сделки"): ["Название", "Менеджер", "Воронка", "Источник", "Источник лида"],
    ("marketing", "Источники"): ["Источник"],
    ("marketing", "Этапы по источникам"): ["Источник"],
    ("marketing", "UTM"): ["Значение"],
    ("marketing", "Деньги по источнику"): ["Источник лида"],
    ("marketing", "Лиды"): ["Название", "Менеджер", "Источник", "Кампания", "Город"],
}


@pytest.mark.parametrize(("name", "sheet"), SHEETS)
def test_sheets_show_each_word(
    workbooks: dict[str, openpyxl.Workbook], name: str, sheet: str
) -> None:
    for heading in SHEETS[name, sheet]:
        texts = Counter(column(workbooks[name][sheet], heading))
        assert missing(texts) == [], heading


@pytest.mark.parametrize(("name", "listed"), [("sales_dynamics", "Сделки"), ("marketing", "Лиды")])
def test_words_are_headings_of_a_workbook(
    workbooks: dict[str, openpyxl.Workbook], name: str, listed: str
) -> None:
    rows = [
        [written(value) for value in row]
        for row in workbooks[name]["Менеджеры"].iter_rows(values_only=True)
    ]
    assert any(missing(row) == [] for row in rows)
    top = next(
        row for row in workbooks[name][listed].iter_rows(values_only=True) if row[1] == "Название"
    )
    assert {shown(word) for word in LABELS.values()} <= {written(value) for value in top}


TO_THE_PORTAL = re.compile(r'=HYPERLINK\("http://127[^"]+/crm/\w+/details/\d+/",\d+\)$')


@pytest.mark.parametrize("name", ["sales_dynamics", "marketing"])
def test_cells_hold_texts_and_nothing_that_runs(
    workbooks: dict[str, openpyxl.Workbook], name: str
) -> None:
    """Formulas lead to the portal, links to sheets; no word became a number, a day or an error."""
    found: Counter[str] = Counter()
    for sheet in workbooks[name].worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                found[cell.data_type] += 1
                if cell.data_type == "f":
                    assert re.match(
                        r'=HYPERLINK\("http://127[^"]+/crm/\w+/details/\d+/"', cell.value
                    )
                if cell.hyperlink:
                    assert sheet.title == "Описание"
                    assert cell.hyperlink.location.startswith("'")
                assert len(str(cell.value).encode("utf-16-le")) // 2 <= TEXT_LIMIT
    assert found.keys() <= {"s", "n", "d", "f"}


def test_a_text_that_is_cut_says_so(workbooks: dict[str, openpyxl.Workbook]) -> None:
    (cut,) = {
        text for text in column(workbooks["marketing"]["Лиды"], "Название")
        if isinstance(text, str) and len(text) > 1000
    }  # fmt: skip
    assert cut == shown(LONG)[: TEXT_LIMIT - 1] + "…"


def test_rows_of_a_sheet_add_up(workbooks: dict[str, openpyxl.Workbook]) -> None:
    received = column(workbooks["marketing"]["Источники"], "Поступило лидов")
    counts = [count for count in received if isinstance(count, int)]
    assert counts[-1] == LEADS == sum(counts[:-1])
    assert counts.count(1) >= 2 * len(WORDS) - 1


# Pages.


def expand(page: Page) -> None:
    """Shows all rows and columns of all tables."""
    settle(page)
    for _ in range(100):
        buttons = page.get_by_role("button", name=re.compile("^Показать (ещё|все)"))
        if not buttons.count():
            return
        buttons.first.click()
        settle(page)
    raise AssertionError("there is always more")


READ_TABLES = r"""() => [...document.querySelectorAll('main [data-block] table')].map((table) => {
    const rows = [...table.querySelectorAll('thead tr')];
    const headings = [...(rows.at(-1)?.cells ?? [])].map((cell) =>
        (cell.querySelector('button') ?? cell).textContent.replace(/[\s↑↓]+$/, '').trim());
    const rowsBelow = [...table.querySelectorAll('tbody tr')];
    return headings.map((heading, at) =>
        [heading, rowsBelow.map((row) => row.cells[at]?.textContent.trim() ?? '')]);
})"""


PATIENCE_SECONDS = 30


def tables(page: Page) -> list[dict[str, list[str]]]:
    """The tables of a page by their headings, as they stand in the document."""
    expand(page)
    return [dict(table) for table in page.evaluate(READ_TABLES)]


def counts(page: Page, records: int, **chosen: list[str]) -> None:
    """The list of leads comes to this number of records under filters that the address names."""
    address = page.url.split("?")[0]
    visit(page, f"{address}?{urlencode({'period': 'allTime', **chosen}, doseq=True)}")
    count = page.locator("[data-records-count] strong")
    expect(count, str(chosen)).to_have_text(str(records), timeout=PATIENCE_SECONDS * 1000)


def nothing_ran(page: Page) -> None:
    assert page.evaluate("window.planted") is None
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("a[href^='javascript:']").count() == 0


@pytest.mark.parametrize("route", PAGES)
def test_no_word_stops_a_page(open_page: OpenPage, sites: Sites, route: str) -> None:
    """As it opens and for all time; the fixture fails on any error, dialog or foreign request."""
    page = open_page(sites.address("words"), route)
    nothing_ran(page)
    visit(page, f"{sites.address('words')}{route}?period=allTime")
    expand(page)
    nothing_ran(page)
    assert page.get_by_text("Ошибка запроса").count() == 0


SHOWN = {
    "leads": {
        "title": "Название",
        "manager_name": "Менеджер",
        "source_name": "Источник",
        "utm_campaign": "UTM: кампания",
        "city": "Город",
        "UF_CRM_TEXT": "Поле TEXT",
        "UF_CRM_LIST": "Поле LIST",
    },
    "deals": {
        "title": "Название",
        "manager_name": "Менеджер",
        "pipeline_name": "Воронка",
        "source_name": "Источник",
        "UF_CRM_TEXT": "Поле TEXT",
        "UF_CRM_LIST": "Поле LIST",
    },
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_list_shows_each_word(open_page: OpenPage, sites: Sites, name: str) -> None:
    columns = ",".join([*SHOWN[name], *LABELS])
    address = f"/{name}/?{urlencode({f'{name}_columns': columns})}"
    page = open_page(sites.address("words"), address)  # all was created in the month of the data
    found = tables(page)
    lacking = {
        heading: missing(Counter(text for table in found for text in table.get(heading, [])))
        for heading in SHOWN[name].values()
    }
    assert not any(lacking.values()), lacking
    headings = {heading for table in found for heading in table}
    assert {shown(word) for word in LABELS.values()} <= headings
    nothing_ran(page)


def test_words_are_filters(open_page: OpenPage, sites: Sites) -> None:
    """All together, and those that a program could read as something else one by one."""
    page = open_page(sites.address("words"), "/leads/")
    counts(page, len(WORDS), city=[shown(word) for word in WORDS])
    for word in ("__proto__", "null", "\\", "' or true --", "${inputs.period.start}", "100%"):
        counts(page, 1, city=[word])
        nothing_ran(page)


@pytest.mark.parametrize("word", ["__proto__", "\\", "' or true --", "{#if planted}"])
def test_a_word_is_found_and_chosen_in_the_menu(
    open_page: OpenPage, sites: Sites, word: str
) -> None:
    page = open_page(sites.address("words"), "/leads/?period=allTime")
    page.get_by_role("button", name=re.compile("^Фильтры")).click()
    select = page.locator('[data-filter="city"]')
    select.locator("summary").click()
    select.get_by_placeholder("Найти").fill(word)
    select.get_by_text(word, exact=True).click()
    expect(page.locator('[data-chip="city"] bdi')).to_have_text(word)
    expect(page.locator("[data-records-count] strong")).to_have_text("1")

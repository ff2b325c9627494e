"""Every SQL block of every page, on the engine of the browser and on that of the analysts.

The browser runs page SQL on DuckDB 0.9.1, published files are opened with the current DuckDB: the
same text must give the same rows on both, and its figures must be those of report_figures.py.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.support.report_figures import (
    AS_OF,
    DAYS,
    FIGURES,
    PRESETS,
    SALES,
    TABLES,
    USER_FIELDS,
    Filters,
    State,
    values,
)
from tests.support.report_portals import HOSTILE_SOURCE
from tests.support.reports_fixtures import REPORTS, Sites

BROWSER_SQL = REPORTS.parent / ".venv-browser-sql"
BLOCK = re.compile(r"^```sql (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PARTIAL = re.compile(r'\{@partial "([^"]+)"\}')
INPUT = re.compile(r"\$\{inputs\.([\w.]+)\}")

# Inputs that the components of a list and the switches of a page set, by what they end in.
LIST_INPUTS = {
    "_records.predicate": "true",
    "_list.search": "true",
    "_list.order": "1",
    "_list.limit": "50",
    "user_columns.lead": "null as no_user_field",
    "user_columns.deal": "null as no_user_field",
}
SWITCHES = {
    "bridge_entity": ("lead", "deal"),
    "deal_view": ("created", "sold"),
    "grain": ("month", "quarter", "year"),
    "step": ("month", "quarter"),
    "user_field": tuple(USER_FIELDS),
    "utm_label": ("utm_campaign", "utm_source", "utm_medium", "utm_content", "utm_term"),
}
# Targets of the conditions: those of the first and of the second table of a page's filters.
FIRST = ("leads", "bridge_leads", "issues", "kinds")
SECOND = ("deals", "bridge_deals", "reversals", "reversal_kinds")
# Query behind the figures that stand in a block of another name.
QUERIES = {
    ("/sales/", "closing"): "closing_figures",
    ("/sales/", "without_activity"): "without_activity_totals",
    ("/sales/", "conversions"): "funnel",
    ("/marketing/", "conversions"): "reached",
    ("/marketing/", "funnel"): "reached",
}

STATES = {
    "month": State(),
    "days": State(DAYS),
    "year": State(PRESETS["year"]),
    "all time": State(PRESETS["allTime"]),
    "hostile source": State(PRESETS["year"], {"source": [HOSTILE_SOURCE, "Сайт"]}),
    "no city, a manager": State(
        PRESETS["allTime"], {"city": ["", "Москва"], "manager": ["Анна Лебедева", "Денис Орлов"]}
    ),
    "no campaign": State(PRESETS["quarter"], {"utm_campaign": [""]}),
    "a landing page": State(PRESETS["year"], {"UF_CRM_LANDING": ["/okna", "/"]}),
    "a pipeline": State(PRESETS["year"], {"pipeline": ["Продажи"], "city": ["Москва"]}),
    "nothing": State(("2027-01-01", "2027-01-31", "2026-12-01", "2026-12-31")),
}

# Runs in the environment of the browser's engine: files and queries in, rows out, as JSON.
RUNNER = """
import json, sys, duckdb
task = json.load(sys.stdin)
assert duckdb.__version__ == "0.9.1", duckdb.__version__
connection = duckdb.connect()
for schema, table, file in task["tables"]:
    connection.execute(f"create schema if not exists {schema}")
    connection.execute(f"create view {schema}.{table} as from read_parquet('{file}')")
answers = {}
for key, sql in task["queries"].items():
    try:
        cursor = connection.execute(sql)
        columns = [column[0] for column in cursor.description]
        answers[key] = [dict(zip(columns, row)) for row in cursor.fetchall()]
    except Exception as error:
        answers[key] = f"{type(error).__name__}: {error}"
json.dump(answers, sys.stdout, default=str)
"""


def page_queries() -> dict[str, str]:
    """SQL of each block of each page, those of its partials too, by `page:block`."""
    found = {}
    for page in sorted((REPORTS / "pages").rglob("*.md")):
        text = PARTIAL.sub(
            lambda match: (REPORTS / "partials" / match[1]).read_text(encoding="utf-8"),
            page.read_text(encoding="utf-8"),
        )
        route = "/" if page.stem == "index" else f"/{page.stem}/"
        found |= {f"{route}:{name}": sql for name, sql in BLOCK.findall(text)}
    return found


def filters_of(route: str) -> Filters:
    return FIGURES[route][0] if route in FIGURES else SALES


def knows(filters: Filters, state: State) -> bool:
    """Whether a page with these filters can be in the state."""
    return state.chosen.keys() <= filters.columns.keys() | filters.user_fields


def with_inputs(sql: str, filters: Filters, state: State, switches: dict[str, str]) -> str:
    """The SQL that the browser would send."""
    start, end, previous_start, previous_end = state.days
    last = min(end, AS_OF)
    first = min(f"{int(last[:4]) - 1}-{last[5:7]}-01", max(start, "2025-01-01")[:8] + "01")
    pipeline = {key: names for key, names in state.chosen.items() if key == "pipeline"}
    inputs = {
        "period.start": start,
        "period.end": end,
        "period.previous_start": previous_start,
        "period.previous_end": previous_end,
        "period.chart_start": first,
        "period.chart_end": last,
        **{f"where.{name}": filters.condition(state.chosen, 0) for name in FIRST},
        **{f"where.{name}": filters.condition(state.chosen, 1) for name in SECOND},
        **{f"where.{name}": "true" for name in ("lines", "success_lines")},
        "where.pipeline": SALES.condition(pipeline, 1),
        **{f"{name}.value": value for name, value in switches.items()},
    }

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in inputs:
            return inputs[name]
        return next(text for end, text in LIST_INPUTS.items() if name.endswith(end))

    text = INPUT.sub(value, sql)
    assert "${" not in text, f"the test knows inputs only: {text}"
    return text


def sent(sql: str, route: str, state: State) -> Iterator[str]:
    """The SQL for every combination of the switches that it reads."""
    used = {name for name in SWITCHES if f"inputs.{name}.value" in sql}
    for choice in itertools.product(*(SWITCHES[name] for name in sorted(used))):
        switches = dict(zip(sorted(used), choice, strict=True))
        yield with_inputs(sql, filters_of(route), state, switches)


def all_queries(states: dict[str, State]) -> dict[str, str]:
    """Every block in every state, by `state|route:block|number of the switches' combination`."""
    return {
        f"{name}|{key}|{number}": text
        for name, state in states.items()
        for key, sql in page_queries().items()
        if knows(filters_of(key.split(":")[0]), state)
        for number, text in enumerate(sent(sql, key.split(":")[0], state))
    }


def tables_of(folder: Path) -> list[tuple[str, str, str]]:
    """Schema, name and file of every table that the site ships."""
    return [(file.parts[-3], file.stem, str(file)) for file in sorted(folder.glob("*/*/*.parquet"))]


@pytest.fixture(scope="session")
def browser_python() -> Path:
    """The Python with DuckDB 0.9.1, made on first use."""
    python = BROWSER_SQL / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    if not python.exists():
        commands = [
            [uv, "venv", BROWSER_SQL],
            [uv, "pip", "install", "--python", python, "duckdb==0.9.1", "pytz"],
        ]
        for command in commands:
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                reason = getattr(error, "stderr", None) or error
                pytest.skip(f"the environment with duckdb 0.9.1 cannot be made: {reason}")
    return python


def run_in_browser_engine(python: Path, data: Path, queries: dict[str, str]) -> dict[str, Any]:
    """Rows of each query (or its error text) on DuckDB 0.9.1."""
    task = json.dumps({"tables": tables_of(data), "queries": queries})
    process = subprocess.run(
        [python, "-c", RUNNER], input=task, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    answers: dict[str, Any] = json.loads(process.stdout)
    return answers


def run_in_analysts_engine(data: Path, queries: dict[str, str]) -> dict[str, Any]:
    """Rows of each query on the current DuckDB."""
    with duckdb.connect() as connection:
        for schema, table, file in tables_of(data):
            connection.execute(f"create schema if not exists {schema}")
            connection.execute(f"create view {schema}.{table} as from read_parquet('{file}')")
        answers = {}
        for key, sql in queries.items():
            cursor = connection.execute(sql)
            columns = [column[0] for column in cursor.description]
            answers[key] = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    rows: dict[str, Any] = json.loads(json.dumps(answers, default=str))
    return rows


def comparable(rows: Any) -> list[str]:
    """Rows in any order, numbers to nine digits: engines add up in orders of their own."""

    def number(value: Any) -> Any:
        try:
            return f"{float(value):.9g}"
        except (TypeError, ValueError):
            return value

    return sorted(
        json.dumps({name: number(value) for name, value in row.items()}, ensure_ascii=False)
        for row in rows
    )


@pytest.fixture(scope="session")
def data(sites: Sites) -> Path:
    """The narrow tables of the company."""
    return sites.project("company").data


@pytest.fixture(scope="session")
def browser_rows(browser_python: Path, data: Path) -> dict[str, Any]:
    """Rows of every block in every state of the filters."""
    return run_in_browser_engine(browser_python, data, all_queries(STATES))


@pytest.fixture(scope="session")
def marts(sites: Sites) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published marts of the company."""
    path = sites.published("company") / "crm.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def test_every_block_runs_in_the_browsers_engine(browser_rows: dict[str, Any]) -> None:
    assert {key: rows for key, rows in browser_rows.items() if isinstance(rows, str)} == {}


def test_both_engines_agree(browser_rows: dict[str, Any], data: Path) -> None:
    other = run_in_analysts_engine(data, all_queries(STATES))
    assert {key: comparable(rows) for key, rows in other.items()} == {
        key: comparable(rows) for key, rows in browser_rows.items()
    }


def current(rows: list[dict[str, Any]], period: str = "current") -> dict[str, Any]:
    """The row of the period, or the only one."""
    return next(row for row in rows if row.get("period", "current") == period)


def number(value: Any) -> Any:
    return None if value is None else pytest.approx(float(value))


POSSIBLE = [
    (page, name)
    for page, (filters, _) in FIGURES.items()
    for name, state in STATES.items()
    if knows(filters, state)
]


@pytest.mark.parametrize(("page", "name"), POSSIBLE)
def test_figures_are_those_of_the_marts(
    browser_rows: dict[str, Any], marts: duckdb.DuckDBPyConnection, page: str, name: str
) -> None:
    filters, figures = FIGURES[page]
    for period, compared in (("current", False), ("previous", True)):
        found, expected = {}, {}
        for figure, value in values(marts, filters, figures, STATES[name], compared).items():
            block, column = figure.split("/")
            if column == "records":
                continue  # The set of records is chosen in the browser.
            rows = browser_rows[f"{name}|{page}:{QUERIES.get((page, block), block)}|0"]
            if compared and len(rows) == 1:
                continue
            expected[figure] = number(value)
            shown = current(rows, period)[column]
            found[figure] = None if shown is None else float(shown)
        assert found == expected


@pytest.mark.parametrize(
    ("page", "table", "name"),
    [
        (page, table, name)
        for page, name in POSSIBLE
        for table in TABLES.get(page, {})
        if name in ("days", "all time", "no city, a manager")
    ],
)
def test_rows_of_tables_are_those_of_the_marts(
    browser_rows: dict[str, Any], marts: duckdb.DuckDBPyConnection, page: str, table: str, name: str
) -> None:
    filters, state, kind = FIGURES[page][0], STATES[name], TABLES[page][table]
    rows = browser_rows[f"{name}|{page}:{table}|0"]
    totals = browser_rows[f"{name}|{page}:{kind.totals}|0"]
    assert len({row[kind.key] for row in rows}) == len(rows)
    for row in [*totals, *rows]:
        chosen = dict(state.chosen)
        if kind.key in row:
            value = row[kind.key] or ""
            if value not in chosen.get(kind.filter, [value]):
                raise AssertionError(f"{value} is not among the chosen {kind.filter}")
            chosen[kind.filter] = [value]
        expected = values(marts, filters, kind.columns, State(state.days, chosen))
        found = {column: row[column] and float(row[column]) for column in kind.columns}
        assert found == {column: number(value) for column, value in expected.items()}, row
    whole = {
        column: sum(float(row[column] or 0) for row in rows)
        for column in COUNTS & kind.columns.keys()
    }
    assert whole == {column: number(totals[0][column]) for column in whole}


# Columns that add up over the rows of a table.
COUNTS = {"received", "junk", "quality", "sales", "leads", "deals", "deals_unplanned"}


@pytest.mark.parametrize("portal", ["empty", "simple", "one_day"])
def test_pages_survive_a_portal_with_little_in_it(
    sites: Sites, browser_python: Path, portal: str
) -> None:
    queries = all_queries({"month": State(), "all time": State(PRESETS["allTime"])})
    language = "en" if portal == "empty" else "ru"
    rows = run_in_browser_engine(browser_python, sites.project(portal, language).data, queries)
    assert {key: answer for key, answer in rows.items() if isinstance(answer, str)} == {}

"""Every SQL block of every page, on the engine of the browser and on that of the analysts.

The browser runs page SQL on DuckDB 0.9.1, published files are opened with the current DuckDB: the
same text must give the same rows on both.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.reports_fixtures import (
    DEALS,
    LEADS,
    REFRESHES,
    REPORTS,
    ReportsProject,
    make_project,
    write_published,
)

BROWSER_SQL = REPORTS.parent / ".venv-browser-sql"
BLOCK = re.compile(r"^```sql (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INPUT = re.compile(r"\$\{inputs\.([\w.]+)\}")

Rows = list[dict[str, Any]]

MARCH = {
    "period.start": "2026-03-01",
    "period.end": "2026-03-31",
    "period.chart_start": "2025-04-01",
    "period.chart_end": "2026-03-31",
    "source.predicate": "true",
    "manager.predicate": "true",
}
FEBRUARY = {**MARCH, "period.start": "2026-02-01", "period.end": "2026-02-28"}
ALL_TIME = {**MARCH, "period.start": "1900-01-01", "period.end": "2999-12-31"}
PARTNER = {**MARCH, "source.predicate": "source_name in ('Кафе д''Арк')"}
PETROV = {**MARCH, "manager.predicate": "manager_name in ('Петров')"}
NOTHING = {**MARCH, "period.start": "2027-01-01", "period.end": "2027-01-31"}

STATES = {
    "march": MARCH,
    "february": FEBRUARY,
    "all": ALL_TIME,
    "partner": PARTNER,
    "petrov": PETROV,
    "nothing": NOTHING,
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
    """SQL of each block of each page, by `page:block`."""
    return {
        f"{page.relative_to(REPORTS / 'pages')}:{name}": sql
        for page in sorted((REPORTS / "pages").rglob("*.md"))
        for name, sql in BLOCK.findall(page.read_text(encoding="utf-8"))
    }


def with_inputs(sql: str, inputs: dict[str, str]) -> str:
    """The SQL that the browser would send; a KeyError names an input that this test lacks."""
    text = INPUT.sub(lambda match: inputs[match[1]], sql)
    assert "${" not in text, f"the test knows inputs only: {text}"
    return text


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


def run_in_analysts_engine(published: Path, queries: dict[str, str]) -> dict[str, Any]:
    """Rows of each query on the current DuckDB, over the published tables as they are."""
    with duckdb.connect() as connection:
        connection.execute("create schema marts")
        for file in published.glob("*.parquet"):
            connection.execute(
                f"create view marts.{file.stem} as select * from read_parquet('{file}')"
            )
        answers = {}
        for key, sql in queries.items():
            cursor = connection.execute(sql)
            columns = [column[0] for column in cursor.description]
            answers[key] = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    rows: dict[str, Any] = json.loads(json.dumps(answers, default=str))
    return rows


@pytest.fixture(scope="session")
def browser_rows(browser_python: Path, reports_project: ReportsProject) -> dict[str, Any]:
    """Rows of every block in every state of the filters, by `state/page:block`."""
    queries = {
        f"{state}/{key}": with_inputs(sql, inputs)
        for state, inputs in STATES.items()
        for key, sql in page_queries().items()
    }
    return run_in_browser_engine(browser_python, reports_project.data, queries)


def test_pages_have_queries() -> None:
    assert len(page_queries()) >= 9


def test_every_block_runs_in_the_browsers_engine(browser_rows: dict[str, Any]) -> None:
    assert {key: rows for key, rows in browser_rows.items() if isinstance(rows, str)} == {}


def test_both_engines_agree(browser_rows: dict[str, Any], reports_project: ReportsProject) -> None:
    queries = {
        f"{state}/{key}": with_inputs(sql, inputs)
        for state, inputs in STATES.items()
        for key, sql in page_queries().items()
    }
    assert run_in_analysts_engine(reports_project.published, queries) == browser_rows


def test_pages_survive_a_portal_without_records(browser_python: Path, tmp_path: Path) -> None:
    empty = {
        "fct_leads": f"select * from ({LEADS}) where false",
        "fct_deals": f"select * from ({DEALS}) where false",
        "refreshes": REFRESHES,
    }
    project = make_project(tmp_path / "project", write_published(tmp_path / "parquet", empty))
    queries = {key: with_inputs(sql, MARCH) for key, sql in page_queries().items()}
    rows = run_in_browser_engine(browser_python, project.data, queries)
    assert {key: answer for key, answer in rows.items() if isinstance(answer, str)} == {}
    assert rows["index.md:leads"][0]["received"] == 0
    assert rows["index.md:leads"][0]["quality_rate"] is None
    assert len(rows["index.md:months"]) == 12


def test_leads_of_march(browser_rows: dict[str, Any]) -> None:
    # Leads 1-8; lead 9 is not counted. Processing: (2 + 4 + 1 + 3 + 10) / 5 days.
    assert browser_rows["march/index.md:leads"] == [
        {
            "received": 8,
            "junk": 2,
            "new_leads": 1,
            "in_work": 3,
            "quality": 3,
            "forgotten": 1,
            "junk_rate": 0.25,
            "quality_rate": 0.375,
            "processing_days": 4.0,
            "quality_with_deal": 2,
            "quality_with_sale": 1,
            "sale_without_quality": 1,
        }
    ]


def test_deals_of_march(browser_rows: dict[str, Any]) -> None:
    # Created: 1-6, 10, 11. Sales: 1, 3, 6 and 11, whose amount has no rate.
    (row,) = browser_rows["march/index.md:deals"]
    assert (row["created"], row["in_work"], row["failed"], row["sales"]) == (8, 3, 1, 4)
    assert row["forgotten"] == 1
    assert row["sales_amount"] == "350000.40"
    assert row["average_sale"] == pytest.approx(87500.10)
    assert (row["new_sales"], row["repeat_sales"], row["unknown_sales"]) == (3, 1, 0)
    assert row["sales_without_rate"] == 1
    # Sold in March: 1, 3, 6, 8 (created in February, sold on the last day) and 11.
    (sold,) = browser_rows["march/index.md:sold"]
    assert (sold["sales"], sold["sales_amount"]) == (5, "1350000.40")
    assert sold["average_sale"] == pytest.approx(270000.08)
    assert (sold["new_sales"], sold["repeat_sales"], sold["unknown_sales"]) == (3, 1, 1)


def test_a_period_includes_both_its_ends(browser_rows: dict[str, Any]) -> None:
    # Leads 10 (10 February) and 11 (28 February), not 12 (31 January) nor 1 (1 March).
    (leads,) = browser_rows["february/index.md:leads"]
    assert (leads["received"], leads["quality"], leads["junk"]) == (2, 1, 1)
    assert leads["processing_days"] == 12.5
    (deals,) = browser_rows["february/index.md:deals"]
    assert (deals["created"], deals["sales_amount"]) == (2, "1300000.00")


def test_both_views_of_conversions(browser_rows: dict[str, Any]) -> None:
    (row,) = browser_rows["march/index.md:conversions"]
    assert (row["quality_cohort"], row["deal_cohort"], row["sale_cohort"]) == (3, 3, 2)
    assert row["sale_cohort_rate"] == 0.25
    # In March: quality 1, 2, 7, 10; first deal 1, 2, 8, 10, 11; first sale 1, 8, 10.
    assert (row["quality_period"], row["deal_period"], row["sale_period"]) == (4, 5, 3)
    assert (row["deal_period_rate"], row["sale_period_rate"]) == (0.625, 0.375)


def test_leads_by_source(browser_rows: dict[str, Any]) -> None:
    site, advert, partner = browser_rows["march/index.md:sources"]
    assert (site["source_name"], advert["source_name"]) == ("Сайт", "Реклама")
    assert (site["received"], site["to_quality"], site["to_sale"]) == (4, 0.5, 0.25)
    assert (site["sales_amount"], site["revenue_per_lead"]) == ("100000.40", 25000.1)
    assert (advert["received"], advert["to_deal"], advert["revenue_per_lead"]) == (3, 0.0, 0.0)
    assert (partner["received"], partner["to_quality"], partner["to_sale"]) == (1, 0.0, 1.0)


def test_filters_keep_leads_and_deals_to_their_own(browser_rows: dict[str, Any]) -> None:
    assert browser_rows["partner/index.md:leads"][0]["received"] == 1
    assert browser_rows["partner/index.md:sold"][0]["sales_amount"] == "50000.00"
    # Petrov: leads 2, 4, 7, 8; deals 2, 3, 5, 6.
    assert browser_rows["petrov/index.md:leads"][0]["received"] == 4
    assert browser_rows["petrov/index.md:deals"][0]["created"] == 4


def test_a_period_without_leads_has_no_ratios(browser_rows: dict[str, Any]) -> None:
    (leads,) = browser_rows["nothing/index.md:leads"]
    assert (leads["received"], leads["quality_rate"], leads["processing_days"]) == (0, None, None)
    (conversions,) = browser_rows["nothing/index.md:conversions"]
    assert conversions["sale_period_rate"] is None
    assert browser_rows["nothing/index.md:deals"][0]["average_sale"] is None
    assert browser_rows["nothing/index.md:sources"] == []


def test_months(browser_rows: dict[str, Any]) -> None:
    months = {row["month"]: row for row in browser_rows["march/index.md:months"]}
    first, *_, last = months
    assert (first, last, len(months)) == ("04.2025", "03.2026", 12)
    march = months["03.2026"]
    states = ("quality", "in_progress", "new_leads", "junk")
    assert [march[state] for state in states] == [3, 2, 1, 2]
    assert (march["sale_cohort"], march["sale_period"]) == (2, 3)
    assert float(march["sales_amount"]) == 1350000.40
    # Lead 12 was created in January and sold in February.
    assert (months["01.2026"]["sale_cohort"], months["01.2026"]["sale_period"]) == (1, 0)
    assert (months["02.2026"]["sale_cohort"], months["02.2026"]["sale_period"]) == (1, 1)
    assert months["04.2025"]["junk"] == 1
    assert months["12.2025"]["received"] == 0

"""The ten questions of docs/questions.md: SQL and `mf query` answer alike, and as worked out."""

from __future__ import annotations

import re
import shlex
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt_metricflow.cli.main import cli as mf
from metricflow.engine.metricflow_engine import MetricFlowQueryRequest
from pytest import approx

from pipelines.environment import ROOT
from pipelines.warehouse import Warehouse
from tests.support.metricflow_engine import load_engine
from tests.support.semantic_fixtures import RUB, company, shown

__all__ = ["company"]

PAGE = ROOT / "docs" / "questions.md"
FEBRUARY, MARCH = "02-01", "03-01"

ANSWERS: dict[int, dict[tuple[Any, ...], tuple[Any, ...]]] = {
    1: {(FEBRUARY,): (2, 0, 1, 1), (MARCH,): (3, 1, 1, 1)},
    2: {("Web",): (3, 2 / 3, 1000 / 3), ("Ads",): (2, 1 / 2, 250.25)},
    # The amount of deal 6 is unknown, and left out of the average.
    3: {(): (5, RUB("1911.50"), 1, 477.875)},
    4: {(FEBRUARY,): (2, 2, 1, 0, 0), (MARCH,): (3, 1, 1 / 3, 3, 1)},
    5: {
        ("new",): (3, RUB("1800.50")),
        ("repeat",): (1, None),
        ("unknown",): (1, RUB(111)),
    },
    6: {("Иван Котов",): (1, 0, RUB(2000)), ("Анна Орлова",): (0, 0, RUB(0))},
    7: {
        ("Продажи", "New"): (6, 1, RUB(700), 1 / 6),
        ("Продажи", "Prep"): (3, 0, RUB(0), 0),
        ("Продажи", "Won"): (5, 0, RUB(0), 0),
        ("Продажи", "Lose"): (2, 0, RUB(0), 0),
        ("Продажи", "создан проваленным"): (0, 1, RUB(40), None),
    },
    8: {
        ("Продажи", "New"): (11.5, 6.5, 0, None),
        ("Продажи", "Prep"): (13 / 3, 2, 1, 24 + 10 / 24),
        ("Продажи", "Won"): (None, None, 0, None),
        ("Продажи", "Lose"): (None, None, 0, None),
        ("Продажи", "создан проваленным"): (None, None, 0, None),
    },
    # Leads 1 to 3; the sales of leads 4 and 5, of February, have no labels either.
    9: {("yandex", None): (1, 1, RUB(1000)), (None, None): (2, 2, RUB("500.50"))},
    10: {("Анна Орлова",): (2, 3, 3, 3.8), ("Иван Котов",): (1, 19, 19, 19)},
}


def questions() -> dict[int, tuple[str, str]]:
    """SQL and command of each question of the page."""
    parts = re.split(r"^## (\d+)\. .*$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = {}
    for number, text in zip(parts[::2], parts[1::2], strict=True):
        sql = re.search(r"```sql\n(.*?)```", text, flags=re.DOTALL)
        command = re.search(r"```sh\n(.*?)```", text, flags=re.DOTALL)
        assert sql and command, number
        found[int(number)] = (sql[1], command[1])
    return found


def rows(database: Path, sql: str, metrics: list[str]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Groups and the values of the metrics, in the order of their names."""
    with duckdb.connect(str(database), read_only=True) as connection:
        result = connection.execute(sql)
        columns = [column[0] for column in result.description]
        assert set(metrics) <= set(columns), columns
        fetched = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
    return {
        tuple(shown(value) for name, value in row.items() if name not in metrics): tuple(
            row[name] for name in metrics
        )
        for row in fetched
    }


def asked(command: str) -> dict[str, Any]:
    """Options of an `mf query` command, as its own parser reads them."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["mf", "query"]
    with mf.commands["query"].make_context("query", words[2:]) as context:
        return context.params


def test_a_metric_of_the_page_is_everywhere_without_code(company: Warehouse) -> None:
    """The fixture put its YAML into a separate file; it has no format and no second view."""
    engine = load_engine(company.directory / "dbt" / "semantic_manifest.json")
    request = MetricFlowQueryRequest.create(
        metric_names=["leads_repeat_share"], group_by_names=["lead__source_name"]
    )
    sql = engine.explain(request).sql_statement.without_descriptions.sql
    found = rows(company.published / "crm.duckdb", sql, ["leads_repeat_share"])
    assert found == {("Web",): (0,), ("Ads",): (1 / 2,)}
    with duckdb.connect(str(company.published / "crm.duckdb"), read_only=True) as connection:
        described = connection.execute(
            "select label_ru, label_en, definition_ru, value_format, formula, time_axis"
            " from marts.dim_metrics where metric_name = 'leads_repeat_share'"
        ).fetchall()
    assert described == [
        (
            "Доля повторных лидов",
            "Share of repeat leads",
            "Повторные лиды среди созданных в периоде.",
            "rate",
            "leads_repeat / leads_received",
            "created_date",
        )
    ]


def matching(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(v if v is None or isinstance(v, Decimal) else approx(v) for v in values)


def test_the_page_asks_ten_questions() -> None:
    assert list(questions()) == list(range(1, 11)) == list(ANSWERS)


@pytest.mark.parametrize("number", ANSWERS)
def test_sql_answers(company: Warehouse, number: int) -> None:
    sql, command = questions()[number]
    found = rows(company.published / "crm.duckdb", sql, list(asked(command)["metrics"]))
    assert found == {group: matching(values) for group, values in ANSWERS[number].items()}


@pytest.mark.parametrize("number", ANSWERS)
def test_mf_query_answers(company: Warehouse, number: int) -> None:
    options = asked(questions()[number][1])
    engine = load_engine(company.directory / "dbt" / "semantic_manifest.json")
    request = MetricFlowQueryRequest.create(
        metric_names=options["metrics"],
        group_by_names=options["group_by"],
        where_constraints=options["where"] or None,
        order_by_names=options["order"],
        time_constraint_start=options["start_time"],
        time_constraint_end=options["end_time"],
    )
    sql = engine.explain(request).sql_statement.without_descriptions.sql
    found = rows(company.published / "crm.duckdb", sql, list(options["metrics"]))
    assert found == {group: matching(values) for group, values in ANSWERS[number].items()}

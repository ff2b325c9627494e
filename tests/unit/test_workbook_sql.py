"""No query of the workbooks says again what a metric is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlglot
import yaml
from sqlglot import exp

from pipelines.environment import ROOT
from pipelines.excel import tables
from pipelines.excel.workbooks import QUERIES

SEMANTIC = ROOT / "dbt_project" / "models" / "semantic"
# File → why it counts or adds up a column that a measure also reads.
ALLOWED: dict[str, str] = {
    "issues": "counts what quality.issues found, which no semantic model reads",
}


def columns_of_measures() -> set[str]:
    """Columns of the marts that the measures of the semantic layer read, but for ids."""
    found: set[str] = set()
    for file in SEMANTIC.glob("*.yml"):
        for model in yaml.safe_load(file.read_text(encoding="utf-8")).get("semantic_models", []):
            for measure in model.get("measures", []):
                expression = sqlglot.parse_one(str(measure.get("expr", measure["name"])), "duckdb")
                found |= {column.name for column in expression.find_all(exp.Column)}
    return {name for name in found if not name.endswith("_id")}


def aggregates(sql: str) -> Iterator[exp.AggFunc]:
    for statement in sqlglot.parse(sql, "duckdb"):
        assert statement is not None
        yield from statement.find_all(exp.AggFunc)


def restated(sql: str, measured: set[str]) -> list[str]:
    """Aggregates over columns of measures, and over rows that a condition on them picks."""
    found = []
    for aggregate in aggregates(sql):
        # A pivot stands in the `from` of its select, before the condition.
        scope = None if aggregate.find_ancestor(exp.Pivot) else aggregate.parent_select
        where = scope.args.get("where") if scope else None
        around = [
            aggregate.parent if isinstance(aggregate.parent, exp.Filter) else aggregate,
            where,
        ]
        read = {column.name for one in around if one for column in one.find_all(exp.Column)}
        if read & measured:
            found.append(f"{aggregate.sql('duckdb')}: {sorted(read & measured)}")
    return found


def test_queries_of_workbooks_add_up_nothing_that_a_metric_does() -> None:
    measured = columns_of_measures()
    assert {"base_amount", "is_in_work", "is_sale", "days_to_close", "is_drop"} <= measured
    files = sorted(QUERIES.glob("*.sql"))
    found = {file.stem: restated(file.read_text(encoding="utf-8"), measured) for file in files}
    assert {name for name, wrong in found.items() if wrong} == set(ALLOWED), found


def test_tables_are_ordered_by_their_own_columns() -> None:
    """Order and choice of rows are the only SQL that a table declares."""
    measured = columns_of_measures()
    declared = {name: one for name, one in vars(tables).items() if isinstance(one, tables.Table)}
    assert len(declared) > 15
    for name, table in declared.items():
        order = ", ".join(table.order) or "1"
        sql = f"select * from answer where {table.only} order by {order}"
        assert restated(sql, measured) == [], name


@pytest.mark.parametrize(
    "sql",
    [
        "select sum(base_amount) from marts.fct_deals",
        "select count(*) filter (where is_sale) from marts.fct_deals",
        "select count(*) from marts.fct_deals where is_in_work",
        "select * from (select median(days_to_close) from marts.fct_deals)",
    ],
)
def test_a_metric_said_again_is_found(sql: str) -> None:
    assert restated(sql, columns_of_measures())

"""Mutants of the models by rule, and dbt's unit tests of each model, which are to notice them.

The unit tests run as the SQL that dbt compiled, in one connection: a mutant takes a tenth of a
second. A unit test has its own settings, so a model has the mutants of all of them.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import sqlglot
from sqlglot import exp

from pipelines.settings import DBT_PROJECT
from scripts.mutation.pins import ERROR, GREEN, RED
from scripts.mutation.sql_rules import DIALECT, Node, SqlMutant, broken, folded, mutants, to_sql
from tests.support import compiled_models
from tests.support.raw_portal import lay_out_portal

LAYERS = ("intermediate", "marts")
UNNOTICED = Path(__file__).parent / "unnoticed.txt"
FIXTURE = "__dbt__cte__"
# A query takes milliseconds; one without an end is what a mutant made of a recursive one.
MOST_SECONDS = 20


def models() -> list[str]:
    """Models whose mutants are made by rule: those that hold rules and have unit tests."""
    files = [file for layer in LAYERS for file in (DBT_PROJECT / "models" / layer).glob("*.sql")]
    return sorted(
        file.stem
        for file in files
        if "\nunit_tests:" in file.with_suffix(".yml").read_text("utf-8")
    )


def unnoticed() -> set[str]:
    """Mutants that change no answer, listed under the reasons: not tried again."""
    lines = UNNOTICED.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


@contextlib.contextmanager
def _limited(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    timer = threading.Timer(MOST_SECONDS, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@dataclass(frozen=True)
class UnitTest:
    """A unit test of dbt: the model's query on the rows given, and the columns it looks at."""

    schema: str
    query: Node
    columns: Sequence[str]
    answer: Counter[str]
    mutants: dict[str, SqlMutant]


class UnitTests:
    """dbt's unit tests of models, each passed by dbt before.

    What dbt has accepted as the expected rows, the model as it is gives; a mutant is noticed by a
    test where its rows are other ones, or none.
    """

    def __init__(self, chosen: Iterable[str]) -> None:
        self._connection = duckdb.connect()
        # With a few rows, planning is most of the time.
        self._connection.execute("pragma disable_optimizer")
        self._connection.execute("set threads = 1")
        self.models: dict[str, list[UnitTest]] = {}
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            nodes = _passed_unit_tests(Path(folder), chosen)
        for number, node in enumerate(nodes):
            model = node.tested_node_unique_id.rpartition(".")[2]
            self.models.setdefault(model, []).append(self._prepared(f"test_{number}", model, node))

    def names(self) -> list[tuple[str, str]]:
        """Model and name of each mutant under any settings that the unit tests have."""
        return [
            (model, name)
            for model, tests in sorted(self.models.items())
            for name in sorted({name for test in tests for name in test.mutants})
        ]

    def verdict(self, model: str, name: str) -> str:
        """Red where a unit test of the model fails with the mutant, error where none can run."""
        found = ERROR
        for test in self.models[model]:
            if name in test.mutants:
                one = self._verdict(test, test.mutants[name])
                if one == RED:
                    return RED
                found = GREEN if one == GREEN else found
        return found

    def _verdict(self, test: UnitTest, mutant: SqlMutant) -> str:
        try:
            rows = self._rows(test.schema, broken(test.query, mutant), test.columns)
        except (duckdb.BinderException, duckdb.ParserException):
            return ERROR
        except duckdb.Error:
            # It stops on the rows given, or never ends.
            return RED
        return GREEN if rows == test.answer else RED

    def _prepared(self, schema: str, model: str, node: Any) -> UnitTest:
        """The rows given become tables; the query stays as a tree."""
        tree = sqlglot.parse_one(node.compiled_code, read=DIALECT, into=exp.Select)
        given = [cte for cte in tree.ctes if cte.alias.startswith(FIXTURE)]
        self._connection.execute(f"create schema {schema}")
        for cte in given:
            rows = cte.this.sql(dialect=DIALECT)
            self._connection.execute(f'create table {schema}."{cte.alias}" as {rows}')
            cte.pop()
        query = folded(tree)
        columns = list((node.config.expected_rows or [{}])[0])
        answer = self._rows(schema, to_sql(query), columns)
        return UnitTest(schema, query, columns, answer, mutants(query, model))

    def _rows(self, schema: str, query: str, columns: Sequence[str]) -> Counter[str]:
        """The rows of a query, in no order."""
        self._connection.execute(f"set schema = '{schema}'")
        with _limited(self._connection):
            found = self._connection.execute(query)
            names = [name.lower() for name, *_ in found.description or ()]
            places = [names.index(column.lower()) for column in columns or names]
            return Counter(str([row[place] for place in places]) for row in found.fetchall())


def _passed_unit_tests(folder: Path, chosen: Iterable[str]) -> list[Any]:
    """dbt's nodes of the unit tests, run once on the models as they are."""
    lay_out_portal(folder)
    compiled_models.run_models(folder)
    selected = [f"{model},test_type:unit" for model in chosen]
    project = str(DBT_PROJECT)
    with mock.patch.dict(os.environ, {"WAREHOUSE_DIR": str(folder), "DBT_PROFILES_DIR": project}):
        # Late: it takes two seconds, and most who import this module run no dbt.
        from dbt.cli.main import dbtRunner

        done = dbtRunner().invoke(
            [
                *("--quiet", "--log-level", "none", "--log-level-file", "none"),
                *("test", "--select", *selected, "--project-dir", project),
                *("--target-path", str(folder / "target")),
            ]
        )
    results = [
        result
        for result in getattr(done.result, "results", [])
        if result.node.resource_type == "unit_test"
    ]
    failed = [result.node.name for result in results if str(result.status) != "pass"]
    if done.exception or failed or not results:
        raise RuntimeError(f"unit tests fail before anything is broken: {failed} {done.exception}")
    return [result.node for result in results]

"""Joins in the plans of queries that compare each row of one side with each of the other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from pipelines.site.shell import REPORTS

NESTED_LOOPS = {"NESTED_LOOP_JOIN", "BLOCKWISE_NL_JOIN", "CROSS_PRODUCT"}
# For a few rows the engine prefers a nested loop to the join that it takes for many.
AS_FOR_MANY = "set nested_loop_join_threshold = 0; set merge_join_threshold = 0"
PLANS_IN_THE_BROWSER = """
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
const require = createRequire(`${process.cwd()}/package.json`);
const duckdb = require('@duckdb/duckdb-wasm/dist/duckdb-node-blocking.cjs');
const { database, setup, statements } = JSON.parse(readFileSync(0, 'utf8'));
const dist = 'node_modules/@duckdb/duckdb-wasm/dist/';
const bundle = (kind) => ({ mainModule: `${dist}duckdb-${kind}.wasm`, mainWorker: '' });
const bundles = { mvp: bundle('mvp'), eh: bundle('eh') };
try {
    const db = await duckdb.createDuckDB(bundles, new duckdb.VoidLogger(), duckdb.NODE_RUNTIME);
    await db.instantiate();
    db.registerFileBuffer('site.duckdb', new Uint8Array(readFileSync(database)));
    const connection = db.connect();
    connection.query(`attach 'site.duckdb' as site (read_only); use site; ${setup}`);
    const plans = statements.map((sql) => {
        const [row] = connection.query(`explain (analyze, format json) ${sql}`).toArray();
        return JSON.parse(row.explain_value);
    });
    console.log(JSON.stringify(plans));
} catch (error) {
    // Node shows the line of an error, and the engine's is of 100 kB.
    console.error(String(error.message));
    process.exit(1);
}
"""


def nested_loops(node: dict[str, Any]) -> Iterator[list[int]]:
    """Rows of both sides of each such join in a plan that was run, by either version of DuckDB."""
    children = node.get("children", [])
    if (node.get("type") or node.get("operator_type")) in NESTED_LOOPS:
        yield [
            child["intermediate_rows"] if "type" in child else child["operator_cardinality"]
            for child in children
        ]
    for child in children:
        yield from nested_loops(child)


def joins_of_all(connection: duckdb.DuckDBPyConnection, sql: str) -> list[list[int]]:
    """Such joins in a statement, which is run; what has a row, as the last refresh, may be joined
    to all."""
    connection.execute(AS_FOR_MANY)
    ((_, plan),) = connection.execute(f"explain (analyze, format json) {sql}").fetchall()
    # A count may be known without a plan.
    roots = json.loads(plan).get("operator", [])
    return [rows for root in roots for rows in nested_loops(root) if min(rows) > 1]


def joins_of_all_in_the_browser(
    database: Path, statements: Sequence[str]
) -> dict[str, list[list[int]]]:
    """Statement → such joins of it in the engine of the pages, over the tables of a site."""
    asked = {"database": str(database), "setup": AS_FOR_MANY, "statements": list(statements)}
    done = subprocess.run(
        ["node", "--input-type=module", "-e", PLANS_IN_THE_BROWSER],
        cwd=REPORTS,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = {}
    for sql, plan in zip(statements, json.loads(done.stdout), strict=True):
        root = plan[0] if isinstance(plan, list) else plan
        joins = [rows for rows in nested_loops(root) if min(rows) > 1]
        if joins:
            found[sql] = joins
    return found


class Watched:
    """A connection that notes the statements which it runs, and such joins in them.

    Attributes:
        statements: Those that ask for something.
        found: Statement → joins.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.statements: list[str] = []
        self.found: dict[str, list[list[int]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def cursor(self) -> Watched:
        """Another connection, whose statements are noted with these."""
        found = Watched(self.connection.cursor())
        found.statements, found.found = self.statements, self.found
        return found

    def execute(self, sql: str, *values: Any) -> Any:
        """Runs a statement; one that creates a table once, others twice."""
        kind = sql.lstrip().lower()
        makes = kind.startswith(("create table", "create temp table")) and " as " in kind
        if makes or kind.startswith(("select", "with", "from", "--")):
            joins = joins_of_all(self.connection, sql)
            self.statements.append(sql)
            if joins:
                self.found[sql] = joins
        return None if makes else self.connection.execute(sql, *values)

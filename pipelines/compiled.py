"""Models and data tests as the SQL that dbt compiled, run again without dbt.

dbt takes ten seconds to start and to find that its project is as it was, its SQL one or two on a
small portal. The SQL is the same as long as the project, the settings and the versions are: no
macro asks the warehouse. A model whose SQL and rows read are those of the last build stays as it
is, and a data test passes again; schema `build` of the warehouse holds the hashes that tell. Of a
model of which few leads and deals differ, the rows of these are made (`changed_items`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass, replace
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from pipelines.changed_items import (
    ChangedItems,
    changed_items,
    is_made_whole,
    item_of,
    note_refreshes,
    reads_clock,
)
from pipelines.fingerprint import hash_files
from pipelines.settings import DBT_PROJECT
from pipelines.side_by_side import THREADS, SideBySide

PARTS = ("macros", "models", "tests")
FILES = ("dbt_project.yml", "profiles.yml")
PACKAGES = ("dbt-core", "dbt-duckdb", "duckdb")
GOOD = ("success", "pass")


def digest(variables: Mapping[str, Any], project: Path = DBT_PROJECT) -> str:
    """Of all that the compiled SQL comes from: project, settings, versions of dbt and DuckDB."""
    found = hashlib.sha256(" ".join(map(version, PACKAGES)).encode())
    found.update(json.dumps(variables, sort_keys=True, ensure_ascii=False).encode())
    paths = [path for part in PARTS for path in (project / part).rglob("*") if path.is_file()]
    found.update(hash_files(project, [*(project / name for name in FILES), *paths]).encode())
    return found.hexdigest()[:16]


Node = Mapping[str, Any]


def nodes_in_order(manifest: Path) -> list[Node]:
    """Sources, then models after those that they read, each data test after its models.

    Args:
        manifest: `manifest.json` of a dbt run that compiled them all.
    """
    told = json.loads(manifest.read_text(encoding="utf-8"))
    nodes = told["nodes"]
    models = {key: node for key, node in nodes.items() if node["resource_type"] == "model"}
    waiting = [node for node in nodes.values() if node["resource_type"] == "test"]
    done: dict[str, Node] = {}
    while models:
        ready = [
            key
            for key, node in models.items()
            if not any(parent in models for parent in node["depends_on"]["nodes"])
        ]
        for key in ready:
            done[key] = models.pop(key)
        for test in [one for one in waiting if not models.keys() & one["depends_on"]["nodes"]]:
            done[test["unique_id"]] = test
            waiting.remove(test)
    built = [node for node in done.values() if node["config"]["materialized"] != "ephemeral"]
    read = {parent for node in built for parent in node["depends_on"]["nodes"]}
    return [node for key, node in told["sources"].items() if key in read] + built


def run_nodes(connection: duckdb.DuckDBPyConnection, nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """Runs models and data tests, two at a time; what fails ends what depends on it.

    Returns:
        The nodes in the form of dbt's `run_results.json`: unique_id, status, message, failures; and
        `is_unchanged`.
    """
    return _Build(connection, nodes).run()


def note_built(connection: duckdb.DuckDBPyConnection, nodes: Sequence[Node]) -> None:
    """Notes what dbt has built and tested, all of it good."""
    _Build(connection, nodes).note()


def forget_built(connection: duckdb.DuckDBPyConnection) -> None:
    """Notes that nothing is known of the relations: each is built by the next run."""
    connection.execute("drop schema if exists build cascade")


def built(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Model → hashes of its SQL and rows; none where they are not known.

    Args:
        connection: Has the warehouse attached as `warehouse`.
    """
    known = "select count(*) from duckdb_tables() where database_name = 'warehouse'"
    if connection.execute(f"{known} and schema_name = 'build'").fetchall() == [(0,)]:
        return {}
    noted = _noted(connection, "warehouse.build.nodes")
    return {key: f"{made.sql} {made.rows}" for key, made in noted.items()}


@dataclass(frozen=True)
class Made:
    """A good node: hashes of its SQL, of the rows that it read, and of its own rows."""

    sql: str
    read: str
    rows: str = ""


def _noted(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, Made]:
    told = connection.execute(f"from {table}").fetchall()
    return {key: Made(*made) for (text,) in told for key, made in json.loads(text).items()}


class _Build:
    """One run of nodes on a warehouse."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, nodes: Sequence[Node]) -> None:
        self._connection = connection
        self._nodes = {node["unique_id"]: node for node in nodes}
        self._parents = {
            key: [one for one in node.get("depends_on", {}).get("nodes", ()) if one in self._nodes]
            for key, node in self._nodes.items()
        }
        self._read_by_models = {
            parent
            for node in nodes
            if node["resource_type"] == "model"
            for parent in self._parents[node["unique_id"]]
        }
        self._waits = self._what_ends_before()
        self._last: dict[str, Made] = {}
        self._made: dict[str, Made] = {}
        self._items: ChangedItems | None = None
        self._results: dict[str, dict[str, Any]] = {}

    def run(self) -> list[dict[str, Any]]:
        """Runs what is not as it was.

        Meanwhile the warehouse tells of no node what it is: if this is stopped, all run again.
        """
        self._prepare()
        self._last = _noted(self._connection, "build.nodes")
        self._connection.execute("truncate build.nodes")
        known = changed_items(self._connection, self._nodes, self._parents)
        with known as self._items:
            self._walk()
        results = [
            {"unique_id": key, "failures": None, **self._results[key]}
            for key, node in self._nodes.items()
            if not _is(node, "source")
        ]
        if all(result["status"] in GOOD for result in results):
            self._keep()
        return results

    def note(self) -> None:
        """Notes what the relations are."""
        self._prepare()
        for node in self._nodes.values():
            self._note(self._connection, node)
        self._connection.execute("truncate build.nodes")
        self._keep()

    def _prepare(self) -> None:
        schemas = {node["schema"] for node in self._nodes.values() if not _is(node, "test")}
        for schema in ("build", *sorted(schemas)):
            self._connection.execute(f'create schema if not exists "{schema}"')
        self._connection.execute("create table if not exists build.nodes (told varchar)")
        self._relations = dict(
            self._connection.execute(
                "select schema_name || '.' || table_name, 'table' from duckdb_tables()"
                " union all select schema_name || '.' || view_name, 'view' from duckdb_views()"
            ).fetchall()
        )

    def _keep(self) -> None:
        note_refreshes(self._connection)
        told = json.dumps({key: astuple(made) for key, made in self._made.items()})
        self._connection.execute("insert into build.nodes values (?)", [told])

    def _what_ends_before(self) -> dict[str, set[str]]:
        """Node → what has to end before it.

        As in dbt, a model waits for the data tests of all that it is made of: of a key that is
        there twice it would make rows without number.
        """
        waits = {key: set(parents) for key, parents in self._parents.items()}
        tests = [(key, waits[key]) for key, node in self._nodes.items() if _is(node, "test")]
        made_of: dict[str, set[str]] = {}
        for key, node in self._nodes.items():
            if not _is(node, "test"):
                parents = self._parents[key]
                made_of[key] = set(parents).union(*(made_of[parent] for parent in parents))
        for key, ancestors in made_of.items():
            waits[key] |= {test for test, tested in tests if tested and tested <= ancestors}
        return waits

    def _walk(self) -> None:
        """Runs each node after those that it reads, and after their data tests."""
        ((timezone,),) = self._connection.execute("select current_setting('timezone')").fetchall()
        settings = [f"set timezone = '{timezone}'", "set preserve_insertion_order = false"]
        # First what the longest chain waits for.
        chains: dict[str, int] = {}
        for key in reversed([*TopologicalSorter(self._waits).static_order()]):
            for before in self._waits[key]:
                chains[before] = max(chains.get(before, 0), chains.get(key, 0) + 1)
        order = TopologicalSorter(self._waits)
        order.prepare()
        ready: list[str] = []
        running: dict[Future[None], str] = {}
        with SideBySide(self._connection, settings) as threads:
            while order.is_active():
                ready = sorted([*ready, *order.get_ready()], key=lambda key: -chains.get(key, 0))
                while ready and len(running) < THREADS:
                    key = ready.pop(0)
                    running[threads.submit(self._run, self._nodes[key])] = key
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    order.done(running.pop(future))

    def _run(self, connection: duckdb.DuckDBPyConnection, node: Node) -> None:
        key, failures, is_unchanged = node["unique_id"], 0, False
        if not self._waits[key] <= self._made.keys():
            self._results[key] = {"status": "skipped", "message": None}
            return
        try:
            if _is(node, "source"):
                self._note(connection, node)
            elif self._is_unchanged(node):
                self._keep_as_it_is(connection, node)
                is_unchanged = True
            elif _is(node, "model"):
                self._make(connection, node)
            else:
                failing = f"select count(*) from ({self._test(node)})"
                ((failures,),) = connection.execute(failing).fetchall()
                if not failures:
                    self._note(connection, node)
        except duckdb.Error as error:
            self._results[key] = {"status": "error", "message": str(error)}
            return
        status = ("fail" if failures else "pass") if _is(node, "test") else "success"
        told = f"Got {failures} results, configured to fail if != 0" if failures else None
        self._results[key] = {
            **{"status": status, "message": told, "is_unchanged": is_unchanged},
            **({"failures": failures} if _is(node, "test") else {}),
        }

    def _is_unchanged(self, node: Node) -> bool:
        last, now = self._last.get(node["unique_id"]), self._made_of(node)
        is_there = _is(node, "test") or self._kind(node) is not None
        return last is not None and (last.sql, last.read) == (now.sql, now.read) and is_there

    def _kind(self, model: Node) -> str | None:
        """Whether the relation that has a model's name is a table or a view."""
        return self._relations.get(f"{model['schema']}.{model['alias']}")

    def _keep_as_it_is(self, connection: duckdb.DuckDBPyConnection, node: Node) -> None:
        self._made[node["unique_id"]] = self._last[node["unique_id"]]
        if self._items and item_of(node):
            self._items.tell_none(connection, node)

    def _make(self, connection: duckdb.DuckDBPyConnection, model: Node) -> None:
        """Makes a model, for items that differ alone where it is of items and these are known."""
        items, is_view = self._items, _is_view(model)
        if not (items and item_of(model) and self._is_known_by_items(model, items)):
            compared: AbstractContextManager[None] = nullcontext()
        elif not is_made_whole(model) and self._is_the_rest_as_it_was(model):
            self._made[model["unique_id"]] = self._updated(connection, model, items)
            return
        else:
            compared = nullcontext() if is_view else items.made_whole(connection, model)
        with compared:
            self._create(connection, model)
        self._note(connection, model)

    def _updated(
        self, connection: duckdb.DuckDBPyConnection, model: Node, items: ChangedItems
    ) -> Made:
        """Makes the rows of items that differ."""
        made, last = self._made_of(model), self._last[model["unique_id"]]
        if _is_view(model):
            # Its rows are not asked for: what it reads tells that they may differ.
            is_other = items.tell_read(connection, model)
            return replace(made, rows=made.read if is_other else last.rows)
        count, hashes = items.update(connection, model, self._columns(connection, model))
        return replace(made, rows=_grown(last.rows, count, hashes))

    def _test(self, test: Node) -> str:
        """The SQL of a data test; for items that differ alone where it passed for all others."""
        items, read = self._items, self._parents[test["unique_id"]]
        model = self._nodes[read[0]] if len(read) == 1 else None
        if items and model and items.are_told(read[0]) and self._is_as_at_last_build(test):
            return items.test_of_differing(test, model) or str(test["compiled_code"])
        return str(test["compiled_code"])

    def _is_as_at_last_build(self, node: Node) -> bool:
        """Whether the SQL is that of the last build, which read what the relations had then."""
        key = node["unique_id"]
        if not self._last.keys() >= {key, *self._parents[key]}:
            return False
        read = _hash([self._last[parent].rows for parent in self._parents[key]])
        is_there = _is(node, "test") or self._kind(node) == node["config"]["materialized"]
        last = self._last[key]
        return (last.sql, last.read) == (self._made_of(node).sql, read) and is_there

    def _is_known_by_items(self, model: Node, items: ChangedItems) -> bool:
        """Whether it is as at the last build, and all that it reads of items tells which differ."""
        read = [key for key in self._parents[model["unique_id"]] if item_of(self._nodes[key])]
        return self._is_as_at_last_build(model) and all(items.are_told(key) for key in read)

    def _is_the_rest_as_it_was(self, model: Node) -> bool:
        """Whether what is of no item has the rows that it had, but for a later time."""
        return all(
            self._made[key].rows == self._last[key].rows
            for key in self._parents[model["unique_id"]]
            if not (item_of(self._nodes[key]) or reads_clock(self._nodes[key]))
        )

    def _made_of(self, node: Node) -> Made:
        columns = [(column["name"], column["data_type"]) for column in node["columns"].values()]
        sql = [node.get("compiled_code"), node["config"].get("materialized"), columns]
        read = [self._made[parent].rows for parent in self._parents[node["unique_id"]]]
        return Made(_hash(sql), _hash(read))

    def _note(self, connection: duckdb.DuckDBPyConnection, node: Node) -> None:
        """Notes a node with a hash of its rows, in whatever order they are.

        The rows of a view are asked for only where a model reads them.
        """
        key, made = node["unique_id"], self._made_of(node)
        rows = made.read
        if _is(node, "source") and item_of(node):
            rows = self._note_log(connection, node)
        elif not _is(node, "test") and (not _is_view(node) or key in self._read_by_models):
            ((count, hashes),) = connection.execute(
                f"select count(*), coalesce(sum(hash(one)), 0) from {node['relation_name']} as one"
            ).fetchall()
            rows = f"{count} {hashes}"
        self._made[key] = replace(made, rows=rows)

    def _note_log(self, connection: duckdb.DuckDBPyConnection, log: Node) -> str:
        """Count and hash of the rows of a log up to the last completed refresh."""
        since = self._items.since if self._items else 0
        (found,) = connection.execute(
            """
            select
                count(*) filter (refresh_no <= $since),
                coalesce(sum(hash(one)) filter (refresh_no <= $since), 0),
                count(*),
                coalesce(sum(hash(one)), 0),
            from """
            f"{log['relation_name']} as one"
            " where refresh_no <= (select max(refresh_no) from raw.refreshes where completed)",
            {"since": since},
        ).fetchall()
        last = self._last.get(log["unique_id"])
        if self._items and last is not None and last.rows == f"{found[0]} {found[1]}":
            self._items.tell_appended(connection, log)
        return f"{found[2]} {found[3]}"

    def _columns(self, connection: duckdb.DuckDBPyConnection, model: Node) -> list[str]:
        """Columns of a table in the order of its SQL or, with a contract, of that."""
        if model["contract"]["enforced"]:
            return [column["name"] for column in model["columns"].values()]
        described = connection.execute(f"describe {model['relation_name']}").fetchall()
        return [str(name) for name, *_ in described]

    def _create(self, connection: duckdb.DuckDBPyConnection, model: Node) -> None:
        """Puts a model in the place of the relation of its name."""
        kind, name = model["config"]["materialized"], model["relation_name"]
        there = self._kind(model)
        if there not in (None, kind):
            connection.execute(f"drop {there} {name}")
        if kind == "view" or not model["contract"]["enforced"]:
            connection.execute(f"create or replace {kind} {name} as ({model['compiled_code']}\n)")
            return
        columns = model["columns"].values()
        declared = ", ".join(f"{column['name']} {column['data_type']}" for column in columns)
        names = ", ".join(column["name"] for column in columns)
        connection.execute(f"create or replace table {name} ({declared})")
        connection.execute(
            f"insert into {name} ({names}) select {names} from ({model['compiled_code']}\n)"
        )


def _is(node: Node, kind: str) -> bool:
    return bool(node["resource_type"] == kind)


def _is_view(node: Node) -> bool:
    return bool(node["config"].get("materialized") == "view")


def _grown(rows: str, count: int, hashes: int) -> str:
    """Count and hash of the rows of a table after some came and others went."""
    was_count, was_hashes = rows.split()
    return f"{int(was_count) + count} {int(was_hashes) + hashes}"


def _hash(told: object) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]

"""Models and data tests for the leads and deals alone that differ since the last build.

A model that names `item` in its YAML, the columns that tell whose a row is, has the rows of an item
from rows of the same item in what names it too, and from other relations as a whole. So the rows of
items that differ there are made anew, and only those that differ again take the place of the old
ones. In what reads a `clock`, items with a time that has come may differ too; in what tells ages
(`ages`), all that grow older. Nothing here knows a model but the one that lists these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

Node = Mapping[str, Any]

AGEING = "int_items__ageing"
# Data tests that look at one row at a time, and those that compare the rows of a key.
OF_ROWS = ("not_null", "never_null", "accepted_values")
OF_KEYS = ("unique", "unique_combination")
# Where more of the items differ, it costs less to make them all.
MOST_DIFFERENT = 0.25

# The last refresh of the last build, where later ones only added rows and a later time.
SINCE = """
    with was as (
        select max(refresh_no) as refresh_no
        from build.refreshes
        where completed
    ),

    later as (
        select
            refresh_no,
            as_of >= max(as_of) over (order by refresh_no) as is_later,
            hash(portal_url, base_currency, crm_mode) as portal
        from raw.refreshes
        where completed
    )

    select was.refresh_no
    from was
    inner join later on was.refresh_no <= later.refresh_no
    where not exists (from build.refreshes except all from raw.refreshes)
    group by was.refresh_no
    having bool_and(later.is_later) and count(distinct later.portal) = 1
"""


def item_of(node: Node) -> tuple[str, str] | None:
    """Entity and ID of the item of a row, as SQL; None if its rows are of no item."""
    named = _meta(node, "item", None)
    return (named[0], named[1]) if named else None


def is_made_whole(node: Node) -> bool:
    """Whether the rows of an item come from those of other items, too."""
    return bool(_meta(node, "across_items", False))


def reads_clock(node: Node) -> bool:
    """Whether the relation tells of refreshes and their times."""
    return bool(_meta(node, "clock", False))


def note_refreshes(connection: duckdb.DuckDBPyConnection) -> None:
    """Keeps what this build knows of refreshes."""
    connection.execute("create or replace table build.refreshes as from raw.refreshes")


@contextmanager
def changed_items(
    connection: duckdb.DuckDBPyConnection,
    nodes: Mapping[str, Node],
    parents: Mapping[str, Sequence[str]],
) -> Iterator[ChangedItems | None]:
    """What knows the items that differ since the last build; None where all have to be made.

    Args:
        parents: Node → the nodes that it reads.
    """
    ageing = [node for node in nodes.values() if node["name"] == AGEING]
    items = None
    connection.execute("attach ':memory:' as differing")
    try:
        # Built by another version, a relation was dropped, or the log has other columns since.
        with suppress(duckdb.CatalogException, duckdb.BinderException):
            since = connection.execute(SINCE).fetchall()
            if since and ageing:
                items = ChangedItems(connection, nodes, parents, ageing[0], since[0][0])
        yield items
    finally:
        connection.execute("detach differing")


class ChangedItems:
    """For each relation the items of which it differs from its rows at the last build.

    Attributes:
        since: The last refresh of the last build.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        nodes: Mapping[str, Node],
        parents: Mapping[str, Sequence[str]],
        ageing: Node,
        since: int,
    ) -> None:
        self._parents = {key: [nodes[parent] for parent in read] for key, read in parents.items()}
        self._told: set[str] = set()
        self.since = since
        # Before anything is built: it compares the last build with the time of now.
        connection.execute(
            "create table differing.ageing as"
            " select entity as of_entity, item_id as of_id, is_by_age"
            f" from {ageing['relation_name']}"
        )

    def are_told(self, key: str) -> bool:
        """Whether it is known of which items a relation differs."""
        return key in self._told

    def tell_none(self, connection: duckdb.DuckDBPyConnection, node: Node) -> None:
        """No row of a relation differs."""
        self._tell(connection, node, "select null, null where false")

    def tell_appended(self, connection: duckdb.DuckDBPyConnection, log: Node) -> None:
        """Of a log the versions of later refreshes differ.

        A tombstone has only the ID of the record: versions before it tell whose it was.
        """
        (entity, item_id), rows = _item(log), log["relation_name"]
        later = f"select id from {rows} where refresh_no > {self.since}"
        self._tell(connection, log, f"select {entity}, {item_id} from {rows} where id in ({later})")
        self._forget_if_many(connection, log, f"(select distinct id from {rows})")

    def tell_read(self, connection: duckdb.DuckDBPyConnection, view: Node) -> bool:
        """Of a view those items may differ that do in what it reads; returns whether any does."""
        self._tell(connection, view, self._read_by(view))
        return connection.execute(f"from {_differing(view)} limit 1").fetchall() != []

    def update(
        self, connection: duckdb.DuckDBPyConnection, model: Node, columns: Sequence[str]
    ) -> tuple[int, int]:
        """Makes the rows of a table of items that differ in what it reads; puts in what differs.

        Returns:
            By how much the count of its rows and the sum of their hashes grew.
        """
        table, differing = model["relation_name"], _differing(model)
        read, made = (f'differing."{model["unique_id"]} {kind}"' for kind in ("read", "made"))
        (entity, item_id), names = _item(model), ", ".join(columns)
        connection.execute(f"create table {read} as {self._read_by(model)}")
        connection.execute(f"create table {made} as from {table} limit 0")
        # A record that went to another item: of that one only this record would be there.
        sql = _of(model, f"({self._of_items(model, read)}\n)", read)
        connection.execute(f"insert into {made} ({names}) select {names} from {sql}")
        self._compare(connection, model, _hashes(model, made), _hashes(model, table, read))
        connection.execute(
            f"delete from {table} using {differing}"
            f" where of_entity = {entity} and of_id = {item_id}"
        )
        connection.execute(
            f"insert into {table} ({names}) select {names} from {_of(model, made, differing)}"
        )
        ((count, hashes),) = connection.execute(
            f"select coalesce(sum(n), 0), coalesce(sum(h), 0) from {differing}"
        ).fetchall()
        connection.execute(f"drop table {made}")
        connection.execute(f"drop table {read}")
        return int(count), int(hashes)

    @contextmanager
    def made_whole(self, connection: duckdb.DuckDBPyConnection, model: Node) -> Iterator[None]:
        """The block makes a table as a whole; afterwards it is told of which items it differs."""
        table, before = model["relation_name"], f'differing."{model["unique_id"]} before"'
        connection.execute(f"create table {before} as {_hashes(model, table)}")
        yield
        self._compare(connection, model, _hashes(model, table), f"from {before}")
        self._forget_if_many(connection, model, before)
        connection.execute(f"drop table {before}")

    def test_of_differing(self, test: Node, model: Node) -> str | None:
        """The SQL of a data test for rows of items that differ; None if it has to see all rows."""
        told = test.get("test_metadata") or {"name": None}
        if told["name"] in OF_KEYS:
            arguments = told["kwargs"]
            columns = arguments.get("columns") or [arguments["column_name"]]
            keys = {column for column in _item(model) if not column.startswith("'")}
            is_of_items = keys <= {*columns}
        else:
            is_of_items = told["name"] in OF_ROWS
        return self._with(test, [model], _differing(model)) if is_of_items else None

    def _tell(self, connection: duckdb.DuckDBPyConnection, node: Node, items: str) -> None:
        connection.execute(f"create table {_differing(node)} (of_entity varchar, of_id bigint)")
        connection.execute(f"insert into {_differing(node)} select distinct * from ({items})")
        self._told.add(node["unique_id"])

    def _compare(
        self, connection: duckdb.DuckDBPyConnection, model: Node, now: str, was: str
    ) -> None:
        connection.execute(
            f"create table {_differing(model)} as"
            " select of_entity, of_id, sum(n) as n, sum(h) as h"
            f" from ({now} union all select of_entity, of_id, -n, -h from ({was}))"
            " group by all having sum(n) <> 0 or sum(h) <> 0"
        )
        self._told.add(model["unique_id"])

    def _forget_if_many(
        self, connection: duckdb.DuckDBPyConnection, node: Node, items: str
    ) -> None:
        different, all_items = (
            connection.execute(f"select count(*) from {table}").fetchall()[0][0]
            for table in (_differing(node), items)
        )
        if different > MOST_DIFFERENT * all_items:
            self._told.discard(node["unique_id"])

    def _read_by(self, node: Node) -> str:
        """Items that differ in what a node reads."""
        parents = self._parents[node["unique_id"]]
        tables = [_differing(one) for one in parents if item_of(one)]
        if any(reads_clock(one) for one in parents):
            tables.append(f"differing.ageing where {_meta(node, 'ages', False)} or not is_by_age")
        return " union ".join(f"select of_entity, of_id from {table}" for table in tables)

    def _of_items(self, node: Node, items: str) -> str:
        """The SQL of a node for some items alone."""
        read = [one for one in self._parents[node["unique_id"]] if item_of(one)]
        return self._with(node, read, items)

    def _with(self, node: Node, relations: Sequence[Node], items: str) -> str:
        """The SQL of a node in which these relations have rows of some items alone."""
        sql = str(node["compiled_code"])
        for one in relations:
            is_view = one["config"].get("materialized") == "view"
            rows = f"({self._of_items(one, items)}\n)" if is_view else one["relation_name"]
            sql = sql.replace(one["relation_name"], f"(from {_of(one, rows, items)})")
        return sql


def _meta(node: Node, name: str, otherwise: Any) -> Any:
    return (node["config"].get("meta") or {}).get(name, otherwise)


def _item(node: Node) -> tuple[str, str]:
    found = item_of(node)
    assert found is not None
    return found


def _differing(node: Node) -> str:
    return f'differing."{node["unique_id"]}"'


def _of(node: Node, rows: str, items: str) -> str:
    """Rows that are of some items; of a log, all versions of records that ever were."""
    entity, item_id = _item(node)
    found = f"{rows} as one semi join {items} on of_entity = {entity} and of_id = {item_id}"
    if node["resource_type"] == "source":
        return f"{rows} as log semi join (select id as record_id from {found}) on id = record_id"
    return found


def _hashes(model: Node, table: str, items: str | None = None) -> str:
    """Each item with the count of its rows and the sum of their hashes."""
    entity, item_id = _item(model)
    rows = _of(model, table, items) if items else f"{table} as one"
    return (
        f"select {entity} as of_entity, {item_id} as of_id, count(*) as n, sum(hash(one)) as h"
        f" from {rows} group by 1, 2"
    )

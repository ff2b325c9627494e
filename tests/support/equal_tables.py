"""Relations of two database files, compared row for row and type for type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

# What tells of the rows (`build`), and rows that no model wrote.
NOT_MODELS = {"build", "raw"}
BY_CHECKS = {"quality.check_results"}


def differing_relations(one: Path, other: Path, schemas: Sequence[str] = ()) -> list[str]:
    """Tables and views of the models in which rows or types differ, with the first row that does.

    Args:
        schemas: only these; without, all of the models.
    """
    found = []
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for path, name in ((one, "one"), (other, "other")):
            connection.execute(f"attach '{path}' as {name} (read_only)")
        here, there = (_columns(connection, name, schemas) for name in ("one", "other"))
        assert len(here) > 25, here
        if here.keys() != there.keys():
            found.append(f"only in one of both: {here.keys() ^ there.keys()}")
        for relation in sorted(here.keys() & there.keys()):
            if here[relation] != there[relation]:
                differing = set(here[relation]) ^ set(there[relation])
                found.append(f"{relation} has {differing or 'its columns in another order'}")
                continue
            for with_rows, without in (("one", "other"), ("other", "one")):
                rows = connection.execute(
                    f"from {with_rows}.{relation} except all from {without}.{relation}"
                ).fetchall()
                if rows:
                    found.append(f"{relation}: {len(rows)} rows only in {with_rows}: {rows[0]}")
    return found


def _columns(
    connection: duckdb.DuckDBPyConnection, name: str, schemas: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for schema, relation, column, data_type in connection.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns()"
        " where database_name = ? and not internal order by schema_name, table_name, column_index",
        [name],
    ).fetchall():
        full = f"{schema}.{relation}"
        if full not in BY_CHECKS and (schema in schemas if schemas else schema not in NOT_MODELS):
            found.setdefault(full, []).append((column, data_type))
    return found

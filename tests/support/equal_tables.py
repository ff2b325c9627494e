"""Tables of two database files, compared row for row and type for type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

# What tells of the rows (`build`), and rows that no model wrote.
NOT_MODELS = {"build", "raw"}
BY_CHECKS = {"quality.check_results"}


def differing_tables(one: Path, other: Path, schemas: Sequence[str] = ()) -> list[str]:
    """Tables of the models in which rows or types differ, with the first row that does.

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
        for table in sorted(here.keys() & there.keys()):
            if here[table] != there[table]:
                differing = set(here[table]) ^ set(there[table])
                found.append(f"{table} has {differing or 'its columns in another order'}")
                continue
            for with_rows, without in (("one", "other"), ("other", "one")):
                rows = connection.execute(
                    f"from {with_rows}.{table} except all from {without}.{table}"
                ).fetchall()
                if rows:
                    found.append(f"{table}: {len(rows)} rows only in {with_rows}: {rows[0]}")
    return found


def _columns(
    connection: duckdb.DuckDBPyConnection, name: str, schemas: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for schema, table, column, data_type in connection.execute(
        "select schema_name, table_name, column_name, data_type"
        " from duckdb_columns() semi join duckdb_tables() using (database_name, table_oid)"
        " where database_name = ? order by schema_name, table_name, column_index",
        [name],
    ).fetchall():
        full = f"{schema}.{table}"
        if full not in BY_CHECKS and (schema in schemas if schemas else schema not in NOT_MODELS):
            found.setdefault(full, []).append((column, data_type))
    return found

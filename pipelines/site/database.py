"""The tables of a site: what its pages ask for, in one DuckDB file that the browser attaches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import duckdb

from pipelines.publish import STORAGE_VERSION

MEMORY_LIMIT = "1200MB"
SCHEMAS = ("marts", "quality", "metrics")
TABLE = re.compile(rf"\b({'|'.join(SCHEMAS)})\.(\w+)")
ALL_COLUMNS = re.compile(r"(?:\bselect|,|\.)\s*\*", re.IGNORECASE)
# What the SQL of a metric takes all columns of, to pass its rows on.
PASSED_ON = re.compile(r"select \* from marts\.\w+\s+where\s+\[\[where")
# Rows that a page reads together stand together.
ORDER = ("created_date", "item_created_date", "date_day")


def write_tables(published: Path, database: Path, sqls: Iterable[str], timezone: str) -> None:
    """Writes the tables and columns that occur in the SQL, narrow and in the order of their days.

    A column counts as named where its name stands in SQL that reads its table; `select *` of a page
    names all. Instants become the portal's clock: the browser's engine has no timezones.

    Args:
        published: `crm.duckdb` of the publication.
        database: File to write.
        timezone: Of the portal.
    """
    with duckdb.connect() as connection:
        connection.execute(f"set timezone = '{timezone}'")
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"set temp_directory = '{database.parent}/.sorting'")
        connection.execute(f"attach '{published}' as published (read_only)")
        connection.execute(f"attach '{database}' as site (storage_version '{STORAGE_VERSION}')")
        columns = _columns(connection)
        wanted = _wanted(sqls, columns)
        for schema in SCHEMAS:
            connection.execute(f"create schema site.{schema}")
        for table, names in wanted.items():
            selected = ", ".join(
                f"cast({name} as timestamp) as {name}"
                if kind == "TIMESTAMP WITH TIME ZONE"
                else name
                for name, kind in columns[table].items()
                if name in names
            )
            days = [name for name in ORDER if name in columns[table]]
            by = f" order by {', '.join([*days[:1], next(iter(columns[table]))])}"
            connection.execute(
                f"create table site.{table} as select {selected} from published.{table}{by}"
            )


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Table → column → type of what is published."""
    rows = connection.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns()"
        " where database_name = 'published' and schema_name in ('marts', 'quality', 'metrics')"
        " order by schema_name, table_name, column_index"
    ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for table, name, kind in rows:
        found.setdefault(table, {})[name] = kind
    return found


def _wanted(sqls: Iterable[str], columns: dict[str, dict[str, str]]) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for sql in sqls:
        words = set(re.findall(r"\w+", sql))
        takes_all = ALL_COLUMNS.search(PASSED_ON.sub("", sql))
        for schema, name in TABLE.findall(sql):
            table = f"{schema}.{name}"
            if table in columns:
                # The first column orders the rows.
                named = {next(iter(columns[table])), *(columns[table].keys() & words)}
                wanted.setdefault(table, set()).update(columns[table] if takes_all else named)
    return dict(sorted(wanted.items()))

"""Compaction: rewrites the warehouse without raw rows that change no mart.

It keeps the history that Bitrix24 itself does not keep: every version of a lead, deal, contact or
company that differs in more than the time of its last change or activity, all rows of stage
history, rates and reference data, and the current version of everything. It removes:

- rows of refreshes that were never completed, and rows that a crash loaded twice;
- versions of leads, deals, contacts and companies that differ from the one before only in those
  times;
- earlier versions of open activities, contact details, cities and rows of spend files, and those
  whose record, owner or row is gone: only the current version is read anywhere.

The last completed refresh, and one that waits for its checks, are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from pipelines.bitrix24.entities import (
    ACTIVITIES,
    AD_COSTS,
    ENTITIES,
    LEGACY,
    TABLES,
    OwnedTable,
    Table,
)
from pipelines.errors import CompactFailed
from pipelines.raw_files import as_tables, size
from pipelines.warehouse import LATEST, Warehouse

TIMES_OF_CHANGE = ("updated_time", "last_activity_time")
BOOKKEEPING = ("refresh_no", "row_hash", "state_hash", "_dlt_load_id")

LAST = "(select max(refresh_no) from raw.refreshes where completed)"
NEVER_COMPLETED = f"""
    select rowid
    from raw.{{table}}
    where
        refresh_no < {LAST}
        and refresh_no not in (select refresh_no from raw.refreshes where completed)
"""
LOADED_TWICE = f"""
    select rowid
    from raw.{{table}}
    where refresh_no < {LAST}
    qualify row_number() over (
        partition by {{key}}, refresh_no order by _dlt_load_id desc nulls last
    ) > 1
"""
SUPERSEDED = f"""
    select row_id
    from (
        select rowid as row_id, *
        from raw.{{table}}
        where refresh_no in (select refresh_no from raw.refreshes where completed)
        qualify row_number() over (
            partition by {{key}}, refresh_no order by _dlt_load_id desc nulls last
        ) = 1
    ) as versions
    window item as (partition by {{key}} order by refresh_no)
    qualify refresh_no < {LAST} and {{condition}}
"""
# Rows of an owner that comes back are read again, unless a refresh that waits has seen it back.
OWNER_IS_GONE = f"""
    select rowid
    from raw.{{table}}
    where
        refresh_no < {LAST}
        and id in (
            select id
            from ({LATEST.format(columns="id, is_deleted", table="{owner}", key="id")})
            where is_deleted
        )
        and id not in (
            select id from raw.{{owner}} where refresh_no > {LAST} and not is_deleted
        )
"""
IS_NOT_CURRENT = "lead(refresh_no) over item is not null"


@dataclass(frozen=True)
class Compaction:
    """Rows of each raw table and bytes of the warehouse, before and after."""

    rows: dict[str, tuple[int, int]]
    bytes_before: int
    bytes_after: int


def compact(warehouse: Warehouse) -> Compaction:
    """Rewrites the warehouse without rows that change no mart.

    Raises:
        CompactFailed: no refresh is completed yet, or the file cannot be read or written.
        NotEnoughSpace: the disk cannot hold a second copy.
    """
    if not warehouse.last_refreshes():
        raise CompactFailed("no refresh is completed yet: there is nothing to compact")
    try:
        before = size(warehouse)
        with as_tables(warehouse):
            rows = warehouse.rewrite(_dropped(warehouse))
    except (duckdb.Error, OSError) as error:
        raise CompactFailed(f"the warehouse could not be rewritten: {error}") from error
    return Compaction(rows, before, size(warehouse))


def _dropped(warehouse: Warehouse) -> dict[str, str]:
    """Raw table → query of the rowids to leave out."""
    known = warehouse.raw_tables()
    tables = [table for table in TABLES if table.name in known]
    queries = {
        name: NEVER_COMPLETED.format(table=name) for name in ("refreshes", "load_completeness")
    }
    with warehouse.connect() as connection:
        for table in tables:
            key = ", ".join(table.key)
            parts = [NEVER_COMPLETED, LOADED_TWICE]
            condition = _superseded(connection, table)
            if condition:
                parts.append(SUPERSEDED)
            names = {"table": table.name, "key": key}
            if isinstance(table, OwnedTable) and table in LEGACY:
                parts.append(OWNER_IS_GONE)
                names["owner"] = table.owner
            queries[table.name] = " union all ".join(
                f"({part.format(**names, condition=condition)})" for part in parts
            )
    return queries


def _superseded(connection: duckdb.DuckDBPyConnection, table: Table) -> str | None:
    """When a version is no longer needed; None if all are needed."""
    if table in (ACTIVITIES, AD_COSTS) or table in LEGACY:
        return f"({IS_NOT_CURRENT} or is_deleted)"
    if table not in ENTITIES:
        return None
    columns = connection.execute(
        "select column_name from duckdb_columns() where schema_name = 'raw' and table_name = $name",
        {"name": table.name},
    ).fetchall()
    content = ", ".join(name for (name,) in columns if name not in (*TIMES_OF_CHANGE, *BOOKKEEPING))
    return f"{IS_NOT_CURRENT} and row({content}) is not distinct from lag(row({content})) over item"

"""The tables of a site: what its pages ask for, in one DuckDB file that the browser attaches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import duckdb

from pipelines.publish import STORAGE_VERSION
from pipelines.side_by_side import SideBySide, results

MEMORY_LIMIT = "1200MB"
# The browser fetches the blocks of the columns that a query reads. Large row groups keep the values
# of a column together; small blocks bring few of others along.
LAYOUT = f"storage_version '{STORAGE_VERSION}', row_group_size 491520, block_size 65536"
SCHEMAS = ("marts", "quality", "metrics")
TABLE = re.compile(rf"\b({'|'.join(SCHEMAS)})\.(\w+)")
ALL_COLUMNS = re.compile(r"(?:\bselect|,|\.)\s*\*", re.IGNORECASE)
# What the SQL of a metric takes all columns of, to pass its rows on.
PASSED_ON = re.compile(r"select \* from marts\.\w+\s+where\s+\[\[where")
# A number of up to 18 digits is kept in 8 bytes, which pack well; a wider one in 16, which do not.
WIDE = re.compile(r"DECIMAL\((\d+),(\d+)\)")
NARROW_DIGITS = 18
# Rows that a page reads together stand together: what is so now, then what is of a day. Column →
# key; one of fixed width is sorted in half the time that a text takes.
ORDER = {
    "is_in_work": "is_in_work desc",
    "is_current": "is_current desc",
    "entity": "entity = 'lead'",
    "created_date": "created_date",
    "item_created_date": "item_created_date",
    "date_day": "date_day",
    "item_id": "item_id",
}
# Tables of millions of rows, of a few hundred kinds. What these columns say is kept once per kind,
# and the table is a view.
KINDS = {
    "marts.fct_stage_reach": (
        *("entity", "is_counted"),
        *("pipeline_id", "pipeline_name", "stage_id", "stage_name", "sort_order"),
        *("next_stage_id", "next_stage_name", "next_pipeline_name"),
        *("is_open_stage", "is_visited", "is_only_row"),
        *("is_forwarded", "is_back_move", "is_drop", "is_moved_out"),
    ),
    "marts.fct_stage_visits": (
        *("entity", "stage_name", "next_stage_name", "next_pipeline_name"),
        *("is_current", "is_from_history", "is_back_move"),
    ),
}
# Columns of theirs that are not kept, as in each row they follow from others; where they do.
FOLLOWS = {
    "marts.fct_stage_reach": {
        "item_id": "item_key // 2",
        "lead_id": "case when entity = 'lead' then item_key // 2 end",
        "deal_id": "case when entity = 'deal' then item_key // 2 end",
    },
    "marts.fct_stage_visits": {
        "lead_id": "case when entity = 'lead' then item_id end",
        "deal_id": "case when entity = 'deal' then item_id end",
    },
}


def write_tables(published: Path, database: Path, sqls: Iterable[str], timezone: str) -> None:
    """Writes the tables and columns that occur in the SQL, ordered so that few blocks are read.

    A column counts as named where its name stands in SQL that reads its table; `select *` of a page
    names all. Instants become the portal's clock: the browser's engine has no timezones.

    Args:
        published: `crm.duckdb` of the publication.
        database: File to write.
        sqls: Columns of the first stand together, before those that only later ones name.
        timezone: Of the portal.
    """
    with duckdb.connect() as connection:
        connection.execute(f"set timezone = '{timezone}'")
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"set temp_directory = '{database.parent}/.sorting'")
        connection.execute(f"attach '{published}' as published (read_only)")
        connection.execute(f"attach '{database}' as site ({LAYOUT})")
        connection.execute("use site")
        columns = _columns(connection)
        for schema in SCHEMAS:
            connection.execute(f"create schema {schema}")
        views = _views(connection)
        wanted = _wanted(sqls, columns, views)

        with SideBySide(connection, [f"set timezone = '{timezone}'", "use site"]) as threads:
            written = []
            for table, names in wanted.items():
                types = columns[table]
                if table in KINDS:
                    written.append(threads.submit(_write_by_kind, table, types, [*names]))
                elif table not in views:
                    source = f"published.{table}"
                    written.append(threads.submit(_write, table, types, [*names], table, source))
            results(written)
        for view in views.keys() & wanted.keys():
            connection.execute(views[view])


def _write(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    types: dict[str, str],
    names: list[str],
    target: str,
    source: str,
) -> None:
    """Writes columns of a published table in the order of the site."""
    instants = [name for name in names if types.get(name) == "TIMESTAMP WITH TIME ZONE"]
    casts = dict.fromkeys(instants, "timestamp") | _narrower(connection, table, types, names)
    selected = ", ".join(
        f"cast({name} as {casts[name]}) as {name}" if name in casts else name for name in names
    )
    order = [key for name, key in ORDER.items() if name in types] + [next(iter(types))]
    connection.execute(
        f"create table {target} as select {selected} from {source} order by {', '.join(order)}"
    )


def _narrower(
    connection: duckdb.DuckDBPyConnection, table: str, types: dict[str, str], names: list[str]
) -> dict[str, str]:
    """Wide decimal column → a narrow type of the same scale that holds all its values."""
    scales = {
        name: int(match[2])
        for name in names
        if (match := WIDE.fullmatch(types.get(name, ""))) and int(match[1]) > NARROW_DIGITS
    }
    if not scales:
        return {}
    largest = ", ".join(f"max(abs({name}))" for name in scales)
    (found,) = connection.execute(f"select {largest} from published.{table}").fetchall()
    return {
        name: f"decimal({NARROW_DIGITS}, {scale})"
        for (name, scale), most in zip(scales.items(), found, strict=True)
        if most is None or most < 10 ** (NARROW_DIGITS - scale)
    }


def _write_by_kind(
    connection: duckdb.DuckDBPyConnection, table: str, types: dict[str, str], names: list[str]
) -> None:
    """Writes a table as its rows, the kinds of them, and a view that joins both."""
    kinds = [name for name in KINDS[table] if name in names]
    # A hash of eight bytes tells some hundred kinds apart.
    key = f"hash({', '.join(kinds)})"
    said = ", ".join(f"any_value({name}) as {name}" for name in kinds)
    connection.execute(
        "create temp table hashed as"
        f" select cast(row_number() over (order by {', '.join(kinds)}) as integer) as kind, *"
        f" from (select {key} as kind_hash, {said} from published.{table} group by kind_hash)"
    )
    connection.execute(
        f"create table {table}_kinds as select * exclude (kind_hash) from hashed order by kind"
    )
    source = (
        f"published.{table}"
        f" inner join (select kind, kind_hash from hashed) as hashed on {key} = kind_hash"
    )
    following = _following(connection, table, names)
    rows = [*(name for name in names if name not in (*kinds, *following)), "kind"]
    _write(connection, table, types, rows, f"{table}_rows", source)
    shown = ", ".join(
        f"{following[name]} as {name}" if name in following else name for name in names
    )
    connection.execute(
        f"create view {table} as select {shown}"
        f" from {table}_rows inner join {table}_kinds using (kind)"
    )
    connection.execute("drop table hashed")


def _following(
    connection: duckdb.DuckDBPyConnection, table: str, names: list[str]
) -> dict[str, str]:
    """The columns of a table that follow from others of the site in each row, as SQL."""
    found = {}
    for name, sql in FOLLOWS[table].items():
        others = set(re.findall(r"entity|item_key|item_id", sql))
        if name in names and others.issubset(names):
            unlike = f"select 1 from published.{table} where {name} is distinct from {sql} limit 1"
            if not connection.execute(unlike).fetchall():
                found[name] = sql
    return found


def _views(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Views of the marts: they stay views of the site's tables."""
    rows = connection.execute(
        "select schema_name || '.' || view_name, sql from duckdb_views()"
        " where database_name = 'published' and schema_name = 'marts'"
    ).fetchall()
    return dict(rows)


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


def _wanted(
    sqls: Iterable[str], columns: dict[str, dict[str, str]], views: dict[str, str]
) -> dict[str, dict[str, None]]:
    """Table → its columns, in the order in which the SQL names them."""
    wanted: dict[str, dict[str, None]] = {}
    asked = list(sqls)
    # Read through a view: the columns that it names.
    asked += [
        ALL_COLUMNS.sub("", sql)
        for view, sql in views.items()
        if any(re.search(rf"\b{view}\b", one) for one in asked)
    ]
    for sql in asked:
        words = set(re.findall(r"\w+", sql))
        takes_all = ALL_COLUMNS.search(PASSED_ON.sub("", sql))
        for schema, name in TABLE.findall(sql):
            table = f"{schema}.{name}"
            if table in columns:
                named = [column for column in columns[table] if takes_all or column in words]
                # A query may do no more than count.
                named = named or [next(iter(columns[table]))]
                wanted.setdefault(table, {}).update(dict.fromkeys(named))
    return dict(sorted(wanted.items()))

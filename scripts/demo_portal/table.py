"""A table of the data directory in an in-memory SQLite database, changed while it is served.

Paging by ID (``>id`` with ``order id ASC``) walks the primary key from there on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from scripts.demo_portal.filters import Condition, Group, Sql, fold, holds, where
from scripts.demo_portal.values import BLOBS, TIMES, DataError, Kind, infer, keep, widest

_CHUNK_ROWS = 20_000
# Lists that ask for a few values of these, or for what is later, would walk every row in the order
# of the IDs.
_INDEXED = ("OWNER_ID", "updatedTime", "lastActivityTime")
# As many rows are sorted by ID sooner than a million are walked.
_FEW_ROWS = 20_000


def open_database() -> sqlite3.Connection:
    """An empty database in memory; its user lets one thread in at a time."""
    database = sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False, cached_statements=500
    )
    database.create_function("fold", 1, fold, deterministic=True)
    database.create_function("holds", 2, holds, deterministic=True)
    return database


@dataclass(frozen=True)
class Selection:
    """Rows in an order, as SQL."""

    where: str = "true"
    values: tuple[Any, ...] = ()
    order: str = "id"


def among(sql: str, numbers: Iterable[int], order: str = "id") -> Selection:
    """The rows in which a column is one of the numbers."""
    listed = orjson.dumps(list(numbers)).decode()
    return Selection(f"{sql} in (select value from json_each(?))", (listed,), order)


class Table:
    """Rows of one file.

    Attributes:
        name: file name without suffix, and name of the table.
        key: name of the ID column; "" where the rows have no numeric ID (currencies).
        kinds: what each column holds.
        last_id: the highest ID ever used.
        zone: the portal's offset.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        name: str,
        key: str,
        schema: Mapping[str, Kind],
        zone: timezone,
    ) -> None:
        self.name = name
        self.key = key
        self.kinds: dict[str, Kind] = {}
        self.last_id = 0
        self.zone = zone
        self._database = database
        self._schema = dict(schema)
        self._columns = {key: "id"} if key else {}
        self._numbers = count()
        self._listed: tuple[Any, list[int]] = (None, [])
        database.execute(f"create table {name} (id integer primary key)")
        # Rows are counted on its narrow pages, not on those of the table.
        database.execute(f"create index {name}_ids on {name} (id)")

    @property
    def version(self) -> int:
        """Another number after each change of any table."""
        return self._database.total_changes

    # Loading

    def load(self, directory: Path) -> None:
        """Read ``name.parquet`` or ``name.jsonl``; a missing file is an empty table.

        Raises:
            DataError: both files exist, a line is not a JSON object, a row has no ID, two rows have
                the same ID, or a value is not what the method returns.
        """
        parquet, jsonl = directory / f"{self.name}.parquet", directory / f"{self.name}.jsonl"
        if parquet.exists() and jsonl.exists():
            raise DataError(f"{directory} has both {parquet.name} and {jsonl.name}: remove one")
        if parquet.exists():
            for frame in pl.read_parquet(parquet).iter_slices(_CHUNK_ROWS):
                self._write(frame.to_dict(as_series=False), parquet.name)
        elif jsonl.exists():
            rows = _read_lines(jsonl)
            while chunk := list(islice(rows, _CHUNK_ROWS)):
                self._write(_columns(chunk), jsonl.name)

    def _write(
        self, columns: Mapping[str, Sequence[Any]], source: str, update: bool = False
    ) -> None:
        """Insert rows, given by column; ``update`` changes those whose IDs are there."""
        if self.key and self.key not in columns:
            raise DataError(f"{source}: rows need the field {self.key!r}")
        kept = {name: self._kept(name, values, source) for name, values in columns.items()}
        ids = kept.get(self.key, [0])
        if None in ids:
            raise DataError(f"{source}: a row has no {self.key!r}")
        self.last_id = max(self.last_id, *ids)
        names = [self._columns[name] for name in columns]
        insert = f"insert into {self.name} ({', '.join(names)})"
        insert += f" values ({', '.join('?' * len(names))})"
        if update:
            changes = ", ".join(f"{name} = excluded.{name}" for name in names)
            insert += f" on conflict (id) do update set {changes}"
        before = self._database.total_changes
        self._database.execute("begin")
        try:
            self._database.executemany(insert, zip(*kept.values(), strict=True))
        except sqlite3.IntegrityError as error:
            twice = ids[self._database.total_changes - before]
            raise DataError(f"{source}: {self.key!r} {twice} is there more than once") from error
        finally:
            self._database.execute("commit")

    def _kept(self, name: str, values: Sequence[Any], source: str) -> Sequence[Any]:
        kind = self._schema.get(name) or infer(values)
        if name not in self._columns:
            # Numbered: SQLite takes names that differ by case for the same one.
            column = self._columns[name] = f"c{next(self._numbers)}"
            self._database.execute(f"alter table {self.name} add {column}")
            if name in _INDEXED:
                self._database.execute(
                    f"create index {self.name}_{column} on {self.name} ({column})"
                )
        self.kinds[name] = widest(self.kinds.get(name, kind), kind)
        return keep(name, values, kind, self.zone, source)

    # Changes

    def upsert(self, row: Mapping[str, Any]) -> None:
        """Add a row, or change the named fields of the row with its ID."""
        self._write({name: [value] for name, value in row.items()}, self.name, update=True)

    def delete(self, ids: Iterable[int]) -> None:
        """Take rows away."""
        self._database.executemany(
            f"delete from {self.name} where id = ?", [(int(number),) for number in ids]
        )

    def replace(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace all rows with ``rows``."""
        self._database.execute(f"delete from {self.name}")
        self.kinds.clear()
        if rows:
            self._write(_columns(rows), self.name)

    def forget(self, column: str) -> None:
        """Take a column away."""
        if self.kinds.pop(column, None):
            self._database.execute(f"update {self.name} set {self._columns.pop(column)} = null")
        self._schema.pop(column, None)

    def set_zone(self, zone: timezone) -> None:
        """Write all times in another offset."""
        self.zone = zone
        offset = datetime(2000, 1, 1, tzinfo=zone).isoformat()[-6:]
        seconds = f"{timedelta.total_seconds(zone.utcoffset(None)):+.0f} seconds"
        for column in (self._columns[name] for name, kind in self.kinds.items() if kind in TIMES):
            self._database.execute(
                f"update {self.name} set {column} ="
                f" strftime('%Y-%m-%dT%H:%M:%S', {column}, ?) || ?",
                (seconds, offset),
            )

    # Queries

    def sql(self, column: str) -> str:
        """A column as the database keeps it, in SQL."""
        return f"{self.name}.{self._columns[column]}" if column in self._columns else "null"

    def shown(self, column: str) -> str:
        """A column as the JSON method returns it, in SQL; JSON is still to be read."""
        sql = self.sql(column)
        return f"cast({sql} as text)" if self.kinds.get(column) == Kind.QUOTED else sql

    def select(
        self,
        group: Group,
        order: Iterable[tuple[str, bool]],
        seen: str = "true",
    ) -> Selection:
        """The rows of a filter, in order.

        Args:
            group: the filter.
            order: (column, descending) pairs; rows equal in all of them come by ID.
            seen: SQL condition of the rows that the caller may see.

        Raises:
            BadFilterValue: a value that its field cannot take.
        """
        condition, values = where(group, self._column, self.zone)
        few, few_values = self._few(group)
        # SQLite sorts empty values as MySQL does: first ascending, last descending.
        terms = [f"{self.sql(name)}{' desc' * down}" for name, down in order if name in self.kinds]
        if f"{self.name}.id" not in terms:
            terms.append(f"{self.name}.id")
        return Selection(
            f"{seen} and {few} and ({condition})", (*few_values, *values), ", ".join(terms)
        )

    def _few(self, group: Group) -> Sql:
        """What follows from a filter, where an index finds the few rows that it leaves."""
        for member in () if group.any_of else group.members:
            if (
                isinstance(member, Condition)
                and member.column in _INDEXED
                and member.operator in (">", ">=")
                and not member.negated
            ):
                condition, values = where(Group(members=[member]), self._column, self.zone)
                found = f"select id from {self.name} where {condition}"
                many = self._database.execute(f"{found} limit -1 offset {_FEW_ROWS}", values)
                if many.fetchone() is None:
                    return f"{self.name}.id in ({found})", values
        return "true", []

    def _column(self, name: str) -> tuple[str, Kind]:
        return self.sql(name), self.kinds.get(name, Kind.EMPTY)

    def count(self, selection: Selection) -> int:
        """Number of rows."""
        query = f"select count(*) from {self.name} where {selection.where}"
        return int(self._database.execute(query, selection.values).fetchone()[0])

    def ids(self, selection: Selection = Selection()) -> list[int]:
        """The IDs of the rows; the last ones asked for are remembered until something changes."""
        asked = (self.version, selection)
        if asked != self._listed[0]:
            query = f"select id from {self.name} where {selection.where} order by {selection.order}"
            found = self._database.execute(query, selection.values)
            self._listed = asked, [number for (number,) in found]
        return self._listed[1]

    def rows(
        self, shown: Mapping[str, str], selection: Selection = Selection(), size: int = -1
    ) -> list[dict[str, Any]]:
        """The first ``size`` rows; all, where it is negative.

        Args:
            shown: name in the answer to SQL.
        """
        query = (
            f"select {', '.join(shown.values()) or 'null'} from {self.name}"
            f" where {selection.where} order by {selection.order} limit {size}"
        )
        found = self._database.execute(query, selection.values)
        rows = [dict(zip(shown, row, strict=False)) for row in found]
        blobs = {self.sql(column) for column, kind in self.kinds.items() if kind in BLOBS}
        for name in (name for name, sql in shown.items() if sql in blobs):
            for row in rows:
                if isinstance(row[name], bytes):
                    row[name] = orjson.loads(row[name])
        return rows

    def plain_rows(self, seen: str = "true") -> list[dict[str, Any]]:
        """The rows as a file would have them."""
        shown = {name: self.shown(name) for name in self.kinds}
        return [
            {name: value for name, value in row.items() if value is not None}
            for row in self.rows(shown, Selection(seen))
        ]

    def row(self, number: int) -> dict[str, Any]:
        """One row as a file would have it."""
        (row,) = self.plain_rows(f"id = {number}")
        return row

    def ids_where(self, column: str, values: Iterable[int]) -> list[int]:
        """IDs of the rows whose ``column`` is one of ``values``."""
        return self.ids(among(self.sql(column), values))

    def rows_naming(self, columns: Sequence[str], numbers: Collection[int]) -> list[dict[str, Any]]:
        """Key and ``columns`` (numbers or lists of numbers) of the rows that name ``numbers``."""
        shown = {name: self.sql(name) for name in columns if name in self.kinds}
        named = " or ".join(
            f"exists (select 1 from json_each(cast({column} as text))"
            " where value in (select value from json_each(?)))"
            for column in shown.values()
        )
        values = among("", numbers).values * len(shown)
        return self.rows({self.key: "id"} | shown, Selection(named or "false", values))


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(chain.from_iterable(rows))
    return {name: [row.get(name) for row in rows] for name in names}


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DataError(f"{path.name}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f"{path.name}, line {number}: one JSON object a line is wanted")
            yield row

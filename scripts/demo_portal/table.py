"""A table of the data directory in memory: sorted by ID, filtered by columns, changed while served.

Paging by ID (``>id`` with ``order id ASC``) is a binary search; any other filter is evaluated once
per version of the table and remembered as the positions of its rows, so that every further page
and every count of an ID window is a binary search too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, timezone
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import polars as pl

from scripts.demo_portal import columns
from scripts.demo_portal.columns import DTYPES, DataError, Kind
from scripts.demo_portal.filters import COMPARISONS, Condition, Group, convert, expression

_CHUNK_ROWS = 20_000
_REMEMBERED_FILTERS = 12

Positions = slice | np.ndarray
# Rows as columns, and the kind of each column; None for one without a single value.
_Typed = tuple[pl.DataFrame, dict[str, Kind | None]]


class Table:
    """Rows of one file.

    Attributes:
        name: file name without suffix.
        key: name of the ID column; "" where the rows have no numeric ID (currencies).
        kinds: how each column of ``frame`` is kept.
        frame: the rows, sorted by the key.
        version: changes with the rows.
        last_id: the highest ID that there ever was.
    """

    def __init__(self, name: str, key: str, schema: Mapping[str, Kind]) -> None:
        self.name = name
        self.key = key
        self._schema = dict(schema)
        self.kinds: dict[str, Kind] = {}
        self.frame = pl.DataFrame()
        self.version = 0
        self.last_id = 0
        self._ids = np.empty(0, dtype=np.int64)
        self._changed: dict[int, dict[str, Any]] = {}
        self._deleted: set[int] = set()
        self._remembered: OrderedDict[bytes, tuple[np.ndarray | None, np.ndarray]] = OrderedDict()

    # Loading

    @classmethod
    def load(cls, directory: Path, name: str, key: str, schema: Mapping[str, Kind]) -> Table:
        """Read ``name.parquet`` or ``name.jsonl``; a missing file is an empty table.

        Raises:
            DataError: both files exist, a line is no JSON object, a row has no ID, two rows have
                the same ID, or a value is not what the method returns.
        """
        table = cls(name, key, schema)
        parquet, jsonl = directory / f"{name}.parquet", directory / f"{name}.jsonl"
        if parquet.exists() and jsonl.exists():
            raise DataError(f"{directory} has both {parquet.name} and {jsonl.name}: remove one")
        if parquet.exists():
            table._take(table._read_parquet(parquet), parquet.name)
        elif jsonl.exists():
            rows = _read_lines(jsonl)
            frames: list[_Typed] = []
            while chunk := list(islice(rows, _CHUNK_ROWS)):
                frames.append(table._encode(chunk, jsonl.name))
            table._take(table._join(frames), jsonl.name)
        return table

    def _read_parquet(self, path: Path) -> pl.DataFrame:
        series = []
        for name in pl.read_parquet_schema(path):
            raw = pl.read_parquet(path, columns=[name]).get_column(name)
            column, kind = columns.encode_column(raw, self._schema.get(name), path.name)
            self.kinds[name] = kind
            series.append(column.rechunk())
        return pl.DataFrame(series)

    def _encode(self, rows: Sequence[Mapping[str, Any]], source: str) -> _Typed:
        """Rows as columns, each in the kind that these rows need."""
        series: list[pl.Series] = []
        kinds: dict[str, Kind | None] = {}
        for name in {name: None for row in rows for name in row}:
            values = [row.get(name) for row in rows]
            kinds[name] = kind = self._schema.get(name) or columns.infer(values)
            series.append(columns.encode(name, values, kind or Kind.TEXT, source))
        if self.key and self.key not in kinds:
            raise DataError(f"{source}: rows need the field {self.key!r}")
        return pl.DataFrame(series), kinds

    def _join(self, parts: Sequence[_Typed]) -> pl.DataFrame:
        """Parts one below the other; a column takes the widest kind that any part needs."""
        found: dict[str, Kind | None] = {}
        for _, kinds in parts:
            for name, kind in kinds.items():
                known = found.get(name)
                found[name] = columns.widest(known, kind) if known and kind else known or kind
        self.kinds = {name: kind or Kind.TEXT for name, kind in found.items()}
        frames = [
            pl.DataFrame(
                [
                    columns.recast(frame.get_column(name), known, kind)
                    if (known := kinds.get(name))
                    else pl.Series(name, [None] * frame.height, dtype=DTYPES[kind])
                    for name, kind in self.kinds.items()
                ]
            )
            for frame, kinds in parts
        ]
        return pl.concat(frames) if frames else pl.DataFrame()

    def _take(self, frame: pl.DataFrame, source: str) -> None:
        if self.key and frame.height:
            ids = frame.get_column(self.key)
            if ids.null_count():
                raise DataError(f"{source}: {ids.null_count()} rows have no {self.key!r}")
            if not ids.is_sorted():
                frame = frame.sort(self.key)
            ids = frame.get_column(self.key)
            if ids.n_unique() != frame.height:
                twice = ids.filter(ids.is_duplicated())[0]
                raise DataError(f"{source}: {self.key!r} {twice} is there more than once")
            self._ids = ids.to_numpy()
            self.last_id = max(self.last_id, int(self._ids[-1]))
        else:
            self._ids = np.arange(frame.height)
        # Gathering a page from many chunks is twenty times as slow.
        self.frame = frame.rechunk()
        self.version += 1
        self._remembered.clear()

    # Changes

    def upsert(self, row: Mapping[str, Any]) -> None:
        """Add a row, or change the named fields of the row with its ID."""
        if self.key not in row:
            raise DataError(f"{self.name}: a row needs the field {self.key!r}")
        self._changed.setdefault(int(row[self.key]), {}).update(row)

    def delete(self, ids: Iterable[int]) -> None:
        """Take rows away."""
        for number in ids:
            self._changed.pop(int(number), None)
            self._deleted.add(int(number))

    def forget(self, column: str) -> None:
        """Take a column away."""
        self.settle()
        self.kinds.pop(column, None)
        self._schema.pop(column, None)
        self._take(self.frame.drop(column, strict=False), self.name)

    def replace(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put ``rows`` in the place of all rows."""
        self._changed.clear()
        self._deleted.clear()
        self._take(self._join([self._encode(rows, self.name)] if rows else []), self.name)

    def ids_where(self, column: str, values: Iterable[int]) -> list[int]:
        """IDs of the rows whose ``column`` is one of ``values``."""
        self.settle()
        if column not in self.kinds:
            return []
        found = self.frame.filter(pl.col(column).is_in(list(values)))
        return found.get_column(self.key).to_list()

    def rows_naming(self, columns: Sequence[str], numbers: Collection[int]) -> list[dict[str, Any]]:
        """Key and ``columns`` (numbers or lists of numbers) of the rows that name ``numbers``."""
        self.settle()
        shown = [name for name in columns if name in self.kinds]
        named = [
            pl.col(name).list.eval(pl.element().is_in(list(numbers))).list.any()
            if self.kinds[name] == Kind.INTS
            else pl.col(name).is_in(list(numbers))
            for name in shown
        ]
        if not shown:
            return []
        return self.frame.filter(pl.any_horizontal(named)).select(self.key, *shown).to_dicts()

    def settle(self) -> None:
        """Apply the pending changes in one go: a table of a million rows is copied once."""
        if not self._changed and not self._deleted:
            return
        changed, self._changed = self._changed, {}
        deleted, self._deleted = self._deleted, set()
        parts: list[_Typed] = []
        old: dict[int, dict[str, Any]] = {}
        if self.frame.height:
            touched = pl.col(self.key).is_in(list(deleted | changed.keys()))
            rows = self.frame.filter(touched).iter_rows(named=True)
            old = {row[self.key]: self._plain(row) for row in rows if row[self.key] not in deleted}
            parts.append((self.frame.filter(~touched), dict(self.kinds)))
        if changed:
            merged = [{**old.get(number, {}), **row} for number, row in changed.items()]
            parts.append(self._encode(merged, self.name))
        self._take(self._join(parts), self.name)

    def plain_rows(self) -> list[dict[str, Any]]:
        """All rows as a file would have them."""
        self.settle()
        decoded = [
            columns.decode(self.frame.get_column(name), kind, UTC)
            for name, kind in self.kinds.items()
        ]
        return [
            {name: value for name, value in zip(self.kinds, row, strict=True) if value is not None}
            for row in zip(*decoded, strict=True)
        ]

    def _plain(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """A kept row as a file would have it, so that it can be encoded again."""
        return {
            name: columns.decode(pl.Series([value], dtype=DTYPES[kind]), kind, UTC)[0]
            for name, value in stored.items()
            if value is not None and (kind := self.kinds[name])
        }

    # Reading

    def select(
        self,
        group: Group,
        order: Sequence[tuple[str, bool]],
        zone: timezone,
        hidden: np.ndarray | None = None,
        flags: frozenset[str] = frozenset(),
    ) -> Positions:
        """Positions of the rows of a filter, in order.

        Args:
            group: the filter.
            order: (column, descending) pairs; rows equal in all of them come by ID.
            zone: the portal's offset, for datetimes without one.
            hidden: IDs that the caller may not see.
            flags: columns that are user fields of type boolean.

        Raises:
            BadFilterValue: a value that its field cannot take.
        """
        window, rest = self._split(group, zone)
        if rest.members or hidden is not None:
            found = self._matching(rest, zone, hidden, flags)
            low, high = np.searchsorted(found, [window.start, window.stop])
            positions: Positions = found[low:high]
        else:
            positions = window
        order = [(name, down) for name, down in order if name in self.kinds]
        if not order or (order[0] == (self.key, False)):
            return positions
        if order[0] == (self.key, True):
            return _indexes(positions)[::-1]
        return self._sorted(_indexes(positions), order)

    def _split(self, group: Group, zone: timezone) -> tuple[slice, Group]:
        """The ID window that a filter names, and the conditions that remain."""
        low, high = 0, len(self._ids)
        if group.any_of or not self.key:
            return slice(low, high), group
        rest = Group()
        for member in group.members:
            if (
                isinstance(member, Condition)
                and member.column == self.key
                and not member.negated
                and member.operator in (*COMPARISONS, "=")
                and not isinstance(member.value, (list, dict))
            ):
                number = convert(member.value, Kind.INT, zone)
                if member.operator in (">", ">=", "="):
                    side: Literal["left", "right"] = "right" if member.operator == ">" else "left"
                    low = max(low, int(np.searchsorted(self._ids, number, side)))
                if member.operator in ("<", "<=", "="):
                    side = "left" if member.operator == "<" else "right"
                    high = min(high, int(np.searchsorted(self._ids, number, side)))
            else:
                rest.members.append(member)
        return slice(low, max(low, high)), rest

    def _matching(
        self, group: Group, zone: timezone, hidden: np.ndarray | None, flags: frozenset[str]
    ) -> np.ndarray:
        key = group.canonical()
        hidden_then, found = self._remembered.get(key, (None, None))
        if found is None or hidden_then is not hidden:
            listed = self._listed_ids(group)
            if listed is not None and hidden is None:
                found = listed
            else:
                kinds = self.kinds | dict.fromkeys(flags & self.kinds.keys(), Kind.FLAG)
                mask = self._mask(expression(group, kinds, zone))
                if hidden is not None:
                    mask &= ~np.isin(self._ids, hidden)
                found = np.flatnonzero(mask)
            self._remembered[key] = hidden, found
            while len(self._remembered) > _REMEMBERED_FILTERS:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(key)
        return found

    def _listed_ids(self, group: Group) -> np.ndarray | None:
        """Positions for a filter that only lists IDs (``@id``): no scan."""
        if len(group.members) != 1 or not isinstance(group.members[0], Condition):
            return None
        member = group.members[0]
        if member.column != self.key or not self.key or member.negated:
            return None
        values = member.value
        if member.operator not in ("@", "=") or not isinstance(values, list) or not values:
            return None
        if not all(isinstance(value, int) or str(value).isdigit() for value in values):
            return None
        wanted = np.unique(np.array([int(value) for value in values], dtype=np.int64))
        at = np.searchsorted(self._ids, wanted)
        inside = at < len(self._ids)
        at, wanted = at[inside], wanted[inside]
        found: np.ndarray = at[self._ids[at] == wanted]
        return found

    def _mask(self, predicate: pl.Expr) -> np.ndarray:
        if not self.frame.height:
            return np.zeros(0, dtype=bool)
        mask = self.frame.select(predicate.alias("mask")).get_column("mask")
        if len(mask) != self.frame.height:
            return np.full(self.frame.height, bool(mask[0]))
        return mask.to_numpy(writable=True)

    def _sorted(self, positions: np.ndarray, order: Sequence[tuple[str, bool]]) -> np.ndarray:
        names = list(dict.fromkeys(name for name, _ in order))
        down = dict(reversed(order))
        part = self.frame.select(names)[positions].with_columns(pl.lit(positions).alias("at"))
        descending = [down[name] for name in names]
        # MySQL puts empty values first in ascending order, last in descending order.
        part = part.sort(names, descending=descending, nulls_last=descending, maintain_order=True)
        return part.get_column("at").to_numpy()

    def rows(self, positions: Positions | None = None) -> pl.DataFrame:
        """Rows at the positions, as columns; all rows where none are given."""
        if positions is None:
            return self.frame
        if isinstance(positions, slice):
            return self.frame.slice(positions.start, positions.stop - positions.start)
        return self.frame[positions]

    def __len__(self) -> int:
        return self.frame.height


def count(positions: Positions) -> int:
    """Number of rows."""
    return positions.stop - positions.start if isinstance(positions, slice) else len(positions)


def page(positions: Positions, start: int, size: int) -> Positions:
    """``size`` rows from ``start`` on."""
    if isinstance(positions, slice):
        low = min(positions.start + start, positions.stop)
        return slice(low, min(low + size, positions.stop))
    return positions[start : start + size]


def _indexes(positions: Positions) -> np.ndarray:
    if isinstance(positions, slice):
        return np.arange(positions.start, positions.stop)
    return positions


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

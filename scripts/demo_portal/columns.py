"""Typed columns: how values of the data files are kept, and how they are written back in answers.

Rows are kept as Polars columns (8 bytes for a number or an instant), which holds a million leads in
bounded memory and filters them without a loop.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import numpy as np
import orjson
import polars as pl

SECONDS_PER_DAY = 86_400


class DataError(ValueError):
    """A data file has a value that Bitrix24 would not return; the message names it."""


class Kind(StrEnum):
    """How a column is kept.

    QUOTED is a number that the method returns as a string. FLAG is no way to keep a column: it is
    how a user field of type boolean is filtered, whether its rows say true, 1 or Y.
    """

    INT = "int"
    QUOTED = "quoted"
    FLOAT = "float"
    TEXT = "text"
    BOOL = "bool"
    TIME = "time"
    DATE = "date"
    INTS = "ints"
    JSON = "json"
    FLAG = "flag"


DTYPES: dict[Kind, Any] = {
    Kind.INT: pl.Int64,
    Kind.QUOTED: pl.Int64,
    Kind.FLOAT: pl.Float64,
    Kind.TEXT: pl.String,
    Kind.BOOL: pl.Boolean,
    Kind.TIME: pl.Int64,
    Kind.DATE: pl.Int64,
    Kind.INTS: pl.List(pl.Int64),
    Kind.JSON: pl.String,
}

FIELD_TYPE_KINDS = {
    "integer": Kind.INT,
    "user": Kind.INT,
    "crm_lead": Kind.INT,
    "crm_company": Kind.INT,
    "crm_contact": Kind.INT,
    "crm_quote": Kind.INT,
    "crm_category": Kind.INT,
    "double": Kind.FLOAT,
    "datetime": Kind.TIME,
    "date": Kind.DATE,
    "string": Kind.TEXT,
    "text": Kind.TEXT,
    "boolean": Kind.TEXT,
    "crm_status": Kind.TEXT,
    "crm_currency": Kind.TEXT,
}


def parse_offset(text: str) -> timezone:
    """``+03:00`` or ``-05:30`` as a time zone."""
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", text)
    if match is None:
        raise DataError(f"utc_offset must look like +03:00 or -05:00, got {text!r}")
    delta = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(delta if match[1] == "+" else -delta)


def parse_instant(text: str, zone: timezone | None) -> int | None:
    """Seconds since the epoch of an ISO, ``YYYY-MM-DD HH:MM:SS`` or ``DD.MM.YYYY HH:MM:SS`` text.

    Args:
        text: the text.
        zone: zone of a text without offset; None: such a text is refused.

    Returns:
        None where the text is no date.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        match = re.fullmatch(r"(\d\d)\.(\d\d)\.(\d{4})(?: (\d\d:\d\d(?::\d\d)?))?", text.strip())
        if match is None:
            return None
        try:
            iso = f"{match[3]}-{match[2]}-{match[1]}T{match[4] or '00:00'}"
            moment = datetime.fromisoformat(iso)
        except ValueError:
            return None
    if moment.tzinfo is None:
        if zone is None:
            return None
        moment = moment.replace(tzinfo=zone)
    return int(moment.timestamp())


def parse_day(text: str) -> int | None:
    """Midnight UTC, in seconds, of the day that a text means; None where it is no date.

    Bitrix24 writes a date as midnight UTC in the portal's offset, so a text with an offset means
    its UTC date; a text without one means the date that it shows.
    """
    seconds = parse_instant(text, UTC)
    return None if seconds is None else seconds - seconds % SECONDS_PER_DAY


def infer(values: Sequence[Any]) -> Kind | None:
    """Kind that keeps the values exactly as they are; None where all are empty."""
    types = set(map(type, values)) - {type(None)}
    if not types:
        return None
    if types == {bool}:
        return Kind.BOOL
    if types == {int}:
        return Kind.INT
    if types <= {int, float}:
        return Kind.FLOAT
    return Kind.TEXT if types == {str} else Kind.JSON


def widest(first: Kind, second: Kind) -> Kind:
    """Kind that can hold both."""
    if first == second:
        return first
    return Kind.FLOAT if {first, second} == {Kind.INT, Kind.FLOAT} else Kind.JSON


def encode(name: str, values: Sequence[Any], kind: Kind, source: str) -> pl.Series:
    """Values of a file as a column.

    Raises:
        DataError: a value is not of the kind; ``source`` (the file) and the field are named.
    """
    if kind == Kind.JSON:
        texts = [None if value is None else orjson.dumps(value).decode() for value in values]
        return pl.Series(name, texts, dtype=pl.String)
    if kind in (Kind.TIME, Kind.DATE):
        return _encode_times(name, values, kind, source)
    try:
        if infer(values) in (None, kind):
            pass
        elif kind in (Kind.INT, Kind.QUOTED):
            values = [_whole(value) for value in values]
        elif kind == Kind.FLOAT:
            values = [None if value in (None, "") else float(value) for value in values]
        elif kind == Kind.INTS:
            values = [
                None if value is None else [_whole(item) for item in value] for value in values
            ]
        return pl.Series(name, values, dtype=DTYPES[kind], strict=True)
    except (TypeError, ValueError) as error:
        wrong = next(value for value in values if not _fits(value, kind))
        raise DataError(f"{source}: field {name!r} must be {kind}, got {wrong!r}") from error


def _whole(value: Any) -> int | None:
    if value is None or value == "":
        return None
    number = int(value)
    if isinstance(value, bool) or number != float(value):
        raise ValueError(value)
    return number


def _fits(value: Any, kind: Kind) -> bool:
    if kind == Kind.TEXT:
        return value is None or isinstance(value, str)
    if kind == Kind.BOOL:
        return value is None or isinstance(value, bool)
    try:
        if kind == Kind.INTS:
            return value is None or all(_whole(item) is not None for item in value)
        return value in (None, "") or (
            float(value) is not None if kind == Kind.FLOAT else _whole(value) is not None
        )
    except (TypeError, ValueError):
        return False


def _encode_times(name: str, values: Sequence[Any], kind: Kind, source: str) -> pl.Series:
    texts = [str(value) if value else None for value in values]
    column = pl.Series(name, texts, dtype=pl.String)
    seconds = column.str.to_datetime("%Y-%m-%dT%H:%M:%S%z", strict=False).dt.epoch("s")
    if seconds.null_count() > column.null_count():
        slow = [
            fast if text is None or fast is not None else _seconds(text, kind, name, source)
            for text, fast in zip(texts, seconds.to_list(), strict=True)
        ]
        seconds = pl.Series(name, slow, dtype=pl.Int64)
    if kind == Kind.DATE:
        late = (seconds % SECONDS_PER_DAY).fill_null(0) != 0
        if late.any():
            raise DataError(
                f"{source}: field {name!r} is a date, which Bitrix24 writes as midnight UTC in the"
                f" portal's offset (2024-08-30T03:00:00+03:00 for 30 August) or give 2024-08-30;"
                f" got {column.filter(late)[0]!r}"
            )
    return seconds.cast(pl.Int64).alias(name)


def _seconds(text: str, kind: Kind, name: str, source: str) -> int:
    if kind == Kind.DATE and re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        seconds = parse_day(text)
    else:
        seconds = parse_instant(text, None)
    if seconds is None:
        raise DataError(
            f"{source}: field {name!r} must be ISO 8601 with offset"
            f" (2024-08-30T14:29:00+03:00), got {text!r}"
        )
    return seconds


def encode_column(column: pl.Series, kind: Kind | None, source: str) -> tuple[pl.Series, Kind]:
    """A Parquet column as a kept column, and its kind (inferred where ``kind`` is None)."""
    name, dtype = column.name, column.dtype
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            raise DataError(f"{source}: column {name!r} has times without a zone")
        return column.dt.epoch("s").alias(name), kind or Kind.TIME
    if dtype == pl.Date:
        return column.cast(pl.Int64) * SECONDS_PER_DAY, kind or Kind.DATE
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        column, dtype = column.cast(pl.String), pl.String()
    if isinstance(dtype, pl.Decimal) or dtype == pl.Float32:
        column, dtype = column.cast(pl.Float64), pl.Float64()
    plain = {
        Kind.INT: dtype.is_integer(),
        Kind.QUOTED: dtype.is_integer(),
        Kind.FLOAT: dtype.is_numeric(),
        Kind.TEXT: dtype == pl.String,
        Kind.BOOL: dtype == pl.Boolean,
        Kind.INTS: isinstance(dtype, pl.List) and pl.List(dtype.inner).inner.is_integer(),
    }
    if kind is None:
        guesses = (Kind.INT, Kind.FLOAT, Kind.TEXT, Kind.BOOL, Kind.INTS)
        kind = next((guess for guess in guesses if plain[guess]), Kind.JSON)
    if plain.get(kind):
        return column.cast(DTYPES[kind]), kind
    return encode(name, column.to_list(), kind, source), kind


def recast(column: pl.Series, kind: Kind, target: Kind) -> pl.Series:
    """A kept column as one of the ``widest`` kind."""
    if kind == target:
        return column
    if target == Kind.FLOAT:
        return column.cast(pl.Float64)
    if kind == Kind.INTS:
        return encode(column.name, column.to_list(), target, column.name)
    values = column.to_list()
    if kind == Kind.QUOTED:
        values = [None if value is None else str(value) for value in values]
    return encode(column.name, values, target, column.name)


def iso_times(column: pl.Series, zone: timezone, empty: str | None) -> list[Any]:
    """Instants as ISO texts in the portal's offset; ``empty`` where there is none."""
    offset = int(zone.utcoffset(None).total_seconds())
    suffix = offset_suffix(zone)
    seconds = column.to_list()
    local = np.array([value or 0 for value in seconds], dtype=np.int64) + offset
    texts = np.datetime_as_string(local.astype("datetime64[s]")).tolist()
    return [
        empty if value is None else text + suffix
        for text, value in zip(texts, seconds, strict=True)
    ]


def offset_suffix(zone: timezone) -> str:
    """``+03:00`` of a zone."""
    return datetime(2000, 1, 1, tzinfo=zone).isoformat()[-6:]


def decode(column: pl.Series, kind: Kind, zone: timezone) -> list[Any]:
    """Kept values as the JSON method returns them: null where empty, whole floats as integers."""
    if kind in (Kind.TIME, Kind.DATE):
        return iso_times(column, zone, None)
    values = column.to_list()
    if kind == Kind.FLOAT:
        return [
            # As PHP writes them: whole numbers bare, in its own range of them.
            int(value) if value is not None and value.is_integer() and abs(value) < 2**63 else value
            for value in values
        ]
    if kind == Kind.QUOTED:
        return [None if value is None else str(value) for value in values]
    if kind == Kind.JSON:
        return [None if value is None else orjson.loads(value) for value in values]
    return values

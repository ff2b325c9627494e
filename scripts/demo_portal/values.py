"""Values of the data files: the kind of a column, and how the database keeps a value of it.

Numbers and texts are kept as they are, times as the portal writes them, and values that SQLite has
no type for (true, false, lists, objects) as JSON in a blob.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from functools import partial
from typing import Any

import orjson


class DataError(ValueError):
    """A data file has a value that Bitrix24 would not return; the message names it."""


class Kind(StrEnum):
    """What a column holds.

    QUOTED is a number that the method returns as a string, FLAG a user field of type boolean,
    whose rows say true, 1 or Y, and EMPTY a column without a single value.
    """

    INT = "int"
    QUOTED = "quoted"
    FLOAT = "float"
    TEXT = "text"
    BOOL = "bool"
    FLAG = "flag"
    TIME = "time"
    DATE = "date"
    JSON = "json"
    EMPTY = "empty"


NUMBERS = (Kind.INT, Kind.QUOTED, Kind.FLOAT)
FLAGS = (Kind.BOOL, Kind.FLAG)
BLOBS = (*FLAGS, Kind.JSON)
TIMES = (Kind.TIME, Kind.DATE)

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

_TYPES: dict[Kind, set[type]] = {
    Kind.EMPTY: set(),
    Kind.FLAG: {bool},
    Kind.INT: {int},
    Kind.FLOAT: {int, float},
    Kind.TEXT: {str},
    Kind.TIME: {datetime},
    Kind.DATE: {date},
}


def infer(values: Sequence[Any]) -> Kind:
    """The kind of a column that nobody described."""
    types = set(map(type, values)) - {type(None)}
    return next((kind for kind, those in _TYPES.items() if types <= those), Kind.JSON)


def widest(first: Kind, second: Kind) -> Kind:
    """The kind that holds the values of both."""
    if first == second or second == Kind.EMPTY:
        return first
    if first == Kind.EMPTY:
        return second
    return Kind.FLOAT if {first, second} == {Kind.INT, Kind.FLOAT} else Kind.JSON


def keep(
    name: str, values: Sequence[Any], kind: Kind, zone: timezone, source: str
) -> Sequence[Any]:
    """Values of a file as the database of a portal in the zone keeps them.

    Raises:
        DataError: a value is not of the kind; ``source`` (the file) and the field are named.
    """
    if kind in (Kind.INT, Kind.QUOTED, Kind.TEXT) and infer(values) in (kind, Kind.EMPTY):
        return values
    convert = _KEEP.get(kind, _as_it_is)
    if kind in TIMES:
        convert = partial(_KEEP_TIME[kind], zone=zone)
    kept = []
    for value in values:
        try:
            kept.append(None if value is None else convert(value))
        except (TypeError, ValueError, OverflowError) as error:
            wanted = _WANTED.get(kind, kind)
            raise DataError(f"{source}: field {name!r} must be {wanted}, got {value!r}") from error
    return kept


def _as_it_is(value: Any) -> Any:
    if isinstance(value, bool | list | dict):
        return orjson.dumps(value)
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> int | float:
    # As PHP writes them: whole numbers bare, in its own range of them.
    return int(value) if value.is_integer() and abs(value) < 2**63 else value


def _whole(value: Any) -> int | None:
    if value == "":
        return None
    number = int(value)
    if isinstance(value, bool) or number != float(value):
        raise ValueError(value)
    return number


def _float(value: Any) -> int | float | None:
    return None if value == "" else _number(float(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _bool(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise TypeError(value)
    return orjson.dumps(value)


def _time(value: Any, zone: timezone) -> str | None:
    if value == "":
        return None
    text = str(value)
    time = moment(text, None)
    if (len(text), text[10]) == (25, "T") and time.utcoffset() == zone.utcoffset(None):
        return text  # as the portal writes it: a million rows have five million of them
    return written(time, zone)


def _date(value: Any, zone: timezone) -> str | None:
    text = str(value)
    if len(text) > len("2024-08-30") and moment(text, None) != midnight(text):
        raise ValueError(value)
    return written(midnight(text), zone) if text else None


_KEEP: dict[Kind, Callable[[Any], Any]] = {
    Kind.INT: _whole,
    Kind.QUOTED: _whole,
    Kind.FLOAT: _float,
    Kind.TEXT: _text,
    Kind.BOOL: _bool,
}
_KEEP_TIME = {Kind.TIME: _time, Kind.DATE: _date}
_WANTED = {
    Kind.TIME: "ISO 8601 with offset (2024-08-30T14:29:00+03:00)",
    Kind.DATE: "midnight UTC in the portal's offset (2024-08-30T03:00:00+03:00 for 30 August)"
    " or 2024-08-30",
}


def parse_offset(text: str) -> timezone:
    """``+03:00`` or ``-05:30`` as a time zone."""
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", text)
    if match is None:
        raise DataError(f"utc_offset must look like +03:00 or -05:00, got {text!r}")
    delta = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(delta if match[1] == "+" else -delta)


def moment(text: str, zone: timezone | None) -> datetime:
    """What an ISO, ``YYYY-MM-DD HH:MM:SS`` or ``DD.MM.YYYY HH:MM:SS`` text means.

    Args:
        text: the text.
        zone: zone of a text without offset; None: such a text is refused.

    Raises:
        ValueError: it is not a date.
    """
    text = text.strip()
    if text[2:3] == ".":
        text = re.sub(r"^(\d\d)\.(\d\d)\.(\d{4})", r"\3-\2-\1", text)
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        if zone is None:
            raise ValueError(text)
        found = found.replace(tzinfo=zone)
    return found


def midnight(text: str) -> datetime:
    """Midnight UTC of the day that a text means.

    Bitrix24 writes a date as midnight UTC in the portal's offset, so a text with an offset means
    its UTC date; a text without one means the date that it shows.

    Raises:
        ValueError: it is not a date.
    """
    return moment(text, UTC).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def written(time: datetime, zone: timezone) -> str:
    """A moment as the portal writes it; such texts of one zone sort as the moments do."""
    return time.astimezone(zone).isoformat(timespec="seconds")

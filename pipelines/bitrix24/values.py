"""Decodes the portal's values: lists and objects as PHP sends them, numbers, days, times.

PHP sends a list with gaps as an object ({"0": 5, "2": 7}), an empty object as an empty list, a
single value of a multiple field without a list, and "nothing" as null, "", false or []. Decoders
raise one of `BAD_VALUE`; the caller turns it into an error that names record and field.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipelines.bitrix24.redaction import is_file, readable

BAD_VALUE = (ValueError, TypeError, ArithmeticError, AttributeError, LookupError)

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
MOST_DIGITS = 999
# What PHP makes of a date that MySQL has as zeros.
_NO_DATE = ("0000-00-00", "-0001-11-30")
_RUSSIAN_DAY = re.compile(r"(\d\d)\.(\d\d)\.(\d{4})")


def listed(value: Any) -> list[Any]:
    """The values of a list."""
    if value is None or value == "" or value is False:
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, Mapping) and all(key.isdecimal() for key in value):
        return [value[key] for key in sorted(value, key=int)]
    return [value]


def mapping(value: Any) -> dict[str, Any]:
    """The fields of an object."""
    if value is None:
        return {}
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def text(value: Any) -> str | None:
    """A text with readable characters; an empty one is null."""
    if not isinstance(value, str | None):
        raise TypeError("not a text")
    return readable(value) or None


def decimal(value: Any) -> Decimal | None:
    """A number, which may come as text."""
    if value is None or value == "":
        return None
    # What JSON holds is a number already; the exponent stays small, as the pattern demands.
    if type(value) is Decimal and value.is_finite() and abs(value.adjusted()) < MOST_DIGITS:
        return value
    if type(value) is int:
        return Decimal(value)
    if not _NUMBER.fullmatch(str(value)):
        raise ValueError("not a number")
    return Decimal(str(value))


def integer(value: Any) -> int | None:
    """A whole number."""
    number = decimal(value)
    if number is None:
        return None
    if number != int(number):
        raise ValueError("not a whole number")
    return int(number)


def link(value: Any) -> int | None:
    """ID of a linked record; the API writes "no link" as null, "", "0", 0 or false."""
    return None if value is False else integer(value) or None


def boolean(value: Any) -> bool | None:
    """Yes or no; null if nothing is given."""
    if value is None or value == "":
        return None
    return {"Y": True, "1": True, "N": False, "0": False, True: True, False: False}[value]


def instant(value: Any) -> dt.datetime | None:
    """A moment: ISO 8601 with offset, as every list method writes times."""
    if not value:
        return None
    if not isinstance(value, str):
        raise TypeError("not a time")
    if value.startswith(_NO_DATE):
        return None
    moment = dt.datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return moment.astimezone(dt.UTC)


def day(value: Any) -> dt.date | None:
    """A day, sent as midnight UTC in the server's offset: it is the UTC day of that moment.

    West of UTC the text shows the day before. A text without a time is the day itself.
    """
    if isinstance(value, str) and len(value) == 10 and not value.startswith(_NO_DATE):
        if match := _RUSSIAN_DAY.fullmatch(value):
            return dt.date(int(match[3]), int(match[2]), int(match[1]))
        return dt.date.fromisoformat(value)
    moment = instant(value)
    return moment.date() if moment else None


@dataclass(frozen=True)
class UserField:
    """Metadata of a user field from crm.item.fields."""

    type: str = ""
    is_multiple: bool = False
    settings: Any = None

    def decode(self, value: Any) -> Any:
        """A value as plain JSON, whatever shape PHP gave it; a list if the field is multiple.

        IDs of list items, employees, elements, sections, resources and files are whole numbers;
        only the ID of a file is kept. Days are YYYY-MM-DD, times ISO 8601 in UTC, decimals their
        digits, money "1500.50 RUB", links to CRM elements "C_5" (contact), an address its text
        without coordinates.
        """
        if self.type == "boolean" and value is False:
            return False
        convert = _DECODERS.get(self.type, _plain)
        if self.type == "crm":
            parts: list[Any] = [self._crm(item) for item in listed(value)]
        else:
            parts = [_file(item) if is_file(item) else convert(item) for item in listed(value)]
        parts = [part for part in parts if part is not None]
        if self.is_multiple or len(parts) > 1:
            return parts
        return parts[0] if parts else None

    def _crm(self, value: Any) -> str | None:
        """Code of the kind and ID; Bitrix24 sends only the ID if the field allows one kind."""
        if isinstance(value, str) and "_" in value:
            return text(value)
        number = link(value)
        if number is None:
            return None
        allowed = [kind for kind, is_allowed in mapping(self.settings).items() if is_allowed == "Y"]
        code = _crm_code(allowed[0]) if len(allowed) == 1 else ""
        return f"{code}_{number}" if code else str(number)


_CRM_CODES = {
    "LEAD": "L",
    "DEAL": "D",
    "CONTACT": "C",
    "COMPANY": "CO",
    "QUOTE": "Q",
    "SMART_INVOICE": "SI",
    "ORDER": "O",
}


def _crm_code(kind: str) -> str:
    """The code of a kind; DYNAMIC_128, a smart process, is T80: its number in hexadecimal."""
    number = kind.removeprefix("DYNAMIC_")
    return f"T{int(number):x}" if number.isdecimal() else _CRM_CODES.get(kind, "")


def _file(value: Any) -> int | None:
    """Only the ID of a file."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("id", "ID", "fileId") if key in value), None)
    return link(value)


def _words(value: Any) -> str | None:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    return text(value)


def _digits(value: Any) -> str | None:
    number = decimal(value)
    return None if number is None else _shown(number)


def _shown(number: Decimal) -> str:
    digits = f"{number:f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _money(value: Any) -> str | None:
    """1500.50|RUB; whole amounts are written without decimals."""
    amount, _, currency = (_words(value) or "").partition("|")
    number = decimal(amount.strip())
    if number is None:
        return None
    shown = _shown(number)
    if len(shown.partition(".")[2]) == 1:
        shown += "0"
    return f"{shown} {currency}".strip()


def _address(value: Any) -> str | None:
    """Text|latitude;longitude|number."""
    words = _words(value)
    return re.sub(r"\|[-\d.]*;[-\d.]*(\|\d*)?$", "", words) or None if words else None


def _day_text(value: Any) -> str | None:
    found = day(value)
    return found.isoformat() if found else None


def _instant_text(value: Any) -> str | None:
    moment = instant(value)
    return moment.isoformat() if moment else None


def _plain(value: Any) -> Any:
    """A value of an unknown type: applications add their own types."""
    if isinstance(value, Decimal):
        return _shown(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {text(name) or "": _plain(item) for name, item in value.items()}
    return value


_DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "string": _words,
    "url": _words,
    "string_formatted": _words,
    "crm_status": _words,
    "integer": integer,
    "double": _digits,
    "boolean": boolean,
    "enumeration": link,
    "employee": link,
    "date": _day_text,
    "datetime": _instant_text,
    "money": _money,
    "address": _address,
    "iblock_element": link,
    "iblock_section": link,
    "hlblock": link,
    "resourcebooking": link,
    "file": _file,
    "disk_file": _file,
}

"""Rows of a portal as its REST methods return them, and decoders of their values."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import polars as pl

Row = Mapping[str, Any]

# Fields that are not files of a data directory.
LOGS = ("rate_log", "version_log")
NOT_FILES = ("portal", "ad_costs", *LOGS)
# A record may be up to a day ahead of the sync: it was created while the sync ran.
AHEAD = timedelta(hours=24)


@dataclass
class Portal:
    """The entities of a data directory, rows untouched.

    `rate_log` holds earlier syncs of the currencies, (time of the sync, rows) each;
    `currencies` is the latest sync. `version_log` holds what earlier syncs saw of leads and
    deals that have changed since, (lead or deal, row) each, the oldest first. `ad_costs` are the
    rows of the spend files, typed: dates, decimals and whole numbers.
    """

    leads: list[Row] = field(default_factory=list)
    deals: list[Row] = field(default_factory=list)
    contacts: list[Row] = field(default_factory=list)
    companies: list[Row] = field(default_factory=list)
    lead_addresses: list[Row] = field(default_factory=list)
    lead_stage_history: list[Row] = field(default_factory=list)
    deal_stage_history: list[Row] = field(default_factory=list)
    activities: list[Row] = field(default_factory=list)
    statuses: list[Row] = field(default_factory=list)
    categories: list[Row] = field(default_factory=list)
    users: list[Row] = field(default_factory=list)
    departments: list[Row] = field(default_factory=list)
    currencies: list[Row] = field(default_factory=list)
    fields: list[Row] = field(default_factory=list)
    ad_costs: list[Row] = field(default_factory=list)
    portal: Row = field(default_factory=dict)
    rate_log: list[tuple[datetime, list[Row]]] = field(default_factory=list)
    version_log: list[tuple[str, Row]] = field(default_factory=list)

    @classmethod
    def from_rows(cls, rows: Mapping[str, Any]) -> Self:
        """Build a portal from lists of rows by entity name; a missing entity is empty."""
        if unknown := set(rows) - set(cls.__dataclass_fields__):
            raise ValueError(f"no such entity: {sorted(unknown)}")
        entities: dict[str, Any] = {
            name: value if name in ("portal", *LOGS) else list(value)
            for name, value in rows.items()
        }
        return cls(**entities)

    @classmethod
    def read(cls, data_dir: Path | str) -> Self:
        """Read a data directory: `<entity>.jsonl` or `<entity>.parquet`, and `portal.json`."""
        folder = Path(data_dir)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder: give a portal data directory")
        rows: dict[str, Any] = {
            name: list(_rows(folder, name))
            for name in cls.__dataclass_fields__
            if name not in NOT_FILES
        }
        about = folder / "portal.json"
        rows["portal"] = json.loads(about.read_text(encoding="utf-8")) if about.exists() else {}
        return cls.from_rows(rows)

    @property
    def now(self) -> datetime:
        """The portal's clock, where portal.json fixes it."""
        moment = instant(self.portal.get("now"))
        if moment is None:
            raise ValueError("portal.json has no 'now': pass as_of")
        return moment


def _rows(folder: Path, name: str) -> Iterable[Row]:
    lines, columns = folder / f"{name}.jsonl", folder / f"{name}.parquet"
    if lines.exists() and columns.exists():
        raise ValueError(f"{folder} has both {lines.name} and {columns.name}: keep one")
    if columns.exists():
        yield from pl.read_parquet(columns).iter_rows(named=True)
    elif lines.exists():
        with lines.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield json.loads(line, parse_float=Decimal)


# Format characters without width, marks of direction among them, and two blank signs.
NO_PLACE = {0xAD, 0x180E, 0xFEFF, 0x2800, 0x3164, *range(0x200B, 0x2010), *range(0x202A, 0x202F)}
NO_PLACE |= {*range(0x2060, 0x2065), *range(0x2066, 0x2070)}
# Of those, what joins no letters and shows no direction: within a text it is nothing at all.
BREAKS = dict.fromkeys([0xAD, 0x200B, 0x2060, 0xFEFF])


def text(value: Any) -> str | None:
    """A text without what is not seen around it, null where nothing is left."""
    if value is None:
        return None
    letters = str(value)
    seen = [
        at for at, sign in enumerate(letters) if not _is_blank(sign) and ord(sign) not in NO_PLACE
    ]
    return letters[seen[0] : seen[-1] + 1] if seen else None


def line(value: Any) -> str | None:
    """A text that people read: on one line, with single blanks."""
    if value is None:
        return None
    letters = str(value).translate(BREAKS)
    blanks = "".join(" " if _is_blank(sign) else sign for sign in letters)
    return text(" ".join(filter(None, blanks.split(" "))))


def _is_blank(sign: str) -> bool:
    return unicodedata.category(sign) in ("Zs", "Zl", "Zp", "Cc")


def link(value: Any) -> int | None:
    """An ID, null where the API gives "0", 0, "" or null for no link."""
    return int(value) or None if value not in (None, "") else None


def links(value: Any) -> list[int]:
    """A list of IDs without the empty ones."""
    return [number for number in map(link, value or []) if number]


def instant(value: Any) -> datetime | None:
    """The instant of an ISO 8601 text with offset, in UTC."""
    if value in (None, ""):
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    if moment.tzinfo is None:
        if not isinstance(value, datetime):
            raise ValueError(f"datetime without an offset: {value!r}")
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def system_time(value: Any, zone: Any, as_of: datetime) -> datetime | None:
    """A time that the portal sets; null if impossible: before 2000 or a day after `as_of`."""
    moment = instant(value)
    if moment is None or not start_of(date(2000, 1, 1), zone) <= moment <= as_of + AHEAD:
        return None
    return moment


def is_awaited(moment: datetime | None, as_of: datetime) -> bool:
    """Whether a record was created during the sync: the next sync has it."""
    return moment is not None and as_of < moment <= as_of + AHEAD


def business_date(value: Any) -> date | None:
    """The day of a date field.

    The API writes a date as midnight UTC in the server's offset, so the day is the UTC day.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and len(value) == 10:
        return date.fromisoformat(value)
    moment = instant(value)
    return moment.date() if moment else None


def start_of(day: date, zone: Any) -> datetime:
    """The first instant of a day in a timezone."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def money(value: Any) -> Decimal | None:
    """An amount, exactly as the digits of the row say."""
    return None if value in (None, "") else Decimal(str(value))

"""Spend files: money spent on advertising, from the CSV files that the setting `spend` names.

Two forms: the one that Yandex Metrica takes as expenses
(https://yandex.com/dev/metrika/en/management/openapi/expense/uploadMultipart), and a plain one
whose columns the settings name, such as a report of Yandex Direct. The files are read whole or not
at all: a row that cannot be read is an error.
"""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pipelines.bitrix24.redaction import readable
from pipelines.bitrix24.values import text
from pipelines.errors import SpendFileError
from pipelines.settings import Settings, SpendFiles, did_you_mean

SEPARATORS = ";,\t"
# Reports of advertising systems have a title above the names of the columns.
MOST_LINES_ABOVE = 20
# How their rows of totals begin.
TOTALS = ("всего", "итого", "total", "grand total")
# What they write for "nothing".
NOTHING = ("", "-", "--", "—")
MOST_ERRORS = 10
MOST_SHOWN = 60

# A day outside is a year typed wrong, and so is the end of a longer range.
FIRST_DAY, LAST_DAY = dt.date(2000, 1, 1), dt.date(2099, 12, 31)
MOST_DAYS = 366
COST_UNIT, COST_LIMIT = Decimal("0.000001"), Decimal(10) ** 12
CLICKS_LIMIT = 10**12

# What a column is → its name in Metrica's form. Sources of the second level are known, not read.
METRICA = {
    "date": "Date",
    "cost": "Expenses",
    "utm_source": "UTMSource",
    "traffic_source": "TrafficSource",
    "traffic_source_detail": "TrafficSourceDetail",
    "utm_medium": "UTMMedium",
    "utm_campaign": "UTMCampaign",
    "utm_content": "UTMContent",
    "utm_term": "UTMTerm",
    "currency": "Currency",
    "clicks": "Clicks",
}
LABELS = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")

_DAY = r"(\d{4}-\d\d-\d\d|\d\d\.\d\d\.\d{4})"
_DAYS = re.compile(rf"{_DAY}(?:\s*[/–—-]\s*{_DAY})?", re.ASCII)
# Spaces between thousands, also the two that do not break.
_GROUPED = re.compile(r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?:[.,]\d+)?", re.ASCII)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?", re.ASCII)
_AMBIGUOUS = re.compile(r"[1-9]\d{0,2},\d{3}", re.ASCII)
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)

Row = dict[str, Any]
Line = tuple[int, list[str]]
T = TypeVar("T")


@dataclass(frozen=True)
class SpendFile:
    """A file that the settings name.

    Attributes:
        name: its path as seen from the folder of the settings file.
        state: differs once the file is written anew.
    """

    name: str
    path: Path
    files: SpendFiles
    state: tuple[int, int, int]


def read_spend(settings: Settings) -> list[Row]:
    """All rows of the spend files, with the columns of `raw.ad_costs`.

    Raises:
        SpendFileError: a path fits no file, or a file cannot be read; names file, line and reason.
    """
    rows: list[Row] = []
    wrong: list[str] = []
    files = spend_files(settings)
    for file in files:
        try:
            rows += _rows(file, wrong)
        except SpendFileError as error:
            wrong.append(str(error))
    if wrong:
        more = len(wrong) - MOST_ERRORS
        raise SpendFileError(
            "\n".join([*wrong[:MOST_ERRORS], *([f"… and {more} more"] if more > 0 else [])])
        )
    for file in files:
        if _state(file.name, file.path) != file.state:
            raise SpendFileError(
                f"{file.name} was changed while it was read: run again once it is written"
            )
    return rows


def spend_files(settings: Settings) -> list[SpendFile]:
    """The files that the setting `spend` names.

    Raises:
        SpendFileError: a path fits no file, or two settings name one file.
    """
    found: dict[Path, SpendFile] = {}
    for number, files in enumerate(settings.spend):
        paths = _fitting(number, files.path, settings.folder)
        if not paths:
            raise SpendFileError(
                f"setting spend.{number}.path = {files.path!r}: no file fits it, as seen from the"
                " folder of the settings file; put the files there or correct the path (if nothing"
                " was spent, remove it)"
            )
        for path in paths:
            name = readable(path.relative_to(settings.folder).as_posix())
            # The same file by another way, as a link, would count twice.
            known = found.get(path.resolve())
            if known:
                raise SpendFileError(
                    f"{name} and {known.name} in the setting spend are one file, whose rows would"
                    " count twice: name it once"
                )
            found[path.resolve()] = SpendFile(name, path, files, _state(name, path))
    return list(found.values())


def _fitting(number: int, pattern: str, folder: Path) -> list[Path]:
    """Files that fit a path, by name; not the hidden ones that editors leave."""
    try:
        found = sorted(folder.glob(pattern))
    except ValueError as error:
        raise SpendFileError(f"setting spend.{number}.path = {pattern!r}: {error}") from None
    return [path for path in found if not path.is_dir() and not path.name.startswith(".")]


def _state(name: str, path: Path) -> tuple[int, int, int]:
    with _named(name):
        state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turns an error of the file system into one that names the file as the settings see it."""
    try:
        yield
    except OSError as error:
        raise SpendFileError(
            f"{name} cannot be read ({error.strerror}): correct its rights, or run again if it was"
            " being replaced"
        ) from None


def _rows(file: SpendFile, wrong: list[str]) -> Iterator[Row]:
    """The rows of a file; what is wrong with those that cannot be read goes to `wrong`."""
    with _named(file.name):
        content = file.path.read_bytes()
    columns = _columns(file.files)
    names, lines = _table(file, _decoded(file.name, content))
    places = _places(file, names)
    for line, cells in lines:
        if file.files.columns and _is_total(cells, places["date"]):
            continue
        try:
            if len(cells) < len(names) or any(cells[len(names) :]):
                raise ValueError(
                    f"{len(cells)} cells, {len(names)} columns; put texts that hold a separator in"
                    " quotes, or save the file anew if it was cut short"
                )
            found = {what: cells[place].strip() for what, place in places.items()}
            yield {"file": file.name, "line_number": line, **_row(found, columns, file.files)}
        except ValueError as error:
            wrong.append(f"{file.name}, line {line}: {error}")


def _is_total(cells: list[str], date: int) -> bool:
    """Whether a line has the name of a total and no day."""
    first = next(cell.strip() for cell in cells if cell.strip())
    return first.casefold().startswith(TOTALS) and not (
        len(cells) > date and _DAYS.fullmatch(cells[date].strip())
    )


def _columns(files: SpendFiles) -> dict[str, str]:
    """What a column is → its name in the file."""
    return files.columns.model_dump(exclude_none=True) if files.columns else METRICA


def _decoded(name: str, content: bytes) -> str:
    """The text of a file in UTF-8 or Windows-1251."""
    if content.startswith((b"PK\x03\x04", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SpendFileError(
            f"{name} is a workbook or a text in UTF-16: save it as CSV in UTF-8 or Windows-1251"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    # Letters of Windows-1251 are hardly ever UTF-8; those of a damaged file in UTF-8 mostly are.
    tried = content.decode("utf-8", errors="replace")
    damaged = tried.count("\ufffd")
    if damaged > sum(not letter.isascii() for letter in tried) - damaged:
        with suppress(UnicodeDecodeError):
            return content.decode("cp1251")
    raise SpendFileError(
        f"{name}, line {line}: a letter is damaged: save the file anew as CSV in UTF-8"
    )


def _lines(name: str, content: str, separator: str) -> Iterator[Line]:
    """The lines of a CSV file that are not blank, each with the number of its first line."""
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SpendFileError(
                f"{name}, line {line}: not CSV ({error}): close its quotes, double those within a"
                " text, or save the file anew if it was cut short"
            ) from None
        if any(cell.strip() for cell in cells):
            yield line, cells


def _table(file: SpendFile, content: str) -> tuple[list[str], Iterator[Line]]:
    """The names of the columns, and the lines below them."""
    columns = _columns(file.files)
    needed = columns.values() if file.files.columns else (columns["date"], columns["cost"])
    nearest: list[str] = []
    lacking = list(needed)
    for separator in SEPARATORS:
        lines = _lines(file.name, content, separator)
        # With another separator than the file's, quotes may stand in the wrong places.
        with suppress(SpendFileError):
            for _, cells in islice(lines, MOST_LINES_ABOVE + 1):
                names = [cell.strip() for cell in cells]
                while not names[-1]:
                    names.pop()
                folded = [name.casefold() for name in names]
                missing = [name for name in needed if name.casefold() not in folded]
                if not missing:
                    return names, lines
                if len(missing) < len(lacking) or not nearest:
                    nearest, lacking = names, missing
    raise SpendFileError(
        f"{file.name}: no column {', '.join(lacking)}; it has {_short(', '.join(nearest))!r}:"
        f" correct the file{' or the setting `columns`' if file.files.columns else ''}"
    )


def _places(file: SpendFile, names: list[str]) -> dict[str, int]:
    """What a column is → its place.

    Raises:
        SpendFileError: a column is there twice, unknown to Metrica's form, or lacking.
    """
    columns = _columns(file.files)
    folded = [name.casefold() for name in names]
    for column in columns.values():
        if folded.count(column.casefold()) > 1:
            raise SpendFileError(f"{file.name}: the column {column} is there twice: remove one")
    places = {
        what: folded.index(column.casefold())
        for what, column in columns.items()
        if column.casefold() in folded
    }
    if not file.files.columns:
        known = {column.casefold() for column in METRICA.values()}
        for name in filter(str.strip, names):
            if name.casefold() not in known:
                raise SpendFileError(
                    f"{file.name}: {name} is no column of Metrica's form"
                    f"{did_you_mean(name, METRICA.values())}: correct or remove it"
                )
        if not {"utm_source", "traffic_source"} & places.keys():
            raise SpendFileError(f"{file.name}: no column UTMSource or TrafficSource: add one")
    return places


def _row(found: Mapping[str, str], columns: Mapping[str, str], files: SpendFiles) -> Row:
    """One row, typed.

    Raises:
        ValueError: a cell cannot be read; names its column.
    """

    def read(what: str, convert: Callable[[str], T]) -> T:
        value = found.get(what, "")
        try:
            return convert(value)
        except ValueError as error:
            raise ValueError(f"{columns[what]} is {_short(value)!r}: {error}") from None

    date_from, date_to = read("date", _days)
    labels = {what: text(found.get(what)) for what in LABELS}
    if not files.columns:
        source, traffic = labels["utm_source"], text(found.get("traffic_source"))
        if (source is None) == (traffic is None):
            raise ValueError("needs either UTMSource or TrafficSource")
        labels["utm_source"] = source or traffic
    return {
        "date_from": date_from,
        "date_to": date_to,
        **labels,
        "source_code": text(found.get("source")),
        "cost": read("cost", _cost),
        "currency_code": read("currency", _currency) or files.currency,
        "clicks": read("clicks", _clicks),
        "vat_percent": files.vat,
    }


def _days(value: str) -> tuple[dt.date, dt.date]:
    """The first and last day of a day or range."""
    match = _DAYS.fullmatch(value)
    if not match:
        raise ValueError(
            "write a day as 2026-03-31 or 31.03.2026, a range as 2026-03-01/2026-03-31"
        )
    try:
        days = [
            dt.date.fromisoformat(day)
            if "-" in day
            else dt.datetime.strptime(day, "%d.%m.%Y").date()
            for day in match.groups()
            if day
        ]
    except ValueError:
        raise ValueError("there is no such day") from None
    first, last = days[0], days[-1]
    if not FIRST_DAY <= first <= last <= LAST_DAY or (last - first).days >= MOST_DAYS:
        raise ValueError(
            f"a range ends after it begins and has at most {MOST_DAYS} days, from 2000 to 2099"
        )
    return first, last


def _cost(value: str) -> Decimal:
    """An amount with a decimal point or comma."""
    if _AMBIGUOUS.fullmatch(value):
        whole = value.replace(",", "")
        raise ValueError(f"{whole} or {value.replace(',', '.')}? Write {whole}.00 if the former")
    number = _number(value)
    if number is None:
        raise ValueError("write an amount as 1234.50, without currency and without a minus")
    if number >= COST_LIMIT:
        raise ValueError("that is too much")
    return number.quantize(COST_UNIT)


def _number(value: str) -> Decimal | None:
    """A number of zero or more; None if it is none."""
    if _GROUPED.fullmatch(value):
        value = "".join(value.split())
    return Decimal(value.replace(",", ".")) if _NUMBER.fullmatch(value) else None


def _clicks(value: str) -> int | None:
    if value in NOTHING:
        return None
    number = _number(value)
    if number is None or number % 1 or number >= CLICKS_LIMIT:
        raise ValueError("write a whole number")
    return int(number)


def _currency(value: str) -> str | None:
    if value in NOTHING:
        return None
    if not _CURRENCY.fullmatch(value):
        raise ValueError("write the code of a currency, as RUB")
    return value.upper()


def _short(value: str) -> str:
    return value if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]}…"

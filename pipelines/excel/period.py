"""The period of a workbook and the one that it is compared with."""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass

PRESET_MONTHS = (1, 3, 12)


@dataclass(frozen=True)
class Period:
    """First and last day, both included, of the period and of the one before."""

    start: dt.date
    end: dt.date
    previous_start: dt.date
    previous_end: dt.date


def period_of(start: dt.date | None, end: dt.date | None, as_of: dt.date) -> Period:
    """The asked period, by default the month of `as_of` to that day, and the one before it.

    A month, quarter or year from its first day to its last or to `as_of` is compared with the
    previous one up to the same day, or its last day where it is shorter; any other range with as
    many days just before.

    Raises:
        ValueError: the period would end before it starts.
    """
    end = end or as_of
    start = start or end.replace(day=1)
    if start > end:
        raise ValueError(f"the period would end on {end} before it starts on {start}")
    for months in PRESET_MONTHS:
        if start.day == 1 and (start.month - 1) % months == 0:
            last = add_months(start, months) - dt.timedelta(days=1)
            if end == last or (end == as_of and end <= last):
                previous_last = start - dt.timedelta(days=1)
                return Period(
                    start,
                    end,
                    add_months(start, -months),
                    min(add_months(end, -months), previous_last),
                )
    days = end - start
    previous_end = start - dt.timedelta(days=1)
    return Period(start, end, previous_end - days, previous_end)


def add_months(day: dt.date, months: int) -> dt.date:
    """The same day of another month, or that month's last day where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))

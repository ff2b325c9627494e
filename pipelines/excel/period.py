"""The period of a workbook and the one that it is compared with."""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass

PRESET_MONTHS = (1, 3, 12)
# A month that has just begun says little.
FIRST_DAYS = 7


@dataclass(frozen=True)
class Period:
    """First and last day, both included, of the period and of the one before.

    `previous_until`: the moment (aware) at which the one before ends, where that is not the end of
    its last day. `previous_as_of`: the moment at which the one before was over for as long as the
    period is at `as_of`; cohorts are compared at the same age by it.
    """

    start: dt.date
    end: dt.date
    previous_start: dt.date
    previous_end: dt.date
    previous_until: dt.datetime | None
    previous_as_of: dt.datetime


def period_of(start: dt.date | None, end: dt.date | None, as_of: dt.datetime) -> Period:
    """The asked period, by default the running month, and the one before it.

    In the first days of a month the default is the last finished one.

    A finished month, quarter or year is compared with the whole one before. The running one ends at
    `as_of`, and the one before at the same time of the same day of its month (of a quarter: of the
    same month of it), or with that month where it has no such day. Any other range is compared
    with as many days just before, which end at the time of day of `as_of` where the range does.

    Args:
        end: A later day than that of `as_of` means `as_of`.
        as_of: In the portal's timezone.

    Raises:
        ValueError: the period would end before it starts.
    """
    today = as_of.date()
    if start is None and end is None and today.day <= FIRST_DAYS:
        end = today.replace(day=1) - dt.timedelta(days=1)
    end = min(end or today, today)
    start = start or end.replace(day=1)
    if start > end:
        raise ValueError(f"the period would end on {end} before it starts on {start}")
    for months in PRESET_MONTHS:
        if start.day == 1 and (start.month - 1) % months == 0:
            last = add_months(start, months) - dt.timedelta(days=1)
            before = add_months(start, -months)
            if end == last and end < today:
                return _compared(as_of, (start, end), (before, start - dt.timedelta(days=1)))
            if end == today and end <= last:
                same = add_months(end, -months)
                until = dt.datetime.combine(same, as_of.timetz()) if same.day == end.day else None
                return _compared(as_of, (start, end), (before, same), until)
    days = end - start
    previous_end = start - dt.timedelta(days=1)
    until = as_of - (end - previous_end) if end == today else None
    return _compared(as_of, (start, end), (previous_end - days, previous_end), until)


def _compared(
    as_of: dt.datetime,
    days: tuple[dt.date, dt.date],
    before: tuple[dt.date, dt.date],
    until: dt.datetime | None = None,
) -> Period:
    return Period(*days, *before, until, as_of_then(as_of, days[1], before[1], until))


def as_of_then(
    as_of: dt.datetime, end: dt.date, previous_end: dt.date, until: dt.datetime | None
) -> dt.datetime:
    """The moment at which an earlier period was over for as long as a period is at `as_of`.

    Args:
        as_of: In the portal's timezone, by whose clock is counted.
        end: Last day of the period.
        previous_end: That of the earlier one.
        until: The moment at which the earlier one ends, where that is not the end of its day.
    """

    def over(day: dt.date) -> dt.datetime:
        return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), tzinfo=as_of.tzinfo)

    return (until or over(previous_end)) + (as_of - min(as_of, over(end)))


def add_months(day: dt.date, months: int) -> dt.date:
    """The same day of another month, or that month's last day where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))

"""The choice under which a page opens: its period, and those that it is compared with.

The same rules for every other choice: `reports/shell/period.js`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.excel.period import add_months, as_of_then, period_of

Days = tuple[dt.date, dt.date]
# Units of a time axis that a page shows at least.
SHOWN = {"day": 31, "week": 26, "month": 12, "quarter": 8, "year": 5}
MONTHS = {"month": 1, "quarter": 3, "year": 12}


class Before(NamedTuple):
    """An earlier period; `until`: SQL of the instant at which it ends within its last day,
    `reached`: of that at which it was over for as long as the period is now."""

    days: Days
    until: str | None
    reached: str


@dataclass(frozen=True)
class Choice:
    """Args:
    as_of: In the portal's timezone.
    first: Day of the first record.
    """

    as_of: dt.datetime
    first: dt.date

    @property
    def period(self) -> Days:
        """The last finished month in the first days of one, else the running one."""
        period = period_of(None, None, self.as_of)
        return period.start, period.end

    @property
    def preset(self) -> str:
        """Its name in the address of a page."""
        return "thisMonth" if self.period[1] == self.as_of.date() else "previousMonth"

    @property
    def before(self) -> Before:
        """The period that it is compared with."""
        period = period_of(None, None, self.as_of)
        until = period.previous_until
        instant = _instant(until) if until else None
        days = (period.previous_start, period.previous_end)
        return Before(days, instant, _instant(period.previous_as_of))

    @property
    def year_before(self) -> Before:
        """The same days a year earlier."""
        start, end = self.period
        last = add_months(end, -12)
        is_whole = end != self.as_of.date()
        if is_whole:
            last = add_months(start, -11) - dt.timedelta(days=1)
        is_cut = not is_whole and last.day == end.day
        until = dt.datetime.combine(last, self.as_of.timetz()) if is_cut else None
        reached = as_of_then(self.as_of, end, last, until)
        days = (add_months(start, -12), last)
        return Before(days, _instant(until) if until else None, _instant(reached))

    def axis(self, grain: str) -> Days:
        """Days of a time axis: it ends with the data, but for a period that lies before it."""
        today = self.as_of.date()
        present = self.window(grain, (today, today))
        return present if self.period[0] >= present[0] else self.window(grain, self.period)

    def window(self, grain: str, period: Days) -> Days:
        """Days of a line beside a figure: whole units that end with the period."""
        start, end = period
        end = min(end, self.as_of.date())
        first = shifted(grain, start_of(grain, end), 1 - SHOWN[grain])
        return min(first, start_of(grain, max(start, self.first))), end


def a_year_before(days: Days) -> Days:
    """The same days a year earlier."""
    start, end = days
    return add_months(start, -12), add_months(end, -12)


def _instant(moment: dt.datetime) -> str:
    """The tables of a site have instants as the portal's clock showed them."""
    return f"timestamp '{moment:%Y-%m-%d %H:%M:%S}'"


def start_of(grain: str, day: dt.date) -> dt.date:
    """First day of the day, week, month, quarter or year of a day."""
    if grain == "day":
        return day
    if grain == "week":
        return day - dt.timedelta(days=day.weekday())
    return day.replace(month=day.month - (day.month - 1) % MONTHS[grain], day=1)


def shifted(grain: str, day: dt.date, units: int) -> dt.date:
    """The start of a unit as many units later."""
    if grain in MONTHS:
        return add_months(day, units * MONTHS[grain])
    return day + dt.timedelta(days=units * (7 if grain == "week" else 1))

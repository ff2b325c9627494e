"""When things happen: seasons, weekdays, working hours.

Times are integers: seconds of the portal's wall clock since 1970-01-01 00:00, so that a day is
`time // DAY` without any timezone arithmetic. The portal's offset is fixed (Russia has no
daylight saving time).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scripts.demo_company.vocabulary import Rhythm

Times = npt.NDArray[np.int64]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MINUTE = 60
HOUR = 3600
DAY = 86_400

MONTHS = (0.70, 0.95, 1.10, 1.05, 0.85, 0.90, 0.85, 0.95, 1.20, 1.25, 1.15, 1.00)
GROWTH_PER_MONTH = 1.012
WEEKDAYS = (1.15, 1.10, 1.05, 1.00, 0.95, 0.45, 0.35)
HOURS: dict[Rhythm, tuple[float, ...]] = {
    "office": (
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0.1,
        0.4,
        1,
        1.3,
        1.3,
        1.1,
        0.9,
        1.1,
        1.2,
        1.1,
        0.9,
        0.4,
        0.1,
        0,
        0,
        0,
        0,
    ),
    "web": (
        0.15,
        0.08,
        0.05,
        0.04,
        0.04,
        0.06,
        0.15,
        0.3,
        0.5,
        0.8,
        1,
        1,
        1,
        0.9,
        0.9,
        0.9,
        0.9,
        0.9,
        1,
        1.1,
        1.2,
        1.1,
        0.7,
        0.3,
    ),
}
OPENS, CLOSES = 9, 19


@dataclass(frozen=True)
class Clock:
    """The company's time.

    Attributes:
        start: midnight of the first day of the first month.
        until: the portal's now.
        offset: of the portal's clock from UTC, e.g. `+03:00`.
    """

    start: int
    until: int
    offset: str

    @classmethod
    def of(cls, until: dt.datetime, months: int) -> Clock:
        """Clock of `months` months, the month of `until` being the last."""
        wall = int(until.replace(tzinfo=dt.UTC, microsecond=0).timestamp())
        month = until.year * 12 + until.month - months
        first = dt.datetime(month // 12, month % 12 + 1, 1, tzinfo=dt.UTC)
        return cls(int(first.timestamp()), wall, until.isoformat()[-6:])

    def times(
        self, rng: np.random.Generator, count: int, rhythm: Rhythm, start: int, until: int
    ) -> Times:
        """`count` times in [start, until], unsorted."""
        hours = np.arange(start, max(until, start + 1), HOUR, dtype=np.int64)
        moments = hours.astype("datetime64[s]")
        months = moments.astype("datetime64[M]").astype(np.int64)
        days = moments.astype("datetime64[D]")
        day_of_month = (days - moments.astype("datetime64[M]")).astype(np.int64) + 1
        weekday = (days.astype(np.int64) + 3) % 7
        month = months % 12
        weight = (
            np.asarray(MONTHS)[month]
            * GROWTH_PER_MONTH ** (months - months[0])
            * np.asarray(WEEKDAYS)[weekday]
            * np.asarray(HOURS[rhythm])[hours // HOUR % 24]
        )
        new_year = (month == 0) & (day_of_month <= 8)
        may = (month == 4) & np.isin(day_of_month, (1, 2, 3, 9))
        weight *= np.where(new_year | may, 0.2, 1.0)
        # A period of a few night hours has no weight at all.
        weight += 1e-9
        ends = np.cumsum(weight)
        chosen = np.searchsorted(ends, rng.random(count) * ends[-1], side="right")
        moment = hours[np.minimum(chosen, hours.size - 1)] + rng.integers(0, HOUR, count)
        clipped: Times = np.minimum(moment, until)
        return clipped


def to_working_hours(times: Times) -> Times:
    """The same days, squeezed into working hours in the same order."""
    day, second = np.divmod(times, DAY)
    opened: Times = day * DAY + OPENS * HOUR + second * (CLOSES - OPENS) // 24
    return opened


def between(begin: Times, end: Times, share: Floats) -> Times:
    """Times at a share of the way from begin to end, in working hours of the days between."""
    time = begin + ((end - begin) * share).astype(np.int64)
    day = time // DAY
    in_hours = np.where(
        day == end // DAY,
        np.minimum(np.maximum(time, day * DAY + OPENS * HOUR), end),
        to_working_hours(time),
    )
    return np.where(day == begin // DAY, time, in_hours)


def pick(rng: np.random.Generator, weights: npt.ArrayLike, count: int) -> Integers:
    """`count` indexes drawn in proportion to `weights`."""
    ends = np.cumsum(np.asarray(weights, dtype=np.float64))
    drawn = np.searchsorted(ends, rng.random(count) * ends[-1], side="right")
    chosen: Integers = np.minimum(drawn, ends.size - 1)
    return chosen


def some(rng: np.random.Generator, among: Mask, share: float, least: int = 3) -> Integers:
    """Sorted indexes of `share` of those in the mask, of `least` where that would be fewer."""
    candidates = np.flatnonzero(among)
    count = min(candidates.size, max(least, round(candidates.size * share)))
    return np.sort(rng.choice(candidates, count, replace=False))

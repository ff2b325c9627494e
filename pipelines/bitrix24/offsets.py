"""The offsets with which a portal writes its times, against the timezone that cuts the days.

Bitrix24 writes every time in the timezone of its server, with the offset of that moment. Which
timezone that is no method tells, so the offsets are compared at the moments that were read: a zone
may agree in winter and differ in summer, or have changed its offset since.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any
from zoneinfo import ZoneInfo

# Older times are errors or of days before standard time, which no two programs write alike.
WRITTEN = re.compile(r"(2\d\d\d-\d\d)-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d)")


class WrittenTimes:
    """Times as the portal wrote them, the first and the last of each month and offset."""

    def __init__(self) -> None:
        self._by_month: dict[tuple[str, str], tuple[str, str]] = {}

    def note(self, value: Any) -> None:
        """Takes a time of the portal; what is none is passed over."""
        if isinstance(value, str) and (found := WRITTEN.fullmatch(value)):
            # Of one offset, so they stand in the order of their text.
            first, last = self._by_month.get((found[1], found[2]), (value, value))
            self._by_month[found[1], found[2]] = min(first, value), max(last, value)

    def until(self, moment: dt.datetime) -> list[str]:
        """The times up to a moment, the earliest first."""
        kept = {text for ends in self._by_month.values() for text in ends}
        times = {dt.datetime.fromisoformat(text): text for text in kept}
        return [times[time] for time in sorted(times) if time <= moment]

    def difference(self, zone: str, moment: dt.datetime) -> str | None:
        """What to tell where an offset is not that of the timezone; None where all are."""
        times = self.until(moment)
        differing = [text for text in times if not has_offset_of(text, zone)]
        if not differing:
            return None
        last = dt.datetime.fromisoformat(differing[-1])
        return (
            f"the portal writes {differing[-1]} where {zone} (portal_timezone) has"
            f" {last.astimezone(ZoneInfo(zone)).isoformat()[-6:]}, in {len(differing)} of"
            f" {len(times)} moments looked at, the first in {differing[0][:7]}: the reports begin"
            " their days at another hour than the portal's server; name its timezone in"
            " portal_timezone, unless the company really works in this one"
        )


def has_offset_of(text: str, zone: str) -> bool:
    """Whether a time is written with the offset that a timezone has at that moment."""
    time = dt.datetime.fromisoformat(text)
    return time.utcoffset() == time.astimezone(ZoneInfo(zone)).utcoffset()

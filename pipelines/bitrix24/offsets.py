"""Compares the offsets in a portal's times with the time zone of the reports.

Bitrix24 writes every time in the time zone of its server, with the offset of that moment. No method
names that zone, so the offsets are compared at the moments that were read: a zone may match in
winter and differ in summer, or have changed its offset since.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

# Older times are errors, or from before standard time, which programs write differently.
WRITTEN = re.compile(r"(2\d\d\d-\d\d)-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d)")


class WrittenTimes:
    """Times as the portal wrote them: the first and the last of each month and offset."""

    def __init__(self) -> None:
        self._by_month: dict[tuple[str, str], tuple[str, str]] = {}

    def note(self, value: Any) -> None:
        """Adds a time of the portal; other values are ignored."""
        if isinstance(value, str) and (found := WRITTEN.fullmatch(value)):
            # They have the same offset, so text order is time order.
            first, last = self._by_month.get((found[1], found[2]), (value, value))
            self._by_month[found[1], found[2]] = min(first, value), max(last, value)

    def note_all(self, values: Sequence[Any]) -> None:
        """Adds many times at once."""
        texts = pl.Series("text", [value for value in values if isinstance(value, str)], pl.String)
        ends = (
            texts.to_frame()
            .filter(pl.col("text").str.contains(f"^(?:{WRITTEN.pattern})$"))
            .group_by(month=pl.col("text").str.head(7), offset=pl.col("text").str.tail(6))
            .agg(first=pl.col("text").min(), last=pl.col("text").max())
        )
        for text in (*ends["first"], *ends["last"]):
            self.note(text)

    def until(self, moment: dt.datetime) -> list[str]:
        """The times up to a moment, earliest first."""
        kept = {text for ends in self._by_month.values() for text in ends}
        times = {dt.datetime.fromisoformat(text): text for text in kept}
        return [times[time] for time in sorted(times) if time <= moment]

    def difference(self, zone: str, moment: dt.datetime) -> str | None:
        """The warning if an offset differs from the time zone's; None if all match."""
        times = self.until(moment)
        differing = [text for text in times if not has_offset_of(text, zone)]
        if not differing:
            return None
        last = dt.datetime.fromisoformat(differing[-1])
        return (
            f"the portal writes {differing[-1]} where {zone} (portal_timezone) has"
            f" {last.astimezone(ZoneInfo(zone)).isoformat()[-6:]}, in {len(differing)} of"
            f" {len(times)} moments checked, the first in {differing[0][:7]}: days in the reports"
            " start at a different hour than on the portal's server; set portal_timezone to its"
            " time zone, unless the company really works in this one"
        )


def has_offset_of(text: str, zone: str) -> bool:
    """Whether a time is written with the offset of a time zone at that moment."""
    time = dt.datetime.fromisoformat(text)
    return time.utcoffset() == time.astimezone(ZoneInfo(zone)).utcoffset()

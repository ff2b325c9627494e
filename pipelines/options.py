"""Command-line options of one refresh."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Options of `refresh` and `extract`; the defaults are those of a scheduled run.

    Attributes:
        full: read everything, not only what changed.
        accept_loss: many records may be gone.
        accept: raw checks whose failure is accepted.
        history_from: read only what was created on or after this day (in the portal's time zone).
    """

    full: bool = False
    accept_loss: bool = False
    accept: Collection[str] = ()
    history_from: dt.date | None = None


SCHEDULED = Options()

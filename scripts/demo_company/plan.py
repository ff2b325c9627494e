"""What happened to the company, as numbers, before it becomes rows of an API.

Frames hold one row per item in the order of creation. Links are row numbers; -1 means none.
Times are seconds of the portal's wall clock (see `timeline`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from scripts.demo_company.timeline import (
    DAY,
    Clock,
    Floats,
    Integers,
    Mask,
    Times,
    pick,
    to_working_hours,
)
from scripts.demo_company.vocabulary import DISMISSED, EMPLOYEES

DISMISSED_DAYS_AGO = 75


@dataclass
class Plan:
    """Everything that happened.

    Attributes:
        clock: the portal's time.
        seed: of all random draws.
        reference: March 2026 has the figures of the reference month.
        leads: `created, settled_at, outcome, path, source, campaign, manager, customer, returning,
            conversion, stage, moved, last_activity`; `settled_at` is 0 in work.
        lead_history, deal_history: `item, time, stage, type_id`, oldest first.
        customers: `created, lead, manager, source, contacts, has_company`.
        deals: `created, due, lead, customer, category, outcome, path, source, campaign, manager,
            amount, currency, imported, recurring, returning, fixed, stage, moved, last_activity`;
            `fixed` deals carry a reference figure: no edge case may change them.
    """

    clock: Clock
    seed: int
    reference: bool
    leads: pl.DataFrame = field(default_factory=pl.DataFrame)
    lead_history: pl.DataFrame = field(default_factory=pl.DataFrame)
    customers: pl.DataFrame = field(default_factory=pl.DataFrame)
    deals: pl.DataFrame = field(default_factory=pl.DataFrame)
    deal_history: pl.DataFrame = field(default_factory=pl.DataFrame)

    def rng(self, purpose: str) -> np.random.Generator:
        """A separate generator for each purpose: a change of one does not affect the others."""
        return np.random.default_rng([self.seed, *purpose.encode()])


def log_normal(rng: np.random.Generator, median: npt.ArrayLike, sigma: float, count: int) -> Floats:
    """Log-normal draws around a median."""
    return np.asarray(median, dtype=np.float64) * np.exp(rng.normal(0.0, sigma, count))


def seconds(days: Floats) -> Integers:
    """Whole seconds in so many days."""
    return (days * DAY).astype(np.int64)


def managers(rng: np.random.Generator, clock: Clock, times: Times, share: str) -> Integers:
    """User IDs by the employees' `leads` or `deals` share; none to the dismissed afterwards."""
    users = np.array([employee.user_id for employee in EMPLOYEES])
    shares = np.array([getattr(employee, share) for employee in EMPLOYEES], dtype=np.float64)
    chosen = users[pick(rng, shares, times.size)]
    late = is_dismissed(clock, chosen, times)
    chosen[late] = users[pick(rng, shares * (users != DISMISSED), int(late.sum()))]
    return chosen


def is_dismissed(clock: Clock, users: Integers, times: Times) -> Mask:
    """Whether the user no longer works at the time."""
    gone: Mask = (users == DISMISSED) & (times > clock.until - DISMISSED_DAYS_AGO * DAY)
    return gone


def strength(users: Integers) -> Floats:
    """The employees' strength, by user ID."""
    table = np.ones(max(employee.user_id for employee in EMPLOYEES) + 1)
    for employee in EMPLOYEES:
        table[employee.user_id] = employee.strength
    return table[users]


def last_visits(visits: pl.DataFrame) -> pl.DataFrame:
    """Present `stage` and `moved` of every item, in their order."""
    item = visits["item"].to_numpy()
    last = np.append(item[1:] != item[:-1], True)
    return visits.filter(last).select("stage", moved="time")


def last_activity(
    rng: np.random.Generator,
    clock: Clock,
    moved: Times,
    is_open: Mask,
    forgotten: float,
    every_days: float,
) -> Times:
    """Time of the last call, letter or comment: recent for most open items.

    Args:
        forgotten: share of open items that were left soon after their last move.
        every_days: mean days since the last activity of the others.
    """
    count = moved.size
    recent = np.maximum(moved, clock.until - seconds(rng.exponential(every_days, count)))
    early = moved + seconds(rng.exponential(1.0, count))
    after_close = moved + seconds(rng.exponential(0.4, count) * (rng.random(count) < 0.5))
    abandoned = rng.random(count) < forgotten
    times = np.where(is_open, np.where(abandoned, early, recent), after_close)
    return np.minimum(np.maximum(to_working_hours(times), moved), clock.until)

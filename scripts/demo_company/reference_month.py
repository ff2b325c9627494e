"""The reference month: March 2026 with known figures.

Leads received 1398 (junk 896, quality 253, in work 249), processed in 5 days on average; 373 deals
created in the Sales pipeline, 15 of the month's deals forgotten; 11 sales, all of them first sales
of leads created before; no sale of a lead or a deal created in March, no other sale in March, with
the custom paid stage named or not; deals for 176 000 000 RUB imported at the end of January stand
on that stage, alone. The portal's clock shows 31 March 2026 20:00 in Moscow.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from scripts.demo_company.stages import FAILURE, LEADS, OPEN, SALES, SUCCESS
from scripts.demo_company.timeline import DAY, HOUR, Clock, Floats, Integers, Mask, Times

UNTIL = dt.datetime.fromisoformat("2026-03-31T20:00:00+03:00")
START = int(dt.datetime(2026, 3, 1, tzinfo=dt.UTC).timestamp())

LEADS_RECEIVED, LEADS_JUNK, LEADS_QUALITY, LEADS_IN_WORK = 1398, 896, 253, 249
PROCESSING_DAYS = 5
DEALS_CREATED = 373
DEALS_FORGOTTEN, FORGOTTEN_DAYS = 15, 14
FIRST_SALES = 11
IMPORTED_AMOUNT = 176_000_000
# Of all leads: the reference month needs other months beside it.
LEAST_LEADS = 3_000
DEFAULT_LEADS = 18_000


def put_on_the_edges(created: Times, in_march: Mask) -> None:
    """One lead in the month's first second, one in the last second before it."""
    first = int(np.argmax(in_march))
    created[first] = START
    created[first - 1] = START - 1


def _top(rng: np.random.Generator, scores: Floats, among: Mask, count: int) -> Mask:
    """A weighted draw of `count` items without replacement; a score is the log of a weight."""
    scores = np.where(among, scores + rng.gumbel(size=scores.size), -np.inf)
    chosen = np.zeros(scores.size, dtype=bool)
    chosen[np.argsort(-scores, kind="stable")[:count]] = True
    return chosen


def lead_outcomes(
    rng: np.random.Generator,
    clock: Clock,
    created: Times,
    outcome: Integers,
    quality: Floats,
    in_march: Mask,
) -> Integers:
    """Outcomes with the month's counts; the young leads are the likeliest to be in work."""
    age = (clock.until - created) / DAY
    in_work = _top(rng, np.where(age < 0.5, 100.0, -age / 6), in_march, LEADS_IN_WORK)
    good = _top(rng, np.log(quality / (1 - quality)), in_march & ~in_work, LEADS_QUALITY)
    outcome = np.where(in_march, FAILURE, outcome)
    outcome[in_work] = OPEN
    outcome[good] = SUCCESS
    return outcome


def quality_only_once(path: Integers, in_march: Mask) -> Integers:
    """No lead of the month was quality for a time and is junk now."""
    through = np.array(
        [p.group == "failure" and "CONVERTED" in p.stages for p in LEADS.paths], dtype=bool
    )
    simple = next(n for n, p in enumerate(LEADS.paths) if p.stages == ("NEW", "JUNK"))
    return np.where(in_march & through[path], simple, path)


def processing_times(
    clock: Clock, created: Times, due: Times, closing: Mask, settled: int
) -> Times:
    """Outcome times stretched until the average is exact to the second.

    Args:
        closing: leads of the month that are closed and were not created closed.
        settled: all closed leads of the month, those created closed (in 0 days) included.
    """
    target = settled * PROCESSING_DAYS * DAY
    drawn = (due - created)[closing].astype(np.float64)
    room = clock.until - HOUR // 10 - created[closing]

    def stretched(factor: float) -> Integers:
        # Nears the room that there is, so that closings do not pile up at the end of the month.
        return (60 + (room - 60) * -np.expm1(-drawn * factor / room)).astype(np.int64)

    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if stretched(middle).sum() <= target else (low, middle)
    lengths = stretched(low)
    lengths[np.argmax(room - lengths)] += target - lengths.sum()
    due = due.copy()
    due[closing] = created[closing] + lengths
    return due


def deal_outcomes(
    rng: np.random.Generator,
    clock: Clock,
    deals: pl.DataFrame,
    lead_created: Times,
    sales: bool,
) -> pl.DataFrame:
    """Deals (`created, due, outcome, lead, category, imported, recurring, fixed`) with the sales.

    Deals that would be sold in March fail or stay in work; then, where `sales` is set, eleven
    deals created before March, the only deals of leads created before March, are sold in working
    hours of the month.
    """
    created, due, outcome, lead = (
        deals[name].to_numpy().copy() for name in ("created", "due", "outcome", "lead")
    )
    late_win = (outcome == SUCCESS) & (due >= START)
    fails = late_win & (rng.random(created.size) < 0.5)
    outcome[fails] = FAILURE
    due[late_win & ~fails] = clock.until + 10 * DAY
    deals = deals.with_columns(due=due, outcome=outcome)
    if not sales:
        return deals

    deals_of_lead = np.bincount(lead[lead >= 0], minlength=lead_created.size)
    fits = (
        (lead >= 0)
        & (deals["category"].to_numpy() == SALES)
        & (created > START - 100 * DAY)
        & (created < START - 3 * DAY)
        & (lead_created[lead] < START)
        & (deals_of_lead[lead] == 1)
        & (deals["imported"].to_numpy() == 0)
        & ~deals["recurring"].to_numpy()
    )
    sold = np.sort(rng.choice(np.flatnonzero(fits), FIRST_SALES, replace=False))
    outcome[sold] = SUCCESS
    due[sold] = np.sort(clock.times(rng, FIRST_SALES, "office", START + 9 * HOUR, clock.until))
    fixed = np.zeros(created.size, dtype=bool)
    fixed[sold] = True
    return deals.with_columns(due=due, outcome=outcome, fixed=fixed)


def forget_deals(
    rng: np.random.Generator,
    clock: Clock,
    created: Times,
    moved: Times,
    is_open: Mask,
    category: Integers,
    last_activity: Times,
) -> Times:
    """Last activities with exactly fifteen forgotten deals among those created in March.

    All fifteen are in the Sales pipeline, and one has been left for exactly fourteen days.
    """
    limit = clock.until - FORGOTTEN_DAYS * DAY
    of_march = is_open & (created >= START)
    old = np.flatnonzero(of_march & (category == SALES) & (moved < limit - DAY))
    forgotten = np.sort(rng.choice(old, DEALS_FORGOTTEN, replace=False))
    times = last_activity.copy()
    times[of_march] = np.maximum(
        times[of_march], limit + DAY // 2 + rng.integers(0, 10 * DAY, int(of_march.sum()))
    )
    times[forgotten] = np.minimum(
        moved[forgotten] + rng.integers(0, 3 * DAY, DEALS_FORGOTTEN), limit - HOUR
    )
    times[forgotten[0]] = limit
    return times


def imported_amounts(drawn: Floats) -> Floats:
    """Amounts in the drawn proportions, whole thousands, adding up to 176 000 000."""
    thousands = np.maximum(np.floor(drawn / drawn.sum() * IMPORTED_AMOUNT / 1000), 1)
    thousands[np.argmax(thousands)] += IMPORTED_AMOUNT // 1000 - thousands.sum()
    amounts: Floats = thousands * 1000
    return amounts

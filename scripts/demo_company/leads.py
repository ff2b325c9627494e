"""Leads: when they come, from where, to whom, and what becomes of them."""

from __future__ import annotations

import numpy as np
import polars as pl

from scripts.demo_company import reference_month as march
from scripts.demo_company.plan import (
    Plan,
    last_activity,
    last_visits,
    log_normal,
    managers,
    seconds,
    strength,
)
from scripts.demo_company.stages import FAILURE, LEADS, OPEN, OUTCOMES, SUCCESS
from scripts.demo_company.timeline import HOUR, Integers, Mask, Times, pick, to_working_hours
from scripts.demo_company.vocabulary import CAMPAIGNS, SOURCES

RETURNING = 0.10
# Share that nobody finishes.
STUCK = 0.035
FORGOTTEN = 0.25

# How a quality lead was converted, and the shares.
NOTHING, CONTACT_ONLY, DEAL_ONLY, DEAL_AND_CONTACT = range(4)
CONVERSIONS = (0.06, 0.12, 0.05, 0.77)


def plan_leads(plan: Plan, count: int) -> None:
    """Fill `plan.leads` (all but `customer`) and `plan.lead_history`."""
    rng, clock = plan.rng("leads"), plan.clock
    created, source, in_march = _arrivals(plan, rng, count)
    campaign = _campaigns(rng, source)
    manager = managers(rng, clock, created, "leads")
    returning = rng.random(count) < RETURNING

    quality = np.array([item.quality for item in SOURCES])[source] * strength(manager)
    quality *= np.append([item.quality for item in CAMPAIGNS], 1.0)[campaign]
    quality = np.clip(np.where(returning, quality * 1.8, quality), 0.01, 0.85)
    luck = rng.random(count)
    outcome = np.where(luck < quality, SUCCESS, np.where(luck > 1 - STUCK, OPEN, FAILURE))
    if plan.reference:
        outcome = march.lead_outcomes(rng, clock, created, outcome, quality, in_march)

    median = np.where(outcome == SUCCESS, 3.3, 2.6)
    due = to_working_hours(created + seconds(log_normal(rng, median, 1.0, count)))
    due = np.maximum(due, created + rng.integers(40, 2 * HOUR, count))
    plain = np.zeros(count, dtype=bool)
    if plan.reference:
        late = ~in_march & (due >= march.START)
        outcome = np.where(late & (outcome == SUCCESS), FAILURE, outcome)
        plain = late
    path = LEADS.choose(rng, [(name, outcome == n) for n, name in enumerate(OUTCOMES)], plain)
    if plan.reference:
        path = march.quality_only_once(path, in_march)
    instant = LEADS.settles[path] == 0
    due = np.where(instant, created, due)
    if plan.reference:
        closing = in_march & (outcome != OPEN) & ~instant
        settled = int((in_march & (outcome != OPEN)).sum())
        due = march.processing_times(clock, created, due, closing, settled)

    visits = LEADS.walk(rng, created, due, path, clock.until, np.full(count, clock.until * 2))
    present = last_visits(visits)
    settled_now = (outcome != OPEN) & (due <= clock.until)
    converted = settled_now & (outcome == SUCCESS)
    is_open = ~LEADS.is_final[present["stage"].to_numpy()]
    activity = last_activity(rng, clock, present["moved"].to_numpy(), is_open, FORGOTTEN, 1.1)
    plan.lead_history = LEADS.history(visits)
    plan.leads = pl.DataFrame(
        {
            "created": created,
            "settled_at": np.where(settled_now, due, 0),
            "outcome": outcome,
            "path": path,
            "source": source,
            "campaign": campaign,
            "manager": manager,
            "returning": returning,
            "conversion": np.where(converted, pick(rng, CONVERSIONS, count), -1),
            "last_activity": activity,
        }
    ).hstack(present)


def _arrivals(plan: Plan, rng: np.random.Generator, count: int) -> tuple[Times, Integers, Mask]:
    """Creation times in order, sources, and which leads are of the reference month."""
    clock = plan.clock
    source = pick(rng, [item.share for item in SOURCES], count)
    in_march = np.zeros(count, dtype=bool)
    if plan.reference:
        in_march[rng.choice(count, march.LEADS_RECEIVED, replace=False)] = True
    before = march.START - 1 if plan.reference else clock.until
    created = np.zeros(count, dtype=np.int64)
    for rhythm in ("office", "web"):
        keeps = np.array([item.rhythm == rhythm for item in SOURCES])[source]
        for mask, start, until in (
            (keeps & ~in_march, clock.start, before),
            (keeps & in_march, march.START, clock.until),
        ):
            created[mask] = clock.times(rng, int(mask.sum()), rhythm, start, until)
    order = np.argsort(created, kind="stable")
    created, source, in_march = created[order], source[order], in_march[order]
    if plan.reference:
        march.put_on_the_edges(created, in_march)
    return created, source, in_march


def _campaigns(rng: np.random.Generator, source: Integers) -> Integers:
    """Number of the campaign, -1 for leads without UTM labels."""
    campaign = np.full(source.size, -1, dtype=np.int64)
    for number, item in enumerate(SOURCES):
        own = [i for i, c in enumerate(CAMPAIGNS) if c.source == item.code]
        if own:
            shares = [CAMPAIGNS[i].share for i in own]
            rows = np.flatnonzero(source == number)
            drawn = pick(rng, [*shares, 1 - sum(shares)], rows.size)
            campaign[rows] = np.array([*own, -1])[drawn]
    return campaign

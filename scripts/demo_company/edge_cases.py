"""Rare data of real portals that a simple model does not expect, in small numbers.

Edge cases that are a path through the stages (reopened, moved to another pipeline, created closed,
on a stage since deleted) are rare paths in `stages`. The others are here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from scripts.demo_company import reference_month as march
from scripts.demo_company.plan import Plan
from scripts.demo_company.stages import DEALS, LEADS, SUCCESS, Stages
from scripts.demo_company.timeline import DAY, Integers, Mask, some
from scripts.demo_company.vocabulary import UNLISTED_USER


@dataclass(frozen=True)
class Ids:
    """IDs in the order of creation; `missing` are those of deleted records.

    Attributes:
        ids: one for each row.
        missing: row number before which a record was deleted; its ID is `ids[row] - 1`.
    """

    ids: Integers
    missing: Integers


def with_gaps(rng: np.random.Generator, count: int) -> Ids:
    """Ascending IDs with a deleted record now and then, the very first included."""
    gap = rng.random(count) < 0.01
    gap[:1] = True
    return Ids(np.cumsum(1 + gap), np.flatnonzero(gap))


def lead_links(plan: Plan, lead_ids: Ids) -> Integers:
    """`leadId` of the deals, 0 without: some name a deleted lead, some sales precede their lead."""
    rng = plan.rng("lead links")
    deals, leads = plan.deals, plan.leads
    lead, created = deals["lead"].to_numpy(), deals["created"].to_numpy()
    linked = np.where(lead >= 0, lead_ids.ids[lead], 0)
    free = (lead < 0) & (deals["imported"].to_numpy() == 0) & ~deals["recurring"].to_numpy()

    gone = some(rng, free, 0.01)
    lead_created = leads["created"].to_numpy()
    before = np.searchsorted(lead_created[lead_ids.missing], created[gone])
    row = lead_ids.missing[(before * rng.random(gone.size)).astype(np.int64)]
    linked[gone] = lead_ids.ids[row] - 1

    free[gone] = False
    sold = (DEALS.semantics[deals["stage"].to_numpy()] == "S") & free
    sold &= deals["outcome"].to_numpy() == SUCCESS
    is_quality = LEADS.semantics[leads["stage"].to_numpy()] == "S"
    without_deal = np.ones(leads.height, dtype=bool)
    without_deal[lead[lead >= 0]] = False
    later = np.flatnonzero(
        is_quality & without_deal & (lead_created < (march.START if plan.reference else 2**62))
    )
    moved = deals["moved"].to_numpy()
    last = lead_created[later[-1]] if later.size else 0
    for deal in some(rng, sold & (moved < last - DAY), 0.002):
        row = np.searchsorted(lead_created[later], moved[deal] + DAY // 4)
        linked[deal] = lead_ids.ids[later[min(row, later.size - 1)]]
    return linked


def unlisted(rng: np.random.Generator, users: Integers) -> Integers:
    """Users, a few of them an integrator that the portal never lists."""
    users = users.copy()
    users[some(rng, np.ones(users.size, dtype=bool), 0.0005)] = UNLISTED_USER
    return users


def unknown_semantics(rng: np.random.Generator, count: int) -> Mask:
    """Items whose own semantics is missing."""
    missing = np.zeros(count, dtype=bool)
    missing[some(rng, ~missing, 0.001)] = True
    return missing


def drop_history(
    rng: np.random.Generator,
    stages: Stages,
    history: pl.DataFrame,
    items: pl.DataFrame,
    free: Mask,
) -> tuple[pl.DataFrame, Mask]:
    """History with holes: none of an item's rows, not the first, not the last.

    Args:
        items: frame with `path`.
        free: items that may lose rows.

    Returns:
        The rest of the history, and which items have none left.
    """
    path = items["path"].to_numpy()
    item = history["item"].to_numpy()
    free = free & (stages.settles[path] == stages.lengths[path] - 1)
    without = np.zeros(path.size, dtype=bool)
    without[some(rng, free, 0.002)] = True
    free &= np.bincount(item, minlength=path.size) > 1
    without_first = np.zeros(path.size, dtype=bool)
    without_first[some(rng, free & ~without, 0.002)] = True
    without_last = np.zeros(path.size, dtype=bool)
    without_last[some(rng, free & ~without & ~without_first, 0.001)] = True
    lost = without[item]
    lost |= without_first[item] & history["item"].is_first_distinct().to_numpy()
    lost |= without_last[item] & history["item"].is_last_distinct().to_numpy()
    return history.filter(~lost), without

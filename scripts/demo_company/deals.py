"""Customers and deals: who buys, through which pipeline, for how much, and how it ends."""

from __future__ import annotations

import numpy as np
import polars as pl

from scripts.demo_company import reference_month as march
from scripts.demo_company.leads import CONTACT_ONLY, DEAL_AND_CONTACT, DEAL_ONLY
from scripts.demo_company.plan import (
    Plan,
    is_dismissed,
    last_activity,
    last_visits,
    log_normal,
    managers,
    seconds,
    strength,
)
from scripts.demo_company.stages import (
    CATEGORIES,
    DEALS,
    DELIVERY,
    FAILURE,
    OPEN,
    OUTCOMES,
    PARTNERS,
    SALES,
    SUCCESS,
)
from scripts.demo_company.timeline import (
    DAY,
    HOUR,
    MINUTE,
    Integers,
    Mask,
    Times,
    pick,
    some,
    to_working_hours,
)
from scripts.demo_company.vocabulary import (
    CURRENCIES,
    DELIVERY_MANAGERS,
    REPEAT_SOURCE,
    SOURCES,
    UNKNOWN_CURRENCY,
)

# Deals without a lead, per lead, and what share of them goes to known and to new customers.
DIRECT = 0.07
KNOWN, NEW = 0.60, 0.32
DIRECT_OF_PARTNERS, LEADS_OF_PARTNERS = 0.18, 0.07
IMPORTED = 1 / 120
SEED_CUSTOMERS = 1 / 60
STUCK_SHARE_OF_REST = {SALES: 0.2, PARTNERS: 0.25, DELIVERY: 0.3}
WIN = {SALES: 0.24, PARTNERS: 0.36, DELIVERY: 0.95}
# The reference company sells less: 11 sales a month of 373 deals.
WIN_OF_REFERENCE = 0.4
# Median days to the outcome.
WIN_DAYS = {SALES: 24.0, PARTNERS: 35.0, DELIVERY: 5.0}
LOSS_DAYS = {SALES: 15.0, PARTNERS: 20.0, DELIVERY: 6.0}
AMOUNT = {SALES: 118_000.0, PARTNERS: 420_000.0, DELIVERY: 4_500.0}
DELIVERED = 0.6
FORGOTTEN = 0.3
ZERO_AMOUNTS = 0.02

# Number of the source beyond `SOURCES`: a repeat sale.
REPEAT = len(SOURCES)
SOURCE_CODES = [*(source.code for source in SOURCES), REPEAT_SOURCE]
CURRENCY_CODES = [*(code for code, _, _ in CURRENCIES), UNKNOWN_CURRENCY]


def plan_deals(plan: Plan) -> None:
    """Fill `plan.customers`, `plan.deals`, `plan.deal_history` and the leads' `customer`."""
    direct = _direct(plan)
    direct = direct.with_columns(customer=_customers(plan, direct))
    deals = pl.concat(
        [_of_leads(plan), direct.drop("kind"), _imports(plan)], how="diagonal_relaxed"
    ).sort("created", maintain_order=True)
    if plan.reference:
        deals = _fill_march(plan, deals)
    deals = _outcomes(plan, deals)
    visits = _walk(plan, deals, "walk")

    delivery = _outcomes(plan, _deliveries(plan, deals))
    delivery_visits = _walk(plan, delivery, "delivery walk")
    deals = pl.concat([deals, delivery], how="diagonal_relaxed")
    order = np.argsort(deals["created"].to_numpy(), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    delivery_visits = delivery_visits.with_columns(pl.col("item") + visits["item"].n_unique())
    visits = pl.concat([visits, delivery_visits])
    visits = visits.with_columns(item=place[visits["item"].to_numpy()])
    visits = visits.sort("item", maintain_order=True)
    present = last_visits(visits)
    plan.deals = _details(plan, deals[order].hstack(present))
    plan.deal_history = DEALS.history(visits)


def _direct(plan: Plan) -> pl.DataFrame:
    """Deals without a lead, and recurring templates; `kind` 0 known, 1 new, 2 unknown customer."""
    rng, clock = plan.rng("direct deals"), plan.clock
    count = round(plan.leads.height * DIRECT)
    templates = max(3, count // 150)
    created = clock.times(rng, count, "office", clock.start, clock.until)
    kind = pick(rng, (KNOWN, NEW, 1 - KNOWN - NEW), count)
    return (
        pl.DataFrame(
            {
                "created": created,
                "kind": kind,
                "category": np.where(rng.random(count) < DIRECT_OF_PARTNERS, PARTNERS, SALES),
                "source": np.where(kind == 0, REPEAT, pick(rng, (1, 3, 0.5, 1, 0, 1, 0, 1), count)),
                "recurring": np.isin(np.arange(count), rng.choice(count, templates, replace=False)),
            }
        )
        .sort("created", maintain_order=True)
        .with_columns(lead=pl.lit(-1), campaign=pl.lit(-1), imported=pl.lit(0))
    )


def _customers(plan: Plan, direct: pl.DataFrame) -> Integers:
    """Customers in the order of their creation; leads get theirs, direct deals' are returned.

    Known customers are drawn among those that existed when the lead or deal was created.
    """
    rng, clock, leads = plan.rng("customers"), plan.clock, plan.leads
    seeds = max(10, round(leads.height * SEED_CUSTOMERS))
    creates = leads["conversion"].is_in([CONTACT_ONLY, DEAL_AND_CONTACT]) & ~leads["returning"]
    from_leads = np.flatnonzero(creates.to_numpy())
    from_deals = np.flatnonzero((direct["kind"] == 1).to_numpy())
    created = np.concatenate(
        [
            np.sort(clock.start - rng.integers(DAY, 30 * DAY, seeds)),
            leads["settled_at"].to_numpy()[from_leads],
            direct["created"].to_numpy()[from_deals],
        ]
    )
    order = np.argsort(created, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    created = created[order]

    def known(times: Times) -> Integers:
        return (np.searchsorted(created, times) * rng.random(times.size)).astype(np.int64)

    lead_customer = np.full(leads.height, -1, dtype=np.int64)
    returning = leads["returning"].to_numpy()
    lead_customer[returning] = known(leads["created"].to_numpy()[returning])
    lead_customer[from_leads] = place[seeds : seeds + from_leads.size]
    deal_customer = np.full(direct.height, -1, dtype=np.int64)
    returns = (direct["kind"] == 0).to_numpy()
    deal_customer[returns] = known(direct["created"].to_numpy()[returns])
    deal_customer[from_deals] = place[seeds + from_leads.size :]
    plan.leads = leads.with_columns(customer=lead_customer)

    has_company = rng.random(created.size) < 0.45
    has_contact = ~has_company | (rng.random(created.size) < 0.9)
    people = 1 + pick(rng, (0.72, 0.2, 0.08), created.size)
    origin = np.concatenate([np.full(seeds, -1), from_leads, np.full(from_deals.size, -1)])[order]
    plan.customers = pl.DataFrame(
        {
            "created": created,
            "lead": origin,
            "manager": managers(rng, clock, created, "deals"),
            "source": np.where(origin >= 0, leads["source"].to_numpy()[origin], 1),
            "contacts": np.where(has_contact, people, 0),
            "has_company": has_company,
        }
    )
    return deal_customer


def _of_leads(plan: Plan) -> pl.DataFrame:
    """Deals of converted leads: one at the conversion, sometimes more then or later."""
    rng, leads, clock = plan.rng("deals of leads"), plan.leads, plan.clock
    with_deal = leads["conversion"].is_in([DEAL_ONLY, DEAL_AND_CONTACT]).to_numpy()
    first = np.flatnonzero(with_deal)
    again = first[rng.random(first.size) < 0.08]
    third = again[rng.random(again.size) < 0.15]
    lead = np.concatenate([first, again, third])
    settled = leads["settled_at"].to_numpy()[lead]
    later = np.concatenate([np.zeros(first.size), np.ones(again.size + third.size)]) > 0
    # The rest of the further deals were created in the same second as the first.
    later &= rng.random(lead.size) < 0.6
    wait = to_working_hours(settled + seconds(rng.uniform(4, 120, lead.size)))
    created = np.where(later, np.maximum(wait, settled), settled)
    deals = pl.DataFrame(
        {
            "created": created,
            "lead": lead,
            "customer": leads["customer"].to_numpy()[lead],
            "category": np.where(rng.random(lead.size) < LEADS_OF_PARTNERS, PARTNERS, SALES),
            "source": np.where(rng.random(lead.size) < 0.04, 1, leads["source"].to_numpy()[lead]),
            "campaign": leads["campaign"].to_numpy()[lead],
        }
    )
    return deals.filter(pl.col("created") <= clock.until).with_columns(
        recurring=pl.lit(False), imported=pl.lit(0)
    )


def _imports(plan: Plan) -> pl.DataFrame:
    """Old deals loaded on one day: `imported` is the number of the import.

    The first, in the portal's first days, was created closed; the second, two months before the
    present one, stands on the custom paid stage. The reference company has only the second.
    """
    rng, clock = plan.rng("imports"), plan.clock
    count = max(8, round(plan.leads.height * IMPORTED))
    last = np.datetime64(clock.until, "s").astype("datetime64[M]") - 2
    day = min(30, int(((last + 1).astype("datetime64[D]") - last).astype(np.int64)))
    second = int(last.astype("datetime64[s]").astype(np.int64)) + (day - 1) * DAY + 11 * HOUR
    second = max(second, clock.start + 11 * HOUR)
    begins = [(2, second)] if plan.reference else [(1, clock.start + 10 * HOUR), (2, second)]
    seeds = int((plan.customers["created"] < clock.start).sum())
    parts = [
        pl.DataFrame(
            {
                "created": np.sort(begin + rng.integers(0, 20 * MINUTE, count)),
                "customer": rng.integers(0, seeds, count),
                "imported": np.full(count, number),
            }
        )
        for number, begin in begins
    ]
    return (
        pl.concat(parts)
        .filter(pl.col("created") <= clock.until)
        .with_columns(
            lead=pl.lit(-1),
            category=pl.lit(SALES),
            source=pl.lit(REPEAT),
            campaign=pl.lit(-1),
            recurring=pl.lit(False),
        )
    )


def _fill_march(plan: Plan, deals: pl.DataFrame) -> pl.DataFrame:
    """The Sales pipeline has 373 deals of March: direct deals are taken away or added."""
    rng = plan.rng("deals of March")
    counted = (pl.col("created") >= march.START) & (pl.col("category") == SALES)
    counted &= ~pl.col("recurring")
    missing = march.DEALS_CREATED - deals.filter(counted).height
    numbers = deals.with_row_index("number").filter(counted & (pl.col("lead") < 0))["number"]
    chosen = rng.choice(numbers.to_numpy(), abs(missing), replace=missing > 0)
    if missing <= 0:
        return deals[np.setdiff1d(np.arange(deals.height), chosen)]
    added = deals[np.sort(chosen)].with_columns(
        created=plan.clock.times(rng, missing, "office", march.START, plan.clock.until)
    )
    return pl.concat([deals, added]).sort("created", maintain_order=True)


def _deliveries(plan: Plan, deals: pl.DataFrame) -> pl.DataFrame:
    """Delivery deals, created by a robot some minutes after a sale."""
    rng = plan.rng("deliveries")
    sold = deals.filter(
        (pl.col("outcome") == SUCCESS)
        & (pl.col("category") == SALES)
        & (pl.col("imported") == 0)
        & ~pl.col("recurring")
        & (pl.col("due") < plan.clock.until - HOUR)
    )
    sold = sold.filter(rng.random(sold.height) < DELIVERED)
    return sold.select(
        "customer",
        "source",
        created=pl.col("due") + rng.integers(20, 600, sold.height),
        category=pl.lit(DELIVERY),
        lead=pl.lit(-1),
        campaign=pl.lit(-1),
        imported=pl.lit(0),
        recurring=pl.lit(False),
    ).sort("created", maintain_order=True)


def _by_category(values: dict[int, float], category: Integers) -> np.ndarray:
    return np.array([values[number] for number, _ in CATEGORIES])[category]


def _outcomes(plan: Plan, deals: pl.DataFrame) -> pl.DataFrame:
    """With `manager, outcome, due, path, fixed`."""
    created, category = deals["created"].to_numpy(), deals["category"].to_numpy()
    imported, recurring = deals["imported"].to_numpy(), deals["recurring"].to_numpy()
    is_delivery = bool(category.size) and int(category[0]) == DELIVERY
    rng, clock = plan.rng("delivery outcomes" if is_delivery else "outcomes"), plan.clock
    count = created.size
    manager = _deal_managers(plan, rng, deals)

    win = _by_category(WIN, category) * strength(manager)
    if not is_delivery:
        win *= np.array([*(source.win for source in SOURCES), 1.6])[deals["source"].to_numpy()]
        win *= WIN_OF_REFERENCE if plan.reference else 1.0
    win = np.clip(win, 0.02, 0.97)
    luck, rest = rng.random(count), 1 - win
    stuck = rest * _by_category(STUCK_SHARE_OF_REST, category)
    outcome = np.where(luck < win, SUCCESS, np.where(luck > 1 - stuck, OPEN, FAILURE))
    outcome[recurring] = OPEN
    outcome[imported > 0] = SUCCESS
    median = np.where(
        outcome == SUCCESS, _by_category(WIN_DAYS, category), _by_category(LOSS_DAYS, category)
    )
    due = to_working_hours(created + seconds(log_normal(rng, median, 0.75, count)))
    due = np.maximum(due, created + rng.integers(5 * MINUTE, 5 * HOUR, count))
    due = np.where(imported > 0, created, due)
    deals = deals.with_columns(manager=manager, outcome=outcome, due=due, fixed=pl.lit(False))
    if plan.reference:
        deals = march.deal_outcomes(
            rng, clock, deals, plan.leads["created"].to_numpy(), sales=not is_delivery
        )
    return _paths(plan, rng, deals)


def _deal_managers(plan: Plan, rng: np.random.Generator, deals: pl.DataFrame) -> Integers:
    created, category = deals["created"].to_numpy(), deals["category"].to_numpy()
    lead = deals["lead"].to_numpy()
    manager = managers(rng, plan.clock, created, "deals")
    keeps = (lead >= 0) & (rng.random(created.size) < 0.45)
    inherited = plan.leads["manager"].to_numpy()[lead]
    keeps &= ~is_dismissed(plan.clock, inherited, created)
    manager = np.where(keeps, inherited, manager)
    manager = np.where((category == PARTNERS) & (rng.random(created.size) < 0.6), 12, manager)
    logistics = np.array(DELIVERY_MANAGERS)[pick(rng, (0.6, 0.4), created.size)]
    return np.where(category == DELIVERY, logistics, manager)


def _paths(plan: Plan, rng: np.random.Generator, deals: pl.DataFrame) -> pl.DataFrame:
    outcome, category, due = (deals[name].to_numpy() for name in ("outcome", "category", "due"))
    imported, recurring = deals["imported"].to_numpy(), deals["recurring"].to_numpy()
    ordinary = (imported == 0) & ~recurring
    groups: list[tuple[str, Mask]] = [
        (f"{number} {name}", ordinary & (category == number) & (outcome == result))
        for number, _ in CATEGORIES
        for result, name in enumerate(OUTCOMES)
    ]
    ends = pick(rng, (0.8, 0.2), outcome.size)
    moves_on = (pick(rng, (0.6, 0.4), outcome.size) == 1) & (not plan.reference)
    groups += [
        ("imported won", (imported == 1) & (ends == 0)),
        ("imported lost", (imported == 1) & (ends == 1)),
        ("imported paid", (imported == 2) & ~moves_on),
        ("imported paid, then won", (imported == 2) & moves_on),
        ("template", recurring),
    ]
    plain = (due >= march.START) if plan.reference else np.zeros(outcome.size, dtype=bool)
    path = DEALS.choose(rng, groups, plain)
    created = deals["created"].to_numpy()
    return deals.with_columns(path=path, due=np.where(DEALS.settles[path] == 0, created, due))


def _walk(plan: Plan, deals: pl.DataFrame, purpose: str) -> pl.DataFrame:
    created, due, path = (deals[name].to_numpy() for name in ("created", "due", "path"))
    aftermath_until = np.full(due.size, plan.clock.until * 2)
    if plan.reference:
        aftermath_until[due < march.START] = march.START - 1
    return DEALS.walk(plan.rng(purpose), created, due, path, plan.clock.until, aftermath_until)


def _details(plan: Plan, deals: pl.DataFrame) -> pl.DataFrame:
    """With `amount, currency, returning, last_activity`."""
    rng, clock = plan.rng("details"), plan.clock
    count = deals.height
    category, imported = deals["category"].to_numpy(), deals["imported"].to_numpy()
    ticket = np.array([*(source.ticket for source in SOURCES), 1.3])[deals["source"].to_numpy()]
    roubles = log_normal(rng, _by_category(AMOUNT, category) * ticket, 0.85, count)
    kopecks = rng.random(count) < 0.07
    roubles = np.where(kopecks, np.round(roubles, 2), np.round(roubles, -2))
    currency = pick(rng, [share for _, share, _ in CURRENCIES], count)
    domestic = (category == DELIVERY) | (imported > 0)
    currency[domestic] = 0
    price = np.array([price for _, _, price in CURRENCIES])[currency]
    amount = np.where(currency == 0, roubles, np.round(roubles / price, 2))
    free = ~domestic & ~deals["fixed"].to_numpy()
    amount[some(rng, free, ZERO_AMOUNTS)] = 0.0
    sold = free & (DEALS.semantics[deals["stage"].to_numpy()] == "S")
    amount[some(rng, sold, 0.01)] = 0.0
    currency[some(rng, free & (amount > 0), 0.001)] = len(CURRENCIES)
    if plan.reference:
        amount[imported == 2] = march.imported_amounts(roubles[imported == 2])

    is_open = ~DEALS.is_final[deals["stage"].to_numpy()]
    moved = deals["moved"].to_numpy()
    activity = last_activity(rng, clock, moved, is_open, FORGOTTEN, 4.0)
    if plan.reference:
        activity = march.forget_deals(
            rng,
            clock,
            deals["created"].to_numpy(),
            moved,
            is_open & ~deals["recurring"].to_numpy(),
            category,
            activity,
        )
    activity[imported == 2] = moved[imported == 2]

    customer = deals["customer"].to_numpy()
    first = np.zeros(count, dtype=bool)
    first[np.unique(customer, return_index=True)[1]] = True
    # The portal's flag is sometimes wrong.
    returning = ((customer >= 0) & ~first) ^ (rng.random(count) < 0.02)
    return deals.with_columns(
        amount=amount, currency=currency, returning=returning, last_activity=activity
    )

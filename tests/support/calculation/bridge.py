"""How the portal counts each record, next to how the metrics do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from tests.support.calculation.metrics import Facts
from tests.support.calculation.portal import (
    Row,
    business_date,
    instant,
    is_awaited,
    line,
    link,
    money,
    start_of,
    system_time,
    text,
)
from tests.support.calculation.reference import Rates, to_base
from tests.support.calculation.stages import FAILURE, OPEN, SUCCESS, read_history, start_of_stay

# The portal knows only its own semantics.
MEANING = {"S": SUCCESS, "F": FAILURE, "P": OPEN}
STATE = {SUCCESS: "success", FAILURE: "failed", OPEN: "in_work"}

SCHEMA: dict[str, Any] = {
    "entity": pl.String,
    "item_id": pl.Int64,
    "title": pl.String,
    "bridge_kind": pl.String,
    "portal_state": pl.String,
    "our_state": pl.String,
    "manager_name": pl.String,
    "source_name": pl.String,
    "pipeline_name": pl.String,
    "stage_name": pl.String,
    "base_amount": pl.Decimal(38, 2),
    "created_date": pl.Date,
    "portal_closed_date": pl.Date,
    "deleted_date": pl.Date,
}

# Entity, the row as it was last read, and the first sync that found it gone.
Deleted = tuple[str, Row, datetime]


def portal_bridge(facts: Facts, deleted: Sequence[Deleted] = ()) -> pl.DataFrame:
    """One row per living lead or deal, recurring template, and deleted record."""
    rates = Rates(facts.portal, facts.as_of)
    rows = [*_living(facts, rates, "lead"), *_living(facts, rates, "deal")]
    for entity, row, missed_at in deleted:
        if (
            not is_awaited(instant(row["createdTime"]), facts.as_of)
            and row.get("isRecurring") != "Y"
        ):
            rows.append(
                _described(facts, rates, entity, row)
                | {"bridge_kind": "deleted", "deleted_date": _day(facts, missed_at)}
            )
    return pl.DataFrame(rows, schema=SCHEMA)


def _living(facts: Facts, rates: Rates, entity: str) -> Iterable[dict[str, Any]]:
    is_lead = entity == "lead"
    portal = facts.portal
    history = read_history(
        portal.lead_stage_history if is_lead else portal.deal_stage_history,
        entity,
        facts.reference,
        lambda _, semantics: MEANING[semantics],
        facts.as_of,
        ZoneInfo(facts.settings.portal_timezone),
    )
    frame = facts.leads if is_lead else facts.deals
    ours = {item[f"{entity}_id"]: item for item in frame.iter_rows(named=True)}
    for row in portal.leads if is_lead else portal.deals:
        if is_awaited(instant(row["createdTime"]), facts.as_of):
            continue
        found = _described(facts, rates, entity, row)
        if row.get("isRecurring") == "Y" and not is_lead:
            yield found | {"bridge_kind": "template"}
            continue
        meaning = _meaning(facts, entity, row)
        if meaning != OPEN:
            closed_at = start_of_stay(history.get(int(row["id"]), []), meaning)
            closed_at = closed_at or _fallback(facts, is_lead, row)
            if closed_at and closed_at <= facts.as_of:
                days = _day(facts, closed_at), found["created_date"]
                found["portal_closed_date"] = max(day for day in days if day)
        item = ours[int(row["id"])]
        if not is_lead and item["is_handed_over"]:
            found["pipeline_name"] = item["sale_pipeline_name"]
        found["base_amount"] = item["opportunity_amount" if is_lead else "base_amount"]
        if item["counts"]:
            found["our_state"] = item["outcome" if is_lead else "state"]
            yield found | {"bridge_kind": "counted"}
        else:
            other = not is_lead and not item["is_sales_pipeline"]
            yield found | {"bridge_kind": "other_pipeline" if other else "legacy"}


def _described(facts: Facts, rates: Rates, entity: str, row: Row) -> dict[str, Any]:
    """What the row itself says, with the amount at the latest rate."""
    reference = facts.reference
    latest = rates.latest(text(row.get("currencyId")))
    return {
        "entity": entity,
        "item_id": int(row["id"]),
        "title": line(row.get("title")),
        "portal_state": STATE[_meaning(facts, entity, row)],
        "manager_name": reference.manager_name(link(row.get("assignedById"))),
        "source_name": reference.source_name(text(row.get("sourceId"))),
        "pipeline_name": (
            reference.pipeline_name(int(row.get("categoryId") or 0)) if entity == "deal" else None
        ),
        "stage_name": reference.stage_name(entity, str(row["stageId"])),
        "base_amount": to_base(money(row.get("opportunity")), latest),
        "created_date": _day(facts, _time(facts, row["createdTime"])),
    }


def _time(facts: Facts, value: Any) -> datetime | None:
    return system_time(value, ZoneInfo(facts.settings.portal_timezone), facts.as_of)


def _meaning(facts: Facts, entity: str, row: Row) -> str:
    own = row.get("stageSemanticId")
    return MEANING[facts.reference.semantics(entity, own, str(row["stageId"]))]


def _fallback(facts: Facts, is_lead: bool, row: Row) -> datetime | None:
    """When it was closed, if the history lacks the present stay."""
    if moved_at := _time(facts, row.get("movedTime")):
        return moved_at
    if is_lead:
        return _time(facts, row.get("dateClosed"))
    closed_on = business_date(row.get("closedate"))
    if row.get("closed") == "Y" and closed_on:
        return _time(facts, start_of(closed_on, ZoneInfo(facts.settings.portal_timezone)))
    return None


def _day(facts: Facts, moment: datetime | None) -> date | None:
    zone = ZoneInfo(facts.settings.portal_timezone)
    return moment.astimezone(zone).date() if moment else None

"""Stage history: stays in an outcome and visits to stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.calculation.portal import Row, instant, is_awaited, system_time
from tests.support.calculation.reference import Reference

# What a stage means for leads and deals alike: quality or sale, junk or failed, in work.
SUCCESS, FAILURE, OPEN = "success", "failure", "open"
BEGINNING = datetime.min.replace(tzinfo=UTC)

Meaning = Callable[[str, str], str]


@dataclass(frozen=True)
class Step:
    """A row of the history: an item entering a stage."""

    at: datetime | None
    stage_id: str
    semantics: str
    meaning: str
    pipeline_id: int | None


def read_history(
    rows: Iterable[Row],
    entity: str,
    reference: Reference,
    meaning: Meaning,
    as_of: datetime,
    zone: Any,
) -> dict[int, list[Step]]:
    """Steps of every item by time, then ID of the row; rows after `as_of` are left out.

    A row with an impossible time comes after rows with a lower ID.
    """
    prefix = "STATUS" if entity == "lead" else "STAGE"
    ordered: dict[int, list[tuple[datetime, int, Step]]] = {}
    latest: dict[int, datetime] = {}
    for row in sorted(rows, key=lambda row: int(row["ID"])):
        if is_awaited(instant(row["CREATED_TIME"]), as_of):
            continue
        at = system_time(row["CREATED_TIME"], zone, as_of)
        owner = int(row["OWNER_ID"])
        latest[owner] = max(latest.get(owner, BEGINNING), at or BEGINNING)
        stage_id = str(row[f"{prefix}_ID"])
        semantics = reference.semantics(entity, row.get(f"{prefix}_SEMANTIC_ID"), stage_id)
        step = Step(
            at=at,
            stage_id=stage_id,
            semantics=semantics,
            meaning=meaning(stage_id, semantics),
            pipeline_id=int(row.get("CATEGORY_ID") or 0) if entity == "deal" else None,
        )
        ordered.setdefault(owner, []).append((at or latest[owner], int(row["ID"]), step))
    return {
        owner: [step for _, _, step in sorted(steps, key=lambda s: s[:2])]
        for owner, steps in ordered.items()
    }


def first_of_stay(steps: list[Step], meaning: str) -> Step | None:
    """First step of the unbroken stay in `meaning` that the history ends with."""
    first = None
    for step in reversed(steps):
        if step.meaning != meaning:
            break
        first = step
    return first


def start_of_stay(steps: list[Step], meaning: str) -> datetime | None:
    """Start of that stay; null without one."""
    first = first_of_stay(steps, meaning)
    return first.at if first else None


def standing_sale(steps: Iterable[Step], sells: Callable[[int | None], bool]) -> Step | None:
    """The step of the sale that is still valid after the last step; null without one.

    A success in a sales pipeline makes it. It ends where the deal is open or fails in a pipeline in
    which it was sold since, and where it fails in any sales pipeline.
    """
    sale: Step | None = None
    sold_in: set[int | None] = set()
    for step in steps:
        if step.meaning == SUCCESS:
            if sells(step.pipeline_id):
                sale = sale or step
                sold_in.add(step.pipeline_id)
        elif step.pipeline_id in sold_in or (step.meaning == FAILURE and sells(step.pipeline_id)):
            sale = None
            sold_in = set()
    return sale


def visits(
    entity: str,
    item_id: int,
    steps: list[Step],
    present: Step,
    reference: Reference,
    as_of: datetime,
    is_sold: bool = False,
) -> list[dict[str, Any]]:
    """Visits of one item, one dict each; `present` is its stage now, entered at `movedTime`, or
    at creation if that is unknown. `is_sold`: its sale is valid, wherever it failed.

    `days` of a finished visit may be negative; of the present one they run to `as_of`.
    """
    spans: list[list[Step]] = []
    for step in steps:
        if spans and spans[-1][0].stage_id == step.stage_id:
            spans[-1].append(step)
        else:
            spans.append([step])
    if not spans or spans[-1][0].stage_id != present.stage_id:
        spans.append([present])

    known = reference.stages(entity)
    rows: list[dict[str, Any]] = []
    for number, span in enumerate(spans):
        is_current = number == len(spans) - 1
        last = span[-1]
        entered_at = entered(span)
        until = as_of if is_current else entered(spans[number + 1])
        days = None
        if entered_at and until:
            days = (until - entered_at).total_seconds() / 86_400
            days = max(days, 0.0) if is_current else days
        stage = known.get(last.stage_id)
        rows.append(
            {
                "entity": entity,
                "item_id": item_id,
                "visit_number": number + 1,
                "pipeline_id": last.pipeline_id,
                "stage_id": last.stage_id,
                "stage_name": reference.stage_name(entity, last.stage_id),
                "stage_sort": stage.sort if stage else None,
                "is_known_stage": stage is not None,
                "semantics": last.semantics,
                # The present visit means what the item means now.
                "meaning": present.meaning if is_current else last.meaning,
                "entered_at": entered_at,
                "left_at": None if is_current else until,
                "days": days,
                "is_current": is_current,
                "is_drop": False,
                "is_moved_out": False,
                "is_forward": False,
            }
        )
    for number, row in enumerate(rows):
        row["is_open"] = row["meaning"] == OPEN
        row["is_forward"] = any(
            later["meaning"] == SUCCESS or (later["meaning"] == OPEN and is_later_stage(row, later))
            for later in rows[number + 1 :]
        )
    if present.meaning == FAILURE and not is_sold:
        for row in reversed(rows):
            if row["is_open"]:
                row["is_drop"] = True
                break
    for number, row in enumerate(rows[:-1]):
        later = {other["pipeline_id"] for other in rows[number + 1 :]}
        row["is_moved_out"] = (
            row["is_open"] and not row["is_drop"] and row["pipeline_id"] not in later
        )
    return rows


def entered(span: list[Step]) -> datetime | None:
    """The first possible time of a visit."""
    return min((step.at for step in span if step.at), default=None)


def is_later_stage(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """True where `other` stands after `one` in the order of the same pipeline's stages."""
    return (
        one["pipeline_id"] == other["pipeline_id"]
        and one["stage_sort"] is not None
        and other["stage_sort"] is not None
        and other["stage_sort"] > one["stage_sort"]
    )

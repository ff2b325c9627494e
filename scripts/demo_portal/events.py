"""What happens to a portal between two requests: people work, stages are deleted, rights lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from scripts.demo_portal.fields import DEAL, LEAD
from scripts.demo_portal.records import Records

_HISTORIES = {"leads": "lead_stage_history", "deals": "deal_stage_history"}


def people_work(portal: Records, draw: random.Random, edits: int) -> None:
    """Edits of people who work in the portal: leads and deals appear, move, change, vanish."""
    for _ in range(edits):
        name = draw.choice(("leads", "deals"))
        table = portal.data.tables[name]
        ids = table.ids()
        edit = draw.choice(
            ("stage", "stage", "amount", "amount", "activity", "city", "create", "delete")
        )
        if edit == "create" or not ids:
            portal.create(name, stage=draw.choice(_stages(portal, name)), amount=_amount(draw))
        elif edit == "stage":
            portal.move(name, draw.choice(ids), draw.choice(_stages(portal, name)))
        elif edit == "amount":
            portal.change(name, draw.choice(ids), {"opportunity": _amount(draw)})
        elif edit == "activity":
            now = portal.clock.iso(portal.clock.seconds())
            portal.upsert(name, {"id": draw.choice(ids), "lastActivityTime": now})
        elif edit == "city":
            lead = draw.choice(portal.data.tables["leads"].plain_rows() or [{}]).get("id")
            if lead:
                city = f"Город {draw.randrange(100)}"
                portal.upsert("lead_addresses", {"ID": lead, "ADDRESS_CITY": city})
                portal.change("leads", lead, {})
        else:
            portal.delete(name, draw.choice(ids))


def _amount(draw: random.Random) -> float:
    return draw.randrange(1, 10_000_000) / 100


def _stages(portal: Records, name: str) -> list[str]:
    entity = {"leads": "STATUS", "deals": "DEAL_STAGE"}[name]
    rows = portal.data.tables["statuses"].plain_rows()
    return sorted(row["STATUS_ID"] for row in rows if row["ENTITY_ID"] == entity) or ["NEW"]


def _rights_lost(portal: Records, value: Any, seconds: float | None, draw: random.Random) -> None:
    pipelines = portal.data.tables["categories"].ids()
    portal.set_rights(admin=False, hidden_categories=[draw.choice(pipelines or [0])])


def _hidden_deals(portal: Records, value: Any, seconds: float | None, draw: random.Random) -> None:
    share = 0.03 if value is None else float(value)
    ids = portal.data.tables["deals"].ids()
    portal.set_rights(hidden_deals=draw.sample(ids, max(1, round(share * len(ids)))))


def _mass_disappearance(
    portal: Records, value: Any, seconds: float | None, draw: random.Random
) -> None:
    share = 0.6 if value is None else float(value)
    for name in _HISTORIES:
        table = portal.data.tables[name]
        ids = table.ids()
        portal.delete(name, draw.sample(ids, round(share * len(ids))))


def _another_portal(
    portal: Records, value: Any, seconds: float | None, draw: random.Random
) -> None:
    """The same records under each other's IDs, created two hundred days before."""
    for name in ("leads", "deals", "contacts", "companies"):
        table = portal.data.tables[name]
        rows = table.plain_rows()
        numbers = [row["id"] for row in rows]
        moved = [
            {**row, "id": number, "createdTime": _earlier(row["createdTime"], 200)}
            for number, row in zip(numbers, reversed(rows), strict=True)
        ]
        portal.replace(name, moved)


def _earlier(moment: str, days: int) -> str:
    return (datetime.fromisoformat(moment) - timedelta(days=days)).isoformat()


def _new_user_field(
    portal: Records, value: Any, seconds: float | None, draw: random.Random
) -> None:
    name = f"UF_CRM_{draw.randrange(10**9, 10**10)}"
    described = {
        "type": "string",
        "isRequired": False,
        "isReadOnly": False,
        "isImmutable": False,
        "isMultiple": False,
        "isDynamic": True,
        "title": name,
        "listLabel": "Новое поле",
        "formLabel": "Новое поле",
        "filterLabel": "Новое поле",
    }
    for type_id, table_name in ((LEAD, "leads"), (DEAL, "deals")):
        entity = portal.data.entities[type_id]
        entity.described[name] = described
        ids = entity.table.ids()
        for number in draw.sample(ids, min(3, len(ids))):
            portal.change(table_name, number, {name: "значение"})


def _vanished_field(
    portal: Records, value: Any, seconds: float | None, draw: random.Random
) -> None:
    for type_id in (LEAD, DEAL):
        entity = portal.data.entities[type_id]
        name = value or next(iter(sorted(entity.user_fields)), None)
        if name is not None:
            entity.forget(name)


def _deleted_stages(
    portal: Records, value: Any, seconds: float | None, draw: random.Random
) -> None:
    used = {row["stageId"] for name in _HISTORIES for row in portal.data.tables[name].plain_rows()}
    rows = portal.data.tables["statuses"].plain_rows()
    portal.delete("statuses", [int(row["ID"]) for row in rows if row["STATUS_ID"] in used][:2])


def _renamed_stages(
    portal: Records, value: Any, seconds: float | None, draw: random.Random
) -> None:
    rows = portal.data.tables["statuses"].plain_rows()
    for row in draw.sample(rows, min(3, len(rows))):
        portal.upsert("statuses", {"ID": row["ID"], "NAME": f"{row['NAME']} (новое имя)"})


def _clock(portal: Records, value: Any, seconds: float | None, draw: random.Random) -> None:
    portal.clock.move(-3600 if seconds is None else seconds)


def _utc_offset(portal: Records, value: Any, seconds: float | None, draw: random.Random) -> None:
    hours = -5 if value is None else float(value)
    portal.clock.zone = timezone(timedelta(hours=hours))
    portal.data.set_zone(portal.clock.zone)


# What happens, given the fault's value and seconds.
EVENTS: dict[str, Callable[[Records, Any, float | None, random.Random], None]] = {
    "changes": lambda portal, _value, _seconds, draw: people_work(portal, draw, draw.randint(1, 4)),
    "rights_lost": _rights_lost,
    "hidden_deals": _hidden_deals,
    "mass_disappearance": _mass_disappearance,
    "another_portal": _another_portal,
    "new_user_field": _new_user_field,
    "vanished_field": _vanished_field,
    "deleted_stages": _deleted_stages,
    "renamed_stages": _renamed_stages,
    "clock": _clock,
    "utc_offset": _utc_offset,
}

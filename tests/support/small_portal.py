"""A portal of a few records, made by hand, for tests of the extraction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NOW = "2026-03-31T20:00:00+03:00"


def lead(number: int, **values: Any) -> dict[str, Any]:
    """A row of crm.item.list (1)."""
    return {
        "id": number,
        "title": f"Лид {number}",
        "createdTime": "2026-03-01T10:00:00+03:00",
        "updatedTime": "2026-03-01T10:00:00+03:00",
        "movedTime": "2026-03-01T10:00:00+03:00",
        "createdBy": 1,
        "updatedBy": 1,
        "movedBy": 1,
        "assignedById": 1,
        "opened": "Y",
        "stageId": "NEW",
        "stageSemanticId": "P",
        "currencyId": "RUB",
        "opportunity": 0,
        "isReturnCustomer": "N",
        "lastActivityTime": "2026-03-01T10:00:00+03:00",
        "lastActivityBy": 1,
        "contactIds": [],
        **values,
    }


def deal(number: int, **values: Any) -> dict[str, Any]:
    """A row of crm.item.list (2)."""
    row = lead(number, title=f"Сделка {number}", **values)
    return {"categoryId": 0, "closed": "N", "isRecurring": "N", **row}


def lead_visit(number: int, owner: int, stage: str, semantic: str, time: str) -> dict[str, Any]:
    """A row of crm.stagehistory.list (1)."""
    return {
        "ID": number,
        "TYPE_ID": 1,
        "OWNER_ID": owner,
        "CREATED_TIME": time,
        "STATUS_ID": stage,
        "STATUS_SEMANTIC_ID": semantic,
    }


def deal_visit(number: int, owner: int, stage: str, semantic: str, time: str) -> dict[str, Any]:
    """A row of crm.stagehistory.list (2)."""
    return {
        "ID": number,
        "TYPE_ID": 1,
        "OWNER_ID": owner,
        "CREATED_TIME": time,
        "CATEGORY_ID": 0,
        "STAGE_ID": stage,
        "STAGE_SEMANTIC_ID": semantic,
    }


def status(number: int, entity: str, code: str, semantics: str | None = None) -> dict[str, Any]:
    """A row of crm.status.list."""
    return {
        "ID": str(number),
        "ENTITY_ID": entity,
        "STATUS_ID": code,
        "NAME": code.title(),
        "SORT": str(number * 10),
        "SEMANTICS": semantics,
        "CATEGORY_ID": None,
    }


STATUSES = [
    status(1, "STATUS", "NEW"),
    status(2, "STATUS", "JUNK", "F"),
    status(3, "STATUS", "CONVERTED", "S"),
    status(4, "DEAL_STAGE", "NEW"),
    status(5, "DEAL_STAGE", "WON", "S"),
    status(6, "DEAL_STAGE", "LOSE", "F"),
    status(7, "SOURCE", "WEB"),
]

USERS = [{"ID": "1", "ACTIVE": True, "NAME": "Анна", "LAST_NAME": "Орлова", "UF_DEPARTMENT": [1]}]

CURRENCIES = [
    {"CURRENCY": "RUB", "AMOUNT_CNT": "1", "AMOUNT": "1.0000", "BASE": "Y", "SORT": "100"},
    {"CURRENCY": "USD", "AMOUNT_CNT": "1", "AMOUNT": "90.0000", "BASE": "N", "SORT": "200"},
]


def write_portal(folder: Path, mode: int = 1, **tables: Sequence[Mapping[str, Any]]) -> Path:
    """Writes a data directory; reference data that are not given get a few usual rows.

    Args:
        mode: of the CRM: 1 classic, 2 simple (without leads).
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "statuses": STATUSES,
        "users": USERS,
        "currencies": CURRENCIES,
        "departments": [{"ID": "1", "NAME": "Продажи", "SORT": 500}],
        "categories": [{"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"}],
        **tables,
    }
    for name, rows in tables.items():
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "portal.json").write_text(
        json.dumps(
            {"now": NOW, "utc_offset": "+03:00", "admin": True, "mode": mode, "name": "small"}
        ),
        encoding="utf-8",
    )
    return folder

"""The records of a portal and its clock, and what people do to them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from scripts.demo_portal.data import PortalData
from scripts.demo_portal.limits import Clock

USER_ID = 1


class Records:
    """The records, which change while they are served.

    Attributes:
        data: the data directory.
        clock: the portal's time.
    """

    def __init__(self, data: PortalData) -> None:
        self.data = data
        self.clock = Clock(data.zone)
        if data.now is not None:
            self.clock.set(data.now)
        self._lock = threading.RLock()

    # Changing the data while it is served

    def upsert(self, name: str, rows: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> None:
        """Add rows to a file, or change the named fields of the rows with their IDs."""
        with self._lock:
            self.data.upsert(name, rows)

    def delete(self, name: str, ids: int | Iterable[int]) -> None:
        """Delete rows, and what goes with them (``PortalData.delete``)."""
        with self._lock:
            self.data.delete(name, ids)

    def replace(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace all rows of a file with ``rows``."""
        with self._lock:
            self.data.replace(name, rows)

    def set_now(self, moment: str | datetime) -> None:
        """Set the portal's clock (ISO 8601 with offset); it ticks on from there."""
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        if moment.tzinfo is None:
            raise ValueError("the portal's time needs an offset: 2026-03-01T09:00:00+03:00")
        with self._lock:
            self.clock.set(moment)

    def set_rights(
        self,
        admin: bool = True,
        hidden_categories: Collection[int] = (),
        hidden_deals: Collection[int] = (),
    ) -> None:
        """Change what the webhook's owner is and sees: hidden deals and pipelines are left out."""
        with self._lock:
            self.data.set_rights(admin, hidden_categories, hidden_deals)

    # What people do

    def create(self, name: str, stage: str, amount: float, **values: Any) -> int:
        """A new lead or deal with its first visit of a stage; returns its ID."""
        with self._lock:
            table, now = self.data.tables[name], self._now
            row = {
                "id": table.last_id + 1,
                "title": f"Запись {table.last_id + 1}",
                "createdTime": now,
                "updatedTime": now,
                "movedTime": now,
                "lastActivityTime": now,
                "stageId": stage,
                "stageSemanticId": self._semantics(name, stage),
                "opportunity": amount,
                "currencyId": "RUB",
                "assignedById": USER_ID,
                "createdBy": USER_ID,
                "updatedBy": USER_ID,
                "movedBy": USER_ID,
                "contactIds": [],
                **({"categoryId": 0, "closed": "N", "isRecurring": "N"} if name == "deals" else {}),
                **values,
            }
            self.data.upsert(name, row)
            self._visit(name, row)
            return int(row["id"])

    def change(self, name: str, number: int, values: Mapping[str, Any]) -> None:
        """Change fields of a lead, deal, contact or company."""
        with self._lock:
            self.data.upsert(name, {"id": number, **values, "updatedTime": self._now})

    def move(self, name: str, number: int, stage: str) -> None:
        """Move a lead or deal to a stage, unless it is already there."""
        with self._lock:
            row = self.data.tables[name].row(number)
            if row["stageId"] == stage:
                return
            moved = {"stageId": stage, "stageSemanticId": self._semantics(name, stage)}
            if name == "deals":
                moved["closed"] = "N" if moved["stageSemanticId"] == "P" else "Y"
            self.change(name, number, {**moved, "movedTime": self._now})
            self._visit(name, {**row, **moved})

    def merge(self, name: str, number: int, into: int) -> None:
        """Merge a contact or company into another one, as the list of duplicates does.

        Links to the first then point to the second, without a new time of change.
        """
        with self._lock:
            self.data.rebind(name, [number], into)
            self.change(name, into, {})
            self.data.delete(name, number)

    @property
    def _now(self) -> str:
        return self.clock.iso(self.clock.seconds())

    def _semantics(self, name: str, stage: str) -> str:
        entity = "STATUS" if name == "leads" else "DEAL_STAGE"
        for row in self.data.tables["statuses"].plain_rows():
            if row["ENTITY_ID"].startswith(entity) and row["STATUS_ID"] == stage:
                return str(row.get("SEMANTICS") or "P")
        return "P"

    def _visit(self, name: str, row: Mapping[str, Any]) -> None:
        """A row of stage history; types as in crm.stagehistory.list."""
        history = self.data.tables[f"{name.removesuffix('s')}_stage_history"]
        is_final = row["stageSemanticId"] != "P"
        first = not history.ids_where("OWNER_ID", [row["id"]])
        self.data.upsert(
            history.name,
            {
                "ID": history.last_id + 1,
                "TYPE_ID": 3 if is_final else 1 if first else 2,
                "OWNER_ID": row["id"],
                "CREATED_TIME": self._now,
                **(
                    {"STATUS_ID": row["stageId"], "STATUS_SEMANTIC_ID": row["stageSemanticId"]}
                    if name == "leads"
                    else {
                        "CATEGORY_ID": row.get("categoryId", 0),
                        "STAGE_ID": row["stageId"],
                        "STAGE_SEMANTIC_ID": row["stageSemanticId"],
                    }
                ),
            },
        )

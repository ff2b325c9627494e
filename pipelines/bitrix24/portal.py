"""The portal at the start of a sync; checks that it is the right one and shows everything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipelines.bitrix24 import values
from pipelines.bitrix24.access import OAuth, Webhook
from pipelines.bitrix24.client import Answer, Client, Command, number_of
from pipelines.bitrix24.entities import ENTITIES, FIRST_INSTANT, LAST_INSTANT, Table
from pipelines.bitrix24.offsets import WrittenTimes
from pipelines.errors import Bitrix24Error
from pipelines.warehouse import Refresh

# How many records of an entity identify a portal, and how many may all be deleted.
KNOWN_RECORDS = 50
FEW_RECORDS = 5


@dataclass(frozen=True)
class Portal:
    """The portal's clock and properties.

    Attributes:
        as_of: the portal's clock; every "now" in the marts.
        started_at: this machine's clock at that moment.
        utc_offset: such as "+0300".
        crm_mode: 1 classic, 2 simple, 0 unknown.
        server_time: the portal's clock as it wrote it.
    """

    url: str
    as_of: dt.datetime
    started_at: dt.datetime
    utc_offset: str
    crm_mode: int
    base_currency: str
    server_time: str

    def lost_time(self, last: Refresh | None, allowed: dt.timedelta) -> bool:
        """Whether its clock lost time against this machine's since the last refresh.

        Changes made in between have times before that refresh, and no filter finds them.
        """
        if last is None:
            return False
        ahead_then = last.as_of - last.started_at
        ahead_now = self.as_of - self.started_at
        return ahead_now < ahead_then - allowed or self.as_of < last.as_of


def open_portal(client: Client) -> Portal:
    """The portal's clock and properties.

    Raises:
        Bitrix24Error: we do not have administrator access, or an answer has an unknown form.
    """
    answers = client.batch(
        {
            "time": Command("server.time", {}),
            "profile": Command("profile", {}),
            "mode": Command("crm.settings.mode.get", {}),
            "currency": Command("crm.currency.base.get", {}),
        }
    )
    if not is_administrator(answers["profile"].result):
        raise Bitrix24Error(not_an_administrator(client.access))
    currency = answers["currency"].result
    try:
        server_time = dt.datetime.fromisoformat(answers["time"].result)
        mode = int(answers["mode"].result)
    except (TypeError, ValueError, ArithmeticError):
        server_time, mode = dt.datetime.min, 0
    if server_time.tzinfo is None or not isinstance(currency, str | None):
        raise Bitrix24Error(
            "the portal answered server.time, crm.settings.mode.get or crm.currency.base.get in"
            " an unknown form: run the refresh again; if it happens again, report it as an error"
        )
    return Portal(
        url=client.portal_url,
        as_of=server_time.astimezone(dt.UTC),
        started_at=our_time(),
        utc_offset=server_time.strftime("%z"),
        crm_mode=mode,
        base_currency=currency or "",
        server_time=answers["time"].result,
    )


@dataclass
class KnownRecords:
    """Some records of each entity with their creation time, which identify a portal."""

    records: dict[str, dict[int, dt.datetime]]

    def note(self, table: Table, frame: pl.DataFrame) -> None:
        """Notes the first records of an entity that is read for the first time."""
        if not self.records[table.name]:
            first = frame.head(KNOWN_RECORDS)
            self.records[table.name] = dict(zip(first["id"], first["created_time"], strict=True))

    @property
    def commands(self) -> dict[str, Command]:
        """The commands for the known records, without a count."""
        return {
            f"known_{table.name}": Command(
                table.method,
                {
                    **table.params,
                    "select": ["id", "createdTime"],
                    "order": {"id": "ASC"},
                    "filter": {"@id": sorted(self.records[table.name])},
                    "start": -1,
                },
            )
            for table in ENTITIES
            if self.records[table.name]
        }

    def refuse_another_portal(
        self,
        client: Client,
        written_times: WrittenTimes,
        accept_loss: bool,
        answers: Mapping[str, Answer],
    ) -> None:
        """Checks by the known records that it is the same portal.

        Args:
            answers: to `commands`.

        Raises:
            Bitrix24Error: other records have their IDs, or all are gone.
        """
        commands = self.commands
        if not commands:
            return
        expected = {
            f"known_{name}": len(records) for name, records in self.records.items() if records
        }
        found = client.lists(commands, "items", expected, answers)
        same = other = 0
        for name, rows in found.items():
            records = self.records[name.removeprefix("known_")]
            for row in rows:
                written_times.note(row.get("createdTime"))
                known = records.get(number_of(row, "id", "crm.item.list"))
                is_same = _instant(row.get("createdTime")) == known
                same, other = same + is_same, other + (not is_same)
        if other > same:
            raise Bitrix24Error(
                f"another portal answers at {client.portal_url}: of {same + other} records"
                f" that earlier refreshes read, {other} have a different creation time there; check"
                f" {client.access.setting}, and use a separate WAREHOUSE_DIR for a new portal"
            )
        known_count = sum(map(len, self.records.values()))
        if not same and known_count >= FEW_RECORDS and not accept_loss:
            raise Bitrix24Error(
                f"none of {known_count} records from earlier refreshes is on the portal"
                f" {client.portal_url}: check {client.access.setting} and the rights of"
                f" {client.access.owner}; if all were really deleted, run the refresh once"
                " with --accept-loss"
            )


def our_time() -> dt.datetime:
    """The clock of this machine."""
    return dt.datetime.now(dt.UTC)


def is_administrator(profile: Any) -> bool:
    """Whether an answer of the method `profile` belongs to an administrator."""
    return isinstance(profile, dict) and profile.get("ADMIN") is True


def not_an_administrator(access: Webhook | OAuth) -> str:
    """The error if the portal would show us only a part of the CRM."""
    return (
        f"{access.owner} is not an administrator of the portal, so Bitrix24 would silently hide"
        f" leads and deals: {access.make_administrator}"
    )


def _instant(value: Any) -> dt.datetime | None:
    """A time of the portal; None if the value is not a time."""
    try:
        moment = values.instant(value)
    except values.BAD_VALUE:
        return None
    return moment and min(max(moment, FIRST_INSTANT), LAST_INSTANT)

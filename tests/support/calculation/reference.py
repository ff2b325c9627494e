"""The portal's reference data: stages, sources, people, pipelines, user fields, rates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

from tests.support.calculation.portal import (
    Portal,
    business_date,
    instant,
    line,
    links,
    money,
    text,
)

NO_SOURCE = "без источника"
NO_LEAD = "без лида"
LEAD_DELETED = "лид удалён"
LEAD_IMPORTED = "лид импортирован"
CREATED_FAILED = "создан проваленным"
# Replaces every larger amount.
LARGEST = Decimal("999999999999999999.99")
NO_MANAGER = "без ответственного"
NO_DEPARTMENT = "без отдела"
LINKED = {"L": "лид", "D": "сделка", "C": "контакт", "CO": "компания"}


def deleted_stage(stage_id: str) -> str:
    """The name of a stage that the reference data no longer have."""
    return f"удалённый этап ({stage_id})"


Id = TypeVar("Id", str, int)

# What the reports write if the portal does not have a name.
MADE_UP = {
    "source": re.compile(
        r"без источника|без лида|лид удалён|лид импортирован|не сопоставлено"
        r"|удалённый источник \(.*\)"
        r"|.* \(нет в справочнике; есть .*\)"
    ),
    "stage": re.compile(r"без этапа|создан проваленным|удалённый этап \(.*\)"),
    "pipeline": re.compile(r"без названия \(.*\)|удалённая воронка \(.*\)"),
    "user": re.compile(r"без ответственного|пользователь -?\d+"),
    "department": re.compile(r"без отдела|без названия \(.*\)|удалённый отдел \(.*\)"),
    "item": re.compile(r"удалённое значение \(.*\)"),
}


def told_apart(kind: str, names: Mapping[Id, str]) -> dict[Id, str]:
    """Names by ID, with the ID where several share one, or it ends like that or seems made up."""
    times = Counter(names.values())
    return {
        found: f"{name} (ID {found})"
        if times[name] > 1 or re.fullmatch(r".*\(ID .*\)", name) or MADE_UP[kind].fullmatch(name)
        else name
        for found, name in names.items()
    }


@dataclass(frozen=True)
class Stage:
    """A row of the reference data of stages; semantics P, S or F.

    `own_name` is the portal's, `name` one that no other stage of the pipeline has.
    """

    stage_id: str
    own_name: str
    name: str
    sort: int
    semantics: str
    row_id: int
    pipeline_id: int | None


class Reference:
    """Look-ups in the reference data of one portal."""

    def __init__(self, portal: Portal) -> None:
        self.lead_stages: dict[str, Stage] = {}
        self.deal_stages: dict[str, Stage] = {}
        sources: dict[str, str] = {}
        for row in portal.statuses:
            entity, code = str(row["ENTITY_ID"]), text(row["STATUS_ID"]) or ""
            name = line(row["NAME"]) or code
            if entity == "SOURCE":
                sources[code] = name
                continue
            if entity == "STATUS":
                stages = self.lead_stages
            elif entity == "DEAL_STAGE" or entity.startswith("DEAL_STAGE_"):
                stages = self.deal_stages
            else:
                continue
            semantics = text(row.get("SEMANTICS"))
            stages[code] = Stage(
                stage_id=code,
                own_name=name,
                name=name,
                sort=int(row.get("SORT") or 0),
                semantics=semantics if semantics in ("S", "F") else "P",
                row_id=int(row.get("ID") or 0),
                pipeline_id=None if entity == "STATUS" else int(entity[11:] or 0),
            )
        self.sources = told_apart("source", sources)
        for stages in (self.lead_stages, self.deal_stages):
            for pipeline_id in {stage.pipeline_id for stage in stages.values()}:
                own = {
                    code: stage.own_name
                    for code, stage in stages.items()
                    if stage.pipeline_id == pipeline_id
                }
                for code, name in told_apart("stage", own).items():
                    stages[code] = replace(stages[code], name=name)
        first = min(self.lead_stages.values(), key=lambda s: (s.sort, s.row_id), default=None)
        self.first_lead_stage = first.stage_id if first else None
        pipelines = {int(row["id"]): line(row["name"]) for row in portal.categories}
        self.pipelines = _named("pipeline", pipelines)
        self.users = {int(row["ID"]): row for row in portal.users}
        people = {
            user_id: line(" ".join(str(user.get(key) or "") for key in ("NAME", "LAST_NAME")))
            for user_id, user in self.users.items()
        }
        self.people = told_apart("user", {one: name for one, name in people.items() if name})
        departments = {int(row["ID"]): line(row["NAME"]) for row in portal.departments}
        self.departments = _named("department", departments)
        self._labels: dict[tuple[int, str], dict[str, str]] = {}
        for row in portal.fields:
            for name, about in row["fields"].items():
                if about and about.get("items"):
                    items = {
                        str(item["ID"]): line(item["VALUE"]) or str(item["ID"])
                        for item in about["items"]
                    }
                    self._labels[int(row["entityTypeId"]), name] = told_apart("item", items)
        self._about = {
            (int(row["entityTypeId"]), name): about or {}
            for row in portal.fields
            for name, about in row["fields"].items()
        }

    def stages(self, entity: str) -> dict[str, Stage]:
        """Stages of leads or deals by ID."""
        return self.lead_stages if entity == "lead" else self.deal_stages

    def semantics(self, entity: str, own: Any, stage_id: str) -> str:
        """The record's own semantics, else its stage's in the reference data, else P."""
        if own in ("P", "S", "F"):
            return str(own)
        stage = self.stages(entity).get(stage_id)
        return stage.semantics if stage else "P"

    def stage_name(self, entity: str, stage_id: str) -> str:
        """The stage's name; a deleted stage is named as such."""
        stage = self.stages(entity).get(stage_id)
        return stage.name if stage else deleted_stage(stage_id)

    def source_name(self, code: str | None) -> str:
        """The source's name; says so if the reference data lack it or have it in another case."""
        if code is None:
            return NO_SOURCE
        if code in self.sources:
            return self.sources[code]
        alike = [known for known in self.sources if known.lower() == code.lower()]
        if alike:
            return f"{code} (нет в справочнике; есть {min(alike)})"
        return f"удалённый источник ({code})"

    def pipeline_name(self, pipeline_id: int) -> str:
        """The pipeline's name; a deleted pipeline is named as such."""
        return self.pipelines.get(pipeline_id, f"удалённая воронка ({pipeline_id})")

    def manager_name(self, user_id: int | None) -> str:
        """Name and last name; the ID of a user without a name or unknown to the portal."""
        if user_id is None:
            return NO_MANAGER
        return self.people.get(user_id, f"пользователь {user_id}")

    def department_name(self, user_id: int | None) -> str:
        """The first department of the user."""
        ids = links(self.users.get(user_id or 0, {}).get("UF_DEPARTMENT"))
        if not ids:
            return NO_DEPARTMENT
        return self.departments.get(ids[0], f"удалённый отдел ({ids[0]})")

    def is_dismissed(self, user_id: int | None) -> bool:
        """True for a user that the portal lists as not active."""
        return self.users.get(user_id or 0, {}).get("ACTIVE", True) in (False, "N", "false")

    def decode(self, entity_type_id: int, name: str, value: Any, zone: tzinfo) -> str | None:
        """The shown values of a user field, each once, in the order of the alphabet."""
        about = self._about.get((entity_type_id, name), {})
        kind = str(about.get("type"))
        # Several values are a list, or an object with numbers for keys.
        if isinstance(value, dict) and all(key.isdigit() for key in value):
            value = list(value.values())
        given = value if isinstance(value, list) else [value]
        labels = self._labels.get((entity_type_id, name), {})
        shown = {
            text
            for one in given
            if one not in (None, "") and (kind == "boolean" or one is not False)
            for text in [self._shown(kind, one, labels, zone)]
            if text
        }
        return ", ".join(sorted(shown)) or None

    def _shown(self, kind: str, value: Any, labels: dict[str, str], zone: tzinfo) -> str | None:
        """One value, by the type of its field."""
        if labels:
            # An empty list field is 0 in some answers of the API.
            gone = f"удалённое значение ({value})"
            return labels.get(str(value), gone) if str(value) != "0" else None
        match kind:
            case "boolean":
                return "да" if value in (True, "Y", "1", 1) else "нет"
            case "date":
                day = business_date(value)
                return day.isoformat() if day else None
            case "datetime":
                moment = instant(value)
                return moment.astimezone(zone).date().isoformat() if moment else None
            case "money":
                digits, currency = str(value).split("|")
                if not digits:
                    return None
                cents = round(Fraction(digits) * 100)
                amount = f"{cents / 100:.2f}" if cents % 100 else str(cents // 100)
                return f"{amount} {currency}"
            case "address":
                return str(value).split("|")[0]
            case "file":
                return f"файл {value['id']}"
            case "crm":
                letters, number = str(value).split("_")
                return f"{LINKED[letters]} {number}"
        return line(value)


def _named(kind: str, names: Mapping[int, str | None]) -> dict[int, str]:
    """Names told apart; without one it is the ID that is shown."""
    nameless = {found: f"без названия ({found})" for found, name in names.items() if not name}
    return nameless | told_apart(kind, {found: name for found, name in names.items() if name})


class Rates:
    """The log of rates: base currency units for one unit, by currency and time of the sync."""

    def __init__(self, portal: Portal, as_of: datetime) -> None:
        self._log: dict[str, list[tuple[datetime, Fraction]]] = {}
        self._latest: dict[str, Fraction] = {}
        syncs = [(instant(moment) or as_of, rows) for moment, rows in portal.rate_log]
        for moment, rows in [*sorted(syncs, key=lambda r: r[0]), (as_of, portal.currencies)]:
            self._latest = {}
            for row in rows:
                amount, count = money(row.get("AMOUNT")), money(row.get("AMOUNT_CNT"))
                if amount and count:
                    rate = Fraction(amount) / Fraction(count)
                    self._log.setdefault(str(row["CURRENCY"]), []).append((moment, rate))
                    self._latest[str(row["CURRENCY"])] = rate

    def at(self, currency: str | None, moment: datetime | None) -> Fraction | None:
        """The rate in force at a moment, else the first known."""
        log = self._log.get(currency or "", [])
        known = [rate for read_at, rate in log if moment is not None and read_at <= moment]
        return known[-1] if known else (log[0][1] if log else None)

    def latest(self, currency: str | None) -> Fraction | None:
        """The rate at the last sync; null for a currency that the portal no longer has."""
        return self._latest.get(currency or "")


def held(amount: Decimal | None) -> Decimal | None:
    """The amount as a report can hold it."""
    return amount and max(min(amount, LARGEST), -LARGEST)


def to_base(amount: Decimal | None, rate: Fraction | None) -> Decimal | None:
    """The amount in base currency, rounded half up to 2 decimals.

    Null without a rate, and where it, or the amount itself, is 10^18 or more.
    """
    if amount is None or rate is None or abs(amount) >= LARGEST:
        return None
    cents = Fraction(amount) * rate * 100
    whole = int(abs(cents) + Fraction(1, 2))
    if whole >= 10**20:
        return None
    return Decimal(whole if cents >= 0 else -whole).scaleb(-2)

"""The data directory: tables, field metadata, portal settings, rights, deletions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from scripts.demo_portal.fields import (
    COMPANY,
    CONTACT,
    DEAL,
    LEAD,
    SYSTEM_FIELDS,
    Field,
    user_field_names,
)
from scripts.demo_portal.table import Table, open_database
from scripts.demo_portal.values import FIELD_TYPE_KINDS, TIMES, DataError, Kind, parse_offset

ENTITY_TABLES = {LEAD: "leads", DEAL: "deals", CONTACT: "contacts", COMPANY: "companies"}
HISTORY_TABLES = {LEAD: "lead_stage_history", DEAL: "deal_stage_history"}
# Fields that name contacts or companies: the first one, and all.
CUSTOMER_FIELDS = {
    "contacts": ("contactId", "contactIds"),
    "companies": ("companyId", "companyIds"),
}

HISTORY_FIELDS = {
    LEAD: ("ID", "TYPE_ID", "OWNER_ID", "CREATED_TIME", "STATUS_SEMANTIC_ID", "STATUS_ID"),
    DEAL: (
        "ID",
        "TYPE_ID",
        "OWNER_ID",
        "CREATED_TIME",
        "CATEGORY_ID",
        "STAGE_SEMANTIC_ID",
        "STAGE_ID",
    ),
}


def _schema(kinds: dict[Kind, str]) -> dict[str, Kind]:
    return {name: kind for kind, names in kinds.items() for name in names.split()}


_DIRECTORY_SCHEMAS: dict[str, tuple[str, dict[str, Kind]]] = {
    "lead_stage_history": (
        "ID",
        _schema(
            {
                Kind.INT: "ID TYPE_ID OWNER_ID",
                Kind.TIME: "CREATED_TIME",
                Kind.TEXT: "STATUS_SEMANTIC_ID STATUS_ID",
            }
        ),
    ),
    "deal_stage_history": (
        "ID",
        _schema(
            {
                Kind.INT: "ID TYPE_ID OWNER_ID CATEGORY_ID",
                Kind.TIME: "CREATED_TIME",
                Kind.TEXT: "STAGE_SEMANTIC_ID STAGE_ID",
            }
        ),
    ),
    "activities": (
        "ID",
        _schema(
            {
                Kind.QUOTED: "ID OWNER_ID OWNER_TYPE_ID TYPE_ID ASSOCIATED_ENTITY_ID STATUS"
                " RESPONSIBLE_ID PRIORITY NOTIFY_TYPE NOTIFY_VALUE DESCRIPTION_TYPE DIRECTION"
                " AUTHOR_ID EDITOR_ID RESULT_MARK RESULT_STATUS RESULT_STREAM AUTOCOMPLETE_RULE",
                Kind.TIME: "CREATED LAST_UPDATED START_TIME END_TIME DEADLINE",
                Kind.JSON: "SETTINGS PROVIDER_PARAMS PROVIDER_DATA COMMUNICATIONS FILES",
            }
        ),
    ),
    "statuses": (
        "ID",
        _schema({Kind.QUOTED: "ID SORT", Kind.TEXT: "CATEGORY_ID", Kind.JSON: "EXTRA"}),
    ),
    "categories": ("id", _schema({Kind.INT: "id sort entityTypeId"})),
    "users": ("ID", _schema({Kind.QUOTED: "ID", Kind.BOOL: "ACTIVE", Kind.JSON: "UF_DEPARTMENT"})),
    "departments": ("ID", _schema({Kind.QUOTED: "ID PARENT UF_HEAD", Kind.INT: "SORT"})),
    "currencies": (
        "",
        _schema({Kind.QUOTED: "AMOUNT_CNT SORT DECIMALS", Kind.TIME: "DATE_UPDATE"}),
    ),
    "lead_addresses": ("ID", _schema({Kind.QUOTED: "ID ADDRESS_LOC_ADDR_ID"})),
}


class Entity:
    """One entity type: its fields under both names, and its table.

    Attributes:
        type_id: entityTypeId.
        table: rows as ``crm.item.list`` returns them with original user-field names.
        system: system fields by their name in ``crm.item.*`` and, where they have none, in the
            upper-case methods.
        user_fields: description of each user field, by original name.
    """

    def __init__(self, type_id: int, table: Table, described: Mapping[str, Any]) -> None:
        self.type_id = type_id
        self.table = table
        self.system: dict[str, Field] = {
            field.name or field.legacy: field for field in SYSTEM_FIELDS[type_id]
        }
        self.described = {k: v for k, v in described.items() if k not in self.system}
        self.overridden = {k: v for k, v in described.items() if k in self.system}

    def forget(self, name: str) -> None:
        """Take a field away, with its values."""
        self.described.pop(name, None)
        self.system.pop(name, None)
        self.table.forget(name)
        for cached in ("_legacy_names", "_upper_names"):
            self.__dict__.pop(cached, None)

    @property
    def user_fields(self) -> dict[str, dict[str, Any]]:
        """Description of each user field: from the ``fields`` file, else from its values."""
        known = {name: info for name, info in self.described.items() if name.startswith("UF_")}
        for name, kind in self.table.kinds.items():
            if name.startswith("UF_") and name not in known:
                known[name] = _described_by_values(name, kind)
        return known

    @cached_property
    def _legacy_names(self) -> dict[str, str]:
        return {field.legacy: name for name, field in self.system.items() if field.legacy}

    @cached_property
    def _upper_names(self) -> dict[str, str]:
        return {field.upper_name: name for name, field in self.system.items() if field.name}

    def item_names(self, original_user_names: bool) -> dict[str, str]:
        """Column to name in ``crm.item.*``, of every field that exists there."""
        names = {name: name for name, field in self.system.items() if field.name}
        for name in self.table.kinds:
            if not name.startswith("UF_") and name not in self.system:
                names[name] = name
        user = list(self.user_fields)
        if original_user_names:
            return names | {name: name for name in user}
        return names | user_field_names(user, set(names))

    def item_column(self, name: str, names: Mapping[str, str]) -> str | None:
        """Column of a name that a ``crm.item.*`` request uses (createdTime or CREATED_TIME).

        A user field has only the name that the request's ``useOriginalUfNames`` says.
        """
        if name in self.system and self.system[name].name:
            return name
        if name in self._upper_names:
            return self._upper_names[name]
        return next((column for column, shown in names.items() if name == shown), None)

    def is_multiple(self, column: str) -> bool:
        """Whether a field holds a list."""
        if column in self.system:
            return "m" in self.system[column].flags
        return column == "fm" or bool(self.described.get(column, {}).get("isMultiple"))

    def legacy_names(self) -> dict[str, str]:
        """Column to name in ``crm.lead.list`` and the like."""
        names = {name: field.legacy for name, field in self.system.items() if field.legacy}
        return names | {name: name for name in self.user_fields}

    def legacy_column(self, name: str) -> str | None:
        """Column of an upper-case name."""
        if name in self._legacy_names:
            return self._legacy_names[name]
        return name if name in self.user_fields else None


def _described_by_values(name: str, kind: Kind) -> dict[str, Any]:
    types = {Kind.INT: "integer", Kind.FLOAT: "double", Kind.FLAG: "boolean"}
    return {
        "type": types.get(kind, "string"),
        "isRequired": False,
        "isReadOnly": False,
        "isImmutable": False,
        "isMultiple": kind == Kind.JSON,
        "isDynamic": True,
        "title": name,
        "upperName": name,
        "listLabel": name,
        "formLabel": name,
        "filterLabel": name,
        "settings": {},
    }


@dataclass
class Rights:
    """What the webhook's owner may see."""

    admin: bool = True
    hidden_categories: tuple[int, ...] = ()
    hidden_deals: tuple[int, ...] = ()


class PortalData:
    """All rows of a data directory.

    Raises:
        DataError: the directory does not exist or a file has a value that Bitrix24 would not
            return.
    """

    def __init__(self, directory: Path, present_history: bool = False) -> None:
        if not directory.is_dir():
            raise DataError(f"no such data directory: {directory}")
        settings = self._settings(directory)
        self.zone = parse_offset(str(settings.get("utc_offset", "+03:00")))
        self.now = self._now(settings)
        self.mode = int(settings.get("mode", 1))
        self.name = str(settings.get("name", ""))
        self.rights = Rights(
            bool(settings.get("admin", True)), tuple(settings.get("hidden_categories", ()))
        )
        described = self._described(directory)
        database = open_database()
        self.tables: dict[str, Table] = {
            name: Table(database, name, key, schema, self.zone)
            for name, (key, schema) in _DIRECTORY_SCHEMAS.items()
        }
        self.entities: dict[int, Entity] = {}
        for type_id, name in ENTITY_TABLES.items():
            fields = described.get(type_id, {})
            table = Table(database, name, "id", _entity_schema(type_id, fields), self.zone)
            self.tables[name] = table
            self.entities[type_id] = Entity(type_id, table, fields)
        for table in self.tables.values():
            table.load(directory)
        # For a deal that was in several pipelines, only rows of the present one are returned.
        self.present_history = present_history

    @staticmethod
    def _settings(directory: Path) -> dict[str, Any]:
        path = directory / "portal.json"
        if not path.exists():
            return {}
        try:
            settings = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise DataError(f"{path.name}: not JSON ({error})") from error
        if not isinstance(settings, dict):
            raise DataError(f"{path.name}: one JSON object is wanted")
        return settings

    @staticmethod
    def _now(settings: Mapping[str, Any]) -> datetime | None:
        if not settings.get("now"):
            return None
        try:
            now = datetime.fromisoformat(str(settings["now"]))
        except ValueError:
            now = datetime.min
        if now.tzinfo is None:
            raise DataError(
                "portal.json: now must be ISO 8601 with offset (2024-08-30T14:29:00+03:00),"
                f" got {settings['now']!r}"
            )
        return now

    @staticmethod
    def _described(directory: Path) -> dict[int, dict[str, Any]]:
        path = directory / "fields.jsonl"
        if path.exists():
            rows = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        elif (directory / "fields.parquet").exists():
            rows = pl.read_parquet(directory / "fields.parquet").to_dicts()
        else:
            rows = []
        described = {}
        for row in rows:
            fields = row["fields"]
            described[int(row["entityTypeId"])] = (
                orjson.loads(fields) if isinstance(fields, str) else fields
            )
        return described

    def upsert(self, name: str, rows: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> None:
        """Add rows, or change the named fields of the rows with their IDs."""
        table = self.table(name)
        for row in [rows] if isinstance(rows, Mapping) else rows:
            table.upsert(row)

    def delete(self, name: str, ids: int | Iterable[int]) -> None:
        """Delete rows; a lead or a deal takes its history and its own activities with it.

        Links to a deleted contact or company are removed.
        """
        table = self.table(name)
        gone = [ids] if isinstance(ids, int) else [int(number) for number in ids]
        table.delete(gone)
        type_id = next((key for key, value in ENTITY_TABLES.items() if value == name), None)
        if type_id is None:
            return
        if name in CUSTOMER_FIELDS:
            self.rebind(name, gone)
        if type_id in HISTORY_TABLES:
            history = self.tables[HISTORY_TABLES[type_id]]
            history.delete(history.ids_where("OWNER_ID", gone))
        if type_id == LEAD:
            self.tables["lead_addresses"].delete(gone)
        activities = self.tables["activities"]
        owned = set(activities.ids_where("OWNER_ID", gone))
        activities.delete(owned & set(activities.ids_where("OWNER_TYPE_ID", [type_id])))

    def rebind(self, name: str, gone: Collection[int], other: int | None = None) -> None:
        """Replaces or removes links of leads, deals and contacts to contacts or companies.

        Their times do not change: the vendor's DealContactTable::rebindAllDeals and unbindAllDeals
        only write the bindings. If the first contact goes, the lowest of the others replaces it.
        """
        first, several = CUSTOMER_FIELDS[name]
        for table in (self.tables["leads"], self.tables["deals"], self.tables["contacts"]):
            for row in table.rows_naming([first, several], gone):
                kept = [other if number in gone else number for number in row.get(several) or []]
                bound = [number for number in dict.fromkeys(kept) if number]
                if several in row:
                    row[several] = bound
                if row.get(first) in gone:
                    row[first] = other or min(bound, default=None)
                table.upsert(row)

    def replace(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace all rows of a file with ``rows``."""
        self.table(name).replace(list(rows))

    def table(self, name: str) -> Table:
        """Table of a file name."""
        if name not in self.tables:
            raise KeyError(f"{name!r} is none of {', '.join(sorted(self.tables))}")
        return self.tables[name]

    def set_zone(self, zone: timezone) -> None:
        """Move the portal to another offset."""
        self.zone = zone
        for table in self.tables.values():
            table.set_zone(zone)

    def set_rights(
        self, admin: bool, hidden_categories: Collection[int], hidden_deals: Collection[int] = ()
    ) -> None:
        """Change what the webhook's owner may see."""
        self.rights = Rights(admin, tuple(hidden_categories), tuple(hidden_deals))

    def seen(self, name: str) -> str:
        """SQL condition of the rows of a table that the webhook's owner may see.

        A hidden deal, and any of a hidden pipeline, is hidden with its stage history and its
        activities. If only the present pipeline's history is returned, rows of former pipelines
        are hidden too.
        """
        deals, table, rights = self.tables["deals"], self.tables[name], self.rights
        pipeline, owner = deals.sql("categoryId"), table.sql("OWNER_ID")
        unseen = (
            f"({pipeline} in ({_listed(rights.hidden_categories)})"
            f" or deals.id in ({_listed(rights.hidden_deals)}))"
        )
        of_unseen = f"{owner} in (select id from deals where {unseen})"
        hidden = []
        if rights.hidden_categories or rights.hidden_deals:
            of_table = {
                "deals": unseen,
                "deal_stage_history": of_unseen,
                "activities": f"{table.sql('OWNER_TYPE_ID')} = {DEAL} and {of_unseen}",
            }
            hidden += [of_table[name]] if name in of_table else []
        if name == "deal_stage_history" and self.present_history:
            then = f"coalesce({table.sql('CATEGORY_ID')}, 0)"
            hidden.append(
                f"exists (select 1 from deals where deals.id = {owner}"
                f" and coalesce({pipeline}, 0) <> {then})"
            )
        return " and ".join(f"({condition}) is not true" for condition in hidden) or "true"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _entity_schema(type_id: int, described: Mapping[str, Any]) -> dict[str, Kind]:
    schema: dict[str, Kind] = {"fm": Kind.JSON, "entityTypeId": Kind.INT}
    for field in SYSTEM_FIELDS[type_id]:
        kind = FIELD_TYPE_KINDS.get(field.type)
        if field.name and kind is not None:
            schema[field.name] = Kind.JSON if "m" in field.flags else kind
    for name, info in described.items():
        kind = FIELD_TYPE_KINDS.get(str(info.get("type")))
        if not name.startswith("UF_"):
            continue
        if info.get("type") == "boolean":
            schema[name] = Kind.FLAG
        elif kind in TIMES:
            schema[name] = Kind.JSON if info.get("isMultiple") else kind
    return schema

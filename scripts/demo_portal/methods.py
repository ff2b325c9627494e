"""REST methods: what each takes and returns.

Source of every shape: its page on apidocs.bitrix24.com. Two families differ in all they do: the
upper-case ones (``crm.lead.list``: string values, Y/N, "" for an empty date, unknown names pass
silently) and those on the newer engine (``crm.item.list``: camelCase, JSON numbers, null, an
unknown name in the filter is an error).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timezone
from typing import Any

import polars as pl

from scripts.demo_portal import columns
from scripts.demo_portal.columns import Kind
from scripts.demo_portal.data import HISTORY_FIELDS, HISTORY_TABLES, Entity, PortalData
from scripts.demo_portal.errors import RestError
from scripts.demo_portal.fields import (
    COMPANY,
    CONTACT,
    DEAL,
    LEAD,
    MULTIFIELD_TYPES,
    system_field_info,
    user_field_names,
)
from scripts.demo_portal.filters import BadFilterValue, Condition, Group, parse
from scripts.demo_portal.limits import Clock
from scripts.demo_portal.params import as_mapping, php_int
from scripts.demo_portal.table import Positions, Table, count, page

PAGE_SIZE = 50


@dataclass
class Reply:
    """Result of a method; ``total`` and ``next`` are left out of the answer where None."""

    result: Any
    total: int | None = None
    next: int | None = None


Params = Mapping[str, Any]


class Methods:
    """The methods that the portal knows, over its data."""

    def __init__(
        self,
        data: PortalData,
        clock: Clock,
        user_id: int,
        scopes: tuple[str, ...],
        token: str = "webhook",
        file_address: Callable[[Any], str] = lambda number: f"/file?id={number}",
    ):
        self.data = data
        self.clock = clock
        self.user_id = user_id
        self.scopes = scopes
        self.token = token
        self.file_address = file_address
        self.by_name: dict[str, tuple[str, Callable[[Params], Reply]]] = {
            "crm.item.list": ("crm", self._item_list),
            "crm.item.get": ("crm", self._item_get),
            "crm.item.fields": ("crm", self._item_fields),
            "crm.stagehistory.list": ("crm", self._stage_history_list),
            "crm.status.list": ("crm", self._status_list),
            "crm.category.list": ("crm", self._category_list),
            "crm.activity.list": ("crm", self._activity_list),
            "crm.currency.list": ("crm", self._currency_list),
            "crm.currency.base.get": ("crm", self._currency_base_get),
            "crm.deal.contact.items.get": ("crm", self._deal_contact_items_get),
            "crm.settings.mode.get": ("crm", lambda _: Reply(self.data.mode)),
            "user.get": ("user", self._user_get),
            "department.get": ("department", self._department_get),
            "server.time": ("", lambda _: Reply(self.clock.iso(self.clock.seconds()))),
            "profile": ("", self._profile),
            "scope": ("", lambda _: Reply(list(self.scopes))),
        }
        names = {LEAD: "lead", DEAL: "deal", CONTACT: "contact", COMPANY: "company"}
        for type_id, name in names.items():
            entity = data.entities[type_id]
            self.by_name[f"crm.{name}.list"] = ("crm", _bind(self._legacy_list, entity))
            self.by_name[f"crm.{name}.fields"] = ("crm", _bind(self._legacy_fields, entity))

    def call(self, name: str, params: Params) -> Reply:
        """Run a method.

        Raises:
            RestError: as Bitrix24 would answer.
        """
        scope, method = self.by_name[name]
        if scope and scope not in self.scopes:
            raise RestError(
                403,
                "insufficient_scope",
                f"The request requires higher privileges than provided by the {self.token} token",
            )
        return method(params)

    @property
    def _zone(self) -> timezone:
        return self.data.zone

    # crm.item.*

    def _entity(self, params: Params) -> Entity:
        if "entityTypeId" not in params:
            raise RestError(400, "100", "Could not find value for parameter {entityTypeId}")
        type_id = php_int(params["entityTypeId"])
        if type_id == 5:
            raise RestError(
                400, "ENTITY_TYPE_NOT_SUPPORTED", "Entity type `INVOICE` is not supported"
            )
        if type_id not in self.data.entities:
            raise RestError(400, "NOT_FOUND", "Smart process not found")
        return self.data.entities[type_id]

    def _item_list(self, params: Params) -> Reply:
        entity = self._entity(params)
        original = _original_user_names(params)
        names = entity.item_names(original)

        def column_of(name: str) -> str | None:
            return entity.item_column(name, names)

        select = _strings(params.get("select"))
        if not select or "*" in select:
            chosen = _all_of_item(entity, names)
        else:
            # Multifields cannot be selected by name, only with '*'.
            wanted = {column_of(name) for name in select} - {"fm"}
            chosen = {column: name for column, name in names.items() if column in wanted}
            if original:
                # github.com/bitrix-tools/b24-rest-docs/issues/368 and 263: only user fields of
                # the select are left.
                chosen = {column: name for column, name in chosen.items() if name[:3] == "UF_"}
        positions, start = self._engine_query(params, entity.table, column_of, entity.flags)
        return self._engine_page(
            entity.table,
            positions,
            start,
            lambda rows: {"items": self._item_rows(entity, rows, chosen)},
        )

    def _item_get(self, params: Params) -> Reply:
        entity = self._entity(params)
        if "id" not in params:
            raise RestError(400, "100", "Could not find value for parameter {id}")
        wanted = Group(members=[Condition("id", "=", False, php_int(params["id"]))])
        table = entity.table
        found = table.select(wanted, [], self._zone)
        if not count(found):
            raise RestError(400, "NOT_FOUND", "Element not found")
        if not count(table.select(wanted, [], self._zone, self.data.hidden(table.name))):
            raise RestError(400, "ACCESS_DENIED", "You do not have permission to view this item")
        names = entity.item_names(_original_user_names(params))
        (item,) = self._item_rows(entity, table.rows(found), _all_of_item(entity, names))
        return Reply({"item": item})

    def _item_rows(
        self, entity: Entity, rows: pl.DataFrame, chosen: Mapping[str, str]
    ) -> list[dict[str, Any] | list[Any]]:
        size = rows.height
        shown = []
        for column in chosen:
            values = rows.get_column(column) if column in rows.columns else None
            if values is not None and values.null_count() < size:
                kind = entity.table.kinds[column]
                decoded = columns.decode(values, kind, self._zone)
                if kind == Kind.JSON:
                    decoded = [self._with_addresses(value, "urlMachine") for value in decoded]
                if _is_multiple(entity, column):
                    decoded = [[] if value is None else value for value in decoded]
            elif column == "entityTypeId":
                decoded = [entity.type_id] * size
            else:
                decoded = [[] if _is_multiple(entity, column) else None] * size
            shown.append(decoded)
        # PHP writes an empty object as an empty list.
        return [row or [] for row in _rows(list(chosen.values()), shown, size)]

    def _with_addresses(self, value: Any, name: str) -> Any:
        """A file's address is another at every call, with what lets its reader in."""
        if isinstance(value, list):
            return [self._with_addresses(item, name) for item in value]
        if not isinstance(value, dict):
            return value
        if not {"url", "urlMachine"} & value.keys():
            return {key: self._with_addresses(item, name) for key, item in value.items()}
        address = self.file_address(value.get("id"))
        if name == "urlMachine":
            return {**value, name: address}
        return {"id": value.get("id"), "showUrl": value.get("url"), name: address}

    def _item_fields(self, params: Params) -> Reply:
        entity = self._entity(params)
        original = _original_user_names(params)
        fields: dict[str, Any] = {}
        for name, field in entity.system.items():
            if field.name:
                fields[name] = system_field_info(field, legacy=False)
                fields[name] |= entity.overridden.get(name, {})
        described = entity.user_fields
        shown = user_field_names(list(described), set(fields))
        for name, info in described.items():
            fields[name if original else shown[name]] = {**info, "upperName": name}
        return Reply({"fields": fields})

    # Lists on the newer engine: offset paging, errors for unknown names

    def _engine_query(
        self,
        params: Params,
        table: Table,
        column_of: Callable[[str], str | None],
        flags: frozenset[str] = frozenset(),
    ) -> tuple[Positions, int]:
        def refuse(name: str) -> None:
            raise RestError(
                400,
                "INVALID_ARG_VALUE",
                f"Invalid filter: field '{name}' is not allowed in filter",
            )

        group = parse(_mapping(params, "filter"), column_of, refuse, nested=True)
        order = []
        for name, direction in _mapping(params, "order").items():
            column = column_of(name)
            if column is None:
                raise RestError(
                    400,
                    "INVALID_ARG_VALUE",
                    f"Invalid order: field '{name}' is not allowed in order",
                )
            if str(direction).upper() not in ("ASC", "DESC"):
                raise RestError(
                    400,
                    "INVALID_ARG_VALUE",
                    "Invalid order: allowed sort directions are `ASC, DESC`. But got"
                    f" '{direction}' for field '{name}'",
                )
            order.append((column, str(direction).upper() == "DESC"))
        try:
            positions = table.select(group, order, self._zone, self.data.hidden(table.name), flags)
        except BadFilterValue as error:
            raise RestError(
                400,
                "INVALID_ARG_VALUE",
                f"Invalid filter: field '{error}' has invalid value",
            ) from error
        return positions, php_int(params.get("start", 0))

    def _engine_page(
        self,
        table: Table,
        positions: Positions,
        start: int,
        render: Callable[[pl.DataFrame], Any],
    ) -> Reply:
        rows = table.rows(page(positions, max(start, 0), PAGE_SIZE))
        if start < 0:
            return Reply(render(rows), total=0)
        total = count(positions)
        following = start + PAGE_SIZE if start + PAGE_SIZE < total else None
        return Reply(render(rows), total, following)

    def _stage_history_list(self, params: Params) -> Reply:
        type_id = php_int(params.get("entityTypeId"))
        if type_id in (5, 31):
            return Reply({"items": []}, total=0)
        if type_id not in HISTORY_TABLES:
            raise RestError(
                400, "ENTITY_TYPE_NOT_SUPPORTED", f"Entity type `{type_id}` is not supported"
            )
        table, fields = self.data.tables[HISTORY_TABLES[type_id]], HISTORY_FIELDS[type_id]
        positions, start = self._engine_query(
            params, table, lambda name: name if name in fields else None
        )
        select = _strings(params.get("select"))
        chosen = [name for name in fields if name in select or name == "ID"]
        if not select or any(name not in fields for name in select):
            chosen = list(fields)
        return self._engine_page(
            table, positions, start, lambda rows: {"items": self._plain_rows(table, rows, chosen)}
        )

    def _plain_rows(
        self,
        table: Table,
        rows: pl.DataFrame,
        names: list[str],
        empty: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Rows with the values as the data file has them; ``empty``: what stands for null."""
        size = rows.height
        shown = []
        for name in names:
            blank = (empty or {}).get(name)
            decoded: list[Any] = [None] * size
            if name in rows.columns:
                values = rows.get_column(name)
                decoded = columns.decode(values, table.kinds[name], self._zone)
            if blank is not None:
                decoded = [blank if value is None else value for value in decoded]
            shown.append(decoded)
        return _rows(names, shown, size)

    def _category_list(self, params: Params) -> Reply:
        type_id = php_int(params.get("entityTypeId"))
        if type_id == LEAD:
            raise RestError(400, "ENTITY_TYPE_NOT_SUPPORTED", "Entity type `LEAD` is not supported")
        if type_id not in self.data.entities:
            raise RestError(400, "NOT_FOUND", "Smart process not found")
        table = self.data.tables["categories"]
        rows = self._plain_rows(table, table.rows(), list(table.kinds))
        categories = []
        for row in rows:
            if (row.get("entityTypeId") or DEAL) != type_id:
                continue
            if row["id"] in self.data.rights.hidden_categories:
                continue
            category = {
                "id": row["id"],
                "name": row.get("name"),
                "sort": row.get("sort"),
                "entityTypeId": type_id,
                "isDefault": row.get("isDefault") or ("Y" if row["id"] == 0 else "N"),
            }
            if row["id"] != 0:
                category["originId"] = row.get("originId") or ""
                category["originatorId"] = row.get("originatorId") or ""
            categories.append(category)
        categories.sort(key=lambda row: (row["sort"] or 0, row["id"]))
        return Reply({"categories": categories}, total=len(categories))

    # Upper-case lists: pages of 50 only, unknown names pass

    def _legacy_query(
        self,
        params: Params,
        table: Table,
        column_of: Callable[[str], str | None],
        default_order: tuple[str, bool],
        flags: frozenset[str] = frozenset(),
        extra: list[Condition | Group] | None = None,
    ) -> Positions:
        for name in ("order", "filter"):
            if as_mapping(_either(params, name) or {}) is None:
                raise RestError(400, "", f"Parameter '{name}' must be array.")
        group = parse(_mapping(params, "filter"), column_of, lambda _: None, nested=False)
        group.members += extra or []
        order = [
            (column, str(direction).upper() == "DESC")
            for name, direction in _mapping(params, "order").items()
            if (column := column_of(name)) is not None
        ]
        try:
            return table.select(
                group, order or [default_order], self._zone, self.data.hidden(table.name), flags
            )
        except BadFilterValue:
            # What the older lists do with a value that is no date is not documented; user.get
            # says that such a condition retrieves no records.
            return slice(0, 0)

    def _legacy_page(
        self,
        params: Params,
        table: Table,
        positions: Positions,
        render: Callable[[pl.DataFrame], Any],
    ) -> Reply:
        start = php_int(_either(params, "start"))
        if start < 0:
            return Reply(render(table.rows(page(positions, 0, PAGE_SIZE))), total=0)
        start -= start % PAGE_SIZE
        total = count(positions)
        following = start + PAGE_SIZE if start + PAGE_SIZE < total else None
        rows = table.rows(page(positions, start, PAGE_SIZE))
        return Reply(render(rows), total, following)

    def _legacy_list(self, entity: Entity, params: Params) -> Reply:
        names = entity.legacy_names()
        extra: list[Condition | Group] = []
        named = {"IS_RECURRING", "=IS_RECURRING", "ID", "=ID", "@ID"}
        if entity.type_id == DEAL and not named & _mapping(params, "filter").keys():
            # Templates of recurring deals are hidden unless the filter names them.
            extra.append(Condition("isRecurring", "=", True, "Y"))
        select = set(_strings(_either(params, "select")))
        everything = not select or "*" in select
        user_fields = not select or "UF_*" in select
        chosen = {}
        for column, name in names.items():
            if name in MULTIFIELD_TYPES:
                wanted = name in select
            elif name in ("CONTACT_IDS", "COMPANY_IDS"):
                wanted = False  # in .fields, but neither selected nor filtered by
            elif name.startswith("UF_"):
                wanted = user_fields or name in select
            else:
                wanted = everything or name in select or name == "ID"
            if wanted:
                chosen[column] = name
        positions = self._legacy_query(
            params, entity.table, entity.legacy_column, ("id", False), entity.flags, extra
        )
        return self._legacy_page(
            params,
            entity.table,
            positions,
            lambda rows: self._legacy_rows(entity, rows, chosen),
        )

    def _legacy_rows(
        self, entity: Entity, rows: pl.DataFrame, chosen: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        size = rows.height
        user_fields = entity.user_fields
        shown = []
        for column, name in chosen.items():
            values = rows.get_column(column) if column in rows.columns else None
            if column in MULTIFIELD_TYPES:
                shown.append(self._multifield(rows, column))
            elif entity.type_id == LEAD and name.startswith("ADDRESS"):
                shown.append(self._address(rows, name))
            elif column in user_fields:
                given = _legacy_user_values(values, entity, column, size, self._zone)
                shown.append([self._with_addresses(value, "downloadUrl") for value in given])
            else:
                kind = entity.table.kinds.get(column)
                field_type = entity.system[column].type
                shown.append(_legacy_values(values, kind, field_type, name, size, self._zone))
        return _rows(list(chosen.values()), shown, size)

    def _multifield(self, rows: pl.DataFrame, type_id: str) -> list[Any]:
        if "fm" not in rows.columns:
            return [[] for _ in range(rows.height)]
        return [
            [
                {
                    "ID": str(item.get("id", "")),
                    "VALUE_TYPE": item.get("valueType"),
                    "VALUE": item.get("value"),
                    "TYPE_ID": type_id,
                }
                for item in fm or []
                if item.get("typeId") == type_id
            ]
            for fm in columns.decode(rows.get_column("fm"), Kind.JSON, self._zone)
        ]

    def _address(self, leads: pl.DataFrame, name: str) -> list[Any]:
        """Address of leads, which is kept apart from ``crm.item.list`` rows."""
        addresses = self.data.tables["lead_addresses"]
        if not leads.height or not len(addresses) or name not in addresses.kinds:
            return [None] * leads.height
        ids = leads.get_column("id").to_list()
        wanted = Group(members=[Condition("ID", "@", False, ids)])
        found = addresses.rows(addresses.select(wanted, [], self._zone))
        rows = self._plain_rows(addresses, found, ["ID", name])
        by_id = {int(row["ID"]): row[name] for row in rows}
        return [by_id.get(number) for number in ids]

    def _legacy_fields(self, entity: Entity, params: Params) -> Reply:
        fields = {
            field.legacy: system_field_info(field, legacy=True)
            for field in entity.system.values()
            if field.legacy
        }
        for name, info in entity.user_fields.items():
            described = {key: value for key, value in info.items() if key != "upperName"}
            fields[name] = described | {"title": name}
        return Reply(fields)

    def _activity_list(self, params: Params) -> Reply:
        table = self.data.tables["activities"]
        fields = list(dict.fromkeys([*_ACTIVITY_EMPTY, *table.kinds]))
        filters = dict(_mapping(params, "filter"))
        bindings = as_mapping(filters.pop("BINDINGS", None))
        extra: list[Condition | Group] = []
        if bindings:
            pairs = [as_mapping(pair) or {} for pair in bindings.values()]
            extra.append(
                Group(
                    True,
                    [
                        Group(members=[Condition(name, "=", False, pair[name]) for name in pair])
                        for pair in pairs
                    ],
                )
            )
        positions = self._legacy_query(
            {**params, "filter": filters},
            table,
            lambda name: name if name in fields else None,
            ("START_TIME", False),
            extra=extra,
        )
        select = _strings(_either(params, "select"))
        if not select or "*" in select:
            chosen = [n for n in fields if n not in ("COMMUNICATIONS", "FILES") or n in select]
        else:
            chosen = [name for name in fields if name in select or name == "ID"]
        return self._legacy_page(
            params,
            table,
            positions,
            lambda rows: self._plain_rows(table, rows, chosen, _ACTIVITY_EMPTY),
        )

    def _status_list(self, params: Params) -> Reply:
        table = self.data.tables["statuses"]
        for name in ("order", "filter"):
            if as_mapping(_either(params, name) or {}) is None:
                raise RestError(400, "Invalid parameters.", "Incorrect parameters passed.")
        fields = list(dict.fromkeys([*_STATUS_FIELDS, *table.kinds]))
        positions = self._legacy_query(
            params, table, lambda name: name if name in fields else None, ("SORT", False)
        )

        def shown(found: pl.DataFrame) -> list[dict[str, Any]]:
            rows = self._plain_rows(table, found, fields)
            for row in rows:
                if row.get("EXTRA") is None:
                    row.pop("EXTRA", None)
            return rows

        return self._legacy_page(params, table, positions, shown)

    def _currency_list(self, params: Params) -> Reply:
        table = self.data.tables["currencies"]
        positions = self._legacy_query(
            {"order": _either(params, "order") or {}},
            table,
            lambda name: name if name in table.kinds else None,
            ("SORT", False),
        )
        rows = self._plain_rows(table, table.rows(positions), list(table.kinds))
        return Reply(rows, total=0)

    def _currency_base_get(self, params: Params) -> Reply:
        table = self.data.tables["currencies"]
        rows = self._plain_rows(table, table.rows(), list(table.kinds))
        return Reply(next((row["CURRENCY"] for row in rows if row.get("BASE") == "Y"), None))

    def _deal_contact_items_get(self, params: Params) -> Reply:
        number = php_int(params.get("id", params.get("ID")))
        if number < 1:
            raise RestError(400, "", "The parameter ownerEntityID is invalid or not defined.")
        table = self.data.tables["deals"]
        found = table.select(
            Group(members=[Condition("id", "=", False, number)]),
            [],
            self._zone,
            self.data.hidden("deals"),
        )
        if not count(found):
            raise RestError(400, "", "Not found.")
        row = self._plain_rows(table, table.rows(found), ["contactId", "contactIds"])[0]
        contacts = row["contactIds"] or ([row["contactId"]] if row["contactId"] else [])
        primary = row["contactId"] or (contacts[0] if contacts else None)
        return Reply(
            [
                {
                    "CONTACT_ID": contact,
                    "SORT": index * 10,
                    "ROLE_ID": 0,
                    "IS_PRIMARY": "Y" if contact == primary else "N",
                }
                for index, contact in enumerate(contacts, start=1)
            ]
        )

    # Users and departments

    def _user_get(self, params: Params) -> Reply:
        table = self.data.tables["users"]
        fields = list(table.kinds)
        direction = str(_either(params, "order") or "ASC")
        sort = str(_either(params, "sort") or "ID")
        positions = self._legacy_query(
            {"filter": _either(params, "filter") or {}, "order": {sort: direction}},
            table,
            lambda name: name if name in fields else None,
            ("ID", False),
        )
        select = _strings(_either(params, "select"))
        if select and "*" not in select:
            fields = [
                name
                for name in fields
                if name in select or ("UF_*" in select and name.startswith("UF_"))
            ]
        return self._legacy_page(
            params, table, positions, lambda rows: self._present_rows(table, rows, fields)
        )

    def _department_get(self, params: Params) -> Reply:
        table = self.data.tables["departments"]
        fields = list(table.kinds)
        filters = {
            name: params[name]
            for name in ("ID", "NAME", "SORT", "PARENT", "UF_HEAD")
            if name in params and name in fields and not (name == "SORT" and params[name] in fields)
        }
        sort = str(params.get("sort", params.get("SORT", "ID")))
        direction = str(_either(params, "order") or "ASC")
        positions = self._legacy_query(
            {"filter": filters, "order": {sort: direction}},
            table,
            lambda name: name if name in fields else None,
            ("ID", False),
        )
        return self._legacy_page(
            params, table, positions, lambda rows: self._present_rows(table, rows, fields)
        )

    def _present_rows(
        self, table: Table, found: pl.DataFrame, names: list[str]
    ) -> list[dict[str, Any]]:
        """Rows without the fields that they do not have: a department without parent has none."""
        rows = self._plain_rows(table, found, names)
        return [{k: v for k, v in row.items() if v is not None} for row in rows]

    def _profile(self, params: Params) -> Reply:
        table = self.data.tables["users"]
        found = table.select(
            Group(members=[Condition("ID", "=", False, self.user_id)]), [], self._zone
        )
        rows = self._plain_rows(table, table.rows(found), list(table.kinds))
        user = rows[0] if rows else {}
        return Reply(
            {
                "ID": str(self.user_id),
                "ADMIN": self.data.rights.admin,
                "NAME": user.get("NAME") or "",
                "LAST_NAME": user.get("LAST_NAME") or "",
                "PERSONAL_GENDER": user.get("PERSONAL_GENDER") or "",
                "TIME_ZONE": user.get("TIME_ZONE") or "",
            }
        )


_ACTIVITY_EMPTY: dict[str, Any] = {
    "ID": None,
    "OWNER_ID": None,
    "OWNER_TYPE_ID": None,
    "TYPE_ID": None,
    "PROVIDER_ID": None,
    "PROVIDER_TYPE_ID": None,
    "PROVIDER_GROUP_ID": None,
    "ASSOCIATED_ENTITY_ID": "0",
    "SUBJECT": "",
    "CREATED": "",
    "LAST_UPDATED": "",
    "START_TIME": "",
    "END_TIME": "",
    "DEADLINE": "",
    "COMPLETED": "N",
    "STATUS": None,
    "RESPONSIBLE_ID": None,
    "PRIORITY": None,
    "NOTIFY_TYPE": None,
    "NOTIFY_VALUE": None,
    "DESCRIPTION": "",
    "DESCRIPTION_TYPE": None,
    "DIRECTION": None,
    "LOCATION": "",
    "SETTINGS": [],
    "ORIGINATOR_ID": None,
    "ORIGIN_ID": None,
    "AUTHOR_ID": None,
    "EDITOR_ID": None,
    "PROVIDER_PARAMS": [],
    "PROVIDER_DATA": None,
    "RESULT_MARK": "0",
    "RESULT_VALUE": None,
    "RESULT_SUM": None,
    "RESULT_CURRENCY_ID": None,
    "RESULT_STATUS": "0",
    "RESULT_STREAM": "0",
    "RESULT_SOURCE_ID": None,
    "AUTOCOMPLETE_RULE": "0",
}

_STATUS_FIELDS = (
    "ID",
    "ENTITY_ID",
    "STATUS_ID",
    "NAME",
    "NAME_INIT",
    "SORT",
    "SYSTEM",
    "CATEGORY_ID",
    "COLOR",
    "SEMANTICS",
    "EXTRA",
)


def _all_of_item(entity: Entity, names: Mapping[str, str]) -> dict[str, str]:
    """Column → name of all fields that crm.item.* gives."""
    multifields = {} if entity.type_id == DEAL else {"fm": "fm"}
    return {**names, **multifields, "entityTypeId": "entityTypeId"}


def _bind(method: Callable[[Entity, Params], Reply], entity: Entity) -> Callable[[Params], Reply]:
    return lambda params: method(entity, params)


def _either(params: Params, name: str) -> Any:
    """A parameter of an upper-case method, whose name may come in upper case too."""
    return params.get(name, params.get(name.upper()))


def _mapping(params: Params, name: str) -> dict[str, Any]:
    return as_mapping(_either(params, name)) or {}


def _original_user_names(params: Params) -> bool:
    return params.get("useOriginalUfNames") in ("Y", True, "true", 1, "1")


def _strings(value: Any) -> list[str]:
    return [str(item) for item in (as_mapping(value) or {}).values()]


def _rows(names: list[str], shown: list[list[Any]], size: int) -> list[dict[str, Any]]:
    if not names:
        return [{} for _ in range(size)]
    return [dict(zip(names, values, strict=True)) for values in zip(*shown, strict=True)]


def _is_multiple(entity: Entity, column: str) -> bool:
    if column in entity.system:
        return "m" in entity.system[column].flags
    if column == "fm":
        return True
    return bool(entity.described.get(column, {}).get("isMultiple"))


def _legacy_values(
    values: pl.Series | None,
    kind: Kind | None,
    field_type: str,
    name: str,
    size: int,
    zone: timezone,
) -> list[Any]:
    """System values as the upper-case lists return them: strings, "" for an empty date."""
    if field_type in ("datetime", "date"):
        return [""] * size if values is None else columns.iso_times(values, zone, "")
    empty: Any = None
    if field_type == "boolean":
        empty = "N"
    elif name in ("OPPORTUNITY", "TAX_VALUE"):
        empty = "0.00"
    elif name == "REVENUE" or name in ("COMPANY_ID", "CONTACT_ID"):
        empty = "0"
    if values is None or kind is None:
        return [empty] * size
    decoded = columns.decode(values, kind, zone)
    if name in ("OPPORTUNITY", "TAX_VALUE"):
        return [empty if value is None else f"{value:.2f}" for value in decoded]
    return [empty if value is None else _as_string(value) for value in decoded]


def _legacy_user_values(
    values: pl.Series | None, entity: Entity, column: str, size: int, zone: timezone
) -> list[Any]:
    """User values: numbers as strings, booleans and arrays as they are, false for no array."""
    info = entity.user_fields[column]
    empty: Any = None
    if info.get("isMultiple"):
        empty = False
    elif info.get("type") in ("datetime", "date"):
        empty = ""
    if values is None:
        return [empty] * size
    decoded = columns.decode(values, entity.table.kinds[column], zone)
    return [empty if value in (None, []) else _as_string(value) for value in decoded]


def _as_string(value: Any) -> Any:
    if isinstance(value, (bool, str, list, dict)):
        return value
    return str(value)

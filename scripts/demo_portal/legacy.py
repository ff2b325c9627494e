"""Upper-case lists of the CRM: ``crm.lead.list`` and the like, and ``crm.activity.list``.

String values, Y/N, "" for an empty date; pages of 50 only; unknown names pass silently. Shapes:
apidocs.bitrix24.com.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from scripts.demo_portal.data import Entity, PortalData
from scripts.demo_portal.errors import RestError
from scripts.demo_portal.fields import (
    COMPANY,
    CONTACT,
    DEAL,
    LEAD,
    MULTIFIELD_TYPES,
    system_field_info,
)
from scripts.demo_portal.files import with_addresses
from scripts.demo_portal.filters import BadFilterValue, Condition, Group, parse
from scripts.demo_portal.pages import (
    PAGE_SIZE,
    Method,
    Params,
    Reply,
    either,
    mapping,
    page,
    strings,
)
from scripts.demo_portal.params import as_mapping, php_int
from scripts.demo_portal.table import Selection, Table

_NAMES = {LEAD: "lead", DEAL: "deal", CONTACT: "contact", COMPANY: "company"}
_EMPTY = {
    "OPPORTUNITY": "0.00",
    "TAX_VALUE": "0.00",
    "REVENUE": "0",
    "COMPANY_ID": "0",
    "CONTACT_ID": "0",
}
_EMPTY_ACTIVITY: dict[str, Any] = {
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


def select(
    data: PortalData,
    table: Table,
    params: Params,
    column_of: Callable[[str], str | None],
    default_order: str,
    extra: Iterable[Condition | Group] = (),
) -> Selection:
    """The rows of an upper-case list for a request.

    Args:
        extra: conditions besides those of the filter.

    Raises:
        RestError: order or filter is not an array.
    """
    for name in ("order", "filter"):
        if as_mapping(either(params, name) or {}) is None:
            raise RestError(400, "", f"Parameter '{name}' must be array.")
    group = parse(mapping(params, "filter"), column_of, lambda _: None, nested=False)
    group.members += extra
    order = [
        (column, str(direction).upper() == "DESC")
        for name, direction in mapping(params, "order").items()
        if (column := column_of(name)) is not None
    ]
    try:
        return table.select(group, order or [(default_order, False)], data.seen(table.name))
    except BadFilterValue:
        # What legacy methods do with a value that is not a date is not documented; user.get says
        # that such a condition retrieves no records.
        return Selection("false")


def legacy_page(table: Table, shown: dict[str, str], selection: Selection, params: Params) -> Reply:
    """The page in which the row ``start`` is."""
    start = php_int(either(params, "start"))
    return page(table, shown, selection, start if start < 0 else start - start % PAGE_SIZE)


class LegacyMethods:
    """The methods over the data of a portal.

    Attributes:
        file_address: address of the file with an ID, another one at every call.
    """

    def __init__(self, data: PortalData, file_address: Callable[[Any], str]) -> None:
        self.data = data
        self.file_address = file_address
        self.by_name: dict[str, Method] = {"crm.activity.list": self._activity_list}
        for type_id, name in _NAMES.items():
            entity = data.entities[type_id]
            self.by_name[f"crm.{name}.list"] = partial(self._list, entity)
            self.by_name[f"crm.{name}.fields"] = partial(self._fields, entity)

    def _list(self, entity: Entity, params: Params) -> Reply:
        extra = []
        named = {"IS_RECURRING", "=IS_RECURRING", "ID", "=ID", "@ID"}
        if entity.type_id == DEAL and not named & mapping(params, "filter").keys():
            # Templates of recurring deals are hidden unless the filter names them.
            extra.append(Condition("isRecurring", "=", True, "Y"))
        asked = set(strings(params, "select"))
        everything = not asked or "*" in asked
        user_fields = not asked or "UF_*" in asked
        chosen = {}
        for column, name in entity.legacy_names().items():
            if name in MULTIFIELD_TYPES:
                wanted = name in asked
            elif name in ("CONTACT_IDS", "COMPANY_IDS"):
                wanted = False  # in .fields, but neither selected nor filtered by
            elif name.startswith("UF_"):
                wanted = user_fields or name in asked
            else:
                wanted = everything or name in asked or name == "ID"
            if wanted:
                chosen[name] = column
        shown = {name: self._shown(entity, column) for name, column in chosen.items()}
        table = entity.table
        selection = select(self.data, table, params, entity.legacy_column, "id", extra)
        reply = legacy_page(table, shown, selection, params)
        for name, column in chosen.items():
            rendered = self._rendering(entity, column, name)
            for row in reply.result:
                row[name] = rendered(row[name])
        return reply

    def _shown(self, entity: Entity, column: str) -> str:
        if column in MULTIFIELD_TYPES:
            return entity.table.shown("fm")
        if entity.type_id == LEAD and column.startswith("ADDRESS"):
            # Addresses of leads are kept apart from the rows of crm.item.list.
            addresses = self.data.tables["lead_addresses"]
            address = addresses.shown(column)
            return f"(select {address} from lead_addresses where lead_addresses.id = leads.id)"
        return entity.table.shown(column)

    def _rendering(self, entity: Entity, column: str, name: str) -> Callable[[Any], Any]:
        """How a value is written: strings, "" for an empty date, false for no user array."""
        if column in MULTIFIELD_TYPES:
            return partial(_multifield, column)
        info = entity.user_fields.get(column)
        if info is not None:
            empty = "" if info.get("type") in ("datetime", "date") else None
            return partial(self._user_value, False if info.get("isMultiple") else empty)
        kind = entity.system[column].type
        by_type = {"datetime": "", "date": "", "boolean": "N"}
        empty = by_type.get(kind, _EMPTY.get(name))
        return partial(_amount if empty == "0.00" else _value, empty)

    def _user_value(self, empty: Any, value: Any) -> Any:
        if value in (None, []):
            return empty
        return with_addresses(_string(value), "downloadUrl", self.file_address)

    def _fields(self, entity: Entity, params: Params) -> Reply:
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
        fields = list(dict.fromkeys([*_EMPTY_ACTIVITY, *table.kinds]))
        filters = dict(mapping(params, "filter"))
        bindings = as_mapping(filters.pop("BINDINGS", None))
        extra = []
        if bindings:
            pairs = [as_mapping(pair) or {} for pair in bindings.values()]
            members = [
                Group(members=[Condition(name, "=", False, pair[name]) for name in pair])
                for pair in pairs
            ]
            extra.append(Group(True, [*members]))
        selection = select(
            self.data,
            table,
            {**params, "filter": filters},
            lambda name: name if name in fields else None,
            "START_TIME",
            extra,
        )
        asked = strings(params, "select")
        if not asked or "*" in asked:
            chosen = [n for n in fields if n not in ("COMMUNICATIONS", "FILES") or n in asked]
        else:
            chosen = [name for name in fields if name in asked or name == "ID"]
        shown = {name: table.shown(name) for name in chosen}
        reply = legacy_page(table, shown, selection, params)
        for row in reply.result:
            row |= {n: _EMPTY_ACTIVITY.get(n) for n, value in row.items() if value is None}
        return reply


def _multifield(type_id: str, fm: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [
        {
            "ID": str(item.get("id", "")),
            "VALUE_TYPE": item.get("valueType"),
            "VALUE": item.get("value"),
            "TYPE_ID": type_id,
        }
        for item in fm or []
        if item.get("typeId") == type_id
    ]


def _amount(empty: Any, value: float | None) -> Any:
    return empty if value is None else f"{value:.2f}"


def _value(empty: Any, value: Any) -> Any:
    return empty if value is None else _string(value)


def _string(value: Any) -> Any:
    return value if isinstance(value, bool | str | list | dict) else str(value)

"""Methods on the newer engine: ``crm.item.*``, ``crm.stagehistory.list``, ``crm.category.list``.

camelCase, JSON numbers, null; paging by offset; an unknown name in filter or order is an error.
Shapes: apidocs.bitrix24.com.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scripts.demo_portal.data import HISTORY_FIELDS, HISTORY_TABLES, Entity, PortalData
from scripts.demo_portal.errors import RestError
from scripts.demo_portal.fields import DEAL, LEAD, system_field_info, user_field_names
from scripts.demo_portal.files import with_addresses
from scripts.demo_portal.filters import BadFilterValue, parse
from scripts.demo_portal.pages import Method, Params, Reply, mapping, page, strings
from scripts.demo_portal.params import php_int
from scripts.demo_portal.table import Selection, Table
from scripts.demo_portal.values import Kind


class ItemMethods:
    """The methods over the data of a portal.

    Attributes:
        file_address: address of the file with an ID, another one at every call.
    """

    def __init__(self, data: PortalData, file_address: Callable[[Any], str]) -> None:
        self.data = data
        self.file_address = file_address
        self.by_name: dict[str, Method] = {
            "crm.item.list": self._item_list,
            "crm.item.get": self._item_get,
            "crm.item.fields": self._item_fields,
            "crm.stagehistory.list": self._stage_history_list,
            "crm.category.list": self._category_list,
        }

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

        select = strings(params, "select")
        if not select or "*" in select:
            chosen = _everything(entity, names)
        else:
            # Multifields cannot be selected by name, only with '*'.
            wanted = {column_of(name) for name in select} - {"fm"}
            chosen = {column: name for column, name in names.items() if column in wanted}
            if original:
                # github.com/bitrix-tools/b24-rest-docs/issues/368 and 263: only user fields of
                # the select are left.
                chosen = {column: name for column, name in chosen.items() if name[:3] == "UF_"}
        selection = self._select(params, entity.table, column_of)
        shown = self._shown(entity, chosen)
        reply = page(entity.table, shown, selection, php_int(params.get("start", 0)))
        reply.result = {"items": self._rendered(entity, chosen, reply.result)}
        return reply

    def _item_get(self, params: Params) -> Reply:
        entity = self._entity(params)
        if "id" not in params:
            raise RestError(400, "100", "Could not find value for parameter {id}")
        table, wanted = entity.table, f"id = {php_int(params['id'])}"
        if not table.count(Selection(wanted)):
            raise RestError(400, "NOT_FOUND", "Element not found")
        seen = Selection(f"{wanted} and {self.data.seen(table.name)}")
        chosen = _everything(entity, entity.item_names(_original_user_names(params)))
        rows = table.rows(self._shown(entity, chosen), seen)
        if not rows:
            raise RestError(400, "ACCESS_DENIED", "You do not have permission to view this item")
        return Reply({"item": self._rendered(entity, chosen, rows)[0]})

    def _shown(self, entity: Entity, chosen: Mapping[str, str]) -> dict[str, str]:
        """Name in the answer to SQL, of the columns ``chosen`` with their names."""
        shown = {name: entity.table.shown(column) for column, name in chosen.items()}
        if "entityTypeId" in shown:
            shown["entityTypeId"] = str(entity.type_id)
        return shown

    def _rendered(
        self, entity: Entity, chosen: Mapping[str, str], rows: list[dict[str, Any]]
    ) -> list[Any]:
        for column, name in chosen.items():
            if entity.table.kinds.get(column) == Kind.JSON:
                for row in rows:
                    row[name] = with_addresses(row[name], "urlMachine", self.file_address)
            if entity.is_multiple(column):
                for row in rows:
                    row[name] = [] if row[name] is None else row[name]
        # PHP writes an empty object as an empty list.
        return [row or [] for row in rows]

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

    def _select(
        self, params: Params, table: Table, column_of: Callable[[str], str | None]
    ) -> Selection:
        def refuse(name: str) -> None:
            raise _invalid(f"Invalid filter: field '{name}' is not allowed in filter")

        group = parse(mapping(params, "filter"), column_of, refuse, nested=True)
        order = []
        for name, direction in mapping(params, "order").items():
            column = column_of(name)
            if column is None:
                raise _invalid(f"Invalid order: field '{name}' is not allowed in order")
            if str(direction).upper() not in ("ASC", "DESC"):
                raise _invalid(
                    "Invalid order: allowed sort directions are `ASC, DESC`. But got"
                    f" '{direction}' for field '{name}'"
                )
            order.append((column, str(direction).upper() == "DESC"))
        try:
            return table.select(group, order, self.data.seen(table.name))
        except BadFilterValue as error:
            raise _invalid(f"Invalid filter: field '{error}' has invalid value") from error

    def _stage_history_list(self, params: Params) -> Reply:
        type_id = php_int(params.get("entityTypeId"))
        if type_id in (5, 31):
            return Reply({"items": []}, total=0)
        if type_id not in HISTORY_TABLES:
            raise RestError(
                400, "ENTITY_TYPE_NOT_SUPPORTED", f"Entity type `{type_id}` is not supported"
            )
        table, fields = self.data.tables[HISTORY_TABLES[type_id]], HISTORY_FIELDS[type_id]
        selection = self._select(params, table, lambda name: name if name in fields else None)
        select = strings(params, "select")
        chosen = [name for name in fields if name in select or name == "ID"]
        if not select or any(name not in fields for name in select):
            chosen = list(fields)
        shown = {name: table.shown(name) for name in chosen}
        reply = page(table, shown, selection, php_int(params.get("start", 0)))
        reply.result = {"items": reply.result}
        return reply

    def _category_list(self, params: Params) -> Reply:
        type_id = php_int(params.get("entityTypeId"))
        if type_id == LEAD:
            raise RestError(400, "ENTITY_TYPE_NOT_SUPPORTED", "Entity type `LEAD` is not supported")
        if type_id not in self.data.entities:
            raise RestError(400, "NOT_FOUND", "Smart process not found")
        categories = []
        for row in self.data.tables["categories"].plain_rows():
            if row.get("entityTypeId", DEAL) != type_id:
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
                category["originId"] = row.get("originId", "")
                category["originatorId"] = row.get("originatorId", "")
            categories.append(category)
        categories.sort(key=lambda row: (row["sort"] or 0, row["id"]))
        return Reply({"categories": categories}, total=len(categories))


def _everything(entity: Entity, names: Mapping[str, str]) -> dict[str, str]:
    """Column to name of all fields that crm.item.* gives."""
    multifields = {} if entity.type_id == DEAL else {"fm": "fm"}
    return {**names, **multifields, "entityTypeId": "entityTypeId"}


def _invalid(description: str) -> RestError:
    return RestError(400, "INVALID_ARG_VALUE", description)


def _original_user_names(params: Params) -> bool:
    return params.get("useOriginalUfNames") in ("Y", True, "true", 1, "1")

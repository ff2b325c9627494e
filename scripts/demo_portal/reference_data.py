"""Reference data and service methods: statuses, currencies, users, departments, ``profile``.

Shapes: apidocs.bitrix24.com.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.demo_portal.data import PortalData
from scripts.demo_portal.errors import RestError
from scripts.demo_portal.legacy import legacy_page, select
from scripts.demo_portal.pages import Method, Params, Reply, either, strings
from scripts.demo_portal.params import as_mapping, php_int
from scripts.demo_portal.table import Table

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


class ReferenceMethods:
    """The methods over the data of a portal, asked by the user with the ID."""

    def __init__(self, data: PortalData, user_id: int) -> None:
        self.data = data
        self.user_id = user_id
        self.by_name: dict[str, Method] = {
            "crm.status.list": self._status_list,
            "crm.currency.list": self._currency_list,
            "crm.currency.base.get": self._currency_base_get,
            "crm.deal.contact.items.get": self._deal_contact_items_get,
            "user.get": self._user_get,
            "department.get": self._department_get,
            "profile": self._profile,
        }

    def _shown(self, table: Table, names: list[str]) -> dict[str, str]:
        return {name: table.shown(name) for name in names}

    def _list(
        self, table: Table, asked: Params, default_order: str, fields: list[str], params: Params
    ) -> Reply:
        """A page of ``fields``; ``asked`` has filter and order, ``params`` start."""
        known = {*fields, *table.kinds}
        selection = select(
            self.data, table, asked, lambda name: name if name in known else None, default_order
        )
        return legacy_page(table, self._shown(table, fields), selection, params)

    def _status_list(self, params: Params) -> Reply:
        table = self.data.tables["statuses"]
        for name in ("order", "filter"):
            if as_mapping(either(params, name) or {}) is None:
                raise RestError(400, "Invalid parameters.", "Incorrect parameters passed.")
        fields = list(dict.fromkeys([*_STATUS_FIELDS, *table.kinds]))
        reply = self._list(table, params, "SORT", fields, params)
        for row in reply.result:
            if row["EXTRA"] is None:
                del row["EXTRA"]
        return reply

    def _currency_list(self, params: Params) -> Reply:
        table = self.data.tables["currencies"]
        order = {"order": either(params, "order") or {}}
        fields = list(table.kinds)
        selection = select(
            self.data, table, order, lambda name: name if name in fields else None, "SORT"
        )
        return Reply(table.rows(self._shown(table, fields), selection), total=0)

    def _currency_base_get(self, params: Params) -> Reply:
        rows = self.data.tables["currencies"].plain_rows()
        return Reply(next((row["CURRENCY"] for row in rows if row.get("BASE") == "Y"), None))

    def _deal_contact_items_get(self, params: Params) -> Reply:
        number = php_int(params.get("id", params.get("ID")))
        if number < 1:
            raise RestError(400, "", "The parameter ownerEntityID is invalid or not defined.")
        deals = self.data.tables["deals"].plain_rows(f"id = {number} and {self.data.seen('deals')}")
        if not deals:
            raise RestError(400, "", "Not found.")
        first = deals[0].get("contactId")
        contacts = deals[0].get("contactIds") or ([first] if first else [])
        primary = first or (contacts[0] if contacts else None)
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

    def _user_get(self, params: Params) -> Reply:
        table = self.data.tables["users"]
        fields = list(table.kinds)
        asked = strings(params, "select")
        if asked and "*" not in asked:
            fields = [
                name
                for name in fields
                if name in asked or ("UF_*" in asked and name.startswith("UF_"))
            ]
        return self._sorted(table, either(params, "filter") or {}, fields, params)

    def _department_get(self, params: Params) -> Reply:
        table = self.data.tables["departments"]
        filters = {
            name: params[name]
            for name in ("ID", "NAME", "SORT", "PARENT", "UF_HEAD")
            # SORT is also how the field to sort by is named.
            if name in params and not (name == "SORT" and params[name] in list(table.kinds))
        }
        return self._sorted(table, filters, list(table.kinds), params)

    def _sorted(
        self, table: Table, filters: Mapping[str, Any], fields: list[str], params: Params
    ) -> Reply:
        """Rows without the fields that they do not have: a department without parent has none."""
        order = {str(either(params, "sort") or "ID"): str(either(params, "order") or "ASC")}
        reply = self._list(table, {"filter": filters, "order": order}, "ID", fields, params)
        reply.result = [
            {name: value for name, value in row.items() if value is not None}
            for row in reply.result
        ]
        return reply

    def _profile(self, params: Params) -> Reply:
        users = self.data.tables["users"].plain_rows(f"id = {self.user_id}")
        user = users[0] if users else {}
        names = ("NAME", "LAST_NAME", "PERSONAL_GENDER", "TIME_ZONE")
        return Reply(
            {
                "ID": str(self.user_id),
                "ADMIN": self.data.rights.admin,
                **{name: user.get(name) or "" for name in names},
            }
        )

"""Fields of leads, deals, contacts and companies: which are read, and their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from pipelines.bitrix24.client import Answer, Command
from pipelines.bitrix24.entities import ENTITIES, FIELDS, EntityTable, Table
from pipelines.bitrix24.values import UserField, mapping
from pipelines.errors import Bitrix24Error
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse

# Fields that the marts need.
NEEDED = ("id", "createdTime", "updatedTime")
FIELD_COMMANDS = {
    f"fields_{table.name}": Command("crm.item.fields", table.params) for table in ENTITIES
}


class Fields:
    """The portal's field metadata, from the answers to `FIELD_COMMANDS`.

    Attributes:
        rows: rows of the raw table `fields`.
        changed: the fields to read differ from the last refresh, so all records must be read.

    Raises:
        Bitrix24Error: the metadata have an unknown form, or a field is gone that the marts need or
            that earlier refreshes found filled.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer],
        warehouse: Warehouse,
        settings: Settings,
        filled: Mapping[str, set[str]],
        full: bool,
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self.changed = False
        self._settings = settings
        self._select: dict[str, dict[str, str]] = {}
        stored = warehouse.latest_versions(FIELDS.name, list(FIELDS.key), FIELDS.key)
        for table in ENTITIES:
            fields = _fields_of(table, answers[f"fields_{table.name}"].result)
            self._refuse_vanished(table, fields, filled[table.name], full)
            if stored is not None:
                known = stored.filter(entity_type_id=table.entity_type_id)["field_name"].to_list()
                self.changed |= self._names_to_read(table, known) != self._names_to_read(
                    table, fields
                )
            self._select[table.name] = {
                name: fields[name][0] for name in self._names_to_read(table, fields)
            }
            self.rows += [
                {
                    **meta,
                    "entity_type_id": table.entity_type_id,
                    "field_name": name,
                    "label": meta.get("listLabel") or meta.get("formLabel") or meta.get("title"),
                }
                for name, (_, meta) in fields.items()
            ]

    def asked(self, table: Table) -> dict[str, str]:
        """Fields of an entity to read: our name → the portal's."""
        return self._select[table.name]

    def user_fields(self, table: EntityTable) -> dict[str, UserField]:
        """Metadata of an entity's user fields."""
        return {
            row["field_name"]: UserField(
                str(row.get("type")), row.get("isMultiple") in (True, "Y", 1), row.get("settings")
            )
            for row in self.rows
            if row["entity_type_id"] == table.entity_type_id
        }

    def under_own_names(
        self, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Sequence[Any]]:
        """The requested fields of an entity's rows, user fields as `UF_CRM_*`: name → all values.

        Raises:
            Bitrix24Error: a row came without one of them, which would look like an empty value.
        """
        names = self.asked(table)
        if not rows:
            return dict.fromkeys(names, ())
        of_row = itemgetter(*names.values())
        try:
            return dict(zip(names, zip(*map(of_row, rows), strict=True), strict=True))
        except KeyError:
            asked = set(names.values())
            row = next(row for row in rows if asked - row.keys())
            missing = min(own for own, name in names.items() if name not in row)
            raise Bitrix24Error(
                f"{table.name} {row.get(table.id_key)} came without the requested field {missing}:"
                " run the refresh again; if it happens again, run the doctor to find the cause"
            ) from None

    def _names_to_read(self, table: EntityTable, fields: Iterable[str]) -> list[str]:
        """Fields that the marts need and that `pii` allows."""
        known = set(fields)
        asked = [
            source
            for source, _ in table.columns.values()
            # A portal of an older version lacks some fields; requesting them would be an error.
            if source in known and (source != "title" or self._settings.reads_titles)
        ]
        named = self._settings.named_user_fields if table.has_state else set()
        return asked + [
            name
            for name in sorted(known)
            if name.startswith("UF_CRM_") and (self._settings.pii == "full" or name in named)
        ]

    @staticmethod
    def _refuse_vanished(
        table: Table, fields: Mapping[str, Any], filled: set[str], full: bool
    ) -> None:
        for needed in NEEDED:
            if needed not in fields:
                raise Bitrix24Error(
                    f"the portal's {table.name} have no field {needed}: run the doctor"
                )
        gone = sorted(filled - fields.keys())
        if gone and not full:
            raise Bitrix24Error(
                f"the portal's {table.name} no longer have the field {gone[0]}, which earlier"
                " refreshes read: nothing was published; if it was really removed, run the refresh"
                " once with --full"
            )


def _fields_of(table: Table, result: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Our name → the portal's name and metadata."""
    try:
        told = mapping(mapping(result)["fields"])
        described = {name: dict(mapping(meta)) for name, meta in told.items()}
    except (TypeError, KeyError):
        raise Bitrix24Error(
            "the portal answered crm.item.fields in an unknown form: run the refresh again"
        ) from None
    return {_own_name(table, name, meta): (name, meta) for name, meta in described.items()}


def _own_name(table: Table, name: str, meta: Mapping[str, Any]) -> str:
    """`UF_CRM_*` for a user field; for a system field, the portal's name.

    Bitrix24 builds the names of user fields in two ways and keeps `UF_CRM_*` if two would be the
    same, so only `upperName` identifies a field.

    Raises:
        Bitrix24Error: a user field came without `upperName`.
    """
    original = meta.get("upperName", name)
    if isinstance(original, str) and original.startswith("UF_"):
        return original
    if name.startswith("uf"):
        raise Bitrix24Error(
            f"crm.item.fields of {table.name} gave the user field {name} without its upperName: run"
            " the refresh again; if it happens again, report it as an error"
        )
    return name

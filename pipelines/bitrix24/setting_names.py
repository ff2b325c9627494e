"""Looks up stages, pipelines, sources and user fields from the settings in the reference data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.bitrix24.client import Client, rows_of
from pipelines.bitrix24.entities import (
    CATEGORIES,
    DEAL_STAGE_HISTORY,
    DEALS,
    FIELDS,
    LEAD_STAGE_HISTORY,
    LEADS,
    STATUSES,
)
from pipelines.errors import SettingsError
from pipelines.settings import Named, Settings, did_you_mean
from pipelines.warehouse import Warehouse

# Rows of each raw table that is read in full, as the portal returned them.
Reference = Mapping[str, Sequence[Mapping[str, Any]]]


def known_names(reference: Reference) -> dict[str, dict[str, str]]:
    """Code → label of what the settings may name, by kind, as the portal is now."""
    statuses = reference[STATUSES.name]
    lead_stages, deal_stages = (
        {
            row["STATUS_ID"]: row.get("NAME") or ""
            for row in statuses
            if row["ENTITY_ID"] == entity or row["ENTITY_ID"].startswith(f"{entity}_")
        }
        for entity in ("STATUS", "DEAL_STAGE")
    )
    return {
        "lead stage": lead_stages,
        "deal stage": deal_stages,
        "stage": lead_stages | deal_stages,
        "source": {
            row["STATUS_ID"]: row.get("NAME") or ""
            for row in statuses
            if row["ENTITY_ID"] == "SOURCE"
        },
        "pipeline": {str(row["id"]): row.get("name") or "" for row in reference[CATEGORIES.name]},
        "user field": {
            row["field_name"]: row["label"] or ""
            for row in reference[FIELDS.name]
            if row["field_name"].startswith("UF_CRM_")
            and row["entity_type_id"] in (LEADS.entity_type_id, DEALS.entity_type_id)
        },
    }


def refuse_unknown_names(
    reference: Reference, settings: Settings, warehouse: Warehouse, client: Client
) -> None:
    """Everything that the settings name must exist, or have existed.

    Raises:
        SettingsError: a name never existed: the setting would silently change nothing.
    """
    known = known_names(reference)
    unknown = [
        named
        for named in settings.named()
        if named.code not in known[named.what] and not _was_known(named, warehouse, client)
    ]
    if unknown:
        raise SettingsError(
            "\n".join(
                f"setting {named.setting} names the {named.what} {named.code!r}, which the"
                f" portal does not have{did_you_mean(named.code, known[named.what])}\n"
                f"  it has: {listed(known[named.what])}"
                for named in unknown
            )
        )


def open_behind_paid(reference: Reference, settings: Settings) -> list[tuple[str, str, str]]:
    """Open deal stages after one in `paid_stages`: code, name, name of the paid one."""
    stages = [
        (row["ENTITY_ID"], int(row.get("SORT") or 0), row)
        for row in reference[STATUSES.name]
        if row["ENTITY_ID"] == "DEAL_STAGE" or row["ENTITY_ID"].startswith("DEAL_STAGE_")
    ]
    stages.sort(key=lambda stage: stage[:2])
    last_paid: dict[str, Mapping[str, Any]] = {}
    found = []
    for pipeline, _, row in stages:
        if row.get("SEMANTICS") in ("S", "F"):
            continue
        if row["STATUS_ID"] in settings.paid_stages:
            last_paid[pipeline] = row
        elif paid := last_paid.get(pipeline):
            found.append((row["STATUS_ID"], row.get("NAME") or "", paid.get("NAME") or ""))
    return found


def listed(labels: Mapping[str, str], most: int = 30) -> str:
    """Codes with their labels, in one line."""
    shown = [f"{code} «{label}»" if label else code for code, label in labels.items()][:most]
    more = len(labels) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown) or "none"


def _was_known(named: Named, warehouse: Warehouse, client: Client) -> bool:
    """Whether earlier refreshes saw the name, or items were on the stage."""
    table, column = {
        "pipeline": (CATEGORIES.name, "cast(id as varchar)"),
        "user field": (FIELDS.name, "field_name"),
        "source": (STATUSES.name, "entity_id = 'SOURCE' and status_id"),
    }.get(named.what, (STATUSES.name, "status_id"))
    if table in warehouse.raw_tables():
        with warehouse.connect() as connection:
            seen = connection.execute(
                f"select 1 from raw.{table} where {column} = $code limit 1", {"code": named.code}
            ).fetchone()
        if seen:
            return True
    histories = {
        "lead stage": [LEAD_STAGE_HISTORY],
        "deal stage": [DEAL_STAGE_HISTORY],
        "stage": [LEAD_STAGE_HISTORY, DEAL_STAGE_HISTORY],
    }.get(named.what, [])
    for history in histories:
        source, _ = history.columns["stage_id"]
        stood = client.call(
            history.method, {**history.params, "filter": {source: named.code}, "start": -1}
        )
        if rows_of(stood.result, history.items_key, history.method):
            return True
    return False

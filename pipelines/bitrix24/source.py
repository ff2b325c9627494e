"""The dlt source: a resource for each raw table, in the order of the sync.

Every raw table is a log of versions: only rows whose content differs from their last version are
appended, and what left the portal gets a tombstone (`is_deleted`). Companies and contacts come
before the leads and deals that link to them, items before their stage history, and `refreshes`
last, so that a stopped sync stays invisible.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dlt
import polars as pl
from dlt.common.schema.typing import TColumnSchema
from dlt.extract import DltResource

from pipelines.bitrix24.entities import (
    ACTIVITIES,
    AD_COSTS,
    FIELDS,
    HISTORIES,
    LEADS,
    LEGACY,
    REFERENCE,
    SYNC_ORDER,
    Table,
)
from pipelines.bitrix24.items import item_versions, older_leads_of_deals
from pipelines.bitrix24.legacy_lists import legacy_versions
from pipelines.bitrix24.snapshots import open_activities, snapshot_versions
from pipelines.bitrix24.stage_history import history_versions
from pipelines.bitrix24.sync import Sync


def logs(sync: Sync) -> Iterator[tuple[str, Table, Iterator[pl.DataFrame]]]:
    """What is appended to each raw table: resource name, table, versions."""
    for table in (FIELDS, *REFERENCE, AD_COSTS):
        yield table.name, table, snapshot_versions(sync, table, sync.reference[table.name])
    for entity in SYNC_ORDER:
        yield entity.name, entity, item_versions(sync, entity)
    if sync.part.floors[LEADS.name]:
        yield "older_leads_of_deals", LEADS, older_leads_of_deals(sync)
    for legacy in LEGACY:
        yield legacy.name, legacy, legacy_versions(sync, legacy)
    for history in HISTORIES:
        yield history.name, history, history_versions(sync, history)
    yield ACTIVITIES.name, ACTIVITIES, open_activities(sync)


@dlt.source(name="bitrix24", max_table_nesting=0)
def bitrix24(sync: Sync, on_start: Callable[[], None]) -> Iterator[DltResource]:
    """The raw tables of one sync.

    Args:
        on_start: called once dlt has started.
    """
    for name, table, versions in logs(sync):
        yield _resource(name, table, sync.counted(table, versions), on_start)

    @dlt.resource(columns=_key("refresh_no", "entity"), write_disposition="append")
    def load_completeness() -> Iterator[Any]:
        sync.refuse_changed_portal()
        yield completeness_rows(sync).to_arrow()

    @dlt.resource(columns=_key("refresh_no"), write_disposition="append")
    def refreshes() -> Iterator[Any]:
        yield refresh_row(sync).to_arrow()

    yield load_completeness
    yield refreshes


def _resource(
    name: str, table: Table, frames: Iterable[pl.DataFrame], on_start: Callable[[], None]
) -> DltResource:
    def versions() -> Iterator[Any]:
        on_start()
        for frame in frames:
            yield frame.to_arrow()

    return dlt.resource(
        versions,
        name=name,
        table_name=table.name,
        columns=_key(*table.key, "refresh_no"),
        write_disposition="append",
    )


def _key(*names: str) -> dict[str, TColumnSchema]:
    """The key of a raw table; nullable, since the checks look for missing keys."""
    return {name: {"primary_key": True, "nullable": True} for name in names}


def completeness_rows(sync: Sync) -> pl.DataFrame:
    """Rows of `raw.load_completeness`, one for each raw table."""
    return pl.DataFrame(
        [
            {"refresh_no": sync.refresh_no, "entity": name, **vars(counts)}
            for name, counts in sync.counts.items()
        ],
        schema_overrides={"portal_total": pl.Int64()},
    )


def refresh_row(sync: Sync) -> pl.DataFrame:
    """The row of `raw.refreshes`, not yet completed."""
    written = {"times": sync.written_times.until(sync.portal.as_of)}
    return pl.DataFrame(
        [
            {
                "refresh_no": sync.refresh_no,
                "as_of": sync.portal.as_of,
                "started_at": sync.portal.started_at,
                "kind": sync.kind,
                "portal_url": sync.portal.url,
                "crm_mode": sync.portal.crm_mode,
                "base_currency": sync.portal.base_currency,
                "utc_offset": sync.portal.utc_offset,
                "scope": sync.settings.scope,
                "history_from": sync.part.history_from,
                "written_times": json.dumps(written),
                "completed": False,
            }
        ],
        schema_overrides={"history_from": pl.Datetime("us", "UTC")},
    )

"""The dlt source: a resource for each raw table, in the order in which they are read.

Every raw table is a log of versions: only rows whose content differs from their last version are
appended, and what left the portal gets a tombstone (`is_deleted`). Companies and contacts come
before the leads and deals that name them, items before their histories, and `refreshes` last, so
that a sync that was stopped stays invisible.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dlt
import polars as pl
from dlt.extract import DltResource

from pipelines.bitrix24.entities import (
    ACTIVITIES,
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


@dlt.source(name="bitrix24", max_table_nesting=0)
def bitrix24(sync: Sync, on_start: Callable[[], None]) -> Iterator[DltResource]:
    """The raw tables of one sync.

    Args:
        on_start: is called once dlt has begun.
    """

    def log_of(table: Table, frames: Iterable[pl.DataFrame], name: str = "") -> DltResource:
        def versions() -> Iterator[Any]:
            on_start()
            for frame in sync.counted(table, frames):
                yield frame.to_arrow()

        return dlt.resource(
            versions,
            name=name or table.name,
            table_name=table.name,
            primary_key=[*table.key, "refresh_no"],
            write_disposition="append",
        )

    for table in (FIELDS, *REFERENCE):
        yield log_of(table, snapshot_versions(sync, table, sync.reference[table.name]))
    for entity in SYNC_ORDER:
        yield log_of(entity, item_versions(sync, entity))
    if sync.part.floors[LEADS.name]:
        yield log_of(LEADS, older_leads_of_deals(sync), "older_leads_of_deals")
    for owned in LEGACY:
        yield log_of(owned, legacy_versions(sync, owned))
    for history in HISTORIES:
        yield log_of(history, history_versions(sync, history))
    yield log_of(ACTIVITIES, open_activities(sync))

    @dlt.resource(primary_key=["refresh_no", "entity"], write_disposition="append")
    def load_completeness() -> Iterator[Any]:
        sync.refuse_changed_portal()
        yield pl.DataFrame(
            [
                {"refresh_no": sync.refresh_no, "entity": name, **vars(counts)}
                for name, counts in sync.counts.items()
            ],
            schema_overrides={"portal_total": pl.Int64()},
        ).to_arrow()

    @dlt.resource(primary_key="refresh_no", write_disposition="append")
    def refreshes() -> Iterator[Any]:
        yield pl.DataFrame(
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
                    "written_times": json.dumps(
                        {"times": sync.written_times.until(sync.portal.as_of)}
                    ),
                    "completed": False,
                }
            ],
            schema_overrides={"history_from": pl.Datetime("us", "UTC")},
        ).to_arrow()

    yield load_completeness
    yield refreshes

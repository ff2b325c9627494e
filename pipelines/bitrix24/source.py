"""The dlt source: a resource for each raw table, read by streams side by side.

Every raw table is a log of versions: only rows whose content differs from their last version are
appended, and what left the portal gets a tombstone (`is_deleted`). Companies and contacts come
before the leads and deals that link to them, items before what follows from them in other tables,
and `refreshes` last, so that a stopped sync stays invisible.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
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
    TABLES,
    Table,
)
from pipelines.bitrix24.items import item_versions, older_leads_of_deals
from pipelines.bitrix24.legacy_lists import legacy_versions
from pipelines.bitrix24.snapshots import open_activities, snapshot_versions
from pipelines.bitrix24.stage_history import History, history_rest, history_rows
from pipelines.bitrix24.streams import Reading, Streams
from pipelines.bitrix24.sync import Sync


def streams(sync: Sync) -> dict[str, list[Reading]]:
    """What is read side by side: stream → resource names and their frames, in order.

    The portal limits each method by itself, so a stream has the tables of one method.
    """

    def reading(name: str, table: Table, frames: Callable[[], Iterator[pl.DataFrame]]) -> Reading:
        return name, lambda: sync.counted(table, frames())

    items: list[Reading] = [
        reading(entity.name, entity, partial(item_versions, sync, entity)) for entity in SYNC_ORDER
    ]
    if sync.part.floors[LEADS.name]:
        items.append(reading(LEADS.name, LEADS, partial(older_leads_of_deals, sync)))
    read = {history.name: History() for history in HISTORIES}
    found: dict[str, list[Reading]] = {
        "items": [*items, ("refreshes", partial(_end_of_items, sync))],
        "histories": [
            reading(history.name, history, partial(step, sync, history, read[history.name]))
            for step in (history_rows, history_rest)
            for history in HISTORIES
        ],
        "others": [
            *(
                reading(
                    table.name,
                    table,
                    partial(snapshot_versions, sync, table, sync.reference[table.name]),
                )
                for table in (FIELDS, *REFERENCE, AD_COSTS)
            ),
            reading(ACTIVITIES.name, ACTIVITIES, partial(open_activities, sync)),
        ],
    }
    for legacy in LEGACY:
        found.setdefault(legacy.method, []).append(
            reading(legacy.name, legacy, partial(legacy_versions, sync, legacy))
        )
    return found


def _end_of_items(sync: Sync) -> Iterator[pl.DataFrame]:
    """Lets those go on that wait for the items."""
    sync.client.clock.set(sync.items_are_read)
    yield from ()


@dlt.source(name="bitrix24", max_table_nesting=0)
def bitrix24(
    sync: Sync, running: Streams, on_start: Callable[[], None], on_end: Callable[[], None]
) -> Iterator[DltResource]:
    """The raw tables of one sync.

    Args:
        running: the streams of the sync.
        on_start: called once dlt has started.
        on_end: called once everything is read, before it is loaded.
    """
    for table in TABLES:
        yield _resource(table, running, on_start)
    is_checked = False

    @dlt.resource(columns=_key("refresh_no", "entity"), write_disposition="append")
    def load_completeness() -> Iterator[Any]:
        nonlocal is_checked
        while not running.are_over:
            yield None
        sync.refuse_changed_portal()
        on_end()
        yield completeness_rows(sync).to_arrow()
        is_checked = True

    @dlt.resource(columns=_key("refresh_no"), write_disposition="append")
    def refreshes() -> Iterator[Any]:
        while not is_checked:
            yield None
        yield refresh_row(sync).to_arrow()

    yield load_completeness
    yield refreshes


def _resource(table: Table, running: Streams, on_start: Callable[[], None]) -> DltResource:
    def versions() -> Iterator[Any]:
        on_start()
        running.start()
        # An empty frame creates the table with its types on the first refresh.
        yield pl.DataFrame(schema=table.schema).to_arrow()
        for frame in running.take(table.name):
            yield None if frame is None else frame.to_arrow()

    return dlt.resource(
        versions,
        name=table.name,
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

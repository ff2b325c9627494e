"""Versions of leads, deals, contacts and companies."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from pipelines.bitrix24.client import number_of
from pipelines.bitrix24.completeness import (
    Window,
    differing_ids,
    refuse_hidden,
    rows_by_id,
    sweep,
)
from pipelines.bitrix24.entities import DEALS, ID_LIST, LEADS, LINKS, EntityTable
from pipelines.bitrix24.sync import Sync, only_changed
from pipelines.errors import Bitrix24Error

SMALL_LOSS_ROWS = 20


def item_versions(sync: Sync, table: EntityTable) -> Iterator[pl.DataFrame]:
    """Changed versions of one entity, then corrections from the portal's counts."""
    counts, items = sync.counts[table.name], sync.items[table.name]
    previous = sync.previous(table, "row_hash", *(["state_hash"] if table.has_state else []))
    living_before = set(previous["id"].to_list())
    # The newest record may be deleted: the portal's highest ID is then lower.
    to_id = max(sync.upper[table.name], max(living_before, default=0))
    floor = sync.part.floors[table.name]
    seen: set[int] = set()
    appended: set[int] = set()
    for rows, is_window in _rows(sync, table):
        rows = [row for row in rows if number_of(row, "id", table.method) not in seen]
        frame = _typed(sync, table, rows)
        seen.update(frame["id"].to_list())
        sync.known.note(table, frame)
        changed = _new_versions(sync, table, frame, previous, has_history=is_window)
        appended.update(changed["id"].to_list())
        yield changed
    living = living_before | seen
    gone = {item for item in living_before - seen if item > floor} if sync.full else set[int]()
    living -= gone
    missing, vanished = yield from _reconciled(sync, table, (floor, to_id), living, previous)
    unseen = living - seen - vanished
    # No count of the portal covers single records before the loaded history.
    older = set[int]() if sync.part.goes_on else {item for item in unseen if item <= floor}
    again = older | (unseen & _naming_vanished(sync, table))
    if again:
        vanished |= older - (yield from _renewed(sync, table, again, previous))
    gone = (gone | (vanished & living_before)) - missing
    living = (living | missing) - vanished
    items.vanished = living_before - living
    accept_loss = sync.options.accept_loss
    if accepted := refuse_hidden(sync.client, table, sorted(gone), accept_loss):
        sync.warnings.append(accepted)
    if not accept_loss:
        _refuse_loss(sync, table, len(gone), len(living_before))
    # A record with a version in this refresh that is gone by now gets a tombstone in the next one.
    gone -= appended
    if gone:
        yield table.tombstones(
            pl.DataFrame({"id": sorted(gone)}, schema={"id": pl.Int64()}), sync.refresh_no
        )
    counts.rows_living = sum(item > floor for item in living)
    items.living = living


def older_leads_of_deals(sync: Sync) -> Iterator[pl.DataFrame]:
    """Leads older than the loaded history that its deals came from: no deal loses its source."""
    if sync.part.goes_on:
        # Later parts may bring them.
        return
    leads = sync.items[LEADS.name]
    named = sync.leads_of_deals
    if not sync.full and sync.last is not None and sync.last.history_from is not None:
        # Earlier parts left them to this one.
        named = named | set(sync.previous(DEALS, "lead_id")["lead_id"].drop_nulls().to_list())
    asked = sorted(named - leads.living)
    for rows in rows_by_id(sync.client, LEADS, asked, sync.fields.asked(LEADS).values()):
        frame = _typed(sync, LEADS, rows)
        leads.living.update(frame["id"].to_list())
        leads.changed += frame["id"].to_list()
        yield frame


def _rows(sync: Sync, table: EntityTable) -> Iterator[tuple[list[dict[str, Any]], bool]]:
    """Rows, and whether they are of a window whose histories are read as a whole, too."""
    for walk in sync.changes(table):
        for rows in sync.chunks(table, walk):
            yield rows, False
    for rows in sync.window(table, sync.select(table), table.name, sync.upper[table.name]):
        yield rows, True


def _typed(sync: Sync, table: EntityTable, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of an entity as typed versions; counts them."""
    own = sync.fields.under_own_names(table, rows)
    frame = table.versions(own, sync.refresh_no, sync.fields.user_fields(table))
    sync.written_times.note_all(own["createdTime"])
    sync.counts[table.name].rows_read += frame.height
    if table is DEALS:
        sync.leads_of_deals.update(frame["lead_id"].drop_nulls().to_list())
    return frame


def _new_versions(
    sync: Sync,
    table: EntityTable,
    frame: pl.DataFrame,
    previous: pl.DataFrame,
    has_history: bool = False,
) -> pl.DataFrame:
    """The rows that changed; notes those whose history is to be read, unless it is anyway."""
    changed = only_changed(table, frame, previous)
    if table.has_state and changed.height and not has_history:
        states = previous.select("id", "state_hash")
        moved = changed.join(states, on=["id", "state_hash"], how="anti")
        sync.items[table.name].changed += moved["id"].to_list()
    return changed


def _renewed(
    sync: Sync, table: EntityTable, ids: set[int], previous: pl.DataFrame
) -> Generator[pl.DataFrame, None, set[int]]:
    """Changed versions of the records with these IDs.

    Returns:
        The IDs that the portal returned.
    """
    found: set[int] = set()
    asked = sync.fields.asked(table).values()
    for rows in rows_by_id(sync.client, table, sorted(ids), asked):
        frame = _typed(sync, table, rows)
        found.update(frame["id"].to_list())
        yield _new_versions(sync, table, frame, previous)
    return found


def _reconciled(
    sync: Sync,
    table: EntityTable,
    loaded: tuple[int, int],
    living: set[int],
    previous: pl.DataFrame,
) -> Generator[pl.DataFrame, None, tuple[set[int], set[int]]]:
    """Compares with the portal's counts and reads what is missing.

    Returns:
        (IDs that were missing and are now read, IDs that the portal no longer has).
    """
    ours, missing, vanished = differing_ids(
        sync.client, table, loaded, living, _totals(sync, table, loaded)
    )
    found = yield from _renewed(sync, table, missing, previous)
    # Records that the portal lists but does not return stay a difference, which the checks refuse.
    refused = sweep(sync.client, table, [(item - 1, item) for item in sorted(missing - found)])
    sync.counts[table.name].portal_total = ours + len(found) + len(refused) - len(vanished)
    return found, vanished


def _totals(sync: Sync, table: EntityTable, loaded: Window) -> dict[Window, int]:
    """The portal's counts at the start; above its highest ID then, nothing."""
    totals = dict(sync.totals[table.name])
    upper = max(sync.upper[table.name], loaded[0])
    if upper < loaded[1]:
        totals[upper, loaded[1]] = 0
    return totals


def _naming_vanished(sync: Sync, table: EntityTable) -> set[int]:
    """Records whose last version links to what this sync found deleted."""
    gone = {
        name: vanished
        for name in table.columns
        if name in LINKS and (vanished := sync.items[LINKS[name].name].vanished)
    }
    if not gone:
        return set()
    versions = sync.previous(table, *gone)
    found: set[int] = set()
    for name, numbers in gone.items():
        links = versions.select("id", name)
        if table.columns[name][1] is ID_LIST:
            links = links.with_columns(pl.col(name).str.json_decode(pl.List(pl.Int64())))
            links = links.explode(name)
        found.update(links.filter(pl.col(name).is_in(numbers))["id"].to_list())
    return found


def _refuse_loss(sync: Sync, table: EntityTable, gone: int, living_before: int) -> None:
    """Refuses mass deletion: lost rights look the same."""
    share = sync.settings.max_deleted_share
    if gone > max(SMALL_LOSS_ROWS, share * living_before):
        raise Bitrix24Error(
            f"{gone} of {living_before} {table.name} are gone from the portal, more than"
            f" max_deleted_share ({share:.0%}) allows: check the rights of"
            f" {sync.client.access.owner}; if they were really deleted, run the refresh once with"
            " --accept-loss"
        )

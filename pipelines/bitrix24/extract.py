"""One sync of a portal into the append-only raw log, with dlt.

A sync is full (everything, on the first run and every `full_read_every_days`) or incremental (what
changed since the last completed refresh began, with an overlap). At the end it compares the
portal's counts by ID window, and sweeps and reads what differs before anything is loaded. The
refresh is not completed here: the checks do that.
"""

from __future__ import annotations

import datetime as dt
import gc
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.first_load import FIRST_PART_ROWS
from pipelines.bitrix24.source import bitrix24, streams
from pipelines.bitrix24.streams import Streams
from pipelines.bitrix24.sync import Counts, Sync, open_sync
from pipelines.check import ACCEPTABLE
from pipelines.contract import DIFFERENCE
from pipelines.environment import Engine
from pipelines.errors import PipelineError
from pipelines.options import SCHEDULED, Options
from pipelines.personal_data import forget
from pipelines.raw_files import settle
from pipelines.run_file import write_atomically
from pipelines.settings import Settings
from pipelines.spend import Row, read_spend
from pipelines.warehouse import Warehouse

# Between two looks for cycles: some ten thousand rows.
ALLOCATIONS = 100_000
ROWS_A_FILE = 250_000
LOADERS = 20


@dataclass(frozen=True)
class Summary:
    """The outcome of a sync, for `run.json`.

    Attributes:
        history_from: what was created before is not loaded; None if everything is loaded.
        goes_on: whether another part of the first load follows now.
        warnings: what a reader of the reports must know, each in one line.
    """

    refresh_no: int
    as_of: dt.datetime
    kind: str
    counts: Mapping[str, Counts]
    requests: int
    history_from: dt.datetime | None
    goes_on: bool
    warnings: Sequence[str]

    @property
    def rows_unread(self) -> int:
        """Leads, deals, contacts and companies that are older than what is loaded."""
        return sum(counts.rows_unread for counts in self.counts.values())


def extract(
    client: Client,
    warehouse: Warehouse,
    settings: Settings,
    options: Options = SCHEDULED,
    part_rows: int = FIRST_PART_ROWS,
    is_next_part: bool = False,
    side_by_side: bool = True,
) -> Summary:
    """Reads the portal and appends what changed; the refresh is not yet completed.

    A first load of a big portal is read in parts, the newest records first; this reads one part.

    Args:
        part_rows: rows of a part.
        is_next_part: another part of a first load; a scheduled full sync waits until it is over.
        side_by_side: False: tables one after the other; the raw log is the same.

    Raises:
        SpendFileError: a spend file is missing or cannot be read.
        Bitrix24Error: the portal refused a request, lost rows or sent bad data; nothing becomes
            visible.
    """
    client.accepts_difference = DIFFERENCE in options.accept
    # Before the first request: wrong files are told at once.
    spend = read_spend(settings)
    engine = Engine.read()
    settle(warehouse, engine)
    sync = _begin(client, warehouse, settings, options, part_rows, is_next_part, spend)
    pipeline = raw_pipeline(warehouse)
    if sync.full:
        write_atomically(warehouse.full_sync_begun, sync.refresh_no, private=True)
    running = None
    try:
        sync.plan()
        running = Streams(streams(sync), client.clock, side_by_side)
        with rare_collection():
            pipeline.run(
                bitrix24(sync, running, _kept_signals(), partial(_load_together, sync)),
                loader_file_format="parquet",
            )
    except PipelineStepFailed as failure:
        cause: BaseException | None = failure
        while cause is not None and not isinstance(cause, PipelineError):
            cause = cause.__cause__
        if cause is None:
            raise
    else:
        cause = None
        if engine.engine == "spark":
            settle(warehouse, engine)
        warehouse.full_sync_begun.unlink(missing_ok=True)
    finally:
        if running is not None:
            running.close()
        if sync.clock_fell_meanwhile:
            warehouse.require_full_sync(sync.refresh_no + 1)
    if cause is not None:
        raise cause
    return _summary(sync)


@contextmanager
def rare_collection() -> Iterator[None]:
    """Inside, Python looks for cycles rarely: rows have none, and are many."""
    usual = gc.get_threshold()
    gc.set_threshold(ALLOCATIONS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _begin(
    client: Client,
    warehouse: Warehouse,
    settings: Settings,
    options: Options,
    part_rows: int,
    is_next_part: bool,
    spend: Sequence[Row],
) -> Sync:
    """Opens the sync, decides whether it is full, and erases what is no longer allowed."""
    completed = warehouse.last_refreshes()
    last = completed[0] if completed else None
    last_full = next((refresh for refresh in completed if refresh.kind == "full"), None)
    other_fields = last is not None and last.scope != settings.scope
    sync = open_sync(
        client,
        warehouse,
        settings,
        refresh_no=warehouse.next_refresh_no(),
        last=last,
        full=(options.full and not is_next_part) or last_full is None or other_fields,
        options=options,
        part_rows=part_rows,
        spend=spend,
    )
    if last_full is not None and not sync.full:
        age = sync.portal.as_of - last_full.as_of
        # After a stopped full sync, changes are read first: a full sync that never finishes must
        # not block incremental ones.
        is_due = (
            not is_next_part
            and age >= dt.timedelta(days=settings.full_read_every_days)
            and not (settings.full_read_every_days and warehouse.full_sync_begun.exists())
        )
        is_required = last_full.refresh_no < warehouse.full_sync_required_from()
        sync.full = is_due or is_required or sync.fields.changed
    if last is not None and settings.must_erase(last.scope):
        # If this sync fails and the setting is changed back, changes alone would not restore them.
        warehouse.require_full_sync(sync.refresh_no)
        forget(warehouse, titles=settings.reads_titles)
    return sync


def _kept_signals() -> Callable[[], None]:
    """Restores our signal handlers: dlt's would wait for running work, pauses included."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def put_back() -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)

    return put_back


def _load_together(sync: Sync) -> None:
    """Few rows are loaded side by side, which opens the database less often."""
    if sum(counts.rows_appended for counts in sync.counts.values()) <= ROWS_A_FILE:
        dlt.config["load.workers"] = LOADERS


def raw_pipeline(warehouse: Warehouse) -> dlt.Pipeline:
    """The dlt pipeline that appends to the raw log; drops what a stopped run left pending.

    A stopped refresh is read again under a new number, so its package is useless.
    """
    dlt.config["normalize.parquet_normalizer.add_dlt_load_id"] = True
    # Tables are read side by side; each gives what it has.
    dlt.config["extract.next_item_mode"] = "round_robin"
    # The files of a load hold the rows again, and would keep what was erased.
    dlt.config["load.delete_completed_jobs"] = True
    # DuckDB keeps in memory what it wrote until its last connection is closed: after each file, if
    # they are loaded one by one.
    dlt.config["data_writer.file_max_items"] = ROWS_A_FILE
    dlt.config["load.workers"] = 1
    warehouse.create()
    destination: Any = dlt.destinations.duckdb(str(warehouse.database))
    engine = Engine.read()
    files = settle(warehouse, engine) if engine.engine == "spark" else None
    if files is not None:
        from pipelines.whole_files import WholeFiles

        destination = WholeFiles(str(files.parent))
    pipeline = dlt.pipeline(
        "bitrix24",
        pipelines_dir=str(warehouse.directory / ".dlt"),
        destination=destination,
        dataset_name=files.name if files else "raw",
    )
    if pipeline.has_pending_data:
        pipeline.abort_packages()
    return pipeline


def _summary(sync: Sync) -> Summary:
    offset = sync.written_times.difference(sync.settings.portal_timezone, sync.portal.as_of)
    accepted = [
        f"the portal's count and list of {method} differ by up to {rows:,} rows:"
        f" accepted with {ACCEPTABLE[DIFFERENCE]}"
        for method, rows in sorted(sync.client.differences.items())
    ]
    return Summary(
        sync.refresh_no,
        sync.portal.as_of,
        sync.kind,
        sync.counts,
        sync.client.requests,
        sync.part.history_from,
        sync.part.goes_on,
        [*([offset] if offset else []), *sync.warnings, *accepted],
    )

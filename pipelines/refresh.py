"""A refresh: extract → check → build → publish → excel → report; `run.json` and exit codes."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from pipelines.bitrix24.access import without_secrets
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.entities import ENTITIES
from pipelines.bitrix24.extract import Summary, extract
from pipelines.bitrix24.first_load import FIRST_PART_ROWS, part_rows
from pipelines.build import build
from pipelines.check import CheckResult, check
from pipelines.errors import (
    EXIT_CODES,
    ChecksFailed,
    ExcelFailed,
    PipelineError,
    ReportFailed,
    what_to_do,
)
from pipelines.excel.workbooks import excel
from pipelines.issues import (
    OPEN_AFTER_HAND_OVER,
    OPEN_BEHIND_PAID_STAGE,
    published_deletions,
    published_issues,
)
from pipelines.options import SCHEDULED, Options
from pipelines.publish import publish
from pipelines.report import report, write_status
from pipelines.run_file import write_atomically
from pipelines.settings import Settings
from pipelines.stop import stop_received
from pipelines.warehouse import Warehouse

log = logging.getLogger(__name__)

RESERVED_BYTES = 65_536


@dataclass
class Run:
    """What `run.json` says about the last run."""

    started_at: dt.datetime
    status: str = "failed"
    exit_code: int = 1
    error: str = ""
    what_to_do: str = ""
    failed_step: str | None = None
    finished_at: dt.datetime | None = None
    as_of: dt.datetime | None = None
    refresh_no: int | None = None
    kind: str | None = None
    history_from: dt.datetime | None = None
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    entities: dict[str, dict[str, int | None]] = field(default_factory=dict)
    deleted: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks_passed: int = 0
    checks_failed: int = 0
    checks_accepted: int = 0

    def add_extraction(self, summary: Summary) -> None:
        self.refresh_no = summary.refresh_no
        self.as_of = summary.as_of
        self.kind = summary.kind
        self.history_from = summary.history_from
        self.warnings = list(summary.warnings)
        self.requests = summary.requests
        self.entities = {name: asdict(counts) for name, counts in summary.counts.items()}

    def add_checks(self, results: Sequence[CheckResult]) -> None:
        self.checks_passed += sum(result.passed for result in results)
        accepted = sum(result.accepted for result in results)
        self.checks_accepted += accepted
        self.checks_failed += sum(not result.passed for result in results) - accepted

    @property
    def deletions(self) -> str:
        """What was deleted since the last refresh, in one line; empty if nothing was."""
        told = ", ".join(
            f"{found['records']:,} {entity}"
            + ("" if found["amount"] is None else f" ({found['amount']:,} {found['currency']})")
            for entity, found in self.deleted.items()
        )
        return f"deleted on the portal since the last refresh: {told}" if told else ""

    def lines(self, warehouse: Warehouse) -> list[str]:
        """The run as text: outcome, rows, checks, seconds, files, and what to do."""
        meaning, _ = EXIT_CODES[self.exit_code]
        lines = [f"{self.status}, exit code {self.exit_code}: {meaning}"]
        if self.failed_step:
            lines.append(f"failed step: {self.failed_step}")
        if self.as_of:
            lines.append(
                f"refresh {self.refresh_no} ({self.kind}) as of {self.as_of:%Y-%m-%d %H:%M} UTC,"
                f" {self.requests} requests"
            )
        if self.entities:
            names = ("rows_read", "rows_appended", "rows_deleted", "rows_living", "portal_total")
            titles = " ".join(f"{name.split('_')[1]:>10}" for name in names)
            lines.append(f"{'':20} {titles}")
        for entity, counts in self.entities.items():
            values = (counts[name] for name in names)
            cells = " ".join(f"{'' if value is None else f'{value:,}':>10}" for value in values)
            lines.append(f"{entity:20} {cells}")
        if self.history_from:
            unread = sum(counts["rows_unread"] or 0 for counts in self.entities.values())
            lines.append(
                f"history: from {self.history_from:%Y-%m-%d}; {unread:,} older records are not"
                " loaded yet: run a refresh without --history-from to load them"
            )
        lines += [self.deletions] if self.deleted else []
        lines += [f"warning: {text}" for text in self.warnings]
        if self.checks_passed or self.checks_failed:
            accepted = f", {self.checks_accepted} accepted" if self.checks_accepted else ""
            lines.append(
                f"checks: {self.checks_passed} passed, {self.checks_failed} failed{accepted}"
            )
        lines.append(
            "seconds: " + ", ".join(f"{step} {taken}" for step, taken in self.seconds.items())
        )
        steps = {"crm.duckdb": "publish", "parquet": "publish", "excel": "excel", "site": "report"}
        for what, step in steps.items():
            is_new = step in self.seconds and step != self.failed_step
            path = warehouse.published / what
            if path.exists():
                lines.append(f"{path}{'' if is_new else ' (as it was)'}")
        if self.what_to_do:
            lines.append(f"what to do: {self.what_to_do}")
        return lines


def extract_in_parts(
    client: Client,
    warehouse: Warehouse,
    settings: Settings,
    options: Options = SCHEDULED,
    say: Callable[[str], None] = log.info,
) -> Summary:
    """Reads the portal; the last refresh is not yet completed.

    A first load of a big portal takes several refreshes, the newest records first; all but the last
    are checked and completed here, and the next call continues after a stop.

    Args:
        say: receives a line of progress after each part of a first load.

    Raises:
        Bitrix24Error: the portal refused a request, lost rows or sent bad data; nothing becomes
            visible.
        ChecksFailed: a part failed the raw contract; earlier parts stay.
    """
    rows, is_next_part = FIRST_PART_ROWS, False
    while True:
        started = time.monotonic()
        summary = extract(client, warehouse, settings, options, rows, is_next_part)
        if not summary.goes_on:
            return summary
        check(warehouse, settings, options.accept)
        read = sum(summary.counts[table.name].rows_read for table in ENTITIES)
        seconds = time.monotonic() - started
        say(_progress(summary, read, seconds))
        rows, is_next_part = part_rows(read, seconds), True


def _progress(summary: Summary, read: int, seconds: float) -> str:
    """Progress of a first load: how far it is, its pace and the time left."""
    loaded = sum(summary.counts[table.name].rows_living for table in ENTITIES)
    pace = max(read, 1) / max(seconds, 0.001)
    return (
        f"history back to {summary.history_from:%Y-%m-%d}: {loaded:,} of"
        f" {loaded + summary.rows_unread:,} records, {pace:,.0f} a second,"
        f" about {summary.rows_unread / pace / 60:,.0f} min left"
    )


def refresh(
    warehouse: Warehouse,
    settings: Settings,
    connect: Callable[[], Client],
    say: Callable[[str], None],
    options: Options = SCHEDULED,
    with_report: bool = True,
    alert: Callable[[str], object] = lambda text: None,
) -> Run:
    """Runs all steps under the lock; writes the outcome to `run.json` and prints it.

    Args:
        alert: receives what must be reported at once though nothing failed.

    Raises:
        AnotherRefreshIsRunning: the warehouse is locked.
        Exception: what made a step fail, after `run.json` is written.
    """
    with warehouse.lock():
        run = Run(started_at=dt.datetime.now(dt.UTC))
        _keep_room(warehouse)
        try:
            _steps(run, warehouse, settings, connect, say, options)
            run.status = "published"
            if sum(found["records"] for found in run.deleted.values()) > (
                settings.notify_deleted_records
            ):
                alert(run.deletions)
            if with_report:
                _report(run, warehouse, settings, say)
            run.exit_code = 0
        except BaseException as raised:
            error = stop_received() or warehouse.cause_of(raised) or raised
            run.exit_code = error.exit_code if isinstance(error, PipelineError) else 1
            if run.status == "failed" and isinstance(error, KeyboardInterrupt):
                run.status = "stopped"
            if run.status == "published" and run.exit_code != ReportFailed.exit_code:
                error = ReportFailed(
                    f"stopped when the data were published: {error or type(error).__name__}"
                )
                run.exit_code = error.exit_code
            if isinstance(error, ChecksFailed):
                run.add_checks(error.results)
            run.error = without_secrets(str(error)) or type(error).__name__
            run.what_to_do = what_to_do(error)
            if error is not raised:
                raise error from raised
            raise
        finally:
            run.finished_at = dt.datetime.now(dt.UTC)
            lines = run.lines(warehouse)
            with _reserve(warehouse):
                try:
                    write_atomically(warehouse.run_file, {**asdict(run), "summary": lines})
                except OSError as error:
                    say(f"{warehouse.run_file} could not be written: {error}")
                with suppress(OSError, PipelineError, duckdb.Error):
                    status = run.status if run.exit_code == 0 else "failed"
                    write_status(warehouse, settings, status, run.finished_at)
            for line in lines:
                say(line)
    return run


@contextmanager
def _reserve(warehouse: Warehouse) -> Iterator[None]:
    """Frees the space reserved for reporting a full disk, and reserves it again."""
    _reserved(warehouse).unlink(missing_ok=True)
    yield
    _keep_room(warehouse)


def _keep_room(warehouse: Warehouse) -> None:
    with suppress(OSError):
        _reserved(warehouse).write_bytes(bytes(RESERVED_BYTES))


def _reserved(warehouse: Warehouse) -> Path:
    return warehouse.directory / ".reserve"


def _steps(
    run: Run,
    warehouse: Warehouse,
    settings: Settings,
    connect: Callable[[], Client],
    say: Callable[[str], None],
    options: Options,
) -> None:
    with _step("extract", run, say):
        run.add_extraction(extract_in_parts(connect(), warehouse, settings, options, say))
    with _step("check", run, say):
        run.add_checks(check(warehouse, settings, options.accept))
    with _step("build", run, say):
        run.add_checks(build(warehouse, settings))
    with _step("publish", run, say):
        publish(warehouse)
    run.deleted = published_deletions(warehouse)
    run.warnings += [
        text
        for _, _, text in published_issues(
            warehouse,
            OPEN_AFTER_HAND_OVER,
            OPEN_BEHIND_PAID_STAGE,
            language=settings.report_lang,
        )
    ]


def _report(run: Run, warehouse: Warehouse, settings: Settings, say: Callable[[str], None]) -> None:
    """Workbooks and site; the site is built even if the workbooks fail."""
    failure = None
    try:
        with _step("excel", run, say):
            excel(warehouse, settings)
    except ExcelFailed as error:
        failure = error
    with _step("report", run, say):
        report(warehouse, settings)
    if failure:
        raise failure


class _step:
    """Prints a step's name and records its seconds."""

    def __init__(self, name: str, run: Run, say: Callable[[str], None]) -> None:
        self.name, self.run, self.say = name, run, say

    def __enter__(self) -> None:
        if stop := stop_received():
            raise stop
        self.started = time.monotonic()
        self.say(f"{self.name} …")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        seconds = round(time.monotonic() - self.started, 1)
        self.run.seconds[self.name] = seconds
        if error:
            self.run.failed_step = self.name
        self.say(f"{self.name}: {'failed' if error else 'done'} in {seconds} s")

"""The static site, built by Evidence from the published Parquet and switched by one rename."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from pipelines.build import run_process
from pipelines.environment import ROOT
from pipelines.errors import DatabaseUnreadable, ReportFailed
from pipelines.publish import free_name, prune, published_as_of, switch_link
from pipelines.readers import SITE, hand_over
from pipelines.run_file import write_atomically
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse

REPORTS = ROOT / "reports"
INSTALLED_LOCK = REPORTS / "node_modules" / ".installed-lock"


def report(warehouse: Warehouse, settings: Settings) -> Path:
    """Builds the site of the current publication and puts it in place.

    Returns:
        The folder that `published/site` now points to.

    Raises:
        ReportFailed: nothing is published, Node is missing, or a step of the build failed.
    """
    current = warehouse.published / "current"
    if not current.exists():
        raise ReportFailed("nothing is published yet: run the refresh first")
    if shutil.which("npm") is None:
        raise ReportFailed("npm is missing: install Node.js 20")
    logs = warehouse.directory / "logs"
    environment = {
        "PUBLISHED_PARQUET": str((current / "parquet").resolve()),
        "REPORT_LANG": settings.report_lang,
    }
    with _building() as lock:
        _install(logs, lock)
        for script in ("sources", "build"):
            _npm(["run", script], environment, logs / f"report-{script}.log", lock)
        return _put_in_place(warehouse, settings, current)


def _put_in_place(warehouse: Warehouse, settings: Settings, current: Path) -> Path:
    sites = warehouse.published / ".sites"
    name = free_name(sites, current.resolve().name)
    site, fresh = sites / name, sites / ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        shutil.copytree(REPORTS / "build", fresh)
        if (current / "excel").exists():
            shutil.copytree(current / "excel", fresh / "excel", dirs_exist_ok=True)
        _write_status(fresh, warehouse, settings, "published", dt.datetime.now(dt.UTC))
        hand_over(fresh, SITE)
        fresh.rename(site)
        switch_link(warehouse.published / "site", f".sites/{name}")
    except DatabaseUnreadable as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ReportFailed(f"the site could not be put in place: {error}") from error
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        # A copy of a folder tells of each file of it.
        why = error.args[0][0][2] if isinstance(error, shutil.Error) else error
        raise ReportFailed(f"the site could not be copied: {why}") from error
    prune(sites, name)
    return site


def write_status(
    warehouse: Warehouse, settings: Settings, status: str, finished_at: dt.datetime | None
) -> None:
    """Tells the pages of the current site how the last run ended.

    `as_of` stays that of the data which the site was built from, `as_of_text` the same in the
    portal's timezone: a site that could not be built anew must not look as new as the marts.
    """
    site = warehouse.published / "site"
    if site.exists():
        _write_status(site.resolve(), warehouse, settings, status, finished_at)


def _write_status(
    site: Path,
    warehouse: Warehouse,
    settings: Settings,
    status: str,
    finished_at: dt.datetime | None,
) -> None:
    file = site / "status.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        built = {name: told[name] for name in ("as_of", "as_of_text")}
    except (OSError, ValueError, KeyError, TypeError):
        as_of = published_as_of(warehouse)
        local = as_of and as_of.astimezone(ZoneInfo(settings.portal_timezone))
        built = {"as_of": as_of, "as_of_text": local and local.strftime("%d.%m.%Y %H:%M")}
    write_atomically(
        file,
        {
            "status": status,
            **built,
            "finished_at": finished_at,
            "stale_after_hours": settings.stale_after_hours,
        },
        before=lambda path: hand_over(path, SITE),
    )


@contextmanager
def _building() -> Iterator[int]:
    """`reports/` holds one site in the making: that of another warehouse waits for it.

    Yields the lock, for the programs that build: it holds as long as one of them lives.
    """
    try:
        lock = (REPORTS / ".lock").open("w")
    except OSError as error:
        raise ReportFailed(f"{REPORTS} cannot be written: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def install_packages(logs: Path) -> None:
    """`npm ci` when the lock file is not the installed one."""
    with _building() as lock:
        _install(logs, lock)


def _install(logs: Path, lock: int) -> None:
    locked = hashlib.sha256((REPORTS / "package-lock.json").read_bytes()).hexdigest()
    if INSTALLED_LOCK.exists() and INSTALLED_LOCK.read_text(encoding="utf-8") == locked:
        return
    _npm(["ci", "--no-audit", "--no-fund"], {}, logs / "report-install.log", lock)
    INSTALLED_LOCK.write_text(locked, encoding="utf-8")


def _npm(arguments: list[str], environment: dict[str, str], log: Path, lock: int) -> None:
    process = run_process(["npm", *arguments], REPORTS, environment, log, lock)
    if process.returncode != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:]
        raise ReportFailed(f"npm {' '.join(arguments)} failed ({log}):\n" + "\n".join(tail))

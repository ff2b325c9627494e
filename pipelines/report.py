"""The static site, built by Evidence from the published Parquet and switched by one rename."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from pipelines.build import run_process
from pipelines.errors import ReportFailed
from pipelines.publish import prune, switch_link
from pipelines.settings import Settings
from pipelines.warehouse import ROOT, Warehouse

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
        "SEND_ANONYMOUS_USAGE_STATS": "no",
    }
    install_packages(logs)
    for script in ("sources", "build"):
        _npm(["run", script], environment, logs / f"report-{script}.log")
    name = current.resolve().name
    sites = warehouse.published / ".sites"
    site = sites / name
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(REPORTS / "build", site)
    switch_link(warehouse.published / "site", f".sites/{name}")
    prune(sites, name)
    return site


def install_packages(logs: Path) -> None:
    """`npm ci` when the lock file is not the installed one."""
    lock = hashlib.sha256((REPORTS / "package-lock.json").read_bytes()).hexdigest()
    if INSTALLED_LOCK.exists() and INSTALLED_LOCK.read_text(encoding="utf-8") == lock:
        return
    _npm(["ci", "--no-audit", "--no-fund"], {}, logs / "report-install.log")
    INSTALLED_LOCK.write_text(lock, encoding="utf-8")


def _npm(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    process = run_process(["npm", *arguments], REPORTS, environment, log)
    if process.returncode != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:]
        raise ReportFailed(f"npm {' '.join(arguments)} failed ({log}):\n" + "\n".join(tail))

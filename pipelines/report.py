"""The static site of a publication: the shell and its data, shown by one rename."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import shutil
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from pipelines.errors import DatabaseUnreadable, ReportFailed
from pipelines.metric_sql import SemanticLayer
from pipelines.publish import (
    DEFINITIONS,
    KEPT_FOLDERS,
    free_name,
    prune,
    published_as_of,
    switch_link,
)
from pipelines.readers import SITE, hand_over
from pipelines.run_file import write_atomically
from pipelines.settings import Settings
from pipelines.side_by_side import SideBySide, results
from pipelines.site import figures, meta
from pipelines.site.choice import Choice
from pipelines.site.database import write_tables
from pipelines.site.shell import shell
from pipelines.user_fields import add_dimensions
from pipelines.warehouse import Warehouse, connect_published

MEMORY_LIMIT = "2GB"
log = logging.getLogger(__name__)


def report(warehouse: Warehouse, settings: Settings) -> Path:
    """Puts the site of the current publication in place.

    Returns:
        The folder that `published/site` now points to.

    Raises:
        ReportFailed: nothing is published, the shell could not be built, or the data could not be
            written: the site before stays. Or a page of one's own could not be built or computed:
            the site is in place, and that page tells its error.
    """
    current = warehouse.published / "current"
    if not current.exists():
        raise ReportFailed("nothing is published yet: run the refresh first")
    built = shell(settings.report_lang, warehouse.directory / "logs")
    site, failed = _put_in_place(warehouse, settings, current, built.folder)
    for warning in built.warnings:
        log.warning(warning)
    failed = [*built.errors, *failed]
    if failed:
        raise ReportFailed(
            f"the site is in {site}; these pages show an error:\n" + "\n".join(failed)
        )
    return site


def _put_in_place(
    warehouse: Warehouse, settings: Settings, current: Path, shell_folder: Path
) -> tuple[Path, list[str]]:
    """Returns the site's folder, and the own pages that failed."""
    sites = warehouse.published / ".sites"
    name = free_name(sites, current.resolve().name)
    site, fresh = sites / name, sites / ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _link_tree(shell_folder, fresh)
        _link_earlier_data(warehouse.published / "site", fresh)
        failed = write_data(
            current.resolve(), fresh / "data" / name, _blocks(shell_folder), settings, name
        )
        if (current / "excel").exists():
            shutil.copytree(current / "excel", fresh / "excel", dirs_exist_ok=True)
        _write_status(fresh, warehouse, settings, "published", dt.datetime.now(dt.UTC), name)
        hand_over(fresh, SITE)
        fresh.rename(site)
        switch_link(warehouse.published / "site", f".sites/{name}")
    except (DatabaseUnreadable, duckdb.Error) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ReportFailed(f"the site could not be put in place: {error}") from error
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        # A copy of a folder tells of each file of it.
        why = error.args[0][0][2] if isinstance(error, shutil.Error) else error
        raise ReportFailed(f"the site could not be copied: {why}") from error
    except ReportFailed:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    prune(sites, name)
    return site, failed


def _blocks(shell_folder: Path) -> list[dict[str, Any]]:
    told = json.loads((shell_folder / "blocks.json").read_text(encoding="utf-8"))
    return list(told["blocks"])


def write_data(
    publication: Path, folder: Path, blocks: Iterable[dict[str, Any]], settings: Settings, name: str
) -> list[str]:
    """Writes what a site shows of a publication: `site.duckdb`, `meta.json`, `pages/*.json`.

    Args:
        publication: Has `crm.duckdb` and `semantic_manifest.json`.
        blocks: What the pages ask for, as the shell's `blocks.json` tells it.
        name: Of the data in their addresses.

    Returns:
        What is wrong with pages of one's own; each tells it in its place.

    Raises:
        ReportFailed: a page of the project asks for what is not there.
    """
    zone = ZoneInfo(settings.portal_timezone)
    definitions = publication / DEFINITIONS
    if not definitions.exists():
        raise ReportFailed("an earlier version published this: run `python -m pipelines publish`")
    manifest = json.loads(definitions.read_text(encoding="utf-8"))
    with connect_published(publication / "crm.duckdb", memory_limit=MEMORY_LIMIT) as connection:
        add_dimensions(manifest, connection)
        metrics = [
            row[0]
            for row in connection.execute("select metric_name from marts.dim_metrics").fetchall()
        ]
        ((epoch,),) = connection.execute("select epoch(as_of) from quality.refreshes").fetchall()
    layer = SemanticLayer(manifest)
    as_of = dt.datetime.fromtimestamp(epoch, zone)
    (folder / "pages").mkdir(parents=True)
    pages = {
        page: list(found)
        for page, found in groupby(
            sorted(blocks, key=lambda one: one["route"]), lambda one: one["route"]
        )
    }
    failed: dict[str, str] = {}
    sqls: list[str] = []
    for route, asked in pages.items():
        try:
            sqls += figures.texts(asked, layer)
        except figures.PageFailed as error:
            _own_or_raise(route, error)
            failed[route] = str(error)
    sqls += meta.texts(layer, metrics)
    sqls += [one["sql"] for asked in pages.values() for one in asked if one["kind"] == "sql"]
    write_tables(publication / "crm.duckdb", folder / "site.duckdb", sqls, settings.portal_timezone)
    with duckdb.connect(str(folder / "site.duckdb"), read_only=True) as connection:
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        choice = Choice(as_of, meta.first_day(connection) or as_of.date())
        about = meta.described(connection, layer, settings, choice, name)

        def answer(own: duckdb.DuckDBPyConnection, route: str) -> None:
            content: dict[str, Any] = {"blocks": []}
            try:
                if route not in failed:
                    answers = figures.Figures(own, layer, choice, about["user_fields"])
                    content = {"blocks": answers.page(pages[route])}
            except figures.PageFailed as error:
                _own_or_raise(route, error)
                failed[route] = str(error)
            if route in failed:
                content["error"] = failed[route]
            _write(folder / "pages" / f"{_file_name(route)}.json", content)

        with SideBySide(connection) as threads:
            results([threads.submit(answer, route) for route in pages])
    _write(folder / "meta.json", about)
    return [*failed.values()]


def _own_or_raise(route: str, error: figures.PageFailed) -> None:
    if not route.startswith("/custom/"):
        raise error


def _file_name(route: str) -> str:
    return "index" if route == "/" else route.strip("/").replace("/", ".")


def _write(file: Path, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    file.write_text(text, encoding="utf-8")


def _link_tree(source: Path, target: Path) -> None:
    """The folder again, its files as hard links where the file system has them."""

    def link(one: str, other: str) -> str:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)
        return other

    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)


def _link_earlier_data(site: Path, fresh: Path) -> None:
    """The data of the last publications stay served: a page that is open reads on from them."""
    earlier = site / "data"
    if earlier.exists():
        folders = sorted(earlier.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for folder in folders[-(KEPT_FOLDERS - 1) :]:
            _link_tree(folder, fresh / "data" / folder.name)


def write_status(
    warehouse: Warehouse, settings: Settings, status: str, finished_at: dt.datetime | None
) -> None:
    """Tells the pages of the current site how the last run ended.

    `as_of` stays that of the data which the site shows, `as_of_text` the same in the portal's
    timezone: a site that could not be renewed must not look as new as the marts.
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
    publication: str | None = None,
) -> None:
    file = site / "status.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        # A site of before the upgrade names no publication.
        built = {"publication": told.get("publication"), "as_of": told["as_of"]}
        built["as_of_text"] = told["as_of_text"]
    except (OSError, ValueError, KeyError, TypeError):
        as_of = published_as_of(warehouse)
        local = as_of and as_of.astimezone(ZoneInfo(settings.portal_timezone))
        built = {
            "publication": publication or site.name,
            "as_of": as_of,
            "as_of_text": local and local.strftime("%d.%m.%Y %H:%M"),
        }
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

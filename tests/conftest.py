"""Marks and groups of the tests, and fixtures that several files share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from pipelines.environment import ROOT
from tests.support.compiled_models import compiled_models

pytest_plugins = ["tests.support.reports_fixtures"]

# Folder → mark; other tests have none. Tests of pages name theirs (`site`).
MARKS = {"unit": "unit", "marts": "dbt", "chaos": "chaos"}
# Files that share a costly fixture run in one worker; each other file is a separate group, whose
# fixtures are made once.
GROUPS = {"test_semantic_layer": "semantic", "test_questions": "semantic"}
# Files of pages that show other portals than the company: no site is made twice.
OTHER_PORTALS = ("test_reports_portals", "test_reports_words")
# Long files whose tests share little: in so many groups.
SPREAD = {"test_faults": 2}
# Groups that take minutes, the longest first: a long last one leaves the other workers idle.
LONGEST = (
    *("site", "test_random_companies", "test_dbt_project", "test_faults", "test_crashes"),
    *("test_full_disk", "test_restated_past", "test_olist", "test_personal_data", "test_check"),
    *("test_refresh", "test_first_load", "semantic", "test_excel", "test_extract"),
    *("test_reference_month", "test_requests", "test_compact", "test_readers", "test_doctor"),
    *("test_incremental_equals_full", "test_second_calculation", "test_mutants"),
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks each test, and names its group for `--dist loadgroup` before xdist reads the groups."""
    name, folder = item.path.stem, item.path.parent.name
    if name.startswith("test_reports"):
        item.add_marker("site")
    elif folder in MARKS:
        item.add_marker(MARKS[folder])
    if item.get_closest_marker("site") is not None:
        group = f"site{name in OTHER_PORTALS:d}"
    else:
        group = GROUPS.get(name, name) + str(crc32(item.name.encode()) % SPREAD.get(name, 1))
    item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the long groups first; `--no-loadscope-reorder` keeps that order."""
    rank = {group: number for number, group in enumerate(LONGEST)}

    def place(item: pytest.Item) -> int:
        group = next(item.iter_markers("xdist_group")).args[0]
        return rank.get(group.rstrip("0123456789"), len(LONGEST))

    items.sort(key=place)


@pytest.fixture
def without_dbt() -> Iterator[None]:
    """The pipeline's build runs compiled models instead of dbt."""
    with compiled_models():
        yield


@pytest.fixture(scope="session")
def olist_dir() -> Path:
    """Real leads and sales as a portal data directory with expected figures."""
    folder = Path(os.environ.get("OLIST_DIR", ROOT / ".." / "shared" / "data" / "olist"))
    if not (folder / "portal" / "leads.jsonl").exists():
        pytest.skip(f"the Olist set is not in {folder}: set OLIST_DIR to run this test")
    return folder.resolve()


@pytest.fixture(scope="session")
def bitrix24_spec() -> dict[str, dict[str, Any]]:
    """The vendor's descriptions of REST methods, by method."""
    shared = ROOT / ".." / "shared" / "data" / "bitrix24_spec"
    folder = Path(os.environ.get("BITRIX24_SPEC", shared))
    if not (folder / "crm.item.list.json").exists():
        pytest.skip(f"descriptions of methods are not in {folder}: set BITRIX24_SPEC to check them")
    described = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return {method["method"]: method for method in described}

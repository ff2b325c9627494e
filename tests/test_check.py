"""The raw contract: each broken rule stops the refresh and names table and count."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import check
from pipelines.errors import ChecksFailed
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import serve
from tests.small_portal import lead, write_portal


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with one extracted refresh of two leads, not yet checked."""
    folder = tmp_path_factory.mktemp("check")
    with serve(write_portal(folder / "portal", leads=[lead(1), lead(2)])) as portal:
        extract(Client(portal.webhook_url), Warehouse(folder / "data"), Settings.load())
    return folder / "data"


@pytest.fixture
def warehouse(extracted: Path, tmp_path: Path) -> Warehouse:
    shutil.copy(extracted / "warehouse.duckdb", tmp_path)
    return Warehouse(tmp_path)


def test_sound_rows_complete_the_refresh(warehouse: Warehouse) -> None:
    assert warehouse.last_refreshes() == []
    assert all(result.passed for result in check(warehouse))
    assert [refresh.refresh_no for refresh in warehouse.last_refreshes()] == [1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("update raw.leads set id = null where id = 1", "leads: 1 rows without a key"),
        ("update raw.leads set id = 2 where id = 1", "leads: 1 keys that came more than once"),
        (
            "update raw.leads set stage_semantic_id = 'X' where id = 1",
            "leads: 1 rows whose stage semantics",
        ),
        (
            "update raw.leads set created_time = timestamptz '1970-01-01' where id = 1",
            "leads: 1 rows with a date before 1990",
        ),
        ("delete from raw.leads where id = 1", "leads: 1 rows that were read and are not in"),
        (
            "update raw.load_completeness set portal_total = 5 where entity = 'leads'",
            "leads: 3 rows by which the portal's count",
        ),
    ],
)
def test_damage_stops_the_refresh(warehouse: Warehouse, damage: str, message: str) -> None:
    with warehouse.connect(read_only=False) as connection:
        connection.execute(damage)
    with pytest.raises(ChecksFailed, match=message):
        check(warehouse)
    assert warehouse.last_refreshes() == []

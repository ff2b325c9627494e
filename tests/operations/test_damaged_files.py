"""A warehouse or published file that cannot be read: one message, nothing overwritten."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipelines.__main__ import main
from pipelines.contract import ADVICE, CHECKS
from pipelines.errors import BuildFailed, ChecksFailed, DatabaseUnreadable, what_to_do
from pipelines.warehouse import Warehouse, connect_published
from scripts.demo_portal import Portal, serve
from tests.support.raw_tables import create_raw_tables
from tests.support.small_portal import deal, lead, write_portal

WAYS_ON = ("restore the last copy", "move it away", "what was published stays")
DAMAGES = ("empty", "text", "cut in its head", "cut in half", "a flipped byte", "published")


def damage(path: Path, kind: str) -> bytes:
    """Makes a file that is not a warehouse; returns its bytes."""
    if kind == "published":
        with duckdb.connect(str(path)) as connection:
            connection.execute("create schema marts; create table marts.fct_deals (deal_id bigint)")
        return path.read_bytes()
    create_raw_tables(path)
    sound = path.read_bytes()
    content = {
        "empty": b"",
        "text": "Копия не удалась\n".encode() * 500,
        "cut in its head": sound[:5000],
        "cut in half": sound[: len(sound) // 2],
        "a flipped byte": sound[:12] + bytes([sound[12] ^ 0xFF]) + sound[13:],
    }[kind]
    path.write_bytes(content)
    return content


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    found = Warehouse(tmp_path / "data")
    found.directory.mkdir()
    monkeypatch.setenv("WAREHOUSE_DIR", str(found.directory))
    return found


@pytest.fixture
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    with serve(write_portal(tmp_path / "portal", leads=[lead(1)], deals=[deal(1)])) as running:
        monkeypatch.setenv("BITRIX24_WEBHOOK_URL", running.webhook_url)
        yield running


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["pipelines", *arguments])
    return main()


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_no_warehouse_is_told_with_the_ways_on(warehouse: Warehouse, kind: str) -> None:
    content = damage(warehouse.database, kind)
    with pytest.raises(DatabaseUnreadable) as told:
        warehouse.last_refreshes()
    assert all(words in str(told.value) for words in WAYS_ON)
    assert told.value.exit_code == 1
    assert warehouse.database.read_bytes() == content


@pytest.mark.parametrize("kind", ("cut in half", "published"))
@pytest.mark.parametrize("command", ("extract", "check", "build", "publish", "compact", "doctor"))
def test_every_command_says_so(
    warehouse: Warehouse,
    portal: Portal,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    kind: str,
) -> None:
    content = damage(warehouse.database, kind)
    assert run(monkeypatch, command) == 1
    said = capsys.readouterr().err
    assert all(words in said for words in WAYS_ON)
    assert "Traceback" not in said
    assert warehouse.database.read_bytes() == content


def test_a_refresh_tells_it_in_its_run_file(
    warehouse: Warehouse, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = damage(warehouse.database, "empty")
    assert run(monkeypatch, "refresh", "--no-report") == 1
    told = json.loads(warehouse.run_file.read_text(encoding="utf-8"))
    assert (told["status"], told["exit_code"], told["failed_step"]) == ("failed", 1, "extract")
    assert all(words in told["error"] for words in WAYS_ON)
    assert warehouse.database.read_bytes() == content


def test_damage_that_shows_later_is_told_too(warehouse: Warehouse) -> None:
    """A file that opens may be damaged further on."""
    corrupt = "Corrupt database file: computed checksum 1 does not match stored checksum 2"
    for error in (duckdb.Error(corrupt), BuildFailed(f"dbt could not build fct_deals: {corrupt}")):
        told = warehouse.damaged(error)
        assert told and all(words in str(told) for words in WAYS_ON)
    assert warehouse.damaged(BuildFailed("dbt could not build fct_deals: no column x")) is None
    assert warehouse.damaged(ChecksFailed(corrupt)) is None


def test_a_warehouse_that_is_held_is_not_damaged(warehouse: Warehouse) -> None:
    held = duckdb.IOException(
        'IO Error: Could not set lock on file "warehouse.duckdb": Conflicting lock is held in'
        " /usr/bin/duckdb (PID 7)"
    )

    def refuse(*_: object, **__: object) -> None:
        raise held

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(duckdb, "connect", refuse)
        with pytest.raises(DatabaseUnreadable, match="is open in another program") as told:
            warehouse.connect()
    assert "restore" not in str(told.value)


def test_half_a_new_database_never_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up in the first run; the next one finds no warehouse, not a damaged one."""
    warehouse = Warehouse(tmp_path / "data")

    def fills_up(path: str) -> None:
        Path(path).write_bytes(b"half a head")
        raise duckdb.IOException("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(duckdb, "connect", fills_up)
        with pytest.raises(duckdb.IOException):
            warehouse.create()
    assert warehouse.last_refreshes() == []
    warehouse.create()
    assert warehouse.last_refreshes() == []
    assert [path.name for path in warehouse.directory.iterdir()] == ["warehouse.duckdb"]


def test_a_database_without_any_table_is_a_new_warehouse(warehouse: Warehouse) -> None:
    duckdb.connect(str(warehouse.database)).close()
    assert warehouse.last_refreshes() == []


@pytest.mark.parametrize(("command", "code"), (("mf", 1), ("excel", 5)))
def test_a_damaged_published_file_is_told(
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    code: int,
) -> None:
    current = warehouse.published / "current"
    current.mkdir(parents=True)
    content = damage(current / "crm.duckdb", "cut in half")
    (current / "semantic_manifest.json").write_text('{"semantic_models": [], "metrics": []}')
    (warehouse.published / "crm.duckdb").symlink_to("current/crm.duckdb")
    assert run(monkeypatch, command, *(["list", "metrics"] if command == "mf" else [])) == code
    said = capsys.readouterr().err
    assert "run `python -m pipelines publish` to write it again" in said
    assert "Traceback" not in said
    assert (current / "crm.duckdb").read_bytes() == content
    with pytest.raises(DatabaseUnreadable):
        connect_published(current / "crm.duckdb")


def test_each_check_has_the_advice_that_fits_it() -> None:
    assert ADVICE.keys() == CHECKS.keys()
    assert "clock" in ADVICE["clock_went_back"]
    assert "record" not in ADVICE["clock_went_back"] + ADVICE["rows_dropped"]
    assert what_to_do(ChecksFailed("raw checks failed", advice="set the clock")) == "set the clock"
    assert what_to_do(KeyError("x")).startswith("see the message")

"""The raw log as files (ENGINE=spark): the same rows as in tables, wherever they move."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines import raw_files
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import check, complete
from pipelines.compact import compact
from pipelines.environment import ROOT, Engine
from pipelines.errors import SettingsError
from pipelines.options import Options
from pipelines.personal_data import forget
from pipelines.raw_files import settle
from pipelines.settings import Settings
from pipelines.spark import forget as forget_build
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.plain_refresh import plain_checks
from tests.support.small_portal import deal, lead, lead_visit, write_portal

DUCKDB, SPARK = Engine(), Engine(engine="spark")
TITLE = "Лид Секретного Плана"
T0 = "2026-03-01T10:00:00+03:00"

Tables = dict[str, tuple[list[Any], list[Any]]]


def refresh(portal: Portal, warehouse: Warehouse, is_whole: bool = True) -> int:
    """A refresh by dlt, up to its completion; of whatever ENGINE says."""
    client = Client(portal.webhook_url, retry_seconds=0.01)
    settings = Settings.model_validate({**Settings.load().model_dump(), "keep_titles": True})
    number = extract(client, warehouse, settings, Options(accept_loss=True)).refresh_no
    if is_whole:
        with plain_checks():
            check(warehouse, settings)
    return number


def raw_log(warehouse: Warehouse) -> Tables:
    """Table of the raw log → columns with their types, and rows; without the marks of loads."""
    found = {}
    with warehouse.connect() as connection:
        for table in warehouse.raw_tables():
            if not table.startswith("_dlt"):
                # Clocks and the number of the machine's run differ between two refreshes.
                rows = connection.sql(f"select * exclude (_dlt_load_id) from raw.{table}")
                columns = sorted(zip(rows.columns, map(str, rows.types), strict=True))
                found[table] = (columns, connection.sql("from rows order by all").fetchall())
    return found


def loads(warehouse: Warehouse) -> list[Any]:
    with warehouse.connect() as connection:
        return connection.execute("from raw._dlt_loads order by all").fetchall()


def numbered(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("raw_*"))


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    folder = write_portal(
        tmp_path_factory.mktemp("portal"),
        leads=[*(lead(number) for number in range(1, 6)), lead(6, title=TITLE)],
        deals=[deal(1, leadId=2, opportunity=100.5), deal(2)],
        lead_stage_history=[lead_visit(number, number, "NEW", "P", T0) for number in range(1, 7)],
        lead_addresses=[{"ID": 3, "ADDRESS_CITY": "Казань"}],
    )
    with serve(folder) as running:
        yield running


@pytest.fixture(scope="module")
def read(portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Warehouse]:
    """Two refreshes by each engine; between them a lead changes, another is deleted."""
    folder = tmp_path_factory.mktemp("read")
    found = {engine: Warehouse(folder / engine) for engine in ("duckdb", "spark")}
    with pytest.MonkeyPatch.context() as patch:
        for step in range(2):
            if step:
                portal.change("leads", 1, {"opportunity": 70, "stageId": "JUNK"})
                portal.delete("leads", 5)
            for engine, warehouse in found.items():
                patch.setenv("ENGINE", engine)
                refresh(portal, warehouse)
    return found


@pytest.fixture
def in_files(
    read: dict[str, Warehouse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Warehouse:
    """A copy of a warehouse whose raw log is files, with the files."""
    monkeypatch.setenv("ENGINE", "spark")
    shutil.copytree(read["spark"].directory, tmp_path / "copy")
    copy = Warehouse(tmp_path / "copy")
    settle(copy, SPARK)
    return copy


def test_the_log_is_the_same_in_files(read: dict[str, Warehouse]) -> None:
    in_tables, in_files = raw_log(read["duckdb"]), raw_log(read["spark"])
    del in_tables["refreshes"], in_files["refreshes"]
    assert in_files == in_tables
    assert len(in_files["leads"][1]) == 8
    for warehouse in read.values():
        assert [one.refresh_no for one in warehouse.last_refreshes()] == [2, 1]
        assert warehouse.next_refresh_no() == 3
    known = [warehouse.known(["leads"])["leads"] for warehouse in read.values()]
    assert known[0] == known[1]
    files = read["spark"].directory / "spark"
    assert stat.S_IMODE(files.stat().st_mode) == 0o700
    assert len([*(files / "raw_1" / "leads").glob("*.parquet")]) == 2
    assert not (read["duckdb"].directory / "spark").exists()
    with duckdb.connect(str(read["spark"].database), read_only=True) as connection:
        kept = connection.execute("select table_name from duckdb_tables()").fetchall()
    assert {name for (name,) in kept} == {"check_results", "check_failures"}


def test_a_refresh_is_completed_once(in_files: Warehouse) -> None:
    complete(in_files, 2)
    assert [one.refresh_no for one in in_files.last_refreshes()] == [2, 1]
    with in_files.connect() as connection:
        rows = "select refresh_no, completed from raw.refreshes order by all"
        found = connection.execute(rows).fetchall()
    assert found == [(1, False), (1, True), (2, False), (2, True)]


def test_the_log_moves_with_the_engine(
    portal: Portal, in_files: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From files to tables and back: rows and loads stay, numbers go on."""
    rows, of_loads = raw_log(in_files), loads(in_files)
    monkeypatch.setenv("ENGINE", "duckdb")
    assert refresh(portal, in_files) == 3
    assert not (in_files.directory / "spark").exists()
    in_tables = raw_log(in_files)
    assert {table: in_tables[table][0] for table in rows} == {t: rows[t][0] for t in rows}
    assert in_tables["leads"] == rows["leads"]
    assert loads(in_files)[:2] == of_loads
    with in_files.connect(read_only=False) as connection:
        connection.execute(
            "insert into raw.leads by name select leads.* replace (1000 + n as id,"
            " title || md5(n::varchar) as title) from raw.leads as leads, range(30_000) as more (n)"
            f" where title = '{TITLE}'"
        )
        # Behind it in the file, as the marts of a build are.
        connection.execute("checkpoint; create schema marts")
        connection.execute(
            "create table marts.one as select md5(range::varchar) from range(30_000)"
        )
    size, in_tables = in_files.database.stat().st_size, raw_log(in_files)

    monkeypatch.setenv("ENGINE", "spark")
    assert settle(in_files, SPARK) == in_files.directory / "spark" / "raw_1"
    assert raw_log(in_files) == in_tables
    assert refresh(portal, in_files) == 4
    assert numbered(in_files.directory / "spark") == ["raw_1"]
    # No row stays in a free block of the warehouse.
    assert in_files.database.stat().st_size < size - 500_000


def test_the_log_moves_with_the_folder(in_files: Warehouse, tmp_path: Path) -> None:
    rows = raw_log(in_files)
    other = Engine(engine="spark", spark_folder=tmp_path / "shared")
    others = tmp_path / "shared" / "bitrix24-analytics-00000000" / "raw_1"
    others.mkdir(parents=True)
    found = settle(in_files, other)
    assert found == raw_files.home(in_files, other) / "raw_1"
    assert found.is_relative_to(tmp_path / "shared")
    assert raw_log(in_files) == rows
    assert others.exists()
    assert numbered(in_files.directory / "spark") == []

    settle(in_files, SPARK)
    assert raw_log(in_files) == rows
    assert not found.exists()


def test_a_copy_leaves_the_files_of_its_original(in_files: Warehouse, tmp_path: Path) -> None:
    rows = raw_log(in_files)
    (tmp_path / "other").mkdir()
    shutil.copy(in_files.database, tmp_path / "other")
    copy = Warehouse(tmp_path / "other")
    for engine in (SPARK, DUCKDB):
        settle(copy, engine)
        assert raw_log(copy) == rows
    assert raw_log(in_files) == rows


def test_files_that_are_gone_are_missed(in_files: Warehouse) -> None:
    raw = in_files.directory / "spark" / "raw_1"
    raw.rename(in_files.directory / "away")
    for engine in (SPARK, DUCKDB):
        with pytest.raises(SettingsError, match=r"spark/raw_1, and that is not there: mount"):
            settle(in_files, engine)
    (in_files.directory / "away").rename(raw)
    assert len(raw_log(in_files)["leads"][1]) == 8


def test_a_lost_warehouse_finds_its_files(in_files: Warehouse) -> None:
    rows = raw_log(in_files)
    in_files.database.unlink()
    settle(in_files, SPARK)
    assert raw_log(in_files) == rows


def test_newer_files_are_not_replaced_by_an_older_warehouse(
    portal: Portal, in_files: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(in_files, DUCKDB)
    older = in_files.database.read_bytes()
    refresh(portal, in_files)
    rows = raw_log(in_files)
    in_files.database.write_bytes(older)
    for engine in (SPARK, DUCKDB):
        with pytest.raises(SettingsError, match=r"raw log up to refresh 3, .* up to 2: move away"):
            settle(in_files, engine)
    in_files.database.unlink()
    settle(in_files, SPARK)
    assert raw_log(in_files) == rows


def killed_at(portal: Portal, warehouse: Warehouse, file: str) -> None:
    """A refresh whose process dies when it writes a file, which is there in part."""
    code = f"""
import os, sys
from types import SimpleNamespace
from pathlib import Path
from pipelines import raw_files
from tests.operations.test_raw_files import refresh
from pipelines.warehouse import Warehouse
def sync(path):
    if "/{file}" in str(path):
        os.truncate(path, 4)
        os._exit(9)
raw_files.sync = sync
refresh(SimpleNamespace(webhook_url={portal.webhook_url!r}), Warehouse(Path(sys.argv[1])))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(warehouse.directory)],
        cwd=ROOT,
        env={**os.environ, "ENGINE": "spark"},
        check=False,
    )
    assert done.returncode == 9


@pytest.mark.parametrize("at", ["refreshes/", "leads/", "_dlt_loads/"])
def test_a_load_that_is_stopped(portal: Portal, in_files: Warehouse, at: str) -> None:
    """What came of it is invisible, and its number is not used again where rows have it."""
    killed_at(portal, in_files, at)
    assert [one.refresh_no for one in in_files.last_refreshes()] == [2, 1]
    assert in_files.last_refreshes(completed=False)[0].refresh_no == 2
    assert [*in_files.directory.rglob("*.part")]
    files = f"{in_files.directory}/spark/raw_1/*/*.parquet"
    with duckdb.connect() as connection:
        last = connection.execute(
            f"select max(refresh_no) from read_parquet('{files}', union_by_name = true)"
        ).fetchall()
    number = refresh(portal, in_files)
    assert [(number - 1,)] == last
    # Files are written side by side: which are there before these is chance.
    assert number == 4 or at != "_dlt_loads/"
    assert [one.refresh_no for one in in_files.last_refreshes()] == [number, 2, 1]


@pytest.mark.parametrize(
    ("at", "number"), [("raw_1/.init", 1), ("refreshes/", 1), ("_dlt_loads/", 2)]
)
def test_a_first_load_that_is_stopped(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, number: int
) -> None:
    monkeypatch.setenv("ENGINE", "spark")
    warehouse = Warehouse(tmp_path / "data")
    killed_at(portal, warehouse, at)
    assert refresh(portal, warehouse) == number
    assert [one.refresh_no for one in warehouse.last_refreshes()] == [number]


@pytest.mark.parametrize("at", ["_show", "_forget_pipeline"])
def test_a_move_that_is_stopped(
    in_files: Warehouse, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Before the views name the new files, and after that."""
    settle(in_files, DUCKDB)
    rows = raw_log(in_files)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    for engine in (SPARK, DUCKDB):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(raw_files, at, stop)
            settle(in_files, engine)
        assert raw_log(in_files) == rows
        settle(in_files, engine)
        assert raw_log(in_files) == rows
        files = in_files.directory / "spark"
        assert len(numbered(files)) == (engine is SPARK)


def test_a_build_leaves_the_log(in_files: Warehouse) -> None:
    rows, place = raw_log(in_files), in_files.directory / "spark"
    for engine, kept in ((SPARK, ["raw_1"]), (DUCKDB, [])):
        settle(in_files, engine)
        (place / "marts").mkdir(parents=True)
        (place / "hs_err_pid1.log").touch()
        forget_build(in_files, engine)
        assert numbered(place) == kept
        assert place.exists() == bool(kept)
        assert not (place / "marts").exists()
        assert raw_log(in_files) == rows


def test_files_are_compacted(
    portal: Portal, in_files: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tables are."""
    portal.change("leads", 2, {"title": "Лид 2"})
    refresh(portal, in_files, is_whole=False)
    refresh(portal, in_files)
    in_tables = Warehouse(tmp_path / "tables")
    shutil.copytree(in_files.directory, in_tables.directory)
    settle(in_tables, DUCKDB)
    monkeypatch.setenv("ENGINE", "duckdb")
    expected = compact(in_tables)
    monkeypatch.setenv("ENGINE", "spark")
    done = compact(in_files)
    assert done.rows == expected.rows
    assert done.rows["refreshes"] == (7, 6)
    assert raw_log(in_files) == raw_log(in_tables)
    assert done.bytes_after == raw_files.size(in_files)
    assert numbered(in_files.directory / "spark") == ["raw_2"]
    assert refresh(portal, in_files) == 5


def test_what_is_erased_is_in_no_file(in_files: Warehouse) -> None:
    assert any(TITLE in row for row in raw_log(in_files)["leads"][1])
    forget(in_files, titles=False)
    rows = raw_log(in_files)["leads"][1]
    assert len(rows) == 8
    assert not any("Лид" in str(row) for row in rows)
    assert numbered(in_files.directory / "spark") == ["raw_2"]
    assert TITLE.encode() not in in_files.database.read_bytes()
    assert not (in_files.directory / ".dlt").exists()


def test_files_of_a_later_version_have_more_columns(in_files: Warehouse) -> None:
    folder = in_files.directory / "spark" / "raw_1" / "refreshes"
    first = sorted(folder.glob("1*.parquet"))[0]
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select * exclude (written_times) from '{first}') to '{folder}/new'"
            " (format parquet)"
        )
    (folder / "new").replace(first)
    settle(in_files, SPARK)
    with in_files.connect() as connection:
        written = connection.execute("select count(*), count(written_times) from raw.refreshes")
        assert written.fetchall() == [(4, 3)]

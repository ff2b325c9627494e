"""File rights on the server: accounts of other groups try to read root's files."""

from __future__ import annotations

import grp
import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from pipelines import environment
from pipelines.bitrix24.access import is_open_to_others
from pipelines.errors import SettingsError
from pipelines.readers import PUBLISHED, SITE, check_groups, close_to_others, hand_over
from pipelines.run_file import write_atomically
from pipelines.warehouse import Warehouse

ANALYSTS, WEB_SERVER = "users", "www-data"


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """A warehouse with a publication and a site, in a folder that every account reaches."""
    if os.geteuid():
        pytest.skip("to be another account needs root")
    monkeypatch.setenv(PUBLISHED, ANALYSTS)
    monkeypatch.setenv(SITE, WEB_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        warehouse = Warehouse(Path(folder) / "data")
        publication = warehouse.published / ".refreshes" / "000001"
        site = warehouse.published / ".sites" / "000001"
        for path in (publication / "parquet", site / "excel", warehouse.directory / "logs"):
            path.mkdir(parents=True)
        for database in (warehouse.database, publication / "crm.duckdb"):
            duckdb.connect(str(database)).close()
        (warehouse.directory / "logs" / "build.log").write_text("a log")
        (site / "index.html").write_text("a page")
        (warehouse.published / "current").symlink_to(".refreshes/000001")
        (warehouse.published / "site").symlink_to(".sites/000001")
        (warehouse.published / "crm.duckdb").symlink_to("current/crm.duckdb")
        hand_over(publication, PUBLISHED)
        hand_over(site, SITE)
        close_to_others(warehouse.directory, warehouse.published)
        yield warehouse


def as_account(group: str, look: Callable[[], str]) -> str:
    """What an account in only this group sees, as reported by a separate process."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(grp.getgrnam(group).gr_gid)
            os.setuid(pwd.getpwnam("nobody").pw_uid)
            told = look()
        except BaseException as error:
            told = type(error).__name__
        os.write(write_end, told.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


def seen(warehouse: Warehouse) -> str:
    """Which of the files can be read, by their names."""
    published = warehouse.published
    files = [
        published / "crm.duckdb",
        published / "site" / "index.html",
        warehouse.database,
        warehouse.directory / "logs" / "build.log",
    ]
    found = []
    for file in files:
        try:
            file.read_bytes()
        except PermissionError:
            continue
        found.append(file.name)
    for folder in (warehouse.directory, published, published / ".refreshes", published / ".sites"):
        try:
            list(folder.iterdir())
        except PermissionError:
            continue
        found.append(f"list of {folder.name}")
    return ", ".join(found)


def test_each_group_reads_its_part_and_nothing_else(warehouse: Warehouse) -> None:
    assert as_account(ANALYSTS, lambda: seen(warehouse)) == "crm.duckdb"
    assert as_account(WEB_SERVER, lambda: seen(warehouse)) == "index.html"
    assert as_account("nogroup", lambda: seen(warehouse)) == ""


def test_without_groups_nobody_else_gets_in(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PUBLISHED)
    monkeypatch.delenv(SITE)
    close_to_others(warehouse.directory, warehouse.published)
    for group in (ANALYSTS, WEB_SERVER, "nogroup"):
        assert as_account(group, lambda: seen(warehouse)) == ""


def test_a_plain_open_takes_no_lock(warehouse: Warehouse) -> None:
    """DuckDB opens for writing by default: that fails at once, and readers continue."""
    path = str(warehouse.published / "crm.duckdb")

    def opened(read_only: bool) -> str:
        duckdb.connect(path, read_only=read_only).close()
        return "opened"

    assert as_account(ANALYSTS, lambda: opened(read_only=False)) == "IOException"
    assert as_account(ANALYSTS, lambda: opened(read_only=True)) == "opened"


def test_the_status_of_the_site_is_the_web_servers_too(warehouse: Warehouse) -> None:
    file = warehouse.published / "site" / "status.json"
    write_atomically(file, {"status": "failed"}, before=lambda path: hand_over(path, SITE))
    assert as_account(WEB_SERVER, lambda: file.read_text()[:1]) == "{"
    assert as_account(ANALYSTS, lambda: file.read_text()[:1]) == "PermissionError"


def test_a_file_of_another_account_is_named_with_what_to_do(warehouse: Warehouse) -> None:
    def told() -> str:
        try:
            with duckdb.connect(str(warehouse.database)):
                return ""
        except duckdb.Error as error:
            return str(warehouse.not_ours(error))

    message = as_account("nogroup", told)
    assert message.startswith(f"{warehouse.database} belongs to root, and nobody may not use it")
    assert f"`chown -R nobody: {warehouse.directory}`" in message
    assert warehouse.not_ours(ValueError("Permission denied")) is None


def test_a_group_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SITE, "no-such-group")
    with pytest.raises(SettingsError, match="SITE_GROUP is 'no-such-group', but this machine does"):
        check_groups()


def test_a_file_that_others_can_read_is_seen(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("")
    file.chmod(0o640)
    assert is_open_to_others(file)
    file.chmod(0o600)
    assert not is_open_to_others(file)


def test_an_env_file_of_another_encoding_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    (tmp_path / ".env").write_text("NAMED_IN_ENV=1\n", encoding="utf-16")
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8: save it in UTF-8"):
        environment.load_environment()
    # A byte order mark is not part of the first name.
    (tmp_path / ".env").write_text("NAMED_IN_ENV=1\n", encoding="utf-8-sig")
    environment.load_environment()
    assert os.environ.pop("NAMED_IN_ENV") == "1"

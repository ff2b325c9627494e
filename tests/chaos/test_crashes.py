"""Crashes: `kill -9` at a random moment of each step, and the refresh that comes after.

The portal changes, a refresh starts in a separate process group, and the whole group is killed
after a random share of the seconds that the step took last. Then what is published must be
complete, and after the next whole refresh every row right: nothing lost, nothing doubled. `npm` is
replaced, see `tests/support/whole_refreshes.py`.

CRASHES=100 CRASH_SEED=7 kills more often, and at other moments.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines import report as report_module
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import check
from pipelines.environment import ROOT
from pipelines.errors import AnotherRefreshIsRunning, ChecksFailed, ReportFailed
from pipelines.publish import switch_link
from pipelines.report import report
from pipelines.settings import Settings
from pipelines.site import shell as shell_module
from pipelines.site.shell import Shell
from pipelines.warehouse import Warehouse
from scripts.demo_portal import serve
from tests.support.changing_company import serve_company
from tests.support.small_portal import lead, write_portal
from tests.support.whole_refreshes import Refreshes

STEPS = ("extract", "check", "build", "publish", "report", "excel")
KILLS = int(os.environ.get("CRASHES", "6"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
KILLS_BEFORE_A_WHOLE_RUN = 3


def kill(refreshes: Refreshes, step: str, share: float) -> str | None:
    """Kills a refresh at a share of a step's usual seconds.

    Returns:
        What it had said last; None where it ended before.
    """
    seconds = json.loads(refreshes.warehouse.run_file.read_text())["seconds"][step]
    process = refreshes.start()
    said = refreshes.wait_for(process, step)
    if not process.wait(share * seconds):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode in (0, -signal.SIGKILL), refreshes.errors.read_text()
    lines = [said, *process.stdout]
    wait_for_lock(refreshes.warehouse.directory / "refresh.lock")
    return lines[-1].strip() if process.returncode else None


def wait_for_lock(path: Path) -> None:
    """Every process of a killed group has let go of its files."""
    with path.open() as lock:
        for _ in range(200):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                return
    raise AssertionError("a killed refresh holds the lock")


def test_a_load_that_breaks_off_is_nothing_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dlt loads tables in parallel: the refresh may be in the log before its leads are."""

    def dies(*_: object) -> None:
        raise RuntimeError("the power is cut")

    warehouse = Warehouse(tmp_path / "data")
    with serve(write_portal(tmp_path / "portal", leads=[lead(1), lead(2)])) as portal:
        with monkeypatch.context() as patched, pytest.raises(PipelineStepFailed):
            patched.setattr(SqlJobClientBase, "complete_load", dies)
            extract(Client(portal.webhook_url), warehouse, Settings.load())
        with warehouse.connect(read_only=False) as connection:
            connection.execute("delete from raw.leads; delete from raw.load_completeness")
        with pytest.raises(ChecksFailed, match="nothing is extracted yet"):
            check(warehouse)
        extract(Client(portal.webhook_url), warehouse, Settings.load())
        check(warehouse)
    assert [refresh.refresh_no for refresh in warehouse.last_refreshes()] == [2]


def test_a_step_that_outlives_its_refresh_keeps_the_lock(tmp_path: Path) -> None:
    """If only the parent is killed, dbt continues to write: no other refresh may start."""
    warehouse = Warehouse(tmp_path / "data")
    program = f"""
from pathlib import Path
from pipelines.build import run_process
from pipelines.warehouse import Warehouse
folder = Path({str(tmp_path)!r})
with Warehouse(folder / "data").lock():
    run_process(["sh", "-c", "touch began; exec sleep 60"], folder, {{}}, folder / "log")
"""
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, start_new_session=True)
    while not (tmp_path / "began").exists():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    with pytest.raises(AnotherRefreshIsRunning), warehouse.lock():
        pass
    os.killpg(parent.pid, signal.SIGKILL)
    wait_for_lock(warehouse.directory / "refresh.lock")
    with warehouse.lock():
        pass


def test_a_shell_is_built_once_for_two_warehouses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two refreshes at once, one clone: the second waits for the shell of the first."""
    built: list[str] = []

    def builds(command: list[str], *_: object) -> None:
        built.append(command[-1])
        Path(command[-1]).mkdir()
        time.sleep(0.3)
        (Path(command[-1]) / "blocks.json").write_text('{"blocks": []}')

    monkeypatch.setattr(shell_module, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(shell_module, "SHELLS", tmp_path / "shells")
    monkeypatch.setattr(shell_module, "_install", lambda *_: None)
    monkeypatch.setattr(shell_module, "_npm", builds)
    with ThreadPoolExecutor() as pool:
        one, other = pool.map(lambda _: shell_module.shell("ru", tmp_path / "logs"), range(2))
    assert one == other
    assert len(built) == 1


@pytest.mark.parametrize("failure", [OSError("the disk is gone"), KeyboardInterrupt()])
def test_a_site_written_again_never_touches_the_one_that_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """`python -m pipelines report` a second time for one publication, stopped within it."""
    warehouse = Warehouse(tmp_path / "data")
    (warehouse.published / ".refreshes" / "000001").mkdir(parents=True)
    switch_link(warehouse.published / "current", ".refreshes/000001")
    files = tmp_path / "shell"
    files.mkdir()
    (files / "blocks.json").write_text('{"blocks": []}')
    monkeypatch.setattr(report_module, "shell", lambda *_: Shell(files, [], []))
    told = "old"

    def writes(_: Path, folder: Path, *__: object) -> list[str]:
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text(told)
        return []

    def dies(*_: object) -> list[str]:
        raise failure

    monkeypatch.setattr(report_module, "write_data", writes)
    report(warehouse, Settings.load())

    def shown() -> str:
        site = (warehouse.published / "site").resolve()
        publication = json.loads((site / "status.json").read_text())["publication"]
        return (site / "data" / publication / "meta.json").read_text()

    told = "new"
    with monkeypatch.context() as patched:
        patched.setattr(report_module, "write_data", dies)
        with pytest.raises((ReportFailed, KeyboardInterrupt)):
            report(warehouse, Settings.load())
    assert shown() == "old"
    report(warehouse, Settings.load())
    assert shown() == "new"
    # A page that is open reads on from the data with which it came.
    data = warehouse.published / "site" / "data"
    assert sorted(path.name for path in data.iterdir()) == ["000001", "000001-2"]
    assert (data / "000001" / "meta.json").read_text() == "old"


@pytest.mark.timeout(300 * (KILLS + 1))
def test_killed_at_any_moment_of_any_step(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    steps = [STEPS[number % len(STEPS)] for number in range(KILLS)]
    chance.shuffle(steps)
    with serve_company(tmp_path / "portal", SEED) as company:
        refreshes = Refreshes(tmp_path, company)
        refreshes.run()
        kills = 0
        while kills < KILLS:
            step, share = steps[kills], chance.random()
            company.change()
            said = kill(refreshes, step, share)
            print(f"{time.strftime('%T')} kill {kills + 1}: {step} {share:.2f}, after {said!r}")
            refreshes.look()
            if said is None:
                continue
            kills += 1
            if kills % KILLS_BEFORE_A_WHOLE_RUN == 0 or kills == KILLS:
                company.change()
                refreshes.run()

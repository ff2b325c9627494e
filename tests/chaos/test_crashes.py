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
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
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


def test_the_site_of_another_warehouse_waits_for_the_one_in_the_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two companies, one clone: each site holds its own figures."""
    (tmp_path / "build").mkdir()
    shown = tmp_path / "build" / "index.html"

    def builds(command: list[str], environment: Mapping[str, str], *_: object) -> None:
        if command[-1] == "sources":
            shown.write_text(environment["PUBLISHED_PARQUET"])
        time.sleep(0.3)

    monkeypatch.setattr(report_module, "REPORTS", tmp_path)
    monkeypatch.setattr(report_module, "_install", lambda *_: None)
    monkeypatch.setattr(report_module, "_npm", builds)
    warehouses = [Warehouse(tmp_path / name) for name in ("one", "other")]
    for warehouse in warehouses:
        (warehouse.published / ".refreshes" / "000001" / "parquet").mkdir(parents=True)
        switch_link(warehouse.published / "current", ".refreshes/000001")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda warehouse: report(warehouse, Settings.load()), warehouses))
    for warehouse in warehouses:
        parquet = warehouse.published / ".refreshes" / "000001" / "parquet"
        assert (warehouse.published / "site" / "index.html").read_text() == str(parquet)


@pytest.mark.parametrize("failure", [OSError("the disk is gone"), KeyboardInterrupt()])
def test_a_site_built_anew_never_touches_the_one_that_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """`python -m pipelines report` a second time for one publication, stopped within the copy."""
    warehouse = Warehouse(tmp_path / "data")
    (warehouse.published / ".refreshes" / "000001" / "parquet").mkdir(parents=True)
    switch_link(warehouse.published / "current", ".refreshes/000001")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "index.html").write_text("old")
    monkeypatch.setattr(report_module, "REPORTS", tmp_path)
    monkeypatch.setattr(report_module, "_install", lambda *_: None)
    monkeypatch.setattr(report_module, "_npm", lambda *arguments: None)
    report(warehouse, Settings.load())
    shown = warehouse.published / "site" / "index.html"

    def dies(*_: object, **__: object) -> None:
        raise failure

    (tmp_path / "build" / "index.html").write_text("new")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", dies)
        with pytest.raises((ReportFailed, KeyboardInterrupt)):
            report(warehouse, Settings.load())
    assert shown.read_text() == "old"
    report(warehouse, Settings.load())
    assert shown.read_text() == "new"


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

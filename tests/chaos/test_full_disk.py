"""A disk that fills up during a step: the message, what stays published, and the next run.

The warehouse is on a small file system in memory. When a step starts, a file takes all but a few
random KB of it. As in `tests/chaos/test_crashes.py`, FULL_DISKS=20 CRASH_SEED=7 draws more.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.changing_company import serve_company
from tests.support.whole_refreshes import Refreshes

SIZE = "300m"
# Step → the most KB that are left: less than it needs. The checks hardly need any.
STEPS = {"extract": 200, "build": 1000, "publish": 1000, "report": 500}
FULL_DISKS = int(os.environ.get("FULL_DISKS", len(STEPS)))
SEED = int(os.environ.get("CRASH_SEED", "1"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root, in a container with SYS_ADMIN too")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(filler: Path, disk: Path, left: int = 0) -> None:
    """Takes all space but `left` bytes; again if a refresh took some of it at that moment."""
    for tried in range(50):
        with filler.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - left)
                return
            except OSError:
                if tried == 49:
                    raise


@pytest.mark.timeout(300 * (FULL_DISKS + 1))
def test_a_disk_that_fills_within_a_step(tmp_path: Path, disk: Path) -> None:
    chance = random.Random(SEED)
    filler = disk / "filler"
    with serve_company(tmp_path / "portal", SEED) as company:
        refreshes = Refreshes(tmp_path, company, disk / "data")
        process = refreshes.start()
        refreshes.wait_for(process, "extract")
        fill(filler, disk)
        process.communicate()
        # The very first run has no space either, and says so.
        run = json.loads(refreshes.warehouse.run_file.read_text())
        assert run["error"].startswith("the disk is full"), run["error"]
        assert process.returncode == 1
        filler.unlink()
        refreshes.run()
        for number in range(FULL_DISKS):
            step = list(STEPS)[number % len(STEPS)]
            left = chance.randint(0, STEPS[step]) * 1024
            published_no, site = refreshes.published_no, refreshes.site()
            company.change()
            process = refreshes.start(halt=step)
            refreshes.wait_for(process, step)
            process.wait_until_halted()
            fill(filler, disk, left)
            process.go_on()
            said = process.communicate()
            told = refreshes.errors.read_text()
            print(f"{step}, {left} bytes left: {told}")
            is_published = step == "report"
            assert process.returncode == (5 if is_published else 1), told
            assert told.startswith(f"the disk is full ({refreshes.warehouse.directory} has "), told
            assert "free space and run again" in told
            assert "Traceback" not in told
            assert len(told) < 2000
            run = json.loads(refreshes.warehouse.run_file.read_text())
            assert run["error"] == told.strip()
            assert run["failed_step"] == step
            assert "\n".join(run["summary"]) in said
            refreshes.look()
            assert (refreshes.published_no == published_no) == (not is_published)
            assert refreshes.site() == site
            filler.unlink()
        company.change()
        refreshes.run()

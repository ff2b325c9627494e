"""`make bench`: companies of two sizes through whole refreshes: all, nothing new, 1 % changed.

The portal is a process of its own without limits. The times of one run are to be read as ratios;
they depend on the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import click

from pipelines.environment import ROOT
from scripts.benchmark_extraction import portal_of
from scripts.demo_company import generate

SIZES = (100_000, 1_000_000)
# One record in so many changes.
CHANGED = 100
SAMPLE_SECONDS = 0.2
STEPS = ("extract", "check", "build", "publish", "excel", "report")


def resident(root: int) -> int:
    """Bytes that a process and those that it started hold in memory."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)], sizes[int(folder.name)] = int(fields[1]), int(fields[21])
    found: set[int] = set()
    more = {root}
    while more:
        found |= more
        more = {one for one, parent in parents.items() if parent in found} - found
    return sum(sizes.get(one, 0) for one in found) * os.sysconf("SC_PAGE_SIZE")


def refresh(folder: Path, webhook_url: str) -> dict[str, tuple[float, int]]:
    """Seconds and peak memory in bytes of each step of a whole refresh."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", "refresh"],
        cwd=ROOT,
        env={
            **os.environ,
            "WAREHOUSE_DIR": str(folder),
            "BITRIX24_WEBHOOK_URL": webhook_url,
            "BITRIX24_REQUESTS_PER_SECOND": "0",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    step, peaks, ended = STEPS[0], dict.fromkeys(STEPS, 0), threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            peaks[step] = max(peaks[step], resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.stdout is not None
    for line in process.stdout:
        if line.removesuffix(" …\n") in STEPS:
            step = line.removesuffix(" …\n")
    ended.set()
    watcher.join()
    if process.wait():
        raise click.ClickException(f"the refresh ended with {process.returncode}")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {name: (seconds, peaks[name]) for name, seconds in run["seconds"].items()}


def tell(name: str, found: dict[str, tuple[float, int]]) -> None:
    """Print a row: seconds and megabytes of each step and of all."""
    whole = sum(seconds for seconds, _ in found.values())
    found["whole"] = whole, max(peak for _, peak in found.values())
    cells = (f"{seconds:,.1f} / {peak / 1e6:,.0f}" for seconds, peak in found.values())
    click.echo(f"{name:12}" + "".join(f"{cell:>16}" for cell in cells))


@click.command()
@click.option("--leads", "sizes", multiple=True, default=SIZES, show_default=True)
def main(sizes: tuple[int, ...]) -> None:
    """Generate, serve, refresh three times; print seconds and peak memory by step."""
    for leads in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
            folder, started = Path(temporary), time.monotonic()
            generate(folder / "portal", leads=leads, seed=7, file_format="parquet")
            click.echo(f"\n{leads:,} leads, generated in {time.monotonic() - started:.0f} s")
            click.echo(f"{'s / MB':12}" + "".join(f"{name:>16}" for name in (*STEPS, "whole")))
            # One portal: another would have another address, and its clock would be set back.
            with portal_of(folder / "portal") as portal:
                for name in ("all", "nothing new", "1 % changed"):
                    if name == "1 % changed":
                        portal.ask("change_share", CHANGED)
                    tell(name, refresh(folder / "data", portal.webhook_url))


if __name__ == "__main__":
    main()

"""`make bench`: a company of a million leads through the whole refresh, twice.

The second refresh finds nothing new: its time is the price of a scheduled run. The times of one
run are to be read as ratios; they depend on the machine.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from pipelines.environment import ROOT
from scripts.demo_company import generate


def refresh(folder: Path, webhook_url: str) -> dict[str, float]:
    """Seconds of each step of one refresh without the site."""
    environment = {
        **os.environ,
        "WAREHOUSE_DIR": str(folder / "data"),
        "BITRIX24_WEBHOOK_URL": webhook_url,
    }
    command = [sys.executable, "-m", "pipelines", "refresh", "--no-report"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    run = json.loads((folder / "data" / "run.json").read_text(encoding="utf-8"))
    read = sum(counts["rows_read"] for counts in run["entities"].values())
    return {**run["seconds"], "rows read": read, "requests": run["requests"]}


@click.command()
@click.option("--leads", default=1_000_000, show_default=True)
def main(leads: int) -> None:
    """Generate, serve, refresh twice; print seconds, rows and peak memory."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        started = time.monotonic()
        generate(folder / "portal", leads=leads, seed=7, file_format="parquet")
        click.echo(f"generated {leads:,} leads in {time.monotonic() - started:.0f} s")
        portal = subprocess.Popen(
            [
                *(sys.executable, "-m", "scripts.demo_portal", str(folder / "portal")),
                *("--port", "0", "--no-rate-limit", "--no-operating-limit"),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert portal.stdout is not None
            line = next(line for line in portal.stdout if "http" in line)
            webhook_url = line[line.index("http") :].split()[0]
            for name in ("first refresh", "nothing new"):
                figures = refresh(folder, webhook_url)
                told = ", ".join(f"{key} {value:,}" for key, value in figures.items())
                click.echo(f"{name}: {told}")
        finally:
            portal.terminate()
            portal.wait()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        click.echo(f"peak memory of the largest process: {peak:,.0f} MB")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""Pictures of the pages for the docs: `python -m scripts.screenshots` after `make demo`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import uvicorn
from playwright.sync_api import sync_playwright
from starlette.types import ASGIApp

from pipelines.environment import ROOT
from scripts.serve import application, site_folder

IMAGES = ROOT / "docs" / "images"
PAGES = sorted(page.stem for page in (ROOT / "reports" / "pages").glob("*.md"))
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def served(folder: Path, around: Callable[[ASGIApp], ASGIApp] = lambda app: app) -> Iterator[str]:
    """The site of a folder on a free loopback port."""
    app = around(application(folder))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@click.command()
@click.option("--width", default=1400, show_default=True)
@click.option("--height", default=900, show_default=True)
@click.option("--dark", is_flag=True, help="The dark theme.")
@click.option("--full", is_flag=True, help="The whole page, not its first screen.")
@click.option("--folder", type=click.Path(path_type=Path), default=IMAGES, show_default=True)
def main(width: int, height: int, dark: bool, full: bool, folder: Path) -> None:
    """Take a picture of every page."""
    folder.mkdir(parents=True, exist_ok=True)
    site = site_folder()
    status = json.loads((site / "status.json").read_text(encoding="utf-8"))
    with served(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        page = browser.new_page(
            viewport={"width": width, "height": height},
            locale="ru-RU",
            color_scheme="dark" if dark else "light",
        )
        # At the time of the data: an old demo must not show the banner about stale data.
        page.clock.set_system_time(status["as_of"])
        for name in PAGES:
            page.goto(f"{address}/" + ("" if name == "index" else f"{name}/"))
            page.wait_for_load_state("networkidle")
            page.wait_for_function("!document.querySelector('[data-loading], .animate-pulse')")
            page.wait_for_timeout(2000)  # charts grow for a second
            file = folder / ("overview.png" if name == "index" else f"{name}.png")
            page.screenshot(path=file, full_page=full)
            click.echo(f"{file}: {file.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()

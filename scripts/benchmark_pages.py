"""How fast the pages of a site are: `python -m scripts.benchmark_pages [SITE]`.

Each page is opened with a cold cache over loopback, as a desktop and, with `--phone`, as a slow
phone (4 × CPU, 9 Mbit/s). Columns: seconds from navigation to the first figure, to the whole first
screen, to the answer of the first filter (the engine is cold), of the next filter; kilobytes before
the first figure; megabytes that the page took in all; layout shift.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scripts.screenshots import CHROMIUM, CHROMIUM_OPTIONS, served
from scripts.serve import site_folder

PAGES = ("/", "/sales/", "/marketing/", "/money/", "/forgotten/")
SLOW_BYTES_A_SECOND = 9_000_000 / 8
WATCH = """
    window.shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            if (!entry.hadRecentInput) window.shift += entry.value;
        }
    }).observe({ type: 'layout-shift', buffered: true });
    window.first = new Promise((resolve) => {
        const look = () => {
            const figure = document.querySelector('.tile-value');
            if (figure && figure.textContent.trim()) resolve(performance.now());
            else requestAnimationFrame(look);
        };
        look();
    });
"""
# Blocks in the window have their figures.
WHOLE = """() => document.querySelector('[data-page-rendered]')
    && [...document.querySelectorAll('[data-state]')]
    .filter((one) => one.getBoundingClientRect().top < innerHeight)
    .every((one) => one.dataset.state === 'ready')"""
TRANSFERRED = """() => performance.getEntriesByType('resource')
    .filter((one) => one.responseEnd <= window.firstAt)
    .reduce((sum, one) => sum + one.encodedBodySize, 0)"""


def seconds_of_filter(page: Page, value: str) -> float:
    """From a change of the address to the answer of all blocks in the window."""
    begun = time.perf_counter()
    page.evaluate(
        """value => {
            history.pushState(null, '', `?${new URLSearchParams({ manager: value })}`);
            dispatchEvent(new PopStateEvent('popstate'));
        }""",
        value,
    )
    page.wait_for_timeout(30)
    page.wait_for_function(WHOLE, timeout=300_000)
    return time.perf_counter() - begun


class Counted:
    """An application that counts the bytes of its answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.sent = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            self.sent += len(message.get("body", b""))
            await send(message)

        await self.app(scope, receive, counted)


def measure(
    browser: Browser, address: str, route: str, managers: list[str], phone: bool, counted: Counted
) -> list[str]:
    """The row of a page."""
    size: ViewportSize = {"width": 1400, "height": 900}
    if phone:
        size = {"width": 390, "height": 844}
    context = browser.new_context(viewport=size, locale="ru-RU")
    page = context.new_page()
    counted.sent = 0
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    if phone:
        session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        session.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": 40,
                "downloadThroughput": SLOW_BYTES_A_SECOND,
                "uploadThroughput": SLOW_BYTES_A_SECOND,
            },
        )
    page.add_init_script(WATCH)
    page.goto(address + route, wait_until="commit")
    page.wait_for_selector(".tile-value", timeout=120_000)
    first = page.evaluate("async () => (window.firstAt = await window.first)")
    before = page.evaluate(TRANSFERRED)
    page.wait_for_function(WHOLE, timeout=300_000)
    whole = page.evaluate("() => performance.now()")
    filters = [seconds_of_filter(page, value) for value in managers]
    shift = page.evaluate("window.shift")
    context.close()
    return [
        route,
        f"{first / 1000:.2f}",
        f"{whole / 1000:.2f}",
        f"{filters[0]:.2f}",
        f"{min(filters[1:]):.2f}",
        f"{before / 1000:.0f}",
        f"{counted.sent / 1e6:.1f}",
        f"{shift:.3f}",
    ]


@click.command()
@click.argument("site", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--phone", is_flag=True, help="A slow phone.")
def main(site: Path | None, phone: bool) -> None:
    """Print the speed of the pages of SITE, by default of the site that `make serve` shows."""
    folder = (site or site_folder()).resolve()
    publication = json.loads((folder / "status.json").read_text(encoding="utf-8"))["publication"]
    meta = json.loads((folder / "data" / publication / "meta.json").read_text(encoding="utf-8"))
    (manager,) = [one for one in meta["filters"] if one["name"] == "manager"]
    managers = [option["value"] for option in manager["options"][:4]]
    heads = ["page", "first, s", "whole, s", "filter 1, s", "next, s", "kB before", "MB", "shift"]
    click.echo(" ".join(f"{head:>12}" for head in heads))
    counts: list[Counted] = []

    def around(app: ASGIApp) -> ASGIApp:
        counts.append(Counted(app))
        return counts[0]

    with served(folder, around) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        for route in PAGES:
            row = measure(browser, address, route, managers, phone, counts[0])
            click.echo(" ".join(f"{value:>12}" for value in row))
        browser.close()


if __name__ == "__main__":
    main()

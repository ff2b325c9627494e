"""How fast the pages of a site are: `python -m scripts.benchmark_pages [SITE]`.

Each page is opened with a cold cache over loopback, as a desktop and, with `--phone`, as a slow
phone: a line of 9 Mbit/s and 40 ms, the CPU of the page four times slower (Chromium does not slow
the engine's thread). The engine loads behind the first figures; the first filter is chosen before
it is there.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scripts.screenshots import CHROMIUM, CHROMIUM_OPTIONS, served
from scripts.serve import site_folder

PAGES = ("/", "/sales/", "/marketing/", "/money/", "/forgotten/")
FILTERS = 4
SLOW_BYTES_A_SECOND = 9_000_000 / 8
SLOW_LATENCY_SECONDS = 0.04
SLOW_CPU = 4
# Heads of the table, and what they say.
COLUMNS = {
    "first, s": "from navigation to the first figure",
    "whole, s": "to the whole first screen",
    "tap, ms": "from a tap right after the first figure to its answer on the screen",
    "filter 1, s": "from the choice of a filter to the whole first screen; the engine still loads",
    "ends, s": "from navigation to that answer",
    "next, s": "the same of the fastest of the next filters",
    "blocked, ms": "what tasks of the page took beyond 50 ms each, until the first filter's answer",
    "shift": "layout shift, at load and by the filters",
    "kB before": "compressed bytes before the first figure",
    "requests": "for them",
    "MB 1": "of the database, for the first filter",
    "MB": f"of the database, for {FILTERS} filters",
    "ranges": "requests for them",
}
WATCH = """
    window.shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            if (!entry.hadRecentInput) window.shift += entry.value;
        }
    }).observe({ type: 'layout-shift', buffered: true });
    window.blocked = 0;
    new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) window.blocked += duration - 50;
    }).observe({ type: 'longtask', buffered: true });
    window.tap = 0;
    new PerformanceObserver((list) => {
        for (const { name, duration } of list.getEntries()) {
            if (['pointerup', 'click'].includes(name)) window.tap = Math.max(window.tap, duration);
        }
    }).observe({ type: 'event', buffered: true, durationThreshold: 16 });
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
BEFORE = """() => performance.getEntriesByType('resource')
    .filter((one) => one.responseEnd <= window.firstAt)
    .reduce(([bytes, count], one) => [bytes + one.encodedBodySize, count + 1], [0, 0])"""
# The menu of the period: there on every page, and open when it was tapped.
TAPPED = "[data-filters] button"


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


@dataclass
class Line:
    """An application behind a line, which counts what passes of databases.

    Attributes:
        ranges: First and last byte of each answer.
    """

    app: ASGIApp
    is_slow: bool
    ranges: list[tuple[int, int]] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def passed(message: Message) -> None:
            # The engine asks for the size first (HEAD).
            if message["type"] == "http.response.start" and scope["method"] == "GET":
                told = dict(message["headers"]).get(b"content-range")
                if told:
                    first, last = told.removeprefix(b"bytes ").split(b"/")[0].split(b"-")
                    self.ranges.append((int(first), int(last)))
            if self.is_slow and message.get("body"):
                async with self._turn:
                    await asyncio.sleep(len(message["body"]) / SLOW_BYTES_A_SECOND)
            await send(message)

        if self.is_slow:
            await asyncio.sleep(SLOW_LATENCY_SECONDS)
        await self.app(scope, receive, passed)

    @property
    def megabytes(self) -> float:
        """What the ranges hold."""
        return sum(last - first + 1 for first, last in self.ranges) / 1e6


def measure(
    browser: Browser, address: str, route: str, managers: list[str], phone: bool, network: Line
) -> list[str]:
    """The row of a page, in the order of `COLUMNS`."""
    size: ViewportSize = {"width": 1400, "height": 900}
    if phone:
        size = {"width": 390, "height": 844}
    context = browser.new_context(viewport=size, locale="ru-RU", has_touch=phone)
    page = context.new_page()
    network.ranges.clear()
    if phone:
        session = context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": SLOW_CPU})
    page.add_init_script(WATCH)
    page.goto(address + route, wait_until="commit")
    page.wait_for_selector(".tile-value", timeout=120_000)
    first = page.evaluate("async () => (window.firstAt = await window.first)")
    bytes_before, requests = page.evaluate(BEFORE)
    button = page.locator(TAPPED).first
    (button.tap if phone else button.click)()
    page.keyboard.press("Escape")
    page.wait_for_function(WHOLE, timeout=300_000)
    whole = page.evaluate("() => performance.now()")
    filters = [seconds_of_filter(page, managers[0])]
    ends = page.evaluate("() => performance.now()")
    of_first = network.megabytes
    blocked = page.evaluate("window.blocked")
    filters += [seconds_of_filter(page, value) for value in managers[1:]]
    shift, tap = page.evaluate("[window.shift, window.tap]")
    context.close()
    return [
        f"{first / 1000:.2f}",
        f"{whole / 1000:.2f}",
        f"{tap:.0f}",
        f"{filters[0]:.2f}",
        f"{ends / 1000:.2f}",
        f"{min(filters[1:]):.2f}",
        f"{blocked:.0f}",
        f"{shift:.3f}",
        f"{bytes_before / 1000:.0f}",
        f"{requests}",
        f"{of_first:.1f}",
        f"{network.megabytes:.1f}",
        f"{len(network.ranges)}",
    ]


def row_of(cells: list[str]) -> str:
    """Cells of a row, one under another."""
    return f"{cells[0]:<12}" + "".join(f"{cell:>12}" for cell in cells[1:])


@click.command()
@click.argument("site", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--phone", is_flag=True, help="A slow phone.")
@click.option("--page", "pages", multiple=True, default=PAGES, show_default=True)
def main(site: Path | None, phone: bool, pages: tuple[str, ...]) -> None:
    """Print the speed of the pages of SITE, by default of the site that `make serve` shows."""
    folder = (site or site_folder()).resolve()
    publication = json.loads((folder / "status.json").read_text(encoding="utf-8"))["publication"]
    data = folder / "data" / publication
    meta = json.loads((data / "meta.json").read_text(encoding="utf-8"))
    (manager,) = [one for one in meta["filters"] if one["name"] == "manager"]
    managers = [option["value"] for option in manager["options"][:FILTERS]]
    size = (data / "site.duckdb").stat().st_size / 1e6
    click.echo(f"{'phone' if phone else 'desktop'}, database {size:.1f} MB")
    click.echo(row_of(["page", *COLUMNS]))
    lines: list[Line] = []

    def around(app: ASGIApp) -> ASGIApp:
        lines.append(Line(app, phone))
        return lines[0]

    with served(folder, around) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        for route in pages:
            row = measure(browser, address, route, managers, phone, lines[0])
            click.echo(row_of([route, *row]))
        browser.close()
    for head, meaning in COLUMNS.items():
        click.echo(f"{head:>12}  {meaning}")


if __name__ == "__main__":
    main()

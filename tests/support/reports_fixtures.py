"""Sites over the portals of report_portals.py, and a browser to look at them.

The shell is that of a refresh, or with pages of one's own in the cache of pytest; the data of a
portal are written as a refresh writes them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from pipelines import report
from pipelines.settings import Settings
from pipelines.site import shell
from scripts.serve import application
from tests.support.compiled_models import CACHE
from tests.support.report_portals import PORTALS, publish_portal

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=30_000)  # the engine of the browser starts slowly on a busy machine

PAGES = [
    "/",
    *(
        f"/{page.stem}/"
        for page in sorted((shell.REPORTS / "pages").glob("[a-z]*.md"))
        if page.stem != "index"
    ),
]

# Pages of the users' own, as reports/README.md describes them.
WEEKDAYS = """---
title: Лиды по дням недели
---

```sql weekdays
select
    isodow(created_date) as weekday,
    count(*) as received
from marts.fct_leads
where is_counted
group by isodow(created_date)
order by weekday
```

{#each weekdays as row}
<p data-weekday={row.weekday}>{row.received}</p>
{/each}
"""
# One whose SQL fails, one that is no page.
FAILING = """---
title: Без таблицы
---

```sql nothing
select * from marts.fct_nothing
```

<DataTable data={nothing} />
"""
UNBUILT = """---
title: Без компонента
---

<Nothing />
"""
OWN_PAGES = {"weekdays.md": WEEKDAYS, "failing.md": FAILING, "unbuilt.md": UNBUILT}

PUBLICATION = "000001"
FRESH = {
    "status": "published",
    "publication": PUBLICATION,
    "as_of": "2030-06-15T00:00:00+03:00",
    "as_of_text": "15.06.2030 00:00",
    "finished_at": "2030-06-15T00:10:00+03:00",
    "stale_after_hours": 36,
}


def built_shell(language: str, own: dict[str, str] | None = None) -> shell.Shell:
    """The shell of the reports with pages of one's own, by the names of their files."""
    if not (shell.REPORTS / "node_modules").exists():
        pytest.skip("the Node packages of the reports are missing: run `make setup`")
    folder = CACHE.parent / "shells"
    if own is None:
        return shell.shell(language, folder / "logs")
    project = folder / f"project-{os.getpid()}"
    shutil.rmtree(project, ignore_errors=True)
    ignored = shutil.ignore_patterns("node_modules", "dist", "custom")
    shutil.copytree(shell.REPORTS, project, ignore=ignored)
    (project / "node_modules").symlink_to((shell.REPORTS / "node_modules").resolve())
    custom = project / "pages" / "custom"
    custom.mkdir()
    for name, text in own.items():
        (custom / name).write_text(text, encoding="utf-8")
    try:
        with (
            mock.patch.object(shell, "REPORTS", project),
            mock.patch.object(shell, "SHELLS", folder),
            mock.patch.object(shell, "KEPT_SHELLS", 20),
            mock.patch.object(shell, "_install"),
        ):
            return shell.shell(language, folder / "logs")
    finally:
        shutil.rmtree(project)


class serve:
    """Serves a folder as `make serve` does on a free loopback port, in a thread."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(application(folder), log_level="warning"))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.05)
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


@dataclass(frozen=True)
class Sites:
    """The portals, their published data and their sites, each made when it is first asked for.

    REPORT_SITES names a folder where they are kept, for whoever runs these tests many times over.
    """

    root: Path
    opened: ExitStack
    addresses: dict[str, str] = field(default_factory=dict)

    def published(self, portal: str) -> Path:
        """The folder of what a refresh from the portal published."""
        return publish_portal(portal, self.root / portal)

    def settings(self, portal: str) -> Settings:
        """Those of the portal's refresh."""
        settings = Settings.load(self.root / portal / "settings.yml")
        return settings.model_copy(update={"report_lang": PORTALS[portal].language})

    def folder(self, portal: str) -> Path:
        """The portal's site."""
        folder = self.root / portal / "site"
        if folder.exists():
            return folder
        published = self.published(portal)
        own = OWN_PAGES if portal == "company" else None
        built = built_shell(PORTALS[portal].language, own).folder
        fresh = folder.with_name(".site")
        shutil.copytree(built, fresh)
        blocks = json.loads((built / "blocks.json").read_text(encoding="utf-8"))["blocks"]
        failed = report.write_data(
            (published / "current").resolve(),
            fresh / "data" / PUBLICATION,
            blocks,
            self.settings(portal),
            PUBLICATION,
        )
        assert len(failed) == (1 if own else 0), failed
        if (published / "excel").exists():
            shutil.copytree(published / "excel", fresh / "excel")
        fresh.rename(folder)
        return folder

    def data(self, portal: str) -> Path:
        """The data that the portal's site shows."""
        return self.folder(portal) / "data" / PUBLICATION

    def address(self, portal: str) -> str:
        """Where the portal's site is served, without a slash at the end."""
        if portal not in self.addresses:
            folder = self.folder(portal)
            (folder / "status.json").write_text(json.dumps(FRESH))
            self.addresses[portal] = self.opened.enter_context(serve(folder))
        return self.addresses[portal]


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """The portals and their sites."""
    kept = os.environ.get("REPORT_SITES")
    with ExitStack() as opened:
        yield Sites(Path(kept) if kept else tmp_path_factory.mktemp("sites"), opened)


@pytest.fixture(scope="session")
def company(sites: Sites) -> str:
    """The address of the company's site."""
    return sites.address("company")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Headless Chromium; its tests are skipped where it is not installed."""
    if not CHROMIUM.exists():
        pytest.skip(f"Chromium is not at {CHROMIUM}: apt install chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS, timeout=60_000
        )
        yield browser
        browser.close()


# A change of a filter starts its queries a moment later: quiet is a tenth of a second without any.
# Blocks far below the window wait until they come near.
QUIET = """start => {
    const isNear = (node) => {
        const { top, bottom } = node.getBoundingClientRect();
        return bottom > -400 && top < window.innerHeight + 400;
    };
    const busy = document.querySelector('[data-page-rendered]') === null
        || [...document.querySelectorAll('[data-state="computing"]')].some(isNear);
    const now = performance.now();
    if (busy || window.quiet?.start !== start) window.quiet = { start, since: now };
    return !busy && now - window.quiet.since > 100;
}"""


def settle(page: Page) -> None:
    """Waits until the page is there and none of its blocks computes."""
    page.wait_for_function(QUIET, arg=time.monotonic_ns(), timeout=120_000)


# As the router follows the history: the engine and what the page remembers stay. By way of an
# address without a page, so that nothing of the last one is open, chosen or scrolled.
FOLLOW = """async ([root, url]) => {
    for (const next of [`${root}/nowhere/`, url]) {
        history.pushState(null, '', next);
        dispatchEvent(new PopStateEvent('popstate'));
        await new Promise((done) => setTimeout(done));
    }
    document.activeElement?.blur();
    scrollTo(0, 0);
}"""


def visit(page: Page, url: str) -> None:
    """Goes to another address of the site that is open, without loading it anew, and settles."""
    parts = urlsplit(url)
    page.evaluate(FOLLOW, [f"{parts.scheme}://{parts.netloc}", url])
    settle(page)


# Each holds an engine.
KEPT_TABS = 3


class Tabs:
    """Pages of sites that stay open from test to test, as a reader keeps them: the engine of each
    starts once."""

    def __init__(self, chromium: Browser) -> None:
        self._chromium = chromium
        self._kept: dict[str, tuple[Page, list[str]]] = {}

    def open(
        self,
        address: str,
        path: str = "/",
        *,
        fresh: bool = False,
        expected_error: str | None = None,
        **options: Any,
    ) -> tuple[Page, list[str]]:
        """A page of a site, settled, and what went wrong on it since.

        Args:
            fresh: Loaded anew, in a context of its own that the caller closes.
            expected_error: A part of the console error that is none; of a fresh page.
            options: Playwright's of the context: timezone_id, viewport, color_scheme.
        """
        options = {"viewport": {"width": 1400, "height": 900}, "locale": "ru-RU", **options}
        if fresh or expected_error:
            return self._load(address, path, expected_error, options)
        key = json.dumps([address, options], sort_keys=True)
        if key not in self._kept:
            while len(self._kept) >= KEPT_TABS:
                page, _ = self._kept.pop(next(iter(self._kept)))
                page.context.close()
            self._kept[key] = self._load(address, path, None, options)
            return self._kept[key]
        # The newest stays longest.
        page, problems = self._kept[key] = self._kept.pop(key)
        page.set_viewport_size(options["viewport"])
        page.emulate_media(color_scheme=options.get("color_scheme", "light"))
        page.evaluate("localStorage.clear()")
        visit(page, address + path)
        return page, problems

    def drop(self, page: Page) -> None:
        """Closes a page on which something went wrong."""
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] is not page}
        page.context.close()

    def keeps(self, page: Page) -> bool:
        return any(kept is page for kept, _ in self._kept.values())

    def _load(
        self, address: str, path: str, expected_error: str | None, options: dict[str, Any]
    ) -> tuple[Page, list[str]]:
        problems: list[str] = []

        def record(message: ConsoleMessage) -> None:
            expected = expected_error is not None and expected_error in message.text
            if message.type == "error" and not expected:
                problems.append(message.text)

        page = self._chromium.new_context(**options).new_page()
        page.clock.install(time="2030-06-15T12:00:00Z")
        page.on("console", record)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message) or dialog.dismiss())
        own = (f"{address}/", "data:", f"blob:{address}/")
        page.on(
            "request",
            lambda request: None if request.url.startswith(own) else problems.append(request.url),
        )
        page.goto(address + path)
        settle(page)
        return page, problems


@pytest.fixture(scope="session")
def tabs(chromium: Browser) -> Tabs:
    """The pages that tests open, one after another."""
    return Tabs(chromium)


@contextmanager
def opening(tabs: Tabs) -> Iterator[Callable[..., Page]]:
    """Opens pages as `Tabs.open` does, and fails at the end on any console error, dialog or foreign
    request.

    The page's clock runs from noon UTC of 15 June 2030: no figure may depend on it.
    """
    opened: list[tuple[Page, list[str]]] = []

    def open_(address: str, path: str = "/", **options: Any) -> Page:
        opened.append(tabs.open(address, path, **options))
        return opened[-1][0]

    yield open_
    found = []
    for page, problems in opened:
        found += problems
        if problems or not tabs.keeps(page):
            tabs.drop(page)
    assert found == []


@pytest.fixture
def open_page(tabs: Tabs) -> Iterator[Callable[..., Page]]:
    """Pages of a test, as `opening` opens them."""
    with opening(tabs) as open_:
        yield open_

"""Sites built from the portals of report_portals.py, and a browser to look at them.

Three sites are built: the Russian one over the demo company, one over hostile words, and the
English one over an empty portal.
Every other portal is shown by one of them with its data exchanged (`over`).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from pipelines.environment import ROOT
from scripts.serve import application
from tests.support.report_portals import publish_portal

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

expect.set_options(timeout=60_000)  # the engine of the browser starts slowly on a busy machine

REPORTS = ROOT / "reports"
PAGES = ["/", *(f"/{page.stem}/" for page in sorted((REPORTS / "pages").glob("[a-z]*.md"))
                if page.stem != "index")]  # fmt: skip

# A page of the users' own, as reports/README.md describes it.
OWN_PAGE = """---
title: Лиды по дням недели
hide_title: true
---

```sql weekdays
select
    isodow(created_date) as weekday,
    count(*) as received,
from marts.fct_leads
where is_counted
group by isodow(created_date)
order by weekday
```

<div data-page-rendered>

{#each Array.from(weekdays) as row}<p data-weekday={row.weekday}>{row.received}</p>{/each}

</div>
"""

FRESH = {
    "status": "published",
    "as_of": "2030-06-15T00:00:00+03:00",
    "as_of_text": "15.06.2030 00:00",
    "finished_at": "2030-06-15T00:10:00+03:00",
    "stale_after_hours": 36,
}


@dataclass(frozen=True)
class ReportsProject:
    """A copy of the reports for one published set: no test touches the build of a real one."""

    folder: Path
    published: Path
    language: str

    @property
    def data(self) -> Path:
        """The Parquet that the browser reads: <schema>/<table>/<table>.parquet."""
        return self.folder / ".evidence" / "template" / "static" / "data"

    @property
    def site(self) -> Path:
        """The built site."""
        return self.folder / "build"

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Runs an npm script of the project with its output captured."""
        parquet = self.published / "parquet"
        return subprocess.run(
            ["npm", "run", script],
            cwd=self.folder,
            env={
                **os.environ,
                "PUBLISHED_PARQUET": str(parquet.resolve()),
                "REPORT_LANG": self.language,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def build(self) -> Path:
        """Builds the site, once."""
        if not self.site.exists():
            process = self.run("build")
            assert process.returncode == 0, process.stdout + process.stderr
        return self.site


def make_project(folder: Path, published: Path, language: str) -> ReportsProject:
    """Copies the reports and writes their data.

    node_modules is shared with the repository, except Evidence's own packages: a build patches
    them for its language.
    """
    packages = REPORTS / "node_modules"
    if not packages.exists():
        pytest.skip("the Node packages of the reports are missing: run `make setup`")
    project = ReportsProject(folder, published, language)
    if (project.data / "manifest.json").exists():
        return project
    shutil.rmtree(folder, ignore_errors=True)
    ignore = shutil.ignore_patterns("node_modules", ".evidence", "build")
    shutil.copytree(REPORTS, folder, ignore=ignore)
    (folder / "node_modules").mkdir()
    own = ("@evidence-dev", ".bin")  # The commands are links to the packages beside them.
    for package in packages.iterdir():
        if package.name not in own:
            (folder / "node_modules" / package.name).symlink_to(package.resolve())
    for name in own:
        shutil.copytree(packages / name, folder / "node_modules" / name, symlinks=True)
    process = project.run("sources")
    assert process.returncode == 0, process.stdout + process.stderr
    return project


def over(site: Path, data: Path, folder: Path) -> Path:
    """A built site over other data; its pages ask the browser's engine for everything.

    What a build computed in advance is not needed by a page (`npm run dev` has none of it): without
    it the page runs its queries when it opens.
    """
    if folder.exists():
        return folder
    shutil.copytree(site, folder, ignore=shutil.ignore_patterns("data"), copy_function=os.link)
    shutil.copytree(data, folder / "data")
    for computed in folder.glob("api/*/*/all-queries.json"):
        computed.unlink()
        computed.write_text("{}")
    return folder


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

    REPORT_SITES names a folder where they are kept, for repeated runs of these tests.
    """

    root: Path
    opened: ExitStack
    addresses: dict[str, str] = field(default_factory=dict)

    def published(self, portal: str) -> Path:
        """The folder of what a refresh from the portal published."""
        return publish_portal(portal, self.root / portal)

    def project(self, portal: str, language: str = "ru") -> ReportsProject:
        """The reports over the portal's data."""
        folder = self.root / portal / f"reports-{language}"
        return make_project(folder, self.published(portal), language)

    def folder(self, portal: str) -> Path:
        """The portal's site."""
        if portal == "company":
            return self.russian()
        if portal == "words":  # what is computed in advance meets the words too
            return self.project("words").build()
        if portal == "empty":
            return self.project("empty", "en").build()
        built = self.project("empty", "en").build() if portal == "english" else self.russian()
        return over(built, self.project(portal).data, self.root / portal / "site")

    def russian(self) -> Path:
        """The built site of the company, with a custom page."""
        project = self.project("company")
        own = project.folder / "pages" / "custom" / "weekdays.md"
        own.parent.mkdir(exist_ok=True)
        own.write_text(OWN_PAGE, encoding="utf-8")
        return project.build()

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
QUIET = """start => {
    const busy = document.querySelector('[data-loading], .animate-pulse') !== null;
    const now = performance.now();
    if (busy || window.quiet?.start !== start) window.quiet = { start, since: now };
    return !busy && now - window.quiet.since > 100;
}"""


def settle(page: Page) -> None:
    """Waits until the page has come to life and no query runs."""
    page.wait_for_selector("#__evidence_project_splash", state="detached", timeout=120_000)
    page.wait_for_selector("[data-page-rendered]", state="attached", timeout=120_000)
    page.wait_for_function(QUIET, arg=time.monotonic_ns(), timeout=120_000)


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages of a site and fails at the end on any console error, dialog or foreign request.

    The function takes the site's address, a path, a part of the console error that the test
    expects, and Playwright's context options (timezone_id, viewport, color_scheme). The page's
    clock runs from noon UTC of 15 June 2030: no figure may depend on it.
    """
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def open_(
        address: str, path: str = "/", expected_error: str | None = None, **options: Any
    ) -> Page:
        def record(message: ConsoleMessage) -> None:
            expected = expected_error is not None and expected_error in message.text
            if message.type == "error" and not expected:
                problems.append(message.text)

        context = chromium.new_context(
            **{"viewport": {"width": 1400, "height": 900}, "locale": "ru-RU", **options}
        )
        contexts.append(context)
        page = context.new_page()
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
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []

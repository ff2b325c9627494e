"""A tiny published Parquet set with hand-worked figures, the site built from it, and a browser.

The figures that the tests expect are worked out by hand from the rows below; the data stand on
31 March 2026.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from scripts.serve import application

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

REPORTS = Path(__file__).resolve().parent.parent / "reports"

LEADS = """
select
    lead_id,
    cast(created_date as date) as created_date,
    cast(date_trunc('month', cast(created_date as date)) as date) as created_month,
    source_name,
    manager_name,
    outcome = 'quality' as is_quality,
    outcome = 'junk' as is_junk,
    outcome in ('new', 'progress') as is_in_work,
    outcome = 'new' as is_new,
    outcome = 'progress' as is_in_progress,
    lead_id = 6 as is_forgotten,
    lead_id <> 9 as is_counted,
    cast(quality_date as date) as quality_date,
    cast(first_deal_date as date) as first_deal_date,
    cast(first_sold_date as date) as first_sold_date,
    first_deal_date is not null as has_deal,
    first_sold_date is not null as has_sale,
    cast(processing_days as double) as processing_days,
    cast(sales_amount as decimal(20, 2)) as sales_amount
from (
    values
    (1, '2026-03-01', 'Сайт', 'Иванова', 'quality', '2026-03-03', '2026-03-03', '2026-03-20', 2, 100000.40),
    (2, '2026-03-02', 'Сайт', 'Петров', 'quality', '2026-03-06', '2026-03-06', null, 4, 0),
    (3, '2026-03-05', 'Сайт', 'Иванова', 'junk', null, null, null, 1, 0),
    (4, '2026-03-31', 'Сайт', 'Петров', 'new', null, null, null, null, 0),
    (5, '2026-03-10', 'Реклама', 'Иванова', 'junk', null, null, null, 3, 0),
    (6, '2026-03-11', 'Реклама', 'Иванова', 'progress', null, null, null, null, 0),
    (7, '2026-03-12', 'Реклама', 'Петров', 'quality', '2026-03-22', null, null, 10, 0),
    (8, '2026-03-15', 'Кафе д''Арк', 'Петров', 'progress', null, '2026-03-16', '2026-03-25', null, 50000),
    (9, '2026-03-20', 'Сайт', 'Петров', 'quality', '2026-03-20', '2026-03-20', '2026-03-20', 0, 999999),
    (10, '2026-02-10', 'Сайт', 'Петров', 'quality', '2026-03-01', '2026-03-02', '2026-03-05', 19, 200000),
    (11, '2026-02-28', 'Реклама', 'Иванова', 'junk', null, '2026-03-09', null, 6, 0),
    (12, '2026-01-31', 'Реклама', 'Иванова', 'quality', '2026-02-01', '2026-02-01', '2026-02-15', 1, 300000),
    (13, '2025-04-30', 'Реклама', 'Петров', 'junk', null, null, null, 2, 0)
) as leads (
    lead_id, created_date, source_name, manager_name, outcome, quality_date, first_deal_date,
    first_sold_date, processing_days, sales_amount
)
"""  # noqa: E501

DEALS = """
select
    deal_id,
    cast(created_date as date) as created_date,
    cast(sold_date as date) as sold_date,
    source_name,
    manager_name,
    customer_kind,
    state = 'sale' as is_sale,
    state = 'failed' as is_failed,
    state = 'in_work' as is_in_work,
    deal_id = 5 as is_forgotten,
    deal_id <> 9 as is_counted,
    cast(base_amount as decimal(20, 2)) as base_amount
from (
    values
    (1, '2026-03-03', '2026-03-20', 'Сайт', 'Иванова', 'new', 'sale', 100000.40),
    (2, '2026-03-06', null, 'Сайт', 'Петров', 'new', 'in_work', 70000),
    (3, '2026-03-16', '2026-03-25', 'Кафе д''Арк', 'Петров', 'repeat', 'sale', 50000),
    (4, '2026-03-10', null, 'Реклама', 'Иванова', 'repeat', 'failed', 30000),
    (5, '2026-03-01', null, 'Реклама', 'Петров', 'unknown', 'in_work', 10000),
    (6, '2026-03-02', '2026-03-05', 'Сайт', 'Петров', 'new', 'sale', 200000),
    (7, '2026-02-01', '2026-02-15', 'Реклама', 'Иванова', 'new', 'sale', 300000),
    (8, '2026-02-20', '2026-03-31', 'без источника', 'Петров', 'unknown', 'sale', 1000000),
    (9, '2026-03-12', '2026-03-12', 'Сайт', 'Петров', 'new', 'sale', 5000000),
    (10, '2026-03-09', null, 'Реклама', 'Иванова', 'new', 'in_work', null),
    (11, '2026-03-30', '2026-03-30', 'без источника', 'Иванова', 'new', 'sale', null)
) as deals (
    deal_id, created_date, sold_date, source_name, manager_name, customer_kind, state,
    base_amount
)
"""

REFRESHES = """
select
    7 as refresh_no,
    timestamptz '2026-03-31 20:00:00+03' as as_of,
    date '2026-03-31' as as_of_date,
    '31.03.2026 20:00' as as_of_text,
    'https://portal.example' as portal_url,
    'classic' as crm_mode,
    'RUB' as base_currency
"""

PUBLISHED = {"fct_leads": LEADS, "fct_deals": DEALS, "refreshes": REFRESHES}


def write_published(folder: Path, tables: dict[str, str] = PUBLISHED) -> Path:
    """Writes one zstd Parquet file per table (name: query) into the folder, as publication does."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        for table, sql in tables.items():
            connection.execute(
                f"copy ({sql}) to '{folder / table}.parquet' (format parquet, compression zstd)"
            )
    return folder


@dataclass(frozen=True)
class ReportsProject:
    """A copy of the reports for one published set: no test touches the build of a real one."""

    folder: Path
    published: Path

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
        return subprocess.run(
            ["npm", "run", script],
            cwd=self.folder,
            env={**os.environ, "PUBLISHED_PARQUET": str(self.published), "REPORT_LANG": "ru"},
            capture_output=True,
            text=True,
            check=False,
        )


def make_project(folder: Path, published: Path) -> ReportsProject:
    """Copies the reports and writes their data; node_modules is shared with the repository."""
    if not (REPORTS / "node_modules").exists():
        pytest.skip("the Node packages of the reports are missing: run `make setup`")
    ignore = shutil.ignore_patterns("node_modules", ".evidence", "build")
    shutil.copytree(REPORTS, folder, ignore=ignore)
    (folder / "node_modules").symlink_to(REPORTS / "node_modules")
    project = ReportsProject(folder, published)
    process = project.run("sources")
    assert process.returncode == 0, process.stdout + process.stderr
    return project


@pytest.fixture(scope="session")
def reports_project(tmp_path_factory: pytest.TempPathFactory) -> ReportsProject:
    """The reports with the data of the hand-worked set."""
    root = tmp_path_factory.mktemp("reports")
    return make_project(root / "project", write_published(root / "parquet"))


@pytest.fixture(scope="session")
def reports_site(reports_project: ReportsProject) -> Iterator[str]:
    """The built site, served as `make serve` does: its address, without a slash at the end."""
    process = reports_project.run("build")
    assert process.returncode == 0, process.stdout + process.stderr
    with serve(reports_project.site) as address:
        yield address


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


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages of a site and fails at the end on any console error or foreign request.

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
        own = (f"{address}/", "data:", f"blob:{address}/")
        page.on(
            "request",
            lambda request: None if request.url.startswith(own) else problems.append(request.url),
        )
        page.goto(address + path)
        page.wait_for_selector("canvas")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []

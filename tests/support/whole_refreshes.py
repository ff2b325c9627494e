"""Refreshes of a changing company, and whether what they leave is whole and right."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import duckdb

from pipelines.environment import ROOT
from pipelines.settings import DBT_PROJECT, Settings
from pipelines.warehouse import Warehouse
from tests.support.changing_company import Company
from tests.support.compiled_models import compile_models

PAGES = 1500
OWN_MODEL = "sales_by_weekday"
WITH_DBT = bool(os.environ.get("WITH_DBT"))

# A page of the stand-in for the shell asks for one metric.
BLOCK = {
    "page": "pages/index.md",
    "route": "/",
    "place": "pages/index.md:1",
    "id": "leads",
    "kind": "metrics",
    "metrics": ["leads_received"],
    "by": [["lead__source_name"]],
    "grain": [],
    "now": [],
    "compare": True,
    "total": True,
}


class Process:
    """A command that runs, with what the tests ask of `subprocess.Popen`."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        project: Path,
        errors: Path,
        halt: str | None,
    ) -> None:
        output = Path(tempfile.mkdtemp(dir=project)) / "said"
        os.mkfifo(output)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.support.preloaded"])
        self._process = context.Process(
            target=_run, args=(arguments, environment, project, output, errors, WITH_DBT, halt)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stdout = output.open(encoding="utf-8")

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it has ended within these seconds."""
        self._process.join(seconds)
        return self.returncode is not None

    def wait_until_halted(self) -> None:
        """Waits until it stands still at the step that it was to halt at."""
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.01)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def communicate(self) -> str:
        """What it said since, when it has ended."""
        said = self.stdout.read()
        self.wait()
        return said


def _run(*arguments: Any) -> None:
    from tests.support.preloaded import run

    run(*arguments)


class Refreshes:
    """Runs refreshes of one company and looks at what they leave.

    Two things are stood in for, in a copy of the project: the shell of the reports is 1500 files,
    and models run compiled. WITH_DBT=1 runs them by dbt.
    """

    def __init__(self, folder: Path, company: Company, data: Path | None = None) -> None:
        self.folder = folder
        self.company = company
        self.warehouse = Warehouse(data or folder / "data")
        self.errors = folder / "errors.txt"
        self.published_no = 0
        self.project = folder / "project"
        ignore = shutil.ignore_patterns("__pycache__", "target", "logs")
        shutil.copytree(DBT_PROJECT, self.project / "dbt_project", ignore=ignore)
        # The model that docs/connect.md adds.
        page = (ROOT / "docs" / "connect.md").read_text(encoding="utf-8")
        own = self.project / "dbt_project" / "models" / "marts" / "custom" / f"{OWN_MODEL}.sql"
        own.parent.mkdir()
        own.write_text(page.split("```sql\n-- dbt_project/")[1].split("```")[0].split("\n", 1)[1])
        (self.project / "reports").mkdir()
        self.shell = _pack_shell(folder)
        compile_models(self.project / "dbt_project", Settings.load().dbt_vars())

    def start(self, *arguments: str, halt: str | None = None) -> Process:
        """A refresh in a process group of its own.

        Args:
            halt: Step at whose beginning it stands still.
        """
        return Process(
            ["refresh", *arguments],
            {
                **os.environ,
                "WAREHOUSE_DIR": str(self.warehouse.directory),
                "BITRIX24_WEBHOOK_URL": self.company.portal.webhook_url,
                "REPORT_SHELL": str(self.shell),
            },
            self.project,
            self.errors,
            halt,
        )

    @staticmethod
    def wait_for(process: Process, step: str) -> str:
        """Waits until a step begins; the last line that was said."""
        said = ""
        for said in process.stdout:
            if said == f"{step} …\n":
                break
        return said

    def run(self) -> None:
        """A refresh to its end: everything is new and right."""
        process = self.start()
        process.communicate()
        assert process.returncode == 0, self.errors.read_text()
        self.look()
        assert self.published_no == max(self.company.states)
        assert self.site() == self.published_no

    def look(self) -> None:
        """What is published is whole, of this refresh or the last one, and the log is right."""
        self.company.note(self.warehouse, self.folder)
        json.loads(self.warehouse.run_file.read_text())
        published = self.warehouse.published
        folder = (published / "current").resolve(strict=True)
        for shown in ("crm.duckdb", "parquet", "excel"):
            assert (published / shown).resolve(strict=True) == folder / shown
        parquet = published / "parquet"
        with duckdb.connect(str(published / "crm.duckdb"), read_only=True) as connection:
            refresh_no = self.company.published_right(connection)
            tables = connection.execute(
                "select schema_name, table_name from duckdb_tables()"
            ).fetchall()
            assert {path.stem for path in parquet.iterdir()} == {name for _, name in tables}
            assert ("marts", OWN_MODEL) in tables
            for schema, name in tables:
                table, file = f"{schema}.{name}", f"'{parquet / name}.parquet'"
                differing = connection.execute(
                    f"select (select count(*) from (from {table} except all from {file}))"
                    f" + (select count(*) from (from {file} except all from {table}))"
                ).fetchone()
                assert differing == (0,), f"{table} differs from its Parquet file"
        assert refresh_no >= self.published_no
        self.published_no = refresh_no
        for workbook in ("sales_dynamics", "marketing"):
            with zipfile.ZipFile(published / "excel" / f"{workbook}.xlsx") as file:
                assert file.testzip() is None
        for kept in _kept(published / ".refreshes"):
            with duckdb.connect(str(kept / "crm.duckdb"), read_only=True) as connection:
                self.company.published_right(connection)
        for kept in _kept(published / ".sites"):
            _look_at_site(kept)
        assert self.site() <= self.published_no

    def site(self) -> int:
        """The refresh whose site stands, whole."""
        site = (self.warehouse.published / "site").resolve(strict=True)
        _look_at_site(site)
        status = json.loads((site / "status.json").read_text())
        assert status["as_of"]
        assert status["publication"] == site.name
        for workbook in (site / "excel").iterdir():
            with zipfile.ZipFile(workbook) as file:
                assert file.testzip() is None
        return int(site.name.split("-")[0])


def _pack_shell(folder: Path) -> Path:
    """A shell as `python -m pipelines shell` packs it."""
    content = folder / "shell" / "ru-stand-in"
    content.mkdir(parents=True)
    for page in range(PAGES):
        (content / f"{page}.html").write_text("page")
    told = {"language": "ru", "pages": [], "blocks": [BLOCK]}
    (content / "blocks.json").write_text(json.dumps(told))
    with tarfile.open(folder / "shell.tar.gz", "w:gz") as archive:
        archive.add(content, arcname=content.name)
    return folder / "shell.tar.gz"


def _look_at_site(site: Path) -> None:
    """All files of the shell are there, and the data that it shows are whole."""
    assert len(list(site.glob("*.html"))) == PAGES, f"{site} is no whole site"
    data = site / "data" / site.name
    assert json.loads((data / "meta.json").read_text())["publication"] == site.name
    (block,) = json.loads((data / "pages" / "index.json").read_text())["blocks"]
    ((variant, *_),) = [list(block["variants"].values())]
    with duckdb.connect(str(data / "site.duckdb"), read_only=True) as connection:
        count = "select count(*) from marts.fct_leads where is_counted"
        assert connection.execute(count).fetchall() is not None
    assert [column["name"] for column in variant["columns"]][-1] == "leads_received"


def _kept(folder: Path) -> list[Path]:
    """The publications or sites that readers may still hold: the current one and two more."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))[-3:]

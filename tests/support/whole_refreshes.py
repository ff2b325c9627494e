"""Refreshes of a changing company, and checks that their results are complete and right."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
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

# Evidence's build also empties the folder first; each page names its publication.
NPM = f"""#!/bin/bash
[ "$*" = "run build" ] || {{ sleep 0.3; exit; }}
rm -rf build
mkdir build
publication=$(basename "$(dirname "$PUBLISHED_PARQUET")")
for page in {{1..{PAGES}}}; do echo "$publication" > "build/$page.html"; done
sleep 0.3
"""


class Process:
    """A command that runs, with what the tests ask of `subprocess.Popen`."""

    def __init__(
        self, arguments: list[str], environment: dict[str, str], project: Path, errors: Path
    ) -> None:
        output = Path(tempfile.mkdtemp(dir=project)) / "said"
        os.mkfifo(output)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.support.preloaded"])
        self._process = context.Process(
            target=_run, args=(arguments, environment, project, output, errors, WITH_DBT)
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

    Two things are replaced, in a copy of the project: `npm` is a script that writes 1500 pages
    instead of the site, which takes Evidence minutes, and models run compiled. WITH_DBT=1 runs them
    with dbt.
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
        modules = self.project / "reports" / "node_modules"
        modules.mkdir(parents=True)
        lock = self.project / "reports" / "package-lock.json"
        lock.write_text("{}")
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        (modules / ".installed-lock").write_text(digest)
        npm = folder / "bin" / "npm"
        npm.parent.mkdir()
        npm.write_text(NPM)
        npm.chmod(0o755)
        compile_models(self.project / "dbt_project", Settings.load().dbt_vars())

    def start(self, *arguments: str) -> Process:
        """A refresh in a separate process group."""
        return Process(
            ["refresh", *arguments],
            {
                **os.environ,
                "WAREHOUSE_DIR": str(self.warehouse.directory),
                "BITRIX24_WEBHOOK_URL": self.company.portal.webhook_url,
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            },
            self.project,
            self.errors,
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
        """Checks that what is published is complete, of this refresh or the last; and the log."""
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
            assert len(list(kept.glob("*.html"))) == PAGES, f"{kept} is not a complete site"
        assert self.site() <= self.published_no

    def site(self) -> int:
        """The refresh of the site, with all pages from one publication."""
        site = self.warehouse.published / "site"
        pages = list(site.glob("*.html"))
        assert len(pages) == PAGES
        (told,) = {page.read_text() for page in pages}
        assert site.resolve(strict=True).name.startswith(told.strip())
        assert json.loads((site / "status.json").read_text())["as_of"]
        for workbook in (site / "excel").iterdir():
            with zipfile.ZipFile(workbook) as file:
                assert file.testzip() is None
        return int(told.split("-")[0])


def _kept(folder: Path) -> list[Path]:
    """The publications or sites that readers may still hold: the current one and two more."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))[-3:]

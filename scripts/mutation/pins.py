"""Pins of pinned texts: Jinja, YAML and Python, of which no tree of SQL is made.

They stand in pins.yml and are made in a copy of the tracked files. Each names the smallest test
that must fail; it must pass before. An error is no failure: a mutant has to break its rule, not the
project.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml
from tqdm import tqdm

from pipelines.environment import ROOT
from tests.support.raw_portal import lay_out_portal
from tests.support.semantic_fixtures import build_company

PINS = Path(__file__).parent / "pins.yml"
METRICS_TEST = "tests/marts/test_semantic_layer.py"
GREEN, RED, ERROR = "green", "red", "error"
# DuckDB's, of SQL that runs and stumbles over a value.
VALUE_ERROR = "Conversion Error"


@dataclass(frozen=True)
class Pin:
    """A broken rule: in `file`, `old` (which is there once) becomes `new`, and `test` fails."""

    rule: str
    file: str
    old: str
    new: str
    kind: str
    test: str


def load_pins() -> list[Pin]:
    """The mutants of pins.yml.

    Raises:
        ValueError: the text of one is not in its file, or there more than once.
    """
    mutants = [
        Pin(row.pop("rule"), group["file"], row.pop("old"), row.pop("new"), *row.popitem())
        for group in yaml.safe_load(PINS.read_text(encoding="utf-8"))
        for row in group["mutants"]
    ]
    for mutant in mutants:
        if (count := (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old)) != 1:
            raise ValueError(f"{mutant.file} has the text of «{mutant.rule}» {count} times")
    return mutants


class Outcomes:
    """Statuses of tests that pytest ran; an error of a fixture is none of their failures."""

    def __init__(self) -> None:
        self.statuses: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.statuses.add(report.outcome)
        elif report.failed:
            self.statuses.add(ERROR)


def verdict(statuses: set[str]) -> str:
    """Green, red or error of statuses as dbt and pytest name them; error where nothing ran."""
    if not statuses or not statuses <= {"pass", "passed", "fail", "failed", "success"}:
        return ERROR
    return RED if statuses & {"fail", "failed"} else GREEN


class Copy:
    """A copy of the project with a small portal and a small company built from it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.company = folder / "copy", folder / "company"
        tracked = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in filter(None, tracked.split("\0")):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        # Tests of pages build the shell with them.
        (self.root / "reports" / "node_modules").symlink_to(ROOT / "reports" / "node_modules")
        lay_out_portal(folder)
        build_company(self.company)
        project = str(self.root / "dbt_project")
        os.environ |= {
            "COMPANY": str(self.company),
            "WAREHOUSE_DIR": str(folder),
            "DBT_PROFILES_DIR": project,
            "DBT_PROJECT_DIR": project,
        }
        # Late: it takes two seconds, and most who import this module run no dbt.
        from dbt.cli.main import dbtRunner

        self._runner = dbtRunner()
        self._dbt("run")

    @contextlib.contextmanager
    def broken(self, mutant: Pin) -> Iterator[None]:
        """The mutant in its place."""
        path = self.root / mutant.file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")

    def run(self, kind: str, test: str) -> str:
        """Green, red or error of the tests that a mutant names, as the copy is now."""
        runs = {
            "unit": self._unit,
            "data": self._data,
            "metric": self._metric,
            "pytest": self._pytest,
        }
        return verdict(runs[kind](test))

    def _dbt(self, *arguments: str) -> set[str]:
        written = "--write-json" if arguments[0] == "parse" else "--no-write-json"
        done = self._runner.invoke(["--quiet", "--log-level", "none", written, *arguments])
        if done.exception:
            return {ERROR}
        # Hooks are no tests.
        results = [
            one
            for one in getattr(done.result, "results", [])
            if one.node.resource_type != "operation"
        ]
        return {"fail" if VALUE_ERROR in str(one.message) else str(one.status) for one in results}

    def _unit(self, tests: str) -> set[str]:
        return self._dbt("test", "--select", *tests.split())

    def _data(self, test: str) -> set[str]:
        model, name = test.split()
        return self._dbt("run", "--select", model) | self._dbt("test", "--select", name)

    def _metric(self, expression: str) -> set[str]:
        """On the company as it was built: a metric's definition changes no mart."""
        manifest = self.root / "dbt_project" / "target" / "semantic_manifest.json"
        if self._dbt("parse"):
            return {ERROR}
        shutil.copy(manifest, self.company / "data" / "dbt")
        outcomes = Outcomes()
        command = ["-q", "-p", "no:cacheprovider", METRICS_TEST, "-k", expression]
        with contextlib.redirect_stdout(io.StringIO()):
            pytest.main(["--rootdir", str(ROOT), *command], [outcomes])
        return outcomes.statuses

    def _pytest(self, tests: str) -> set[str]:
        """In a process that imports the copy and builds anew what it needs."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA"]
        done = subprocess.run(
            [*command, *tests.split()],
            cwd=self.root,
            env={name: value for name, value in os.environ.items() if name != "COMPANY"},
            capture_output=True,
            text=True,
            check=False,
        )
        words = {line.split(" ")[0] for line in done.stdout.splitlines() if " tests/" in line}
        return {word.lower() for word in words & {"PASSED", "FAILED", "ERROR"}}


def refuse_red(copy: Copy, mutants: list[Pin]) -> None:
    """Raises ClickException where a test that is to notice a mutant fails without one."""
    joints = {"unit": " ", "pytest": " ", "metric": " or "}
    tests: dict[str, set[str]] = {kind: set() for kind in joints}
    for mutant in mutants:
        tests.setdefault(mutant.kind, set()).add(mutant.test)
    batches = [(kind, joint.join(sorted(tests[kind]))) for kind, joint in joints.items()]
    for kind, batch in [*batches, *(("data", test) for test in sorted(tests.get("data", ())))]:
        if batch and (found := copy.run(kind, batch)) != GREEN:
            raise click.ClickException(f"{kind} tests are {found} before anything is broken")


def survivors(pins: list[Pin]) -> int:
    """Breaks each pinned text once, in a copy, and tells which test noticed."""
    survived = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Copy(Path(folder))
        refuse_red(copy, pins)
        for pin in tqdm(sorted(pins, key=lambda pin: pin.kind), unit="pin", disable=None):
            with copy.broken(pin):
                found = copy.run(pin.kind, pin.test)
            if pin.kind == "data":  # The model is built anew without the mutant.
                copy.run(pin.kind, pin.test)
            survived += found != RED
            told = f"killed by {pin.test}" if found == RED else f"SURVIVED ({found})"
            tqdm.write(f"{pin.rule} ({Path(pin.file).name}): {told}")
    return survived

"""The patches of Evidence's packages: for each language, twice, back again, and refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.reports_fixtures import REPORTS

PACKAGES = REPORTS / "node_modules" / "@evidence-dev"


def apply(folder: Path, language: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", "patches/apply.mjs"],
        cwd=folder,
        env={**os.environ, "REPORT_LANG": language},
        capture_output=True,
        text=True,
        check=False,
    )


def texts(folder: Path) -> dict[str, str]:
    files = sorted(path for path in (folder / "node_modules").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in files}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The patches, and the files of the packages that they name."""
    if not PACKAGES.exists():
        pytest.skip("the Node packages of the reports are missing: run `make setup`")
    shutil.copytree(REPORTS / "patches", tmp_path / "patches")
    named = subprocess.run(
        [
            "node",
            "--input-type=module",
            "-e",
            "import { fixes, words } from './patches/table.mjs';"
            "for (const [file] of [...fixes, ...words]) console.log(file);",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    for file in set(named.stdout.split()):
        copy = Path(os.path.normpath(tmp_path / "node_modules" / "@evidence-dev" / file))
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGES / file, copy)
    return tmp_path


def test_languages_follow_each_other(project: Path) -> None:
    seen = {}
    for language in ("en", "ru", "ru", "en"):
        process = apply(project, language)
        assert process.returncode == 0, process.stderr
        now = texts(project)
        assert seen.setdefault(language, now) == now
    template = "node_modules/@evidence-dev/evidence/template/src/app.html"
    assert '<html lang="en">' in seen["en"][template]
    assert '<html lang="ru">' in seen["ru"][template]
    client = "node_modules/@evidence-dev/universal-sql/src/client-duckdb/browser.js"
    assert not any("old_implicit_casting = true" in found[client] for found in seen.values())


def test_an_unexpected_text_of_a_package_is_refused(project: Path) -> None:
    template = project / "node_modules/@evidence-dev/evidence/template/src/app.html"
    template.write_text("<html>", encoding="utf-8")
    process = apply(project, "ru")
    assert process.returncode == 1
    assert "evidence/template/src/app.html" in process.stderr


def test_an_unknown_language_is_refused(project: Path) -> None:
    before = texts(project)
    process = apply(project, "de")
    assert process.returncode == 1
    assert "use ru or en" in process.stderr
    assert texts(project) == before

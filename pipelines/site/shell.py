"""The shell of the reports: all of a site but its data, built once for the pages as they are.

Built shells lie in `data/shells/` of the clone, under the hash of `reports/` and the language, for
every warehouse. A machine without Node takes one from a file (`REPORT_SHELL`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipelines.build import run_process
from pipelines.environment import ROOT, Reports
from pipelines.errors import ReportFailed
from pipelines.fingerprint import hash_files

REPORTS = ROOT / "reports"
SHELLS = ROOT / "data" / "shells"
INSTALLED_LOCK = REPORTS / "node_modules" / ".installed-lock"
# What the shell is not made of: installed packages, and what a build or an editor leaves.
LEFT_OUT = {"node_modules", "dist", ".svelte-kit", ".vite"}
KEPT_SHELLS = 4


class Shell(NamedTuple):
    """A built shell.

    Attributes:
        folder: Its files; `blocks.json` says what its pages ask for.
        warnings: What a reader should know of it.
        errors: Own pages that could not be built; each is there as its error.
    """

    folder: Path
    warnings: list[str]
    errors: list[str]


def shell(language: str, logs: Path) -> Shell:
    """The shell for the pages as they are now: from the file, the cache, or built.

    Raises:
        ReportFailed: Node is missing, a page of the project does not build, or the file is none.
    """
    wanted = fingerprint(language)
    given = Reports.read().report_shell
    if given is not None:
        return _unpacked(given, wanted, language)
    folder = SHELLS / wanted
    if not (folder / "blocks.json").exists():
        with building() as lock:
            if not (folder / "blocks.json").exists():
                _build(folder, language, logs, lock)
                _prune(folder)
    return Shell(folder, [], _errors(folder))


def pack(language: str, logs: Path, file: Path) -> None:
    """Writes the shell into a file for machines without Node."""
    folder = shell(language, logs).folder
    with tarfile.open(file, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)


def fingerprint(language: str) -> str:
    """Name of the shell of the pages as they are: language and hash of the files of `reports/`."""
    files = (
        path
        for path in REPORTS.rglob("*")
        if LEFT_OUT.isdisjoint(path.relative_to(REPORTS).parts)
        and path.is_file()
        and path.name != ".lock"
    )
    return f"{language}-{hash_files(REPORTS, files)[:16]}"


def install_packages(logs: Path) -> None:
    """`npm ci` when the lock file is not the installed one."""
    with building() as lock:
        _install(logs, lock)


@contextmanager
def building() -> Iterator[int]:
    """One shell is built at a time: that of another warehouse waits for it.

    Yields the lock, for the programs that build: it holds as long as one of them lives.
    """
    try:
        SHELLS.mkdir(parents=True, exist_ok=True)
        lock = (SHELLS / ".lock").open("w")
    except OSError as error:
        raise ReportFailed(f"{SHELLS} cannot be written: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _build(folder: Path, language: str, logs: Path, lock: int) -> None:
    if shutil.which("npm") is None:
        raise ReportFailed(
            "npm is missing: install Node.js 20, or name a built shell in REPORT_SHELL"
        )
    _install(logs, lock)
    fresh = folder.with_name(f".{folder.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    environment = {"REPORT_LANG": language}
    _npm(
        ["run", "--silent", "build", "--", str(fresh)], environment, logs / "report-build.log", lock
    )
    fresh.rename(folder)


def _unpacked(file: Path, wanted: str, language: str) -> Shell:
    """The shell of a file; a page of `reports/pages/custom/` that it has not is told."""
    try:
        content = file.read_bytes()
        folder = SHELLS / f"file-{hashlib.sha256(content).hexdigest()[:16]}"
        if not folder.exists():
            fresh = folder.with_name(f".{folder.name}")
            shutil.rmtree(fresh, ignore_errors=True)
            with tarfile.open(file) as archive:
                archive.extractall(fresh, filter="data")
            fresh.rename(folder)
        (inside,) = [path for path in folder.iterdir() if (path / "blocks.json").exists()]
    except (OSError, tarfile.TarError, ValueError) as error:
        raise ReportFailed(
            f"REPORT_SHELL names {file}, which is no shell: write one with `python -m pipelines"
            f" shell {file}` ({error})"
        ) from error
    if not inside.name.startswith(f"{language}-"):
        raise ReportFailed(f"REPORT_SHELL names {file}, whose language is not {language}")
    if inside.name == wanted:
        return Shell(inside, [], _errors(inside))
    told = json.loads((inside / "blocks.json").read_text(encoding="utf-8"))
    own = {f"pages/{path.relative_to(REPORTS / 'pages')}" for path in _own_pages()}
    lacking = sorted(own - set(told["pages"]))
    text = f"{file} was built from other pages than those of {REPORTS}"
    if lacking:
        text += f"; it lacks {', '.join(lacking)}"
    return Shell(inside, [text], _errors(inside))


def _own_pages() -> Iterator[Path]:
    return (REPORTS / "pages" / "custom").rglob("*.md")


def _errors(folder: Path) -> list[str]:
    told = json.loads((folder / "blocks.json").read_text(encoding="utf-8"))
    return list(told.get("errors", []))


def _prune(current: Path) -> None:
    """Removes shells that were not used for longest."""
    others = [path for path in SHELLS.iterdir() if path.is_dir() and path != current]
    others.sort(key=lambda path: path.stat().st_mtime_ns)
    for path in others[: -(KEPT_SHELLS - 1) or None]:
        shutil.rmtree(path, ignore_errors=True)


def _install(logs: Path, lock: int) -> None:
    locked = hashlib.sha256((REPORTS / "package-lock.json").read_bytes()).hexdigest()
    if INSTALLED_LOCK.exists() and INSTALLED_LOCK.read_text(encoding="utf-8") == locked:
        return
    arguments = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    _npm(arguments, {}, logs / "report-install.log", lock)
    INSTALLED_LOCK.write_text(locked, encoding="utf-8")


def _npm(arguments: list[str], environment: dict[str, str], log: Path, lock: int) -> None:
    process = run_process(["npm", *arguments], REPORTS, environment, log, lock)
    if process.returncode != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:]
        raise ReportFailed(f"npm {' '.join(arguments)} failed ({log}):\n" + "\n".join(tail))

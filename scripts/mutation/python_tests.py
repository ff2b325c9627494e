"""Mutants of Python modules by rule, and the tests of each module, which are to notice them.

Modules and tests are imported once; each mutant is tried in a fork, where the code of its function
is put into the function that was imported, so a mutant takes as long as its tests.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import types
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from pipelines.environment import ROOT
from scripts.mutation.pins import ERROR, GREEN, RED
from scripts.mutation.python_rules import PythonMutant, mutants

# Module → the tests that hold its rules, without those that refresh: they take seconds.
TESTS = {
    "pipelines.bitrix24.redaction": [
        "tests/unit/test_values.py",
        "tests/unit/test_hostile_words.py",
    ],
    "pipelines.bitrix24.values": ["tests/unit/test_values.py"],
    "pipelines.settings": ["tests/unit/test_settings.py", "-k", "not names_of_the_past"],
    "pipelines.spend": [
        "tests/extraction/test_spend.py",
        "-k",
        "not removed_gives and not doctor_tells",
    ],
}
# A mutant may have no end.
QUIET = ["-q", "-x", "-n0", "-p", "no:cacheprovider", "--timeout", "20"]


class PythonTests:
    """The tests of Python modules, and the mutants of those by rule."""

    def __init__(self, chosen: Iterable[str]) -> None:
        self._mutants = {module: _mutants(module) for module in chosen}
        for module in self._mutants:
            with _silent():
                pytest.main([*QUIET, "--collect-only", *TESTS[module]])
            if _in_a_fork(module) != GREEN:
                raise RuntimeError(f"tests of {module} fail before anything is broken")

    def names(self) -> list[tuple[str, str]]:
        """Module and name of each mutant."""
        return [(module, name) for module, found in self._mutants.items() for name in found]

    def verdict(self, module: str, name: str) -> str:
        """Red where a test of the module fails with the mutant."""
        return _in_a_fork(module, self._mutants[module][name])


def _mutants(module: str) -> dict[str, PythonMutant]:
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    return {mutant.name: mutant for mutant in mutants(source)}


def _in_a_fork(module: str, mutant: PythonMutant | None = None) -> str:
    """Green, red or error of the tests of a module, with a mutant or as it is."""
    child = os.fork()
    if not child:
        code = int(pytest.ExitCode.INTERNAL_ERROR)
        with contextlib.suppress(BaseException), _silent():
            if mutant is not None:
                _put(module, mutant)
            code = int(pytest.main([*QUIET, *TESTS[module]]))
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return {0: GREEN, 1: RED}.get(os.waitstatus_to_exitcode(status), ERROR)


def _put(module: str, mutant: PythonMutant) -> None:
    """Gives the function of a mutant its code, wherever it was imported or wrapped."""
    file = import_module(module).__file__ or ""
    fresh = _codes(compile(mutant.tree, file, "exec"))[mutant.function]
    functions = [
        found
        for found in gc.get_objects()
        if isinstance(found, types.FunctionType)
        and found.__code__.co_filename == file
        and found.__code__.co_qualname == mutant.function
    ]
    if not functions:
        raise LookupError(f"{module} has no function {mutant.function}")
    for function in functions:
        function.__code__ = fresh


def _codes(code: types.CodeType) -> dict[str, types.CodeType]:
    """The code of each outermost function of a module, by its qualified name."""
    found: dict[str, types.CodeType] = {}
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            found |= {part.co_qualname: part} | {
                inner.co_qualname: inner
                for inner in part.co_consts
                if isinstance(inner, types.CodeType) and "<" not in inner.co_qualname
            }
    return found


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without what pytest and the tests write."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        os.close(kept[0])
        os.close(kept[1])

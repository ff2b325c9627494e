"""Failures that the pipeline foresees: each tells what to do and carries its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Exit code → what it means, and what to do.
EXIT_CODES = {
    0: ("nothing failed", ""),
    1: (
        "a failure before publication: nothing new is published",
        "the message says what; after a network failure the next run goes on by itself",
    ),
    2: (
        "wrong usage or settings: nothing new is published",
        "correct what the message names; runs fail until then",
    ),
    3: (
        "raw checks or data tests failed: nothing new is published",
        "by what failed: the message names it",
    ),
    4: ("another refresh is running", "wait until it ends"),
    5: (
        "the data are published; the workbooks or the site could not be made and are as they were",
        "mend what the message names, then run `python -m pipelines excel` and `… report`",
    ),
}


class PipelineError(Exception):
    """A foreseen failure: its text is for the user and holds no secret.

    Attributes:
        advice: what to do, where its exit code alone does not tell.
    """

    exit_code = 1
    advice = ""


class SettingsError(PipelineError):
    """A setting is unknown or has a bad value; the text names key, value and what is allowed."""

    exit_code = 2


class ChecksFailed(PipelineError):
    """Raw checks or dbt tests failed: nothing is published; `results` has those that passed too."""

    exit_code = 3

    def __init__(self, message: str, results: Sequence[Any] = (), advice: str = "") -> None:
        super().__init__(message)
        self.results = results
        self.advice = advice


class CheckEngineError(PipelineError):
    """The checks could not be run: says nothing about the data."""


class AnotherRefreshIsRunning(PipelineError):
    """The warehouse is locked by a refresh that has not ended."""

    exit_code = 4


class DatabaseUnreadable(PipelineError):
    """A DuckDB file is damaged, of another kind, or held by another program; it is as it was."""


class NotEnoughSpace(PipelineError):
    """The disk is full, or too full for a second copy of the warehouse."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CompactFailed(PipelineError):
    """The warehouse could not be written anew; it is as it was."""


class Bitrix24Error(PipelineError):
    """A failure of reading the portal."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class DoctorFoundProblems(PipelineError):
    """`doctor` found what must be mended; the exit code is 2 where it is a setting."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class BuildFailed(PipelineError):
    """dbt could not build a model."""


class PublishFailed(PipelineError):
    """The marts could not be copied; what was published before stays."""


class ExcelFailed(PipelineError):
    """The workbooks could not be written; the previous ones stay."""

    exit_code = 5


class ReportFailed(PipelineError):
    """The site could not be built; the previous one stays."""

    exit_code = 5


def what_to_do(error: BaseException) -> str:
    """The advice after a failure, by its cause."""
    if not isinstance(error, PipelineError):
        return EXIT_CODES[1][1]
    return error.advice or EXIT_CODES[error.exit_code][1]

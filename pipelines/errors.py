"""Expected failures of the pipeline: each says what to do and has an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Exit code → what it means, and what to do.
EXIT_CODES = {
    0: ("nothing failed", ""),
    1: (
        "a failure before publication: nothing new is published",
        "see the message; after a network failure the next run recovers by itself",
    ),
    2: (
        "wrong usage or settings: nothing new is published",
        "correct what the message names; every run fails until then",
    ),
    3: (
        "raw checks or data tests failed: nothing new is published",
        "see the message: it names what failed",
    ),
    4: ("another refresh is running", "wait until it ends"),
    5: (
        "the data are published; the workbooks or the site could not be made and stay as they were",
        "fix what the message names, then run `python -m pipelines excel` and `… report`",
    ),
}


class PipelineError(Exception):
    """An expected failure: its text is for the user and holds no secret.

    Attributes:
        advice: what to do, if the exit code alone does not say it.
    """

    exit_code = 1
    advice = ""


class SettingsError(PipelineError):
    """A setting is unknown or has a bad value; the text names key, value and what is allowed."""

    exit_code = 2


class SpendFileError(PipelineError):
    """A spend file is missing or cannot be read; the text names file, line, reason and remedy."""

    exit_code = 2
    advice = "correct the spend files that the message names; every run fails until then"


class ChecksFailed(PipelineError):
    """Raw checks or dbt tests failed: nothing is published; `results` includes passed ones."""

    exit_code = 3

    def __init__(self, message: str, results: Sequence[Any] = (), advice: str = "") -> None:
        super().__init__(message)
        self.results = results
        self.advice = advice


class CheckEngineError(PipelineError):
    """The checks could not be run; this says nothing about the data."""


class AnotherRefreshIsRunning(PipelineError):
    """The warehouse is locked by a refresh that is still running."""

    exit_code = 4


class DatabaseUnreadable(PipelineError):
    """A DuckDB file is damaged, of another kind, or open in another program; it is unchanged."""


class NotEnoughSpace(PipelineError):
    """The disk is full, or too full for a second copy of the warehouse."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CompactFailed(PipelineError):
    """The warehouse could not be rewritten; it is unchanged."""


class Bitrix24Error(PipelineError):
    """The portal could not be read."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class DoctorFoundProblems(PipelineError):
    """`doctor` found problems to fix; the exit code is 2 if one is a setting."""

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
    """What to do after a failure, by its cause."""
    if not isinstance(error, PipelineError):
        return EXIT_CODES[1][1]
    return error.advice or EXIT_CODES[error.exit_code][1]

"""Failures that the pipeline foresees: each tells what to do and carries its exit code."""

from __future__ import annotations


class PipelineError(Exception):
    """A foreseen failure: its text is for the user and holds no secret."""

    exit_code = 1


class SettingsError(PipelineError):
    """A setting is unknown or has a bad value; the text names key, value and what is allowed."""

    exit_code = 2


class ChecksFailed(PipelineError):
    """Raw checks or dbt tests failed: nothing is published."""

    exit_code = 3


class CheckEngineError(PipelineError):
    """The checks could not be run: says nothing about the data."""


class AnotherRefreshIsRunning(PipelineError):
    """The warehouse is locked by a refresh that has not ended."""

    exit_code = 4


class Bitrix24Error(PipelineError):
    """A failure of reading the portal."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


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

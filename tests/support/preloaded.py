"""A command of the pipeline in a process that has all its packages loaded, forked off another.

The server that forks imports this module; importing Great Expectations, dlt and MetricFlow takes
ten seconds, which runs that are killed on purpose save.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import great_expectations  # noqa: F401

from pipelines import refresh, report  # noqa: F401
from pipelines.__main__ import main
from pipelines.bitrix24 import access, client, extract  # noqa: F401
from pipelines.excel import workbooks  # noqa: F401
from pipelines.readers import PRIVATE_UMASK
from pipelines.site import shell
from pipelines.stop import stop_on_signals
from tests.support.compiled_models import compiled_models


def run(
    arguments: list[str],
    environment: dict[str, str],
    project: Path,
    output: Path,
    errors: Path,
    with_dbt: bool,
    halt: str | None,
) -> None:
    """`python -m pipelines` in a separate process group, on a copy of dbt project and reports.

    Args:
        output: pipe that takes what it says.
        with_dbt: else it builds with compiled models.
        halt: step of a refresh at whose beginning the process stops itself.
    """
    os.setsid()
    for path, descriptor in ((output, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["pipelines", *arguments]
    os.umask(PRIVATE_UMASK)
    stop_on_signals()
    begin = refresh._step.__enter__

    def begin_and_halt(step: Any) -> None:
        begin(step)
        if step.name == halt:
            os.kill(os.getpid(), signal.SIGSTOP)

    with (
        mock.patch.object(refresh._step, "__enter__", begin_and_halt),
        mock.patch("pipelines.build.DBT_PROJECT", project / "dbt_project"),
        mock.patch.object(shell, "REPORTS", project / "reports"),
        mock.patch.object(shell, "SHELLS", project / "shells"),
        contextlib.nullcontext() if with_dbt else compiled_models(),
    ):
        code = main()
    sys.stdout.flush()
    sys.exit(code)

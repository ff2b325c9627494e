"""`python -m pipelines` within this process: its exit code and what it says."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

from pipelines.__main__ import main
from pipelines.warehouse import Warehouse


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def run_command(warehouse: Warehouse, *arguments: str, **environment: str) -> Done:
    """Runs a command on a warehouse; `environment` is added to this process's environment."""
    said, told = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {"WAREHOUSE_DIR": str(warehouse.directory), **environment}),
        mock.patch.object(sys, "argv", ["pipelines", *arguments]),
        redirect_stdout(said),
        redirect_stderr(told),
    ):
        code = main()
    return Done(code, said.getvalue(), told.getvalue())

"""Queries side by side: a small one keeps one core busy, and most are small."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import duckdb

# As many as dbt has in `profiles.yml`.
THREADS = 2
INTERRUPT_SECONDS = 0.05

P = ParamSpec("P")
R = TypeVar("R")


class SideBySide:
    """Threads with a cursor each of one connection; a stop or an error ends what they do at once.

    Args:
        settings: Statements that each cursor runs first: it has none of the connection's settings.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, settings: Sequence[str] = ()) -> None:
        self._connection, self._settings = connection, settings
        self._pool = ThreadPoolExecutor(THREADS)
        self._thread = local()
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._futures: list[Future[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            # Again and again: a task may be between two statements.
            while not all(future.done() for future in self._futures):
                for cursor in [*self._cursors]:
                    cursor.interrupt()
                time.sleep(INTERRUPT_SECONDS)
        self._pool.shutdown()
        for cursor in self._cursors:
            cursor.close()

    def submit(
        self,
        task: Callable[Concatenate[duckdb.DuckDBPyConnection, P], R],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> Future[R]:
        """Runs a task in a thread; it gets the cursor of that thread first."""
        future = self._pool.submit(lambda: task(self._cursor(), *arguments, **named))
        self._futures.append(future)
        return future

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        if not hasattr(self._thread, "cursor"):
            cursor = self._connection.cursor()
            for setting in self._settings:
                cursor.execute(setting)
            self._cursors.append(cursor)
            self._thread.cursor = cursor
        found: duckdb.DuckDBPyConnection = self._thread.cursor
        return found


def results(futures: Sequence[Future[R]]) -> list[R]:
    """The results in their order: of several errors always the same is raised."""
    return [future.result() for future in futures]

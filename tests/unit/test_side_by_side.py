"""Queries side by side: settings of the cursors, order of the results, and how they end."""

from __future__ import annotations

import time

import duckdb
import pytest

from pipelines.side_by_side import THREADS, SideBySide, results

ENDLESS = (
    "select count(*) from range(1000000) as a, range(1000000) as b where a.range + b.range < 0"
)


def timezone(connection: duckdb.DuckDBPyConnection, number: int) -> tuple[str, int]:
    ((found,),) = connection.execute("select current_setting('timezone')").fetchall()
    return str(found), number


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    connection.execute(sql).fetchall()


def test_each_cursor_has_the_settings_and_the_results_come_in_order() -> None:
    with (
        duckdb.connect() as connection,
        SideBySide(connection, ["set timezone = 'Asia/Tokyo'"]) as threads,
    ):
        found = results([threads.submit(timezone, number) for number in range(9)])
    assert found == [("Asia/Tokyo", number) for number in range(9)]


def test_a_stop_ends_what_runs_and_begins_no_more() -> None:
    began = time.monotonic()
    with (
        duckdb.connect() as connection,
        pytest.raises(KeyboardInterrupt),
        SideBySide(connection) as threads,
    ):
        running = [threads.submit(ask, ENDLESS) for _ in range(THREADS)]
        waiting = [threads.submit(ask, "select 1") for _ in range(5)]
        time.sleep(0.3)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 10
    assert {type(one.exception()) for one in running} == {duckdb.InterruptException}
    assert all(one.cancelled() for one in waiting)


def test_the_first_error_ends_the_others() -> None:
    with (
        duckdb.connect() as connection,
        pytest.raises(duckdb.CatalogException),
        SideBySide(connection) as threads,
    ):
        asked = [threads.submit(ask, sql) for sql in (ENDLESS, "from nowhere", "select 1")]
        results([asked[1], asked[0]])
    assert isinstance(asked[0].exception(), duckdb.InterruptException)

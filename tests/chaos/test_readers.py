"""Readers that query what is published while refreshes run: no error, nothing half-new.

Each reader is a process that queries in a loop until it must stop. One keeps `crm.duckdb` open, one
opens it again each time, one reads the Parquet files of its first publication and one those of the
newest, following the link once for all of its queries (docs/operations.md). For all of them leads
and deals must be from the same moment.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from tests.support.changing_company import FIRST, STAMPED, serve_company
from tests.support.whole_refreshes import Refreshes

# Readers leave the processor to the refreshes.
THREADS = {"threads": "1"}

# (refresh, leads, deals, amounts of the leads and deals that each change stamps with its number).
Seen = tuple[int, int, int, int, int]


def seen(connection: duckdb.DuckDBPyConnection, folder: Path | None = None) -> Seen:
    """What a reader sees of several tables, in a query each."""

    def table(schema: str, name: str) -> str:
        return f"'{folder / name}.parquet'" if folder else f"{schema}.{name}"

    def ask(query: str) -> tuple[int, ...]:
        return connection.execute(query).fetchone() or ()

    connection.execute("begin")
    (refresh_no,) = ask(f"select refresh_no from {table('quality', 'refreshes')}")
    found = []
    for name, key, amount in (
        ("fct_leads", "lead_id", "opportunity_amount"),
        ("fct_deals", "deal_id", "amount"),
    ):
        of = table("marts", name)
        stamped = f"from {of} where {key} <= {max(STAMPED)}"
        (count,) = ask(f"select count(*) from {of}")
        low, high = ask(f"select min({amount}), max({amount}) {stamped}")
        assert low == high, f"{name} of refresh {refresh_no}: amounts from {low} to {high}"
        found += [count, int(low)]
    connection.execute("commit")
    leads, of_leads, deals, of_deals = found
    return refresh_no, leads, deals, of_leads, of_deals


def opened(published: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(published / "crm.duckdb"), read_only=True, config=THREADS)


def keeping_the_file(published: Path) -> Iterator[Seen]:
    with opened(published) as connection:
        while True:
            yield seen(connection)


def opening_the_file_anew(published: Path) -> Iterator[Seen]:
    while True:
        with opened(published) as connection:
            yield seen(connection)


def keeping_the_parquet_folder(published: Path) -> Iterator[Seen]:
    folder = (published / "parquet").resolve(strict=True)
    with duckdb.connect(config=THREADS) as connection:
        while True:
            yield seen(connection, folder)


def following_the_parquet_link(published: Path) -> Iterator[Seen]:
    with duckdb.connect(config=THREADS) as connection:
        while True:
            yield seen(connection, (published / "parquet").resolve(strict=True))


READERS = (
    keeping_the_file,
    opening_the_file_anew,
    keeping_the_parquet_folder,
    following_the_parquet_link,
)
KEEPING = (keeping_the_file, keeping_the_parquet_folder)


def read(reader: Callable[[Path], Iterator[Seen]], published: Path, stop: Path, told: Path) -> None:
    """A reader's process; writes how often it asked and all that it saw."""
    found: list[Seen] = []
    for reads, what in enumerate(reader(published), start=1):
        for file in (published.parent / "run.json", published / "site" / "status.json"):
            json.loads(file.read_text())
        if what not in found:
            found.append(what)
        if reads == 1 or stop.exists():
            told.write_text(json.dumps({"reads": reads, "found": found}))
        if stop.exists():
            return
        time.sleep(0.3)


@contextmanager
def readers(published: Path, folder: Path) -> Iterator[dict[str, list[list[int]]]]:
    """Readers that ask while the block runs; then what each saw."""
    context, stop = multiprocessing.get_context("spawn"), folder / "stop"
    processes = {
        reader.__name__: context.Process(
            target=read, args=(reader, published, stop, folder / reader.__name__)
        )
        for reader in READERS
    }
    for process in processes.values():
        process.start()
    found: dict[str, list[list[int]]] = {}
    try:
        while not all((folder / name).exists() for name in processes):
            assert all(process.is_alive() for process in processes.values())
            time.sleep(0.1)
        yield found
    finally:
        stop.touch()
        for process in processes.values():
            process.join(60)
    for name, process in processes.items():
        assert process.exitcode == 0, f"the reader {name} failed: see its traceback"
        told = json.loads((folder / name).read_text())
        print(f"{name}: {told}")
        assert told["reads"] > 20
        found[name] = told["found"]


@pytest.mark.timeout(1200)
def test_readers_see_one_publication_at_a_time(tmp_path: Path) -> None:
    """Also: of two refreshes at once, the second ends with 4 at once and the first continues."""
    with serve_company(tmp_path / "portal") as company:
        refreshes = Refreshes(tmp_path, company)
        refreshes.run()
        published = refreshes.warehouse.published
        with readers(published, tmp_path) as found:
            company.change()
            refreshes.run()
            company.change()
            first = refreshes.start("--no-report")
            refreshes.wait_for(first, "extract")
            second = refreshes.start("--no-report")
            second.communicate()
            assert first.returncode is None, "the second has waited for the first"
            assert second.returncode == 4
            assert "another refresh is running" in refreshes.errors.read_text()
            first.communicate()
            assert first.returncode == 0
        refreshes.look()
    # After change n there are as many leads and deals as at first and n more.
    right = [[number + 1, FIRST + number, FIRST + number, number, number] for number in range(3)]
    for reader in READERS:
        expected = right[:1] if reader in KEEPING else right
        assert found[reader.__name__] == expected, reader.__name__

"""The files of WAREHOUSE_DIR: where each is, the refresh lock, and readings of the raw log."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from pipelines.errors import AnotherRefreshIsRunning

ROOT = Path(__file__).resolve().parent.parent
LOCK_FD_VARIABLE = "PIPELINES_LOCK_FD"

# The current rows of every raw table: the latest version per key among completed refreshes.
LATEST = """
    select {columns}
    from raw.{table}
    where refresh_no in (select refresh_no from raw.refreshes where completed)
    qualify row_number() over (
        partition by {key} order by refresh_no desc, _dlt_load_id desc
    ) = 1
"""


@dataclass(frozen=True)
class Refresh:
    """One row of `raw.refreshes`; `as_of` is the portal's clock when extraction began.

    `scope` is what the settings let be read; None in warehouses that did not yet keep it.
    """

    refresh_no: int
    as_of: dt.datetime
    kind: str
    scope: str | None


@dataclass(frozen=True)
class Warehouse:
    """The folder that holds the private warehouse and what is published."""

    directory: Path

    @classmethod
    def from_environment(cls) -> Warehouse:
        """WAREHOUSE_DIR, relative to the project's folder; `data/` by default."""
        return cls((ROOT / os.environ.get("WAREHOUSE_DIR", "data")).resolve())

    @property
    def database(self) -> Path:
        return self.directory / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        return self.directory / "published"

    @property
    def run_file(self) -> Path:
        return self.directory / "run.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps every other refresh out until the block ends.

        The steps of a refresh run as child processes that inherit the lock: while one of them
        lives, even without its parent, no other refresh starts.

        Raises:
            AnotherRefreshIsRunning: at once, when the lock is held.
        """
        if LOCK_FD_VARIABLE in os.environ:
            yield
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.directory / "refresh.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AnotherRefreshIsRunning(
                    "another refresh is running: wait until it ends"
                ) from None
            os.set_inheritable(descriptor, True)
            os.environ[LOCK_FD_VARIABLE] = str(descriptor)
            yield
        finally:
            os.environ.pop(LOCK_FD_VARIABLE, None)
            os.close(descriptor)

    def connect(self, read_only: bool = True) -> duckdb.DuckDBPyConnection:
        """A connection in UTC; the caller closes it."""
        connection = duckdb.connect(str(self.database), read_only=read_only)
        connection.execute("set timezone = 'UTC'")
        return connection

    def raw_tables(self) -> set[str]:
        """Names of the tables of schema `raw`; none before the first refresh."""
        if not self.database.exists():
            return set()
        with self.connect() as connection:
            return _raw_tables(connection)

    def last_refreshes(self, completed: bool = True) -> list[Refresh]:
        """Refreshes, the newest first."""
        if "refreshes" not in self.raw_tables():
            return []
        condition = "completed" if completed else "not completed"
        with self.connect() as connection:
            rows = connection.execute(
                "select refresh_no, max(as_of), any_value(kind), any_value(scope)"
                " from (from raw.refreshes union all by name select null as scope where false)"
                f" where {condition} group by refresh_no order by refresh_no desc"
            ).fetchall()
        return [Refresh(*row) for row in rows]

    def next_refresh_no(self) -> int:
        """A number that no refresh had, not even one that was stopped half-way."""
        tables = [name for name in self.raw_tables() if not name.startswith("_dlt")]
        if not tables:
            return 1
        query = " union all ".join(
            f"select max(refresh_no) as refresh_no from raw.{name}" for name in sorted(tables)
        )
        with self.connect() as connection:
            row = connection.execute(f"select max(refresh_no) from ({query})").fetchone()
        return (row[0] if row and row[0] is not None else 0) + 1

    def latest_versions(
        self,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        owners: pl.DataFrame | None = None,
    ) -> pl.DataFrame | None:
        """Living rows of a raw table as the last completed refresh left them.

        Args:
            owners: for histories, a frame `owner_id` that limits the reading.

        Returns:
            A frame of `columns`; None where the table does not exist yet.
        """
        if not self.database.exists():
            return None
        names = ", ".join(dict.fromkeys([*columns, "is_deleted"]))
        query = LATEST.format(columns=names, table=table, key=", ".join(key))
        if owners is not None:
            query = query.replace("where", "where owner_id in (select owner_id from owners) and", 1)
        with self.connect() as connection:
            if table not in _raw_tables(connection):
                return None
            if owners is not None:
                connection.register("owners", owners.to_arrow())
            frame = pl.DataFrame(connection.sql(query).to_arrow_table())
        return frame.filter(~pl.col("is_deleted")).select(columns)


def _raw_tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'raw'"
    ).fetchall()
    return {name for (name,) in rows}

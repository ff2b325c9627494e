"""The files of WAREHOUSE_DIR: their paths, the refresh lock, and queries of the raw log."""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import os
import pwd
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from pipelines.environment import ROOT, Folders
from pipelines.errors import (
    AnotherRefreshIsRunning,
    DatabaseUnreadable,
    NotEnoughSpace,
    PipelineError,
    SettingsError,
)
from pipelines.readers import check_groups, close_to_others
from pipelines.run_file import write_atomically

LOCK_FD_VARIABLE = "PIPELINES_LOCK_FD"
# Messages about a full disk: the system's, and DuckDB's when it cannot spill to disk.
NO_SPACE = (os.strerror(errno.ENOSPC), "max_temp_directory_size")
LITTLE_SPACE = 1_000_000
# DuckDB's messages about damage that it finds after opening a file.
DAMAGED = (
    "Corrupt database file",
    "Could not read enough bytes",
    "has been invalidated because of a previous fatal error",
)
# Two threads that open a file at once: one of them may get a database to which the Python client
# has not yet given its functions, and `register` fails (DuckDB 2.0.0).
OPENING = threading.Lock()
# DuckDB's message about a database that another program has open.
HELD = "Could not set lock on file"

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

    `started_at` is this machine's clock at that moment. `scope` is what the settings allowed to
    read; None in older warehouses. `history_from`: what was created before is not loaded yet; None
    if everything is loaded.
    """

    refresh_no: int
    as_of: dt.datetime
    started_at: dt.datetime
    kind: str
    scope: str | None
    history_from: dt.datetime | None


@dataclass(frozen=True)
class Known:
    """What completed refreshes know about an entity.

    Attributes:
        records: a sample of living records with their creation time.
        filled: columns that hold any value.
        last_id: the highest ID.
    """

    records: dict[int, dt.datetime]
    filled: set[str]
    last_id: int


@dataclass(frozen=True)
class Warehouse:
    """The folder with the private warehouse and what is published."""

    directory: Path

    @classmethod
    def from_environment(cls) -> Warehouse:
        """WAREHOUSE_DIR, relative to the project's folder; `data/` by default."""
        return cls((ROOT / Folders.read().warehouse_dir).resolve())

    @property
    def database(self) -> Path:
        return self.directory / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        return self.directory / "published"

    @property
    def run_file(self) -> Path:
        return self.directory / "run.json"

    @property
    def unfinished_build(self) -> Path:
        """Exists from the start of a build until everything is built and tested."""
        return self.directory / "dbt" / "unfinished"

    @property
    def full_sync_begun(self) -> Path:
        """Exists from the start of a full sync until a sync succeeds."""
        return self.directory / ".dlt" / "full_reading_begun"

    @property
    def forgotten(self) -> Path:
        """Exists while what is published may hold what the settings no longer allow."""
        return self.directory / "forgotten"

    @property
    def _full_sync_file(self) -> Path:
        # Holds a refresh number; a full sync is due until one of that number or later completes.
        return self.directory / "full_reading_owed_by"

    def require_full_sync(self, refresh_no: int) -> None:
        """Only a full sync finds all changes from this refresh on, completed or not."""
        write_atomically(self._full_sync_file, refresh_no, private=True)

    def full_sync_required_from(self) -> int:
        """The refresh that `require_full_sync` named last; 0 if none."""
        return int(self._full_sync_file.read_text()) if self._full_sync_file.exists() else 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps every other refresh out until the block ends.

        The steps of a refresh run as child processes that inherit the lock: while one of them
        runs, even without its parent, no other refresh starts.

        Raises:
            AnotherRefreshIsRunning: at once, if the lock is held.
            SettingsError: the folder cannot be created or written.
        """
        if LOCK_FD_VARIABLE in os.environ:
            yield
            return
        file = self.directory / "refresh.lock"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise SettingsError(
                f"{file} cannot be written ({error.strerror}): fix the rights of the folder, or set"
                " WAREHOUSE_DIR to another one"
            ) from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AnotherRefreshIsRunning(
                    "another refresh is running: wait until it ends"
                ) from None
            os.set_inheritable(descriptor, True)
            os.environ[LOCK_FD_VARIABLE] = str(descriptor)
            check_groups()
            close_to_others(self.directory, self.published)
            yield
            close_to_others(self.directory, self.published)
        finally:
            os.environ.pop(LOCK_FD_VARIABLE, None)
            os.close(descriptor)

    def full_disk(self, error: BaseException) -> NotEnoughSpace | None:
        """The error to report instead if a full disk is the cause; None if it is not.

        The log of a failed program is often lost on a full disk: little free space is enough.
        """
        exit_code = error.exit_code if isinstance(error, PipelineError) else 1
        is_told = isinstance(error, NotEnoughSpace) or exit_code not in (1, 5)
        if is_told or not isinstance(error, Exception):
            return None
        chain: list[str] = []
        cause: BaseException | None = error
        while cause is not None:
            chain += str(cause).splitlines()
            cause = cause.__cause__ or cause.__context__
        found = next((line for line in chain if any(words in line for words in NO_SPACE)), "")
        free = shutil.disk_usage(self.directory).free if self.directory.exists() else LITTLE_SPACE
        if not found and free >= LITTLE_SPACE:
            return None
        return NotEnoughSpace(
            f"the disk is full ({self.directory} has {free:,} bytes free): free space and run"
            f" again; what was published stays\n{found or next(iter(chain), '')}",
            exit_code,
        )

    def cause_of(self, error: BaseException) -> PipelineError | None:
        """The cause of an error, if it is a full disk, another account's file or a damaged file."""
        return self.full_disk(error) or self.not_ours(error) or self.damaged(error)

    def not_ours(self, error: BaseException) -> SettingsError | None:
        """The error to report instead if another account's file is the cause; None if not."""
        cause: BaseException | None = error
        while cause is not None:
            said = re.search(r'"([^"]+)".*Permission denied', str(cause))
            if isinstance(cause, PermissionError) or (isinstance(cause, duckdb.Error) and said):
                name = getattr(cause, "filename", None) or (said and said[1])
                path = Path(os.fsdecode(name)) if name else self.directory
                return SettingsError(
                    f"{path} belongs to {_owner(path)}, and {_account(os.geteuid())} may not use it"
                    " (a run with sudo leaves such files): if this account runs refreshes, run"
                    f" `chown -R {_account(os.geteuid())}: {self.directory}` as root, then run"
                    " again; if it only reads what is published, add it to the group of"
                    " PUBLISHED_GROUP"
                )
            cause = cause.__cause__ or cause.__context__
        return None

    def damaged(self, error: BaseException) -> DatabaseUnreadable | None:
        """The error to report instead if the warehouse file is damaged; None if not.

        A file that opens may still be damaged further on.
        """
        exit_code = error.exit_code if isinstance(error, PipelineError) else 1
        if isinstance(error, DatabaseUnreadable) or exit_code != 1:
            return None
        cause: BaseException | None = error
        while cause is not None:
            for line in str(cause).splitlines():
                if any(words in line for words in DAMAGED):
                    return self._unreadable(line)
            cause = cause.__cause__ or cause.__context__
        return None

    def _unreadable(self, why: str) -> DatabaseUnreadable:
        return DatabaseUnreadable(
            f"{self.database} cannot be read as a warehouse: it is damaged, cut short, written"
            " by a newer DuckDB, or another file; it is left as it is, and what was published"
            " stays. Either stop the schedule and restore the last copy of it; or move it"
            f" away, with {self.database.name}.wal, full_reading_owed_by and .dlt, and run a"
            " refresh, which reads everything again (history begins that day). See"
            f" docs/operations.md, Backup and restore, for the commands\n{why}"
        )

    def connect(self, read_only: bool = True) -> duckdb.DuckDBPyConnection:
        """A connection in UTC; the caller closes it.

        Raises:
            DatabaseUnreadable: the file cannot be read by DuckDB, or another program has it open.
        """
        try:
            with OPENING:
                connection = duckdb.connect(str(self.database), read_only=read_only)
        except duckdb.Error as error:
            why = str(error).splitlines()[0]
            if HELD in why:
                raise held(self.database, why) from error
            raise self._unreadable(why) from error
        connection.execute("set timezone = 'UTC'")
        return connection

    def create(self) -> None:
        """Makes the folder, and an empty database where there is none.

        Half a database, of a disk that filled up, never has the name: it would be called damaged.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.database.exists():
            return
        fresh = self.database.with_name("warehouse.new")
        fresh.unlink(missing_ok=True)
        duckdb.connect(str(fresh)).close()
        sync(fresh)
        fresh.replace(self.database)

    def raw_tables(self) -> set[str]:
        """Names of the tables of schema `raw`, or of its views over files; none before the first
        refresh."""
        if not self.database.exists():
            return set()
        with self.connect() as connection:
            return self._raw_tables(connection)

    def _raw_tables(self, connection: duckdb.DuckDBPyConnection) -> set[str]:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() union all"
            " select schema_name, view_name from duckdb_views() where schema_name = 'raw'"
        ).fetchall()
        raw = {name for schema, name in tables if schema == "raw"}
        if tables and not raw:
            # For example a published crm.duckdb in its place: a refresh would write into it.
            schema, name = min(tables)
            raise self._unreadable(f"it has tables ({schema}.{name}) but none in schema raw")
        return raw

    def last_refreshes(self, completed: bool = True) -> list[Refresh]:
        """Refreshes, the newest first.

        Args:
            completed: if False, those that were loaded but not completed: dlt loads tables in
                parallel, and records the load after the last of them.
        """
        if not self.database.exists():
            return []
        condition = (
            "completed"
            if completed
            else "not completed"
            " and _dlt_load_id in (select load_id from raw._dlt_loads where status = 0)"
        )
        with self.connect() as connection:
            if "refreshes" not in self._raw_tables(connection):
                return []
            rows = connection.execute(
                "select refresh_no, max(as_of), max(started_at), any_value(kind),"
                " any_value(scope), any_value(history_from)"
                " from (from raw.refreshes union all by name"
                " select null as scope, null::timestamptz as history_from where false)"
                f" where {condition} group by refresh_no order by refresh_no desc"
            ).fetchall()
        return [Refresh(*row) for row in rows]

    def unread_to(self, refresh_no: int) -> dict[str, int]:
        """Entity → the highest ID that a refresh left unread; 0 if it read all."""
        with self.connect() as connection:
            rows = connection.execute(
                "select entity, any_value(unread_to_id)"
                " from (from raw.load_completeness union all by name"
                " select null::bigint as unread_to_id where false)"
                " where refresh_no = $number group by entity",
                {"number": refresh_no},
            ).fetchall()
        return {entity: unread or 0 for entity, unread in rows}

    def next_refresh_no(self) -> int:
        """A number that no refresh has used, not even a stopped one."""
        if not self.database.exists():
            return 1
        with self.connect() as connection:
            tables = [one for one in self._raw_tables(connection) if not one.startswith("_dlt")]
            if not tables:
                return 1
            query = " union all ".join(
                f"select max(refresh_no) as refresh_no from raw.{name}" for name in sorted(tables)
            )
            row = connection.execute(f"select max(refresh_no) from ({query})").fetchone()
        return (row[0] if row and row[0] is not None else 0) + 1

    def known(self, tables: Sequence[str], most: int = 50) -> dict[str, Known]:
        """What completed refreshes know about entities; unknown ones are left out."""
        if not self.database.exists():
            return {}
        of_completed = "refresh_no in (select refresh_no from raw.refreshes where completed)"
        found: dict[str, Known] = {}
        with self.connect() as connection:
            present = self._raw_tables(connection)
            if "refreshes" not in present:
                return {}
            for table in present.intersection(tables):
                records = connection.execute(
                    f"select id, max(created_time) from raw.{table} where {of_completed}"
                    " group by id having not bool_or(is_deleted) and count(created_time) > 0"
                    " order by hash(id) limit $most",
                    {"most": most},
                ).fetchall()
                counted = connection.sql(
                    f"select max(id) as last_id, count(columns(*)) from raw.{table}"
                    f" where {of_completed}"
                )
                (_, *names), ((last_id, *counts),) = counted.columns, counted.fetchall()
                filled = {name for name, count in zip(names, counts, strict=True) if count}
                found[table] = Known(dict(records), filled, last_id or 0)
        return found

    def latest_versions(
        self,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        owners: pl.DataFrame | None = None,
        within: tuple[int, int] | None = None,
    ) -> pl.DataFrame | None:
        """Living rows of a raw table as of the last completed refresh.

        Args:
            owners: for stage history, a frame `owner_id` that limits the rows.
            within: IDs from (exclusive) and to (inclusive) that limit the rows.

        Returns:
            A frame of `columns`; None if the table does not exist yet.
        """
        if not self.database.exists():
            return None
        names = ", ".join(dict.fromkeys([*columns, "is_deleted"]))
        query = LATEST.format(columns=names, table=table, key=", ".join(key))
        if owners is not None:
            # By row ID: a tombstone does not name its owner, so the row before it would stay.
            ids = f"select id from raw.{table} where owner_id in (select owner_id from owners)"
            query = query.replace("where", f"where id in ({ids}) and", 1)
        if within is not None:
            first, last = within
            query = query.replace("where", f"where id > {first} and id <= {last} and", 1)
        with self.connect() as connection:
            if table not in self._raw_tables(connection):
                return None
            if owners is not None:
                connection.register("owners", owners.to_arrow())
            frame = pl.DataFrame(connection.sql(query).to_arrow_table())
        return frame.filter(~pl.col("is_deleted")).select(columns)

    def rewrite(self, dropped: Mapping[str, str]) -> dict[str, tuple[int, int]]:
        """Rewrites the file and renames it into place, without free blocks and dropped rows.

        The old file is only read, and stays complete until the rename, even if this is stopped.

        Args:
            dropped: raw table → query of the rowids to leave out.

        Returns:
            Raw table → rows before and after.

        Raises:
            NotEnoughSpace: the disk cannot hold a second copy of the file.
        """
        with self.connect(read_only=False) as connection:
            # A WAL left by a crash would be replayed on the new file.
            connection.execute("checkpoint")
        size, free = self.database.stat().st_size, shutil.disk_usage(self.directory).free
        if free < size:
            raise NotEnoughSpace(
                f"the disk of {self.directory} has {free:,} bytes free, and a second copy of the"
                f" warehouse needs {size:,}: free space and run again"
            )
        fresh = self.database.with_name("warehouse.rewritten")
        fresh.unlink(missing_ok=True)
        fresh.with_name(f"{fresh.name}.wal").unlink(missing_ok=True)
        with duckdb.connect() as connection:
            connection.execute(f"attach '{self.database}' as warehouse (read_only)")
            connection.execute(f"attach '{fresh}' as fresh")
            connection.execute("use warehouse")
            connection.execute("copy from database warehouse to fresh (schema)")
            rows = {}
            for schema, table in connection.execute(
                "select schema_name, table_name from duckdb_tables()"
                " where database_name = 'warehouse' order by all"
            ).fetchall():
                query = dropped.get(table) if schema == "raw" else None
                where = f" where rowid not in ({query})" if query else ""
                name = f'{schema}."{table}"'
                connection.execute(f"insert into fresh.{name} from {name}{where}")
                if schema == "raw":
                    counted = connection.execute(
                        f"select (select count(*) from {name}), (select count(*) from fresh.{name})"
                    ).fetchone()
                    rows[table] = counted or (0, 0)
            connection.execute("checkpoint fresh")
            connection.execute("detach fresh")
        sync(fresh)
        fresh.replace(self.database)
        sync(self.directory)
        return rows


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def held(path: Path, why: str) -> DatabaseUnreadable:
    """The error to report if another program has a database open."""
    return DatabaseUnreadable(
        f"{path} is open in another program: close it there, or open the published crm.duckdb in"
        f" it instead, then run again\n{why}"
    )


def connect_published(path: Path, **options: str) -> duckdb.DuckDBPyConnection:
    """A read-only connection to a published file.

    Raises:
        DatabaseUnreadable: it is damaged; publishing writes it again.
    """
    try:
        with OPENING:
            return duckdb.connect(str(path), read_only=True, config=dict(options))
    except duckdb.Error as error:
        why = str(error).splitlines()[0]
        if HELD in why:
            raise held(path, why) from error
        raise DatabaseUnreadable(
            f"{path} is damaged, cut short, or another file; nothing was changed. The warehouse"
            f" still has the marts: run `python -m pipelines publish` to write it again\n{why}"
        ) from error


def _owner(path: Path) -> str:
    """Account that owns a file, or the nearest folder that can be seen."""
    for one in (path, *path.parents):
        with suppress(OSError):
            return _account(one.stat().st_uid)
    return "another account"


def _account(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"account {number}"

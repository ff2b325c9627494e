"""The files of WAREHOUSE_DIR: where each is, the refresh lock, and readings of the raw log."""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import os
import pwd
import re
import shutil
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
# What the system says of a full disk, and DuckDB of one that cannot take what memory does not hold.
NO_SPACE = (os.strerror(errno.ENOSPC), "max_temp_directory_size")
LITTLE_SPACE = 1_000_000
# What DuckDB says of a file that it finds damaged when it is open already.
DAMAGED = (
    "Corrupt database file",
    "Could not read enough bytes",
    "has been invalidated because of a previous fatal error",
)
# Such a file is DuckDB's own, and another program has it open.
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

    `started_at` is ours at that moment. `scope` is what the settings let be read; None in
    warehouses that did not yet keep it. `history_from`: what was created before is not loaded yet;
    None where everything is.
    """

    refresh_no: int
    as_of: dt.datetime
    started_at: dt.datetime
    kind: str
    scope: str | None
    history_from: dt.datetime | None


@dataclass(frozen=True)
class Known:
    """What completed refreshes know of an entity.

    Attributes:
        records: some living records, drawn from all, with when they were created.
        filled: columns that hold any value.
    """

    records: dict[int, dt.datetime]
    filled: set[str]


@dataclass(frozen=True)
class Warehouse:
    """The folder that holds the private warehouse and what is published."""

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
        """Lies there from the beginning of a build until all is built and tested."""
        return self.directory / "dbt" / "unfinished"

    @property
    def full_reading_begun(self) -> Path:
        """Lies there while everything is read, and from then on until a reading ends well."""
        return self.directory / ".dlt" / "full_reading_begun"

    @property
    def forgotten(self) -> Path:
        """Lies there while what is published may hold what the settings no longer allow."""
        return self.directory / "forgotten"

    @property
    def _owed_file(self) -> Path:
        return self.directory / "full_reading_owed_by"

    def owe_full_reading(self, refresh_no: int) -> None:
        """From this refresh on, completed or not, changes are found by a full reading only."""
        write_atomically(self._owed_file, refresh_no, private=True)

    def full_reading_owed_by(self) -> int:
        """The refresh that `owe_full_reading` named last, 0 where none was."""
        return int(self._owed_file.read_text()) if self._owed_file.exists() else 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps every other refresh out until the block ends.

        The steps of a refresh run as child processes that inherit the lock: while one of them
        lives, even without its parent, no other refresh starts.

        Raises:
            AnotherRefreshIsRunning: at once, when the lock is held.
            SettingsError: the folder cannot be made or written.
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
                f"{file} cannot be written ({error.strerror}): mend the rights of the folder, or"
                " name another one in WAREHOUSE_DIR"
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
        """What to tell in the error's place where a full disk made it; None where it did not.

        The log of a program that failed is often lost on such a disk: little room is reason enough.
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
            f"the disk is full ({self.directory} has {free:,} bytes free): make room and run again;"
            f" what was published stays\n{found or next(iter(chain), '')}",
            exit_code,
        )

    def cause_of(self, error: BaseException) -> PipelineError | None:
        """What lies under an error, where the disk, another account or a broken file made it."""
        return self.full_disk(error) or self.not_ours(error) or self.damaged(error)

    def not_ours(self, error: BaseException) -> SettingsError | None:
        """What to tell in the error's place where a file of another account made it."""
        cause: BaseException | None = error
        while cause is not None:
            said = re.search(r'"([^"]+)".*Permission denied', str(cause))
            if isinstance(cause, PermissionError) or (isinstance(cause, duckdb.Error) and said):
                name = getattr(cause, "filename", None) or (said and said[1])
                path = Path(os.fsdecode(name)) if name else self.directory
                return SettingsError(
                    f"{path} belongs to {_owner(path)}, and {_account(os.geteuid())} may not use it"
                    " so (a run by sudo leaves such files): where this account refreshes, as root"
                    f" `chown -R {_account(os.geteuid())}: {self.directory}`, then run again; where"
                    " it reads what is published, add it to the group of PUBLISHED_GROUP"
                )
            cause = cause.__cause__ or cause.__context__
        return None

    def damaged(self, error: BaseException) -> DatabaseUnreadable | None:
        """What to tell in the error's place where the warehouse's file made it; None elsewhere.

        A file that opens may be damaged further behind.
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
            f"{self.database} is no warehouse that can be read: it is damaged, cut short, written"
            " by a newer DuckDB, or another file; it is left as it is, and what was published"
            " stays. Two ways on: stop the schedule and restore the last copy of it; or move it"
            f" away, with {self.database.name}.wal, full_reading_owed_by and .dlt, and run a"
            " refresh, which reads everything anew (history begins that day). docs/operations.md,"
            f" Backup and restore, has the commands\n{why}"
        )

    def connect(self, read_only: bool = True) -> duckdb.DuckDBPyConnection:
        """A connection in UTC; the caller closes it.

        Raises:
            DatabaseUnreadable: the file is no DuckDB file that can be read, or is held.
        """
        try:
            connection = duckdb.connect(str(self.database), read_only=read_only)
        except duckdb.Error as error:
            why = str(error).splitlines()[0]
            if HELD in why:
                raise held(self.database, why) from error
            raise self._unreadable(why) from error
        connection.execute("set timezone = 'UTC'")
        return connection

    def raw_tables(self) -> set[str]:
        """Names of the tables of schema `raw`; none before the first refresh."""
        if not self.database.exists():
            return set()
        with self.connect() as connection:
            return self._raw_tables(connection)

    def _raw_tables(self, connection: duckdb.DuckDBPyConnection) -> set[str]:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables()"
        ).fetchall()
        raw = {name for schema, name in tables if schema == "raw"}
        if tables and not raw:
            # Such as a published crm.duckdb in its place: a refresh would write into it.
            schema, name = min(tables)
            raise self._unreadable(f"it has tables ({schema}.{name}), but none in schema raw")
        return raw

    def last_refreshes(self, completed: bool = True) -> list[Refresh]:
        """Refreshes, the newest first.

        Args:
            completed: else those that were loaded whole, whatever their checks said: dlt loads
                tables side by side, and notes the load when it has the last of them.
        """
        if "refreshes" not in self.raw_tables():
            return []
        condition = (
            "completed"
            if completed
            else "not completed"
            " and _dlt_load_id in (select load_id from raw._dlt_loads where status = 0)"
        )
        with self.connect() as connection:
            rows = connection.execute(
                "select refresh_no, max(as_of), max(started_at), any_value(kind),"
                " any_value(scope), any_value(history_from)"
                " from (from raw.refreshes union all by name"
                " select null as scope, null::timestamptz as history_from where false)"
                f" where {condition} group by refresh_no order by refresh_no desc"
            ).fetchall()
        return [Refresh(*row) for row in rows]

    def unread_to(self, refresh_no: int) -> dict[str, int]:
        """Entity → the highest ID that a refresh left unread, 0 where it left none."""
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

    def known(self, tables: Sequence[str], most: int = 50) -> dict[str, Known]:
        """What completed refreshes know of entities; nothing of those that are not there yet."""
        present = self.raw_tables()
        if "refreshes" not in present:
            return {}
        of_completed = "refresh_no in (select refresh_no from raw.refreshes where completed)"
        found = {}
        with self.connect() as connection:
            for table in present.intersection(tables):
                records = connection.execute(
                    f"select id, max(created_time) from raw.{table} where {of_completed}"
                    " group by id having not bool_or(is_deleted) and count(created_time) > 0"
                    " order by hash(id) limit $most",
                    {"most": most},
                ).fetchall()
                counted = connection.sql(
                    f"select count(columns(*)) from raw.{table} where {of_completed}"
                )
                names, (counts,) = counted.columns, counted.fetchall()
                filled = {name for name, count in zip(names, counts, strict=True) if count}
                found[table] = Known(dict(records), filled)
        return found

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
            # By their IDs: a tombstone has no owner, and would leave the row before it living.
            ids = f"select id from raw.{table} where owner_id in (select owner_id from owners)"
            query = query.replace("where", f"where id in ({ids}) and", 1)
        with self.connect() as connection:
            if table not in self._raw_tables(connection):
                return None
            if owners is not None:
                connection.register("owners", owners.to_arrow())
            frame = pl.DataFrame(connection.sql(query).to_arrow_table())
        return frame.filter(~pl.col("is_deleted")).select(columns)

    def rewrite(self, dropped: Mapping[str, str]) -> dict[str, tuple[int, int]]:
        """Writes the file anew and renames it into place: free blocks and dropped rows are gone.

        The old file is only read and stays whole until the rename, whenever this stops.

        Args:
            dropped: raw table → query of the rowids that are left out.

        Returns:
            Raw table → rows before and after.

        Raises:
            NotEnoughSpace: the disk cannot hold a second copy of the file.
        """
        with self.connect(read_only=False) as connection:
            # A log that a crash left would be replayed upon the new file.
            connection.execute("checkpoint")
        size, free = self.database.stat().st_size, shutil.disk_usage(self.directory).free
        if free < size:
            raise NotEnoughSpace(
                f"the disk of {self.directory} has {free:,} bytes free and a second copy of the"
                f" warehouse needs {size:,}: make room and run it again"
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
    """What to tell where another program has a database open."""
    return DatabaseUnreadable(
        f"{path} is held open by another program: close it there, or let it open the published"
        f" crm.duckdb, then run again\n{why}"
    )


def connect_published(path: Path, **options: str) -> duckdb.DuckDBPyConnection:
    """A read-only connection to a published file.

    Raises:
        DatabaseUnreadable: it is damaged; publishing makes it anew.
    """
    try:
        return duckdb.connect(str(path), read_only=True, config=dict(options))
    except duckdb.Error as error:
        why = str(error).splitlines()[0]
        if HELD in why:
            raise held(path, why) from error
        raise DatabaseUnreadable(
            f"{path} is damaged, cut short, or another file: nothing was changed; the warehouse"
            f" holds its marts, and `python -m pipelines publish` writes it anew\n{why}"
        ) from error


def _owner(path: Path) -> str:
    """Account of a file, or of the folder in which it cannot be seen."""
    for one in (path, *path.parents):
        with suppress(OSError):
            return _account(one.stat().st_uid)
    return "another account"


def _account(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"account {number}"

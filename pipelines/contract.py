"""The raw contract: what the rows of a refresh must satisfy, as suites of Great Expectations.

The new rows of all tables are checked at once where they are few: an expectation costs 20 ms on
however few rows. Otherwise, and to name what failed, each raw table has a suite that runs on chunks
of its new rows. Two more suites run on what SQL counts: the columns of every table, and one row per
table. So memory stays bounded however many rows were read. The engine is pandas: the SQL engine of
Great Expectations does not work on DuckDB.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import duckdb
import polars as pl

from pipelines.bitrix24.access import LOOPBACK_HOSTS
from pipelines.bitrix24.entities import (
    AD_COSTS,
    DETAILS,
    ENTITIES,
    LEGACY,
    LINK,
    TABLES,
    OwnedTable,
    Table,
)
from pipelines.settings import Settings

# Check, what the column's values are to do (`ExpectColumnValuesTo…`), and its arguments.
Suite = list[tuple[str, str, dict[str, Any]]]

ROWS_A_CHUNK = 100_000
CLOCK_AHEAD_HOURS = 24
# Servers of one portal differ by seconds, and clocks get adjusted.
CLOCK_BACK_HOURS = 1
SMALL_DROP_ROWS = 20

KEYS_MISSING, KEYS_REPEATED = "keys_missing", "keys_repeated"
DIFFERENCE, LOSS, DROP = "rows_short_of_portal", "rows_lost", "rows_dropped"

# Check → what its failures are.
CHECKS = {
    "columns_unexpected": "columns that are missing or not declared",
    "types_differ": "columns of another type than declared",
    KEYS_MISSING: "rows without a key",
    KEYS_REPEATED: "rows with a key that came more than once in one refresh",
    "semantics_unknown": "rows whose stage semantics is not P, S or F",
    "links_out_of_range": "links to a record with an ID below 1",
    "personal_data_forbidden": "rows with personal data that the settings do not allow",
    "deleted_with_values": "deleted rows that hold more than their key",
    "rows_not_loaded": "rows that were read but are not in the raw log (or are there twice)",
    DIFFERENCE: "rows of difference between the portal's count and the warehouse",
    LOSS: "rows are gone from the portal, more than max_deleted_share allows",
    DROP: "fewer rows than after the last refresh, more than max_drop_share allows",
    "clock_ahead": "hours by which the portal's clock is ahead of this machine's",
    "clock_went_back": "hours by which the portal's clock is behind that of the last refresh",
}
_AGAIN = "run again: the portal changed during the sync, or the load was interrupted"
_FIX = "fix the named records in the portal, then run again"
_REPORT = "report it: the extraction is wrong, not the portal"
_TABLE = "restore the copy made before the upgrade, or report it"
_CLOCK = "set the clock that is wrong, the portal's or this machine's, then run again"
# Check → what to do where it fails.
ADVICE = {
    "columns_unexpected": _TABLE,
    "types_differ": _TABLE,
    KEYS_MISSING: _AGAIN,
    KEYS_REPEATED: _AGAIN,
    "semantics_unknown": _FIX,
    "links_out_of_range": _FIX,
    "personal_data_forbidden": _REPORT,
    "deleted_with_values": _REPORT,
    "rows_not_loaded": _AGAIN,
    DIFFERENCE: "run `refresh --full`; if it stays and you know why, add --accept-difference once",
    LOSS: "check the rights; if they were really deleted, add --accept-loss once",
    DROP: "check whether the portal shows them; if they are really gone, add --accept-drop once",
    "clock_ahead": _CLOCK,
    "clock_went_back": _CLOCK,
}
COLUMNS = ("columns_unexpected", "types_differ")
COUNTED = ("rows_not_loaded", DIFFERENCE, LOSS, DROP)
CLOCKS = ("clock_ahead", "clock_went_back")

CRM_PATHS = {"leads": "lead", "deals": "deal", "contacts": "contact", "companies": "company"}


@dataclass
class Contract:
    """The raw contract of one refresh.

    Attributes:
        connection: on the warehouse.
        refresh_no: the refresh that is checked.
        settings: the shares of rows that may disappear.
    """

    connection: duckdb.DuckDBPyConnection
    refresh_no: int
    settings: Settings

    def _rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, parameters).fetchall()

    def _frame(self, query: str, **parameters: Any) -> pl.DataFrame:
        return pl.DataFrame(self.connection.sql(query, params=parameters).to_arrow_table())

    @cached_property
    def header(self) -> dict[str, Any]:
        """The row of `raw.refreshes` with `scope` parsed."""
        row = self._frame(
            "from raw.refreshes where refresh_no = $number limit 1", number=self.refresh_no
        ).row(0, named=True)
        return row | {"scope": json.loads(row["scope"])}

    # -- the columns of all tables

    def columns(self) -> pl.DataFrame:
        """One row per raw table and column; `COLUMNS` say what is wrong with it."""
        declared = [
            (table.name, name, str(kind))
            for table in TABLES
            for name, kind in self._declared(table).items()
        ]
        found = self._rows(
            "select table_name, column_name, data_type from duckdb_columns()"
            " where schema_name = 'raw' and list_contains($tables, table_name)"
            " and not starts_with(column_name, '_dlt_')",
            tables=[table.name for table in TABLES],
        )
        keys = ["entity", "record_id"]
        declared_type, found_type = pl.col("declared"), pl.col("found")
        return (
            pl.DataFrame(declared, [*keys, "declared"], orient="row")
            .join(
                pl.DataFrame(found, dict.fromkeys([*keys, "found"], pl.String), orient="row"),
                on=keys,
                how="full",
                coalesce=True,
            )
            .with_columns(
                columns_unexpected=pl.when(found_type.is_null())
                .then(pl.lit("missing"))
                .when(declared_type.is_null())
                .then(pl.lit("not declared")),
                types_differ=pl.when(declared_type != found_type).then(
                    pl.format("{}, declared {}", found_type, declared_type)
                ),
            )
            .sort(keys)
        )

    def _declared(self, table: Table) -> dict[str, Any]:
        """Column → type as DuckDB names it."""
        empty = self.connection.from_arrow(pl.DataFrame(schema=table.schema).to_arrow())
        return dict(zip(empty.columns, empty.types, strict=True))

    # -- the rows of all tables, and of one

    def few_rows(self) -> Any:
        """The rows of the refresh as one Arrow table for the suite of all tables, keys with the
        name of their table; None where they are many."""
        parts = [
            f"select * replace ('{table.name}/' || record_id as record_id) from (select"
            f" {', '.join(self._needed(table))} from raw.{table.name} where refresh_no = $number)"
            for table in TABLES
        ]
        rows = " union all by name ".join(parts)
        found = self.connection.sql(
            f"from ({rows}) limit {ROWS_A_CHUNK + 1}", params={"number": self.refresh_no}
        ).to_arrow_table()
        return found if found.num_rows <= ROWS_A_CHUNK else None

    def chunks(self, table: Table) -> Iterator[Any]:
        """Rows of the refresh as Arrow tables for the suite; equal keys are in one of them."""
        first = table.key[0]
        new = f"raw.{table.name} where refresh_no = $number"
        (total,) = self._rows(f"select count(*) from {new}", number=self.refresh_no)[0]
        if not total:
            return
        ends = self._rows(
            f"select {first} from (select {first}, row_number() over (order by {first}) as place"
            f" from {new}) where place % {ROWS_A_CHUNK} = 0 and place < {total} order by {first}",
            number=self.refresh_no,
        )
        start = None
        for end in [*dict.fromkeys(value for (value,) in ends), None]:
            within = [f"{first} > $start"] if start is not None else []
            within += [f"{first} <= $end"] if end is not None else []
            condition = " and ".join(within) or "true"
            if start is None:
                condition = f"({condition} or {first} is null)"
            bounds = {"start": start, "end": end}
            yield self.connection.sql(
                f"select {', '.join(self._needed(table))} from {new} and {condition}",
                params={"number": self.refresh_no}
                | {name: value for name, value in bounds.items() if value is not None},
            ).to_arrow_table()
            start = end

    def _needed(self, table: Table) -> list[str]:
        """What the suite of a table checks, as SQL."""
        return [
            f"{_record_id(table)} as record_id",
            *(["stage_semantic_id"] if "stage_semantic_id" in table.columns else []),
            *_links(table),
            f"{self._forbidden(table)} as personal_data_forbidden",
            f"{_values_of_deleted(table)} as deleted_with_values",
        ]

    def _forbidden(self, table: Table) -> str:
        """SQL: names of fields with personal data that the settings do not allow, or null."""
        scope = self.header["scope"]
        parts = []
        if "title" in table.columns and not scope["titles"]:
            parts.append("case when title is not null then 'title' end")
        if table.has_user_fields and scope["pii"] != "full":
            allowed = scope["user_fields"] if table.has_state else []
            parts.append(
                "nullif(array_to_string(list_filter(json_keys(user_fields), lambda name:"
                f" name not in ({_listed(['', *allowed])})), ', '), '')"
            )
        if table in DETAILS and scope["pii"] == "none":
            parts.append("case when not is_deleted then 'read at all' end")
        if table in DETAILS and scope["pii"] == "hash":
            parts += [_unless_hashed(name) for name in table.columns if name != "id"]
        return f"nullif(concat_ws(', ', {', '.join(parts)}), '')" if parts else "null::varchar"

    def suite(self, *tables: Table) -> Suite:
        """What the rows of a table, or of several together, must satisfy, by check."""
        found: Suite = [
            (KEYS_MISSING, "NotBeNull", {"column": "record_id"}),
            (KEYS_REPEATED, "BeUnique", {"column": "record_id"}),
        ]
        if any("stage_semantic_id" in table.columns for table in tables):
            known = {"column": "stage_semantic_id", "value_set": ["P", "S", "F"]}
            found.append(("semantics_unknown", "BeInSet", known))
        found += [
            ("links_out_of_range", "BeBetween", {"column": name, "min_value": 1})
            for name in dict.fromkeys(name for table in tables for name in _links(table))
        ]
        found += [
            (name, "BeNull", {"column": name})
            for name in ("personal_data_forbidden", "deleted_with_values")
        ]
        return found

    # -- a row per table

    def counts(self) -> pl.DataFrame:
        """One row per raw table; the columns of `COUNTED` must be zero, the others explain them."""
        rows = self._frame(" union all by name ".join(map(self._versions_sql, TABLES)))
        loaded = self._frame(
            "select entity, any_value(rows_read) as rows_read,"
            " any_value(rows_appended) as rows_appended, any_value(rows_living) as rows_living,"
            " any_value(portal_total) as portal_total"
            " from raw.load_completeness where refresh_no = $number group by entity",
            number=self.refresh_no,
        )
        rows = rows.join(loaded, on="entity", how="left").join(
            self._lists(loaded), on="entity", how="left"
        )
        total = pl.col("portal_total").fill_null(0)
        entities = pl.col("entity").is_in([table.name for table in ENTITIES])
        # Their owner may shorten or remove spend files.
        spend = pl.col("entity") == AD_COSTS.name
        allowed_loss = self.settings.max_deleted_share * pl.col("before")
        before = pl.coalesce("expected", "before")
        drop = before - pl.coalesce("listed", "after")
        return rows.with_columns(
            rows_before=before,
            rows_after=pl.coalesce("listed", "after"),
            rows_not_loaded=(pl.col("rows_appended").fill_null(0) - pl.col("rows_loaded")).abs(),
            # A row deleted during the sync may be in the log and not in the portal's count.
            rows_short_of_portal=pl.when(entities)
            .then(
                pl.max_horizontal(
                    total - pl.col("after_here"), (total - pl.col("rows_living")).abs()
                )
            )
            .otherwise(0),
            rows_lost=pl.when(entities & _exceeds(pl.col("gone"), allowed_loss))
            .then("gone")
            .otherwise(0),
            rows_dropped=pl.when(
                ~entities & ~spend & _exceeds(drop, self.settings.max_drop_share * before)
            )
            .then(drop)
            .otherwise(0),
        ).sort("entity")

    def _versions_sql(self, table: Table) -> str:
        """Living rows before and after the refresh, from the log itself."""
        # A first load in parts leaves out what is older than `unread_to_id`, except linked records.
        unread = (
            "(select coalesce(any_value(unread_to_id), 0) from (from raw.load_completeness"
            " union all by name select null::bigint as unread_to_id where false)"
            f" where refresh_no = {self.refresh_no} and entity = '{table.name}')"
        )
        here = f"id > {unread}" if table in ENTITIES else "true"
        key = ", ".join(table.key)
        return f"""
            select
                '{table.name}' as entity,
                (
                    select count(*) from raw.{table.name} where refresh_no = {self.refresh_no}
                ) as rows_loaded,
                count(*) filter (was_deleted = false) as before,
                count(*) filter (is_deleted = false) as after,
                count(*) filter (is_deleted = false and {here}) as after_here,
                count(*) filter (was_deleted = false and is_deleted) as gone
            from (
                select
                    {key},
                    arg_max(is_deleted, refresh_no) filter (
                        refresh_no <> {self.refresh_no}
                    ) as was_deleted,
                    arg_max(is_deleted, refresh_no) as is_deleted
                from raw.{table.name}
                where
                    refresh_no = {self.refresh_no}
                    or refresh_no in (select refresh_no from raw.refreshes where completed)
                group by {key}
            )
        """

    def _lists(self, loaded: pl.DataFrame) -> pl.DataFrame:
        """Rows expected and rows read of legacy methods, read in full and without tombstones.

        A list gives one row per living record of its owner, minus what was missing last time.
        """
        schema = {"entity": pl.String, "expected": pl.Int64, "listed": pl.Int64}
        header = self.header
        known = {row["entity"]: row for row in loaded.iter_rows(named=True)}
        rows = []
        for table in LEGACY if header["kind"] == "full" else ():
            if table in DETAILS and header["scope"]["pii"] == "none":
                continue
            lacked = self._rows(
                "select greatest(owners.rows_living - listed.rows_read, 0)"
                " from raw.load_completeness as listed"
                " inner join raw.load_completeness as owners using (refresh_no)"
                " inner join raw.refreshes using (refresh_no)"
                " where completed and kind = 'full' and refresh_no < $number"
                " and listed.rows_read > 0"
                " and listed.entity = $list and owners.entity = $owner"
                " order by refresh_no desc limit 1",
                number=self.refresh_no,
                list=table.name,
                owner=table.owner,
            )
            expected = known[table.owner]["rows_living"] - (lacked[0][0] if lacked else 0)
            rows.append((table.name, expected, known[table.name]["rows_read"]))
        return pl.DataFrame(rows, schema, orient="row")

    def clocks(self, now: dt.datetime) -> pl.DataFrame:
        """One row: hours by which the portal's clock is wrong; the columns of `CLOCKS`."""
        header = self.header
        (last,) = self._rows("select max(as_of) from raw.refreshes where completed")[0]
        ahead = _hours(header["as_of"], now)
        # A portal on this machine is the demo portal, which has a clock of its own.
        if ahead <= CLOCK_AHEAD_HOURS or urlsplit(header["portal_url"]).hostname in LOOPBACK_HOSTS:
            ahead = 0
        behind = _hours(last, header["as_of"]) if last else 0
        if behind <= CLOCK_BACK_HOURS:
            behind = 0
        return pl.DataFrame(
            {"entity": ["refreshes"], "clock_ahead": [ahead], "clock_went_back": [behind]}
        )

    # -- which records failed

    def removed(self, table: Table, most: int) -> list[str]:
        """Records that this refresh found deleted."""
        rows = self._rows(
            f"select {_record_id(table)} from raw.{table.name}"
            f" where refresh_no = $number and is_deleted order by {', '.join(table.key)}"
            f" limit {most}",
            number=self.refresh_no,
        )
        return [record for (record,) in rows]

    def links(self, entity: str, records: list[str]) -> dict[str, str]:
        """Record → its address in the CRM, for records that have one."""
        table = next((table for table in TABLES if table.name == entity), None)
        path = _crm_path(table) if table else None
        if table is None or path is None or not records:
            return {}
        rows = self._rows(
            f"select {_record_id(table)} as record_id, $url || max({path})"
            f" from raw.{table.name} where record_id in (select unnest($records)) group by all",
            url=self.header["portal_url"],
            records=records,
        )
        return {record: url for record, url in rows if url is not None}


def columns_suite() -> Suite:
    """What the columns of the raw tables must satisfy, by check."""
    return [(name, "BeNull", {"column": name}) for name in COLUMNS]


def zero_suite(checks: tuple[str, ...]) -> Suite:
    """Every count must be zero, by check."""
    return [
        (name, "BeBetween", {"column": name, "min_value": 0, "max_value": 0}) for name in checks
    ]


def _exceeds(rows: pl.Expr, allowed: pl.Expr) -> pl.Expr:
    return (rows > SMALL_DROP_ROWS) & (rows > allowed)


def _hours(later: dt.datetime, earlier: dt.datetime) -> int:
    """Whole hours, rounded up."""
    return -int(-(later - earlier).total_seconds() // 3600)


def _record_id(table: Table) -> str:
    """The key as text; null if a part of it is null."""
    return " || '/' || ".join(f"{name}::varchar" for name in table.key)


def _links(table: Table) -> list[str]:
    return [name for name, (_, kind) in table.columns.items() if kind is LINK or name == "owner_id"]


def _values_of_deleted(table: Table) -> str:
    """SQL: names of columns that a tombstone fills besides its key, or null."""
    bookkeeping = {*table.key, "is_deleted", "refresh_no"}
    filled = ", ".join(
        f"case when {name} is not null then '{name}' end"
        for name in table.schema
        if name not in bookkeeping
    )
    return f"case when is_deleted then nullif(concat_ws(', ', {filled}), '') end"


def _unless_hashed(name: str) -> str:
    pattern = {
        "phones": r'\[("[0-9a-f]{32}"(, )?)*\]',
        "emails": r'\[("[0-9a-f]{32}"(, )?)*\]',
        "comments": "",
    }.get(name, "[0-9a-f]{32}")
    return f"case when not regexp_full_match({name}, '{pattern}') then '{name}' end"


def _listed(names: list[str]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in names)


def _crm_path(table: Table) -> str | None:
    """SQL: the path of a record's page, or of its owner's page if it does not have one."""
    if table.name == "activities":
        return (
            "case owner_type_id when 1 then '/crm/lead/details/' when 2 then '/crm/deal/details/'"
            " end || owner_id || '/'"
        )
    if table.name == "users":
        return "'/company/personal/user/' || id || '/'"
    kind = CRM_PATHS.get(table.owner if isinstance(table, OwnedTable) else table.name)
    if kind is None:
        return None
    number = "owner_id" if table.kind == "history" else "id"
    return f"'/crm/{kind}/details/' || {number} || '/'"

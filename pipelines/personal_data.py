"""Customers' personal data: hashing, and erasing what a stricter setting no longer allows.

The setting `pii` says what is read: `none` asks the portal for no names, phones, e-mails or
comments; `hash` stores names, phones and e-mails as keyed hashes; `full` stores them as they are.
Titles of leads and deals, which often hold a name, are read only with `full` or `keep_titles`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import polars as pl

from pipelines.bitrix24.entities import DETAILS, ENTITIES, TABLES
from pipelines.bitrix24.redaction import without_addresses
from pipelines.bitrix24.values import listed, mapping
from pipelines.environment import HashKey
from pipelines.errors import SettingsError
from pipelines.raw_files import as_tables
from pipelines.warehouse import Warehouse

SHORTEST_KEY = 16
BUILT_SCHEMAS = ("build", "staging", "intermediate", "marts", "quality")

Row = Mapping[str, Any]


def protection(level: str) -> Callable[[Row], Row]:
    """The function applied to each row of contact details before it is stored.

    Raises:
        SettingsError: the rows must be hashed and the environment does not have a key.
    """
    if level != "hash":
        return lambda row: row
    key = HashKey.read()
    if key.length < SHORTEST_KEY:
        raise SettingsError(
            f"setting pii = 'hash' needs a secret of at least {SHORTEST_KEY} characters in the"
            " environment variable PII_HASH_KEY: without one, phones could be guessed"
        )

    def protect(row: Row) -> Row:
        safe = dict(row)
        for name, value in row.items():
            if name in ("PHONE", "EMAIL"):
                clean = _phone if name == "PHONE" else _email
                safe[name] = [
                    {"VALUE": key.hashed(clean(str(mapping(item).get("VALUE") or "")))}
                    for item in listed(value)
                ]
            elif name != "ID" and value:
                safe[name] = key.hashed(" ".join(str(value).casefold().split()))
        return safe

    return protect


def _phone(text: str) -> str:
    """Only digits; a Russian number that starts with 8 is the same as with 7."""
    digits = re.sub(r"\D", "", text)
    return f"7{digits[1:]}" if len(digits) == 11 and digits.startswith("8") else digits


def _email(text: str) -> str:
    return text.strip().casefold()


def forget(warehouse: Warehouse, titles: bool) -> None:
    """Erases what earlier refreshes stored and is no longer allowed, before a full sync.

    Contact details and user fields are erased (the sync brings back user fields that are still
    read), titles unless `titles`, tokens and webhook codes from the addresses in all other texts;
    models built from them are dropped. The file is rewritten, since DuckDB leaves deleted values in
    free blocks. What is published is removed by the next publication.
    """
    with as_tables(warehouse):
        _erase(warehouse, titles)
    shutil.rmtree(warehouse.directory / ".dlt", ignore_errors=True)
    warehouse.forgotten.touch()


def _erase(warehouse: Warehouse, titles: bool) -> None:
    known = warehouse.raw_tables()
    with warehouse.connect(read_only=False) as connection:
        for table in (entity for entity in ENTITIES if entity.name in known):
            changes = ["user_fields = '{}'", "row_hash = ''"]
            if "title" in table.columns and not titles:
                changes.append("title = null")
            connection.execute(f"update raw.{table.name} set {', '.join(changes)}")
        for name in (details.name for details in DETAILS if details.name in known):
            connection.execute(f"delete from raw.{name}")
        texts = connection.execute(
            "select table_name, column_name from duckdb_columns()"
            " where schema_name = 'raw' and data_type = 'VARCHAR' and table_name in $tables",
            {"tables": [table.name for table in TABLES]},
        ).fetchall()
        for table_name, column in texts:
            _cut_addresses(connection, table_name, column)
        for schema in BUILT_SCHEMAS:
            connection.execute(f"drop schema if exists {schema} cascade")
    warehouse.rewrite({})


def _cut_addresses(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> None:
    """Removes tokens and webhook codes from the texts of a raw column."""
    texts = connection.execute(
        f"select distinct {column} from raw.{table} where regexp_matches({column}, '[/%&?;#]')"
    ).fetchall()
    cut = [(text, safe) for (text,) in texts if (safe := without_addresses(text)) != text]
    if cut:
        connection.register("cut", pl.DataFrame(cut, ["was", "safe"], orient="row").to_arrow())
        connection.execute(
            f"update raw.{table} set {column} = cut.safe from cut where {column} = cut.was"
        )
        connection.unregister("cut")

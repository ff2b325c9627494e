"""The raw layer by hand: empty tables of its contract, and rows put into them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from pipelines.statements import TABLES

_INSTANT = "timestamptz"
_ITEM = {
    "id": "bigint",
    "title": "varchar",
    "created_time": _INSTANT,
    "updated_time": _INSTANT,
    "moved_time": _INSTANT,
    "assigned_by_id": "bigint",
    "created_by": "bigint",
    "moved_by": "bigint",
    "stage_id": "varchar",
    "stage_semantic_id": "varchar",
    "source_id": "varchar",
    "opportunity": "decimal(20,2)",
    "currency_id": "varchar",
    "company_id": "bigint",
    "contact_id": "bigint",
    "contact_ids": "varchar",
    "is_return_customer": "varchar",
    "utm_source": "varchar",
    "utm_medium": "varchar",
    "utm_campaign": "varchar",
    "utm_content": "varchar",
    "utm_term": "varchar",
    "originator_id": "varchar",
    "origin_id": "varchar",
    "last_activity_time": _INSTANT,
    "user_fields": "varchar",
    "state_hash": "varchar",
}
_HISTORY = {
    "id": "bigint",
    "type_id": "bigint",
    "owner_id": "bigint",
    "created_time": _INSTANT,
    "stage_semantic_id": "varchar",
    "stage_id": "varchar",
}
_DETAILS = {
    "id": "bigint",
    "name": "varchar",
    "phones": "varchar",
    "emails": "varchar",
    "comments": "varchar",
}
_PERSON_DETAILS = {**_DETAILS, "second_name": "varchar", "last_name": "varchar"}
_VERSION = {
    "refresh_no": "bigint",
    "is_deleted": "boolean",
    "row_hash": "varchar",
    "_dlt_load_id": "varchar",
}

ENTITY_TABLES: dict[str, dict[str, str]] = {
    "leads": {**_ITEM, "date_closed": _INSTANT},
    "deals": {
        **_ITEM,
        "closedate": "date",
        "closed": "varchar",
        "category_id": "bigint",
        "lead_id": "bigint",
        "type_id": "varchar",
        "is_recurring": "varchar",
        "is_repeated_approach": "varchar",
    },
    "contacts": {
        "id": "bigint",
        "created_time": _INSTANT,
        "updated_time": _INSTANT,
        "company_id": "bigint",
        "lead_id": "bigint",
        "source_id": "varchar",
        "assigned_by_id": "bigint",
        "user_fields": "varchar",
    },
    "companies": {
        "id": "bigint",
        "created_time": _INSTANT,
        "updated_time": _INSTANT,
        "lead_id": "bigint",
        "is_my_company": "varchar",
        "assigned_by_id": "bigint",
        "user_fields": "varchar",
    },
    "lead_addresses": {"id": "bigint", "address_city": "varchar"},
    "lead_details": _PERSON_DETAILS,
    "contact_details": _PERSON_DETAILS,
    "company_details": _DETAILS,
    "lead_stage_history": _HISTORY,
    "deal_stage_history": {**_HISTORY, "category_id": "bigint"},
    "activities": {
        "id": "bigint",
        "owner_type_id": "bigint",
        "owner_id": "bigint",
        "type_id": "bigint",
        "provider_id": "varchar",
        "responsible_id": "bigint",
        "created": _INSTANT,
        "deadline": _INSTANT,
    },
    "statuses": {
        "id": "bigint",
        "entity_id": "varchar",
        "status_id": "varchar",
        "name": "varchar",
        "sort": "bigint",
        "semantics": "varchar",
        "category_id": "bigint",
        "color": "varchar",
    },
    "categories": {
        "id": "bigint",
        "name": "varchar",
        "sort": "bigint",
        "is_default": "varchar",
    },
    "users": {
        "id": "bigint",
        "name": "varchar",
        "last_name": "varchar",
        "second_name": "varchar",
        "active": "boolean",
        "work_position": "varchar",
        "department_ids": "varchar",
    },
    "departments": {
        "id": "bigint",
        "name": "varchar",
        "sort": "bigint",
        "parent_id": "bigint",
    },
    "currencies": {
        "currency": "varchar",
        "full_name": "varchar",
        "amount": "decimal(38,10)",
        "amount_cnt": "decimal(20,4)",
        "base": "varchar",
        "sort": "bigint",
        "decimals": "bigint",
    },
    "fields": {
        "entity_type_id": "bigint",
        "field_name": "varchar",
        "type": "varchar",
        "label": "varchar",
        "is_multiple": "boolean",
        "is_dynamic": "boolean",
        "items": "varchar",
    },
    "ad_costs": {
        "file": "varchar",
        "line_number": "bigint",
        "date_from": "date",
        "date_to": "date",
        "utm_source": "varchar",
        "utm_medium": "varchar",
        "utm_campaign": "varchar",
        "utm_content": "varchar",
        "utm_term": "varchar",
        "source_code": "varchar",
        "cost": "decimal(18,6)",
        "currency_code": "varchar",
        "clicks": "bigint",
        "vat_percent": "decimal(5,2)",
    },
}
RUN_TABLES: dict[str, dict[str, str]] = {
    "refreshes": {
        "refresh_no": "bigint",
        "completed": "boolean",
        "as_of": _INSTANT,
        "started_at": _INSTANT,
        "kind": "varchar",
        "portal_url": "varchar",
        "crm_mode": "bigint",
        "base_currency": "varchar",
        "utc_offset": "varchar",
        "history_from": _INSTANT,
        "written_times": "varchar",
    },
    "load_completeness": {
        "refresh_no": "bigint",
        "entity": "varchar",
        "portal_total": "bigint",
        "rows_read": "bigint",
        "rows_appended": "bigint",
        "rows_living": "bigint",
        "rows_deleted": "bigint",
        "requests": "bigint",
        "rows_unread": "bigint",
        "unread_to_id": "bigint",
    },
}

# What the portal sends for an item that has nothing there.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "leads": {"contact_ids": "[]", "user_fields": "{}", "opportunity": 0, "currency_id": "RUB"},
    "deals": {
        "contact_ids": "[]",
        "user_fields": "{}",
        "opportunity": 0,
        "currency_id": "RUB",
        "category_id": 0,
        "closed": "N",
        "is_recurring": "N",
    },
}


def create_raw_tables(warehouse: Path) -> None:
    """Create the schemas `raw` and `statements` with every table of the contract, all empty.

    Args:
        warehouse: Path of the DuckDB file; made if it does not exist.
    """
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create schema if not exists raw")
        connection.execute(TABLES)
        for tables, extra in ((ENTITY_TABLES, _VERSION), (RUN_TABLES, {})):
            for table, columns in tables.items():
                declared = ", ".join(f"{n} {t}" for n, t in {**columns, **extra}.items())
                connection.execute(f"create table raw.{table} ({declared})")


def insert_rows(warehouse: Path, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows to a raw table; columns that a row leaves out are null.

    Args:
        warehouse: Path of the DuckDB file.
        table: Name of the table in `raw`.
        rows: One mapping per row, column to value. Entity rows belong to refresh 1 and living
            versions of it unless they say otherwise.
    """
    entity = table in ENTITY_TABLES
    with duckdb.connect(str(warehouse)) as connection:
        for row in rows:
            values = {**_DEFAULTS.get(table, {}), **row}
            if entity:
                values = {
                    "refresh_no": 1,
                    "is_deleted": False,
                    "_dlt_load_id": "1.0",
                    **values,
                }
            names = ", ".join(values)
            marks = ", ".join("?" for _ in values)
            connection.execute(
                f"insert into raw.{table} ({names}) values ({marks})", list(values.values())
            )


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the warehouse in a folder."""
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()

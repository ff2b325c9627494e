"""What the published figures say about the settings; shown by a refresh and by the doctor."""

from __future__ import annotations

from typing import Any

import duckdb

from pipelines.bitrix24.entities import ENTITIES
from pipelines.warehouse import Warehouse

# Kinds of quality.issues that a setting resolves; each is one line.
OPEN_AFTER_HAND_OVER = "open_after_hand_over"
OPEN_BEHIND_PAID_STAGE = "open_behind_paid_stage"
HISTORY_BEGINS_AFTER_DEAL = "history_begins_after_deal"


def published_issues(
    warehouse: Warehouse, *kinds: str, language: str = "en"
) -> list[tuple[str, str, str]]:
    """Kind, key and explanation of published issues of these kinds; none before publication."""
    path = warehouse.published / "crm.duckdb"
    if not path.exists():
        return []
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(
            f"select kind, record_key, explanation_{language} from quality.issues"
            " where kind in (select unnest($kinds)) order by kind, record_key",
            {"kinds": list(kinds)},
        ).fetchall()


def published_deletions(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """What the last refresh found deleted: entity → records, amount and base currency.

    The amount is None for entities without amounts.
    """
    path = warehouse.published / "crm.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "select entity, rows_deleted, deleted_base_amount, base_currency"
            " from quality.load_completeness cross join quality.refreshes"
            " where entity in (select unnest($entities)) and rows_deleted > 0 order by entity",
            {"entities": [table.name for table in ENTITIES]},
        ).fetchall()
    return {
        entity: {"records": records, "amount": amount, "currency": currency}
        for entity, records, amount, currency in rows
    }

"""The raw layer of a small portal whose figures can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.raw_tables import create_raw_tables, insert_rows

REFRESHES: list[dict[str, Any]] = [
    {
        "refresh_no": number,
        "completed": completed,
        "as_of": as_of,
        "portal_url": "https://acme.bitrix24.ru",
        "crm_mode": 1,
        "base_currency": "RUB",
    }
    for number, completed, as_of in (
        (1, False, "2026-03-10 20:00:00+03"),
        (1, True, "2026-03-10 20:00:00+03"),
        (2, False, "2026-03-31 20:00:00+03"),
        (2, True, "2026-03-31 20:00:00+03"),
        (3, False, "2026-04-01 20:00:00+03"),
    )
]


def lay_out_portal(warehouse: Path) -> None:
    """Fill raw with a portal whose figures can be worked out by hand; as_of is 31 March, 20:00."""
    file = warehouse / "warehouse.duckdb"
    create_raw_tables(file)
    insert_rows(file, "refreshes", REFRESHES)
    insert_rows(
        file,
        "statuses",
        [
            {"id": i, "entity_id": directory, "status_id": code, "name": name, "sort": sort}
            | {"semantics": semantics, "category_id": pipeline}
            for i, (directory, code, name, sort, semantics, pipeline) in enumerate(
                (
                    ("STATUS", "NEW", "Новый", 10, None, None),
                    ("STATUS", "IN_PROCESS", "В обработке", 20, None, None),
                    ("STATUS", "JUNK", "Некачественный", 30, "F", None),
                    ("STATUS", "CONVERTED", "Качественный", 40, "S", None),
                    ("DEAL_STAGE", "NEW", "Новая", 10, None, 0),
                    ("DEAL_STAGE", "PREP", "Договор", 20, None, 0),
                    ("DEAL_STAGE", "UC_PAID", "Успешно закрыто", 30, None, 0),
                    ("DEAL_STAGE", "WON", "Оплачено", 40, "S", 0),
                    ("DEAL_STAGE", "LOSE", "Провал", 50, "F", 0),
                    ("DEAL_STAGE_5", "C5:WON", "Оказано", 10, "S", 5),
                    ("SOURCE", "WEB", "Сайт", 10, None, None),
                ),
                start=1,
            )
        ],
    )
    insert_rows(
        file,
        "categories",
        [{"id": 0, "name": "Продажи", "sort": 10}, {"id": 5, "name": "Сервис", "sort": 20}],
    )
    insert_rows(
        file,
        "users",
        [{"id": 7, "name": "Анна", "last_name": "Иванова", "department_ids": "[3]"}],
    )
    insert_rows(file, "departments", [{"id": 3, "name": "Отдел продаж"}])
    insert_rows(file, "companies", [{"id": 60, "is_my_company": "Y"}, {"id": 61}])
    insert_rows(
        file,
        "currencies",
        [
            {"currency": "RUB", "amount": 1, "amount_cnt": 1, "base": "Y"},
            {"currency": "USD", "amount": 90, "amount_cnt": 1},
            {"currency": "USD", "amount": 100, "amount_cnt": 1, "refresh_no": 2},
        ],
    )
    insert_rows(
        file,
        "fields",
        [
            {
                "entity_type_id": 1,
                "field_name": "UF_CRM_KIND",
                "type": "enumeration",
                "label": "Вид",
                "is_dynamic": True,
                "items": '[{"ID": "5", "VALUE": "Опт"}]',
            }
        ],
    )
    insert_rows(
        file,
        "leads",
        [
            # New and idle for exactly 72 hours.
            {"id": 1, "stage_id": "NEW", "stage_semantic_id": "P", "source_id": "WEB"}
            | {"created_time": "2026-03-10 10:00:00+03", "assigned_by_id": 7}
            | {"last_activity_time": "2026-03-28 20:00:00+03"}
            | {"user_fields": '{"UF_CRM_KIND": "5"}'},
            # In progress; its first version stood on NEW.
            {"id": 2, "stage_id": "NEW", "stage_semantic_id": "P"}
            | {"created_time": "2026-03-10 10:00:00+03"},
            {"id": 2, "stage_id": "IN_PROCESS", "stage_semantic_id": "P", "refresh_no": 2}
            | {"created_time": "2026-03-10 10:00:00+03", "assigned_by_id": 99}
            | {"last_activity_time": "2026-03-30 20:00:00+03"},
            # Quality after exactly 5 days.
            {"id": 3, "stage_id": "CONVERTED", "stage_semantic_id": "S", "source_id": "WEB"}
            | {"created_time": "2026-03-01 10:00:00+03", "contact_id": 50}
            | {"moved_time": "2026-03-06 10:00:00+03", "contact_ids": "[50]"},
            # Junk, out of IN_PROCESS.
            {"id": 4, "stage_id": "JUNK", "stage_semantic_id": "F", "source_id": "WEB"}
            | {"created_time": "2026-03-02 10:00:00+03"},
            # On a stage and from a source that are gone from the reference data, semantics unknown.
            {"id": 5, "stage_id": "UC_GONE", "source_id": "77"}
            | {"created_time": "2026-03-03 10:00:00+03"}
            | {"last_activity_time": "2026-03-31 19:00:00+03"},
            # Deleted in refresh 2.
            {"id": 6, "stage_id": "NEW", "stage_semantic_id": "P"}
            | {"created_time": "2026-03-03 10:00:00+03"},
            {"id": 6, "refresh_no": 2, "is_deleted": True},
            # Created after as_of.
            {"id": 7, "stage_id": "NEW", "stage_semantic_id": "P", "refresh_no": 2}
            | {"created_time": "2026-03-31 20:00:05+03"},
            # Imported; its history is gone, its close date is known.
            {"id": 8, "stage_id": "CONVERTED", "stage_semantic_id": "S", "originator_id": "1C"}
            | {"created_time": "2026-01-31 10:00:00+03", "source_id": "WEB"}
            | {"date_closed": "2026-02-01 10:00:00+03"},
            # Half past midnight in Moscow.
            {"id": 9, "stage_id": "NEW", "stage_semantic_id": "P", "source_id": "WEB"}
            | {"created_time": "2026-03-30 21:30:00+00"},
            # Written by refresh 3, which is not completed.
            {"id": 10, "stage_id": "NEW", "stage_semantic_id": "P", "refresh_no": 3}
            | {"created_time": "2026-03-30 10:00:00+03"},
        ],
    )
    insert_rows(file, "lead_addresses", [{"id": 3, "address_city": "Тверь"}])
    insert_rows(
        file,
        "lead_stage_history",
        [
            {"id": i, "owner_id": lead, "stage_id": stage, "stage_semantic_id": semantics}
            | {"created_time": f"2026-03-{day:02} 10:00:00+03"}
            for i, (lead, stage, semantics, day) in enumerate(
                (
                    (3, "NEW", "P", 1),
                    (3, "CONVERTED", "S", 6),
                    (4, "NEW", "P", 2),
                    (4, "IN_PROCESS", "P", 3),
                    (4, "JUNK", "F", 5),
                    (6, "NEW", "P", 3),
                ),
                start=1,
            )
        ],
    )
    won: dict[str, Any] = {"stage_id": "WON", "stage_semantic_id": "S", "closed": "Y"}
    open_deal: dict[str, Any] = {"stage_id": "PREP", "stage_semantic_id": "P"}
    insert_rows(
        file,
        "deals",
        [
            won
            | {"id": 101, "lead_id": 3, "opportunity": 100, "currency_id": "USD"}
            | {"created_time": "2026-03-07 10:00:00+03", "contact_id": 50, "contact_ids": "[50]"},
            open_deal
            | {"id": 102, "lead_id": 3, "opportunity": 5000, "assigned_by_id": 7}
            | {"created_time": "2026-03-08 10:00:00+03", "contact_id": 51}
            | {"contact_ids": "[51, 50]", "last_activity_time": "2026-03-30 10:00:00+03"},
            won
            | {"id": 103, "lead_id": 6, "opportunity": 1000, "company_id": 60}
            | {"created_time": "2026-03-09 10:00:00+03", "moved_time": "2026-03-15 10:00:00+03"},
            won
            | {"id": 104, "lead_id": 8, "opportunity": 700, "company_id": 61}
            | {"created_time": "2026-03-09 10:00:00+03", "moved_time": "2026-03-16 10:00:00+03"},
            {"id": 105, "stage_id": "UC_PAID", "stage_semantic_id": "P", "company_id": 61}
            | {"created_time": "2026-01-31 10:00:00+03", "opportunity": 176_000_000}
            | {"moved_time": "2026-02-02 10:00:00+03"},
            won
            | {"id": 106, "is_recurring": "Y", "opportunity": 9999}
            | {"created_time": "2026-03-09 10:00:00+03"},
            {"id": 107, "stage_id": "LOSE", "stage_semantic_id": "F", "closed": "Y"}
            | {"created_time": "2026-03-01 10:00:00+03", "moved_time": "2026-03-02 22:00:00+03"},
            {"id": 108, "stage_id": "C5:WON", "stage_semantic_id": "S", "category_id": 5}
            | {"created_time": "2026-03-10 10:00:00+03", "lead_id": 3, "opportunity": 300}
            | {"closed": "Y", "closedate": "2026-03-12"},
            open_deal
            | {"id": 109, "opportunity": 5, "currency_id": "XAU"}
            | {"created_time": "2026-03-30 10:00:00+03"},
        ],
    )
    insert_rows(
        file,
        "deal_stage_history",
        [
            {"id": i, "owner_id": deal, "stage_id": stage, "stage_semantic_id": semantics}
            | {"created_time": f"2026-{day} 10:00:00+03", "category_id": 0}
            for i, (deal, stage, semantics, day) in enumerate(
                (
                    (101, "NEW", "P", "03-07"),
                    (101, "WON", "S", "03-15"),
                    (101, "PREP", "P", "03-16"),
                    (101, "WON", "S", "03-20"),
                    (102, "PREP", "P", "03-08"),
                    (103, "WON", "S", "03-15"),
                    (105, "UC_PAID", "P", "02-02"),
                    (107, "NEW", "P", "03-01"),
                ),
                start=1,
            )
        ],
    )
    insert_rows(
        file,
        "activities",
        [
            {"id": 1, "owner_type_id": 1, "owner_id": 2, "deadline": "2026-03-01 10:00:00+03"},
            {"id": 2, "owner_type_id": 2, "owner_id": 102, "deadline": "2026-04-02 10:00:00+03"},
        ],
    )
    insert_rows(
        file,
        "load_completeness",
        [
            {"refresh_no": 1, "entity": "leads", "portal_total": 7, "rows_living": 7},
            {"refresh_no": 2, "entity": "leads", "portal_total": 9, "rows_living": 8},
        ],
    )

"""History that the portal does not keep: four refreshes of a portal that changes in between."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import complete
from pipelines.options import Options
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.compiled_models import run_models
from tests.support.plain_refresh import plain_refresh
from tests.support.raw_tables import query
from tests.support.small_portal import STATUSES, USERS, deal, deal_visit, lead, status, write_portal

CREATED = "2026-03-01T10:00:00+03:00"
REFRESHES = [f"2026-03-{day}T20:00:00+03:00" for day in (10, 20, 30)] + [
    "2026-04-05T20:00:00+03:00"
]


def refresh(portal: Portal, warehouse: Warehouse, now: str) -> None:
    portal.set_now(now)
    client = Client(portal.webhook_url, retry_seconds=0.01)
    complete(
        warehouse, extract(client, warehouse, Settings.load(), Options(accept_loss=True)).refresh_no
    )


def won(number: int, time: str, **values: Any) -> dict[str, Any]:
    values = {"updatedTime": time, "movedTime": time, **values}
    return deal(number, stageId="WON", stageSemanticId="S", closed="Y", **values)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse folder with the marts of four refreshes.

    Deal 1 is won, then reopened by an old portal that erases the row of the win, and deleted.
    Deal 2 is passed from user 1 to 2, won, and passed back. Deal 3 is deleted. Deal 4 is created
    between refreshes 1 and 2 and moved to pipeline 3.
    Deal 5 is won and reopened by a portal that keeps its history. Deals 6 and 7 are won, then
    handed over to pipeline 3 between refreshes 1 and 2; of 7 there was no history. The portal tells
    the history of a deal's present pipeline alone.
    """
    folder = tmp_path_factory.mktemp("history")
    warehouse = Warehouse(folder / "data")
    sold, reopened, passed = (f"2026-03-{d}T12:00:00+03:00" for d in ("05", "15", "16"))
    data = write_portal(
        folder / "portal",
        leads=[lead(1)],
        deals=[
            won(1, sold, opportunity=100_000),
            deal(2, opportunity=500),
            deal(3, opportunity=300, currencyId="USD", sourceId="WEB")
            | {"updatedTime": "2026-03-02T10:00:00+03:00"},
            won(5, sold, opportunity=700),
            won(6, sold, opportunity=60),
            won(7, sold, opportunity=70),
        ],
        deal_stage_history=[
            deal_visit(1, 1, "NEW", "P", CREATED),
            deal_visit(2, 1, "WON", "S", sold),
            deal_visit(3, 2, "NEW", "P", CREATED),
            deal_visit(4, 3, "NEW", "P", CREATED),
            deal_visit(5, 5, "WON", "S", sold),
            deal_visit(11, 6, "NEW", "P", CREATED),
            deal_visit(12, 6, "WON", "S", sold),
        ],
        statuses=[
            *STATUSES,
            status(8, "DEAL_STAGE_3", "C3:NEW") | {"CATEGORY_ID": "3", "NAME": "Отгрузка"},
        ],
        categories=[
            {"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"},
            {"id": 3, "name": "Сервис", "sort": 200, "isDefault": "N"},
        ],
        users=[*USERS, {"ID": "2", "ACTIVE": False, "NAME": "Борис", "UF_DEPARTMENT": [1]}],
    )
    with serve(data, present_history=True) as portal, plain_refresh():
        refresh(portal, warehouse, REFRESHES[0])

        portal.upsert("deals", deal(1, opportunity=100_000, updatedTime=reopened))
        portal.delete("deal_stage_history", 2)
        portal.upsert("deal_stage_history", deal_visit(6, 1, "NEW", "P", reopened))
        portal.upsert("deals", deal(2, opportunity=500, assignedById=2, updatedTime=passed))
        portal.upsert("deals", deal(4, opportunity=40, createdTime=passed, updatedTime=passed))
        portal.upsert("deal_stage_history", deal_visit(7, 4, "NEW", "P", passed))
        portal.upsert("deals", deal(5, opportunity=650, updatedTime=passed, movedTime=passed))
        portal.upsert("deal_stage_history", deal_visit(8, 5, "NEW", "P", passed))
        there = {"categoryId": 3, "stageId": "C3:NEW"}
        for number in (6, 7):
            handed_over = {**there, "updatedTime": passed, "movedTime": passed}
            portal.upsert("deals", deal(number, opportunity=10 * number, **handed_over))
            arrived = deal_visit(number + 10, number, "C3:NEW", "P", passed)
            portal.upsert("deal_stage_history", arrived | {"CATEGORY_ID": 3})
        refresh(portal, warehouse, REFRESHES[1])

        sold, moved = "2026-03-25T12:00:00+03:00", "2026-03-26T12:00:00+03:00"
        portal.upsert("deals", won(2, sold, opportunity=550, assignedById=2))
        portal.upsert("deal_stage_history", deal_visit(9, 2, "WON", "S", sold))
        portal.delete("deals", 3)
        portal.delete("deal_stage_history", 4)
        there |= {"updatedTime": moved, "movedTime": moved}
        portal.upsert("deals", deal(4, opportunity=40, createdTime=passed, **there))
        portal.upsert(
            "deal_stage_history", deal_visit(10, 4, "C3:NEW", "P", moved) | {"CATEGORY_ID": 3}
        )
        refresh(portal, warehouse, REFRESHES[2])

        portal.delete("deals", 1)
        portal.delete("deal_stage_history", [1, 6])
        back = "2026-04-01T12:00:00+03:00"
        portal.upsert("deals", won(2, sold, opportunity=550, assignedById=1, updatedTime=back))
        # Later edits do not add a second tombstone to rows that were gone before.
        edited = {**there, "updatedTime": back, "utmTerm": "later"}
        portal.upsert("deals", deal(4, opportunity=40, createdTime=passed, **edited))
        refresh(portal, warehouse, REFRESHES[3])

    run_models(warehouse.directory)
    return warehouse.directory


def at(refresh_no: int) -> dt.datetime:
    return dt.datetime.fromisoformat(REFRESHES[refresh_no - 1]).replace(second=0, microsecond=0)


def test_versions_show_owner_stage_and_amount_over_time(history: Path) -> None:
    rows = query(
        history,
        """
        select item_id, version_number, manager_name, stage_id, pipeline_name, amount, is_deleted,
            is_current, date_trunc('minute', valid_from), date_trunc('minute', valid_to)
        from marts.fct_item_versions where entity = 'deal' order by item_id, version_number
        """,
    )
    anna, boris = "Анна Орлова", "Борис"
    sales, service = "Продажи", "Сервис"
    rub = Decimal
    assert rows == [
        (1, 1, anna, "WON", sales, rub(100_000), False, False, at(1), at(2)),
        (1, 2, anna, "NEW", sales, rub(100_000), False, False, at(2), at(4)),
        (1, 3, anna, "NEW", sales, rub(100_000), True, True, at(4), None),
        (2, 1, anna, "NEW", sales, rub(500), False, False, at(1), at(2)),
        (2, 2, boris, "NEW", sales, rub(500), False, False, at(2), at(3)),
        (2, 3, boris, "WON", sales, rub(550), False, False, at(3), at(4)),
        (2, 4, anna, "WON", sales, rub(550), False, True, at(4), None),
        (3, 1, anna, "NEW", sales, rub(300), False, False, at(1), at(3)),
        (3, 2, anna, "NEW", sales, rub(300), True, True, at(3), None),
        (4, 1, anna, "NEW", sales, rub(40), False, False, at(2), at(3)),
        (4, 2, anna, "C3:NEW", service, rub(40), False, True, at(3), None),
        (5, 1, anna, "WON", sales, rub(700), False, False, at(1), at(2)),
        (5, 2, anna, "NEW", sales, rub(650), False, True, at(2), None),
        (6, 1, anna, "WON", sales, rub(60), False, False, at(1), at(2)),
        (6, 2, anna, "C3:NEW", service, rub(60), False, True, at(2), None),
        (7, 1, anna, "WON", sales, rub(70), False, False, at(1), at(2)),
        (7, 2, anna, "C3:NEW", service, rub(70), False, True, at(2), None),
    ]


def test_owners_are_told_where_refreshes_saw_them(history: Path) -> None:
    rows = query(
        history,
        """
        select entity, item_id, manager_at_creation_id, is_manager_at_creation_known,
            manager_at_sale_id, is_manager_at_sale_known, manager_id, owner_changes_count
        from marts.fct_item_owners order by entity desc, item_id
        """,
    )
    assert rows == [
        # Older than the first refresh, but never changed since it was created.
        ("lead", 1, 1, True, None, False, 1, 0),
        # Sold by user 2 though user 1 holds it now.
        ("deal", 2, 1, True, 2, True, 1, 2),
        ("deal", 4, 1, True, None, False, 1, 0),
        # Older than the first refresh and changed before it.
        ("deal", 5, None, False, None, False, 1, 0),
        # Not changed since it was sold.
        ("deal", 6, None, False, 1, True, 1, 0),
        ("deal", 7, None, False, 1, True, 1, 0),
    ]


def test_what_vanished_has_one_tombstone(history: Path) -> None:
    tombstones = "select id, count(*) from raw.deal_stage_history where is_deleted group by id"
    assert query(history, f"{tombstones} order by id") == [
        (2, 1),
        (7, 1),
        (11, 1),
        (12, 1),
    ]


def test_reversals_are_kept_after_the_portal_forgot_them(history: Path) -> None:
    rows = query(
        history,
        """
        select item_id, kind, evidence, lost_state, from_stage_id, to_stage_id, history_rows_count,
            base_amount, date_trunc('minute', last_seen_at), date_trunc('minute', seen_at)
        from marts.fct_reversals order by item_id, seen_at, kind
        """,
    )
    rub, vanished, reopened, sale = Decimal, "history_row_vanished", "reopened_after_win", "success"
    assert rows == [
        (1, vanished, "refreshes", sale, "WON", None, 1, rub(10**5), at(1), at(2)),
        (1, reopened, "refreshes", sale, "WON", "NEW", 0, rub(10**5), at(1), at(2)),
        (1, "deleted", "refreshes", "in_work", "NEW", None, 0, rub(10**5), at(3), at(4)),
        # 300 USD at 90.
        (3, "deleted", "refreshes", "in_work", "NEW", None, 0, rub(27_000), at(2), at(3)),
        (4, vanished, "refreshes", "in_work", "NEW", None, 1, rub(40), at(2), at(3)),
        (4, "pipeline_move", "refreshes", "in_work", "NEW", "C3:NEW", 0, rub(40), at(2), at(3)),
        # The amount is that of the sale, not the smaller one of the reopened deal.
        (5, reopened, "portal", sale, "WON", "NEW", 0, rub(700), at(1), at(2)),
        # Handed over, not reopened.
        (6, vanished, "refreshes", sale, "WON", None, 2, rub(60), at(1), at(2)),
        (6, "pipeline_move", "refreshes", sale, "WON", "C3:NEW", 0, rub(60), at(1), at(2)),
        (7, "pipeline_move", "refreshes", sale, "WON", "C3:NEW", 0, rub(70), at(1), at(2)),
    ]


def test_what_refreshes_saw_carries_a_sale_that_the_portal_no_longer_tells(history: Path) -> None:
    rows = query(
        history,
        """
        select deal_id, state, pipeline_name, stage_name, is_handed_over, sale_pipeline_name,
            sale_stage_id, sold_at_source, sold_date, is_in_work, is_forgotten
        from marts.fct_deals where deal_id in (2, 4, 6, 7) order by deal_id
        """,
    )
    sold, later, there, sales = dt.date(2026, 3, 5), dt.date(2026, 3, 25), "Отгрузка", "Продажи"
    assert rows == [
        (2, "sale", sales, "Won", False, sales, "WON", "history", later, False, False),
        (4, "in_work", "Сервис", there, False, None, None, None, None, True, True),
        # A row of the history that refresh 1 had read; the move that it saw. Neither is forgotten.
        (6, "sale", "Сервис", there, True, sales, "WON", "history", sold, False, False),
        (7, "sale", "Сервис", there, True, sales, "WON", "moved_time", sold, False, False),
    ]


def test_the_bridge_to_the_portal_shows_what_was_deleted(history: Path) -> None:
    rows = query(
        history,
        """
        select entity, item_id, bridge_kind, portal_state, stage_name, pipeline_name, source_name,
            base_amount, created_date, portal_closed_date, deleted_date
        from marts.fct_portal_bridge order by entity desc, item_id
        """,
    )
    counted, new, sales, none = "counted", "New", "Продажи", "без источника"

    def day(month: int, number: int) -> dt.date:
        return dt.date(2026, month, number)

    assert rows == [
        ("lead", 1, counted, "in_work", new, None, none, 0, day(3, 1), None, None),
        # Gone with the history of its win.
        ("deal", 1, "deleted", "in_work", new, sales, none, 10**5, day(3, 1), None, day(4, 5)),
        ("deal", 2, counted, "success", "Won", sales, none, 550, day(3, 1), day(3, 25), None),
        ("deal", 3, "deleted", "in_work", new, sales, "Web", 27_000, day(3, 1), None, day(3, 30)),
        ("deal", 4, counted, "in_work", "Отгрузка", "Сервис", none, 40, day(3, 16), None, None),
        # Won and reopened, and the win stands in the history: open.
        ("deal", 5, counted, "in_work", new, sales, none, 650, day(3, 1), None, None),
        # Handed over: counted in the pipeline of the sale.
        ("deal", 6, counted, "in_work", "Отгрузка", sales, none, 60, day(3, 1), None, None),
        ("deal", 7, counted, "in_work", "Отгрузка", sales, none, 70, day(3, 1), None, None),
    ]


def test_what_is_deleted_is_one_line_alone(history: Path) -> None:
    rows = query(
        history, "select kind, item_id, base_amount from quality.issues order by kind, item_id"
    )
    assert rows == [
        ("deal_without_lead", 4, Decimal(40)),
        ("deal_without_lead", 5, Decimal(650)),
        # Deal 1 left with the last refresh, deal 3 with one before.
        ("deleted_since_refresh", None, Decimal(100_000)),
        ("history_begins", None, None),
        # Deals 5 and 7: nobody read the history of their first days.
        ("history_begins_after_deal", None, Decimal(720)),
        ("open_after_hand_over", None, Decimal(130)),
        ("sale_date_fallback", 7, Decimal(70)),
        ("sale_without_lead", 2, Decimal(550)),
        ("sale_without_lead", 6, Decimal(60)),
        ("sale_without_lead", 7, Decimal(70)),
    ]

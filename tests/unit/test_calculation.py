"""The independent calculation: tiny portals with values worked out by hand, and the Olist set."""

from __future__ import annotations

import json
import os
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.environment import ROOT
from tests.support.calculation import (
    Facts,
    Portal,
    Settings,
    calculate,
    data_quality,
    portal_bridge,
)

AS_OF = datetime.fromisoformat("2026-03-31T20:00:00+03:00")
MARCH = (date(2026, 3, 1), date(2026, 3, 31))
JANUARY = (date(2026, 1, 1), date(2026, 1, 31))
FEBRUARY = (date(2026, 2, 1), date(2026, 2, 28))
D = Decimal


def at(moment: str) -> str:
    """A Moscow time such as "03-05 10:00" of 2026 (or with the year) as the API writes it."""
    day, _, clock = moment.partition(" ")
    day = day if len(day) == 10 else f"2026-{day}"
    return f"{day}T{clock or '00:00'}:00+03:00"


def utc(moment: str) -> datetime:
    return datetime.fromisoformat(at(moment))


def status(
    number: int, entity: str, code: str, name: str, sort: int, sem: str | None
) -> dict[str, Any]:
    return {
        "ID": str(number),
        "ENTITY_ID": entity,
        "STATUS_ID": code,
        "NAME": name,
        "SORT": str(sort),
        "SEMANTICS": sem,
    }


STATUSES = [
    status(1, "STATUS", "NEW", "Новый", 10, None),
    status(2, "STATUS", "CALL", "Звонок", 20, None),
    status(3, "STATUS", "MEET", "Встреча", 30, ""),
    status(4, "STATUS", "CONVERTED", "Качественный", 40, "S"),
    status(5, "STATUS", "JUNK", "Некачественный", 50, "F"),
    status(6, "STATUS", "SPAM", "Спам", 60, "F"),
    status(11, "DEAL_STAGE", "NEW", "Новая", 10, None),
    status(12, "DEAL_STAGE", "OFFER", "Предложение", 20, None),
    status(13, "DEAL_STAGE", "CONTRACT", "Договор", 30, None),
    status(14, "DEAL_STAGE", "UC_PAID", "Успешно закрыто", 40, None),
    status(15, "DEAL_STAGE", "WON", "Сделка успешна", 50, "S"),
    status(16, "DEAL_STAGE", "LOSE", "Провалена", 60, "F"),
    status(17, "DEAL_STAGE", "APOLOGY", "Анализ провала", 70, "F"),
    status(21, "DEAL_STAGE_1", "C1:NEW", "Доставка", 10, None),
    status(22, "DEAL_STAGE_1", "C1:WON", "Доставлено", 20, "S"),
    status(31, "SOURCE", "WEB", "Сайт", 10, None),
    status(32, "SOURCE", "CALL", "Звонок", 20, None),
]
CURRENCIES = [
    {"CURRENCY": "RUB", "AMOUNT": "1.0000", "AMOUNT_CNT": "1", "BASE": "Y"},
    {"CURRENCY": "USD", "AMOUNT": "90.5000", "AMOUNT_CNT": "1", "BASE": "N"},
    {"CURRENCY": "KZT", "AMOUNT": "18.1250", "AMOUNT_CNT": "100", "BASE": "N"},
]
USERS = [
    {"ID": "1", "NAME": "Анна", "LAST_NAME": "Ли", "ACTIVE": True, "UF_DEPARTMENT": [6, 5]},
    {"ID": "2", "NAME": "Пётр", "LAST_NAME": "", "ACTIVE": False, "UF_DEPARTMENT": [5]},
]


def lead(number: int, created: str, stage: str = "NEW", **more: Any) -> dict[str, Any]:
    semantics = {"CONVERTED": "S", "JUNK": "F", "SPAM": "F"}.get(stage, "P")
    return {
        "id": number,
        "createdTime": at(created),
        "stageId": stage,
        "stageSemanticId": semantics,
    } | more


def deal(number: int, created: str, stage: str = "NEW", **more: Any) -> dict[str, Any]:
    code = stage.removeprefix("C1:")
    return {
        "id": number,
        "createdTime": at(created),
        "stageId": stage,
        "stageSemanticId": {"WON": "S", "LOSE": "F", "APOLOGY": "F"}.get(code, "P"),
        "categoryId": 1 if stage.startswith("C1:") else 0,
        "currencyId": "RUB",
        "opportunity": 100,
    } | more


def lead_history(owner: int, *steps: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "ID": owner * 100 + number,
            "OWNER_ID": owner,
            "CREATED_TIME": at(moment),
            "STATUS_ID": stage,
            "STATUS_SEMANTIC_ID": lead(1, "01-01", stage)["stageSemanticId"],
        }
        for number, (moment, stage) in enumerate(steps)
    ]


def deal_history(owner: int, *steps: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "ID": owner * 100 + number,
            "OWNER_ID": owner,
            "CREATED_TIME": at(moment),
            "STAGE_ID": stage,
            "STAGE_SEMANTIC_ID": deal(1, "01-01", stage)["stageSemanticId"],
            "CATEGORY_ID": 1 if stage.startswith("C1:") else 0,
        }
        for number, (moment, stage) in enumerate(steps)
    ]


def facts(settings: Settings | None = None, **rows: Any) -> Facts:
    base = {
        "statuses": STATUSES,
        "currencies": CURRENCIES,
        "users": USERS,
        "departments": [{"ID": "5", "NAME": "Опт"}, {"ID": "6", "NAME": "Розница"}],
        "categories": [{"id": 0, "name": "Продажи"}, {"id": 1, "name": "Доставка"}],
    }
    return calculate(Portal.from_rows(base | rows), settings or Settings(), AS_OF)


def value(found: Facts, name: str, period: Any = None) -> Any:
    return found.metric(name, period)["value"].item()


def by(found: Facts, name: str, group: str, period: Any = None, **more: Any) -> dict[Any, Any]:
    frame = found.metric(name, period, [group], **more)
    return dict(zip(frame[group], frame["value"], strict=True))


def one(frame: pl.DataFrame, number: int) -> dict[str, Any]:
    return frame.filter(pl.col(frame.columns[0]) == number).row(0, named=True)


def stage(found: Facts, entity: str, stage_id: str | None, period: Any = None) -> dict[str, Any]:
    frame = found.stages(entity, period)
    return frame.filter(pl.col("stage_id").eq_missing(pl.lit(stage_id))).row(0, named=True)


def issue(found: Facts, check: str, entity: str) -> int:
    frame = data_quality(found).filter(check=check, entity=entity)
    return int(frame["records"].sum())


# Ground rules


def test_rows_created_after_as_of_wait() -> None:
    found = facts(
        leads=[lead(1, "03-31 20:00"), lead(2, "03-31 20:01")],
        deals=[deal(1, "04-01")],
    )
    assert value(found, "leads_received") == 1
    assert value(found, "deals_created") == 0
    assert value(found, "lead_age_days") == 0


def test_days_are_those_of_the_portal_timezone() -> None:
    # 28 February 22:30 UTC is 1 March in Moscow and still February in UTC.
    rows: dict[str, Any] = {
        "leads": [lead(1, "01-01") | {"createdTime": "2026-02-28T22:30:00+00:00"}]
    }
    assert value(facts(**rows), "leads_received", MARCH) == 1
    assert value(facts(Settings(portal_timezone="UTC"), **rows), "leads_received", MARCH) == 0


def test_period_holds_its_last_day() -> None:
    found = facts(leads=[lead(1, "02-28 23:59"), lead(2, "03-01"), lead(3, "03-31 19:59")])
    assert value(found, "leads_received", MARCH) == 2
    assert by(found, "leads_received", "month") == {date(2026, 2, 1): 1, date(2026, 3, 1): 2}
    assert by(found, "leads_received", "quarter") == {date(2026, 1, 1): 3}


def test_amounts_are_rounded_half_up_per_record() -> None:
    # 0.02 KZT × 18.125 / 100 = 0.003625 → 0.00, three times; 4 KZT = 0.725 → 0.73.
    cents = [deal(n, "03-01", currencyId="KZT", opportunity="0.02") for n in (1, 2, 3)]
    found = facts(deals=[*cents, deal(4, "03-01", currencyId="KZT", opportunity="4")])
    assert value(found, "potential_amount") == D("0.73")


def test_sale_takes_the_rate_in_force_and_open_deal_the_latest() -> None:
    usd = {"CURRENCY": "USD", "AMOUNT_CNT": "1"}
    log = [
        (utc("02-01"), [usd | {"AMOUNT": "70"}]),
        (utc("03-01"), [usd | {"AMOUNT": "80"}]),
    ]
    sold = [deal(n, "01-10", "WON", currencyId="USD", opportunity=1) for n in (1, 2, 3)]
    found = facts(
        deals=[*sold, deal(4, "01-10", currencyId="USD", opportunity=1)],
        deal_stage_history=[
            *deal_history(1, ("01-10", "NEW"), ("01-20", "WON")),  # before the log: the first known
            *deal_history(2, ("01-10", "NEW"), ("02-15", "WON")),
            *deal_history(3, ("01-10", "NEW"), ("03-01", "WON")),
        ],
        rate_log=log,
    )
    assert found.deals.sort("deal_id")["base_amount"].to_list() == [D(70), D(70), D(80), D("90.5")]
    assert value(found, "sales_amount_cohort") == D(220)
    assert value(found, "potential_amount") == D("90.50")


def test_failed_deal_takes_the_latest_rate() -> None:
    found = facts(
        deals=[deal(1, "01-10", "LOSE", currencyId="USD", opportunity=2)],
        deal_stage_history=deal_history(1, ("01-20", "LOSE")),
        rate_log=[(utc("01-01"), [{"CURRENCY": "USD", "AMOUNT_CNT": "1", "AMOUNT": "70"}])],
    )
    assert found.deals["base_amount"].item() == D(181)


def test_currency_that_left_the_portal_keeps_its_rate_for_sales_only() -> None:
    euro = [{"CURRENCY": "EUR", "AMOUNT_CNT": "1", "AMOUNT": rate} for rate in ("99", "100")]
    found = facts(
        deals=[
            deal(1, "03-01", "WON", currencyId="EUR", opportunity=5, movedTime=at("03-25")),
            deal(2, "03-01", currencyId="EUR", opportunity=5),
        ],
        rate_log=[(utc("03-01"), euro[:1]), (utc("03-10"), euro[1:]), (utc("03-20"), [])],
    )
    assert found.deals["base_amount"].to_list() == [D(500), None]


def test_currency_without_rate_is_unknown_and_listed() -> None:
    found = facts(
        deals=[deal(1, "03-01", currencyId="EUR", opportunity=5), deal(2, "03-01", opportunity=7)]
    )
    assert one(found.deals, 1)["base_amount"] is None
    assert one(found.deals, 1)["amount"] == D(5)
    assert value(found, "potential_amount") == D(7)
    assert issue(found, "amount_without_rate", "deal") == 1
    only_euro = facts(deals=[deal(1, "03-01", currencyId="EUR")])
    assert value(only_euro, "potential_amount") is None


def test_cohort_and_period_never_mix() -> None:
    found = facts(
        leads=[lead(1, "02-10", "CONVERTED"), lead(2, "03-10", "CONVERTED"), lead(3, "03-11")],
        lead_stage_history=[
            *lead_history(1, ("02-10", "NEW"), ("03-05", "CONVERTED")),
            *lead_history(2, ("03-10", "NEW"), ("03-12", "CONVERTED")),
        ],
    )
    assert value(found, "lead_to_quality_rate_cohort", MARCH) == 0.5
    assert value(found, "lead_to_quality_rate_period", MARCH) == 1.0
    assert value(found, "lead_to_quality_rate_cohort", FEBRUARY) == 1.0
    assert value(found, "lead_to_quality_rate_period", FEBRUARY) == 0.0


def test_ratio_without_leads_is_null_and_keeps_the_amount() -> None:
    found = facts(
        leads=[lead(1, "02-10", "CONVERTED")],
        deals=[deal(1, "02-11", "WON", leadId=1, opportunity=500)],
        deal_stage_history=deal_history(1, ("02-11", "NEW"), ("03-02", "WON")),
    )
    row = found.metric("revenue_per_lead_period", MARCH).row(0, named=True)
    assert row == {"numerator": D(500), "denominator": 0, "value": None}
    assert value(found, "revenue_per_lead_cohort", FEBRUARY) == 500.0
    months = found.metric("revenue_per_lead_period", None, ["month"]).rows()
    assert months == [
        (date(2026, 2, 1), D(0), 1, 0.0),
        (date(2026, 3, 1), D(500), 0, None),
    ]


def test_templates_are_no_deals() -> None:
    found = facts(
        deals=[deal(1, "03-01", isRecurring="Y", companyId=7), deal(2, "03-02", companyId=7)]
    )
    assert value(found, "deals_created") == 1
    assert one(found.deals, 2)["customer_kind"] == "new"


# Legacy


LEGACY_STAGE = {"stages": ["UC_PAID"], "created_before": "2026-02-01", "entity": "deal"}


def test_legacy_conditions_of_a_rule_must_all_hold() -> None:
    deals = [deal(1, "01-31", "UC_PAID"), deal(2, "02-01", "UC_PAID"), deal(3, "01-31", "OFFER")]
    found = facts(Settings(legacy_rules=[LEGACY_STAGE]), deals=deals)
    assert found.deals.sort("deal_id")["is_legacy"].to_list() == [True, False, False]
    assert value(found, "deals_created") == 2
    assert value(found, "potential_amount") == D(200)
    shown = Settings(legacy_rules=[LEGACY_STAGE], include_legacy=True)
    assert value(facts(shown, deals=deals), "deals_created") == 3


def test_legacy_by_originator_day_and_first_row() -> None:
    rules: list[dict[str, Any]] = [
        {"originator_ids": ["1C"]},
        {"created_on": ["2026-03-05"]},
        {"first_history_final": True},
    ]
    found = facts(
        Settings(legacy_rules=rules),
        leads=[
            lead(1, "03-01", originatorId="1C"),
            lead(2, "03-05 23:00"),
            lead(3, "03-06", "JUNK"),
            lead(4, "03-06", "JUNK"),
            lead(5, "03-06", "JUNK"),
        ],
        lead_stage_history=[
            *lead_history(3, ("03-06", "JUNK")),
            *lead_history(4, ("03-06", "NEW"), ("03-07", "JUNK")),
        ],
    )
    assert found.leads["is_legacy"].to_list() == [True, True, True, False, False]


def test_bad_settings_name_the_key() -> None:
    with pytest.raises(ValueError, match="without conditions"):
        Settings(legacy_rules=[{"entity": "deal"}])
    with pytest.raises(ValueError, match="stage_ids"):
        Settings(legacy_rules=[{"stage_ids": ["A"]}])
    with pytest.raises(ValueError, match="lead_stage_outcomes"):
        Settings(lead_stage_outcomes={"MEET": "good"})


def test_sales_of_legacy_deleted_and_no_lead_stand_beside() -> None:
    found = facts(
        Settings(legacy_rules=[{"originator_ids": ["1C"], "entity": "lead"}]),
        leads=[lead(1, "03-01", originatorId="1C"), lead(2, "03-01", sourceId="WEB")],
        deals=[
            deal(1, "03-02", "WON", leadId=1, opportunity=10, movedTime=at("03-03")),
            deal(2, "03-02", "WON", leadId=2, opportunity=20, movedTime=at("03-03")),
            deal(3, "03-02", "WON", leadId=99, opportunity=30, movedTime=at("03-03")),
            deal(4, "03-02", "WON", leadId=0, opportunity=40, movedTime=at("03-03")),
        ],
    )
    assert by(found, "sales_amount_period", "lead_source_name") == {
        "лид импортирован": D(10),
        "Сайт": D(20),
        "лид удалён": D(30),
        "без лида": D(40),
    }
    assert value(found, "sales_amount_period", MARCH) == D(100)
    assert value(found, "revenue_per_lead_period", MARCH) == 20.0
    assert value(found, "revenue_per_lead_cohort", MARCH) == 20.0
    assert found.deals["lead_link"].to_list() == ["direct", "direct", "deleted", "none"]


def test_legacy_deal_is_no_deal_of_its_lead() -> None:
    found = facts(
        Settings(legacy_rules=[{"stages": ["WON"], "created_before": "2026-03-05"}]),
        leads=[lead(1, "03-01")],
        deals=[
            deal(1, "03-02", "WON", leadId=1),
            deal(2, "03-08", "WON", leadId=1, movedTime=at("03-09")),
            deal(3, "03-07", "C1:NEW", leadId=1),
        ],
    )
    row = one(found.leads, 1)
    assert (row["deals_count"], row["sales_count"], row["first_deal_at"]) == (2, 1, utc("03-07"))
    only_sales = Settings(
        legacy_rules=[{"stages": ["WON"], "created_before": "2026-03-05"}], sales_pipelines=[0]
    )
    row = one(
        facts(
            only_sales,
            leads=[lead(1, "03-01")],
            deals=[deal(1, "03-02", "WON", leadId=1), deal(3, "03-07", "C1:NEW", leadId=1)],
        ).leads,
        1,
    )
    assert (row["has_deal"], row["has_sale"], row["sales_amount"]) == (False, False, D(0))


def test_other_pipelines_are_in_no_sales_metric_but_make_a_customer_known() -> None:
    found = facts(
        Settings(sales_pipelines=[0]),
        deals=[
            deal(1, "03-01", "C1:WON", companyId=7, movedTime=at("03-02")),
            deal(2, "03-05", "NEW", companyId=7),
        ],
    )
    assert value(found, "deals_created") == 1
    assert value(found, "sales_period") == 0
    assert one(found.deals, 2)["customer_kind"] == "repeat"


# Leads


def test_outcomes_add_up_and_any_failed_status_is_junk() -> None:
    found = facts(
        leads=[
            lead(1, "03-01", "SPAM"),
            lead(2, "03-01", "JUNK"),
            lead(3, "03-01", "CONVERTED"),
            lead(4, "03-01", "NEW"),
            lead(5, "03-01", "CALL"),
        ]
    )
    names = ("leads_junk", "leads_quality_cohort", "leads_new", "leads_in_progress")
    assert [value(found, name, MARCH) for name in names] == [2, 1, 1, 1]
    assert value(found, "leads_in_work", MARCH) == 2


def test_semantics_own_then_of_the_stage_then_in_process() -> None:
    found = facts(
        leads=[
            lead(1, "03-01", "CALL", stageSemanticId="F"),
            lead(2, "03-01", "JUNK", stageSemanticId=None),
            lead(3, "03-01", "GONE", stageSemanticId=""),
        ]
    )
    assert found.leads["semantics"].to_list() == ["F", "F", "P"]
    assert one(found.leads, 3)["stage_name"] == "удалённый этап (GONE)"
    assert issue(found, "unknown_semantics", "lead") == 1


def test_what_shares_a_name_is_told_apart_by_its_id() -> None:
    """User 4 has the name that 2 is shown with, user 5 looks like one the portal does not have."""
    found = facts(
        statuses=[
            *STATUSES,
            status(23, "DEAL_STAGE_1", "C1:OFFER", "Предложение", 30, None),
            status(24, "DEAL_STAGE", "UC_OFFER", "\u200bПредложение\u00a0", 35, None),
            status(33, "SOURCE", "AD", "Сайт\t", 30, None),
        ],
        users=[
            *USERS,
            {"ID": "3", "NAME": "Пётр\n", "LAST_NAME": "\u2003"},
            {"ID": "4", "NAME": "Пётр", "LAST_NAME": "(ID 2)"},
            {"ID": "5", "NAME": "пользователь", "LAST_NAME": "9"},
        ],
        leads=[
            lead(number, "03-01", assignedById=number, sourceId=source, utmSource=utm)
            for number, source, utm in (
                (1, "WEB", "Ya"),
                (2, "web", "ya "),
                (3, "AD", "ya\u3000"),
                (4, "OLD", None),
                (5, None, "\t"),
                (9, None, None),
            )
        ],
        deals=[
            deal(1, "03-01", "OFFER"),
            deal(2, "03-01", "C1:OFFER"),
            deal(3, "03-01", "UC_OFFER"),
        ],
    )
    names = ["Анна Ли", "Пётр (ID 2)", "Пётр (ID 3)", "Пётр (ID 2) (ID 4)"]
    names += ["пользователь 9 (ID 5)", "пользователь 9"]
    assert by(found, "leads_received", "manager_name") == dict.fromkeys(names, 1)
    assert by(found, "leads_received", "source_name") == {
        **{"Сайт (ID WEB)": 1, "Сайт (ID AD)": 1, "удалённый источник (OLD)": 1},
        **{"web (нет в справочнике; есть WEB)": 1, "без источника": 2},
    }
    assert by(found, "leads_received", "utm_source") == {"Ya": 1, "ya": 2, None: 3}
    assert by(found, "deals_created", "stage_name") == {
        **{"Предложение (ID OFFER)": 1, "Предложение (ID UC_OFFER)": 1, "Предложение": 1}
    }


def test_lead_stage_outcomes_override_semantics_and_dates() -> None:
    found = facts(
        Settings(lead_stage_outcomes={"MEET": "quality"}),
        leads=[lead(1, "03-01", "CONVERTED"), lead(2, "03-01", "MEET")],
        lead_stage_history=[
            *lead_history(1, ("03-01", "NEW"), ("03-04", "MEET"), ("03-09", "CONVERTED")),
            *lead_history(2, ("03-01", "NEW"), ("03-03", "MEET")),
        ],
    )
    assert value(found, "leads_quality_cohort") == 2
    # 3 and 2 days: going on from one quality stage to another restarts nothing.
    assert value(found, "processing_days_avg") == 2.5
    assert stage(found, "lead", "MEET")["stage_days_avg"] is None


def test_new_is_the_lowest_stage_even_after_coming_back() -> None:
    found = facts(
        leads=[lead(1, "03-01", "NEW")],
        lead_stage_history=lead_history(1, ("03-01", "NEW"), ("03-02", "CALL"), ("03-03", "NEW")),
    )
    assert value(found, "leads_new") == 1
    moves = found.transitions("lead").select("stage_id", "to_stage_id", "is_back", "transitions")
    assert moves.rows() == [("CALL", "NEW", True, 1), ("NEW", "CALL", False, 1)]


def test_new_are_in_work_only() -> None:
    settings = Settings(lead_stage_outcomes={"NEW": "junk"})
    assert value(facts(settings, leads=[lead(1, "03-01")]), "leads_new") == 0


def test_repeat_and_first_time_leads() -> None:
    found = facts(leads=[lead(1, "03-01", isReturnCustomer="Y"), lead(2, "03-01")])
    assert value(found, "leads_repeat") == 1
    assert value(found, "leads_first_time") == 1


def test_forgotten_from_exactly_n_days_on() -> None:
    found = facts(
        leads=[
            lead(1, "03-01", lastActivityTime=at("03-28 20:00")),  # 72 h: forgotten
            lead(2, "03-01", lastActivityTime=at("03-28 20:01")),
            lead(3, "03-20"),  # no activity: since creation
            lead(4, "03-01", "JUNK"),
        ]
    )
    assert found.leads["is_forgotten"].to_list() == [True, False, True, False]
    assert value(found, "leads_forgotten") == 2
    assert (
        value(facts(Settings(forgotten_lead_days=12), leads=[lead(1, "03-20")]), "leads_forgotten")
        == 0
    )


ACTIVITY = {"OWNER_TYPE_ID": "1", "OWNER_ID": "1", "COMPLETED": "N"}


def test_planned_activity_and_forgotten() -> None:
    rows: dict[str, Any] = {
        "leads": [lead(1, "03-01"), lead(2, "03-01")],
        "activities": [
            ACTIVITY | {"ID": "1", "DEADLINE": at("04-02")},
            ACTIVITY | {"ID": "2", "DEADLINE": at("03-20")},
            ACTIVITY | {"ID": "3", "DEADLINE": ""},
            ACTIVITY | {"ID": "4", "DEADLINE": at("03-01"), "COMPLETED": "Y"},
            ACTIVITY | {"ID": "5", "OWNER_ID": "2", "OWNER_TYPE_ID": "2", "DEADLINE": ""},
        ],
    }
    found = facts(**rows)
    assert one(found.leads, 1)["next_activity_at"] == utc("03-20")
    assert value(found, "leads_without_planned_activity") == 1
    assert value(found, "leads_forgotten") == 2
    assert value(found, "leads_forgotten_without_plan") == 1
    assert value(facts(Settings(planned_is_not_forgotten=True), **rows), "leads_forgotten") == 1


def test_outcome_is_the_current_unbroken_stay() -> None:
    found = facts(
        leads=[
            lead(1, "03-01", "SPAM"),  # junk → another failed status: from 3 March
            lead(2, "03-01", "CONVERTED"),  # back from junk: from 9 March
            lead(3, "03-01", "JUNK", dateClosed=at("03-06")),  # no history: the date closed
            lead(4, "03-01", "CONVERTED"),  # nothing tells when
        ],
        lead_stage_history=[
            *lead_history(1, ("03-01", "NEW"), ("03-03", "JUNK"), ("03-08", "SPAM")),
            *lead_history(
                2,
                ("03-01", "NEW"),
                ("03-02", "CONVERTED"),
                ("03-05", "JUNK"),
                ("03-09", "CONVERTED"),
            ),
        ],
    )
    assert found.leads["processing_days"].to_list() == [2.0, 8.0, 5.0, None]
    assert value(found, "processing_days_avg") == 5.0
    assert value(found, "processing_days_median") == 5.0
    # Continuous: between 5 and 8, at 0.9 × 2 = 1.8.
    assert value(found, "processing_days_p90") == pytest.approx(5 + 0.8 * 3, rel=1e-12)
    assert value(found, "leads_quality_cohort") == 2
    assert value(found, "leads_quality_period") == 1


def test_first_deal_and_first_sale_of_a_lead() -> None:
    found = facts(
        leads=[lead(1, "02-20", "CONVERTED"), lead(2, "03-05")],
        deals=[
            deal(1, "02-25", "LOSE", leadId=1),
            deal(2, "03-02", "WON", leadId=1, opportunity=300),
            deal(3, "03-04", "WON", leadId=1, opportunity=200),
            deal(4, "03-06", "OFFER", leadId=2, opportunity=50),
        ],
        deal_stage_history=[
            *deal_history(2, ("03-02", "NEW"), ("03-20", "WON")),
            *deal_history(3, ("03-04", "NEW"), ("03-10", "WON")),
        ],
    )
    assert value(found, "leads_with_deal_cohort", MARCH) == 1
    assert value(found, "leads_with_deal_period", MARCH) == 1  # lead 1 counts in February
    assert value(found, "leads_with_sale_period", MARCH) == 1  # two sales, one lead
    assert value(found, "leads_with_sale_cohort", MARCH) == 0
    assert value(found, "revenue_per_lead_cohort", FEBRUARY) == 500.0
    assert value(found, "revenue_per_lead_period", MARCH) == 500.0
    assert value(found, "lead_to_sale_days_avg", FEBRUARY) == 18.0  # 20 February to 10 March
    assert one(found.leads, 2)["potential_amount"] == D(50)


def test_negative_days_to_sale_stay_in_and_are_listed() -> None:
    found = facts(
        leads=[lead(1, "03-10"), lead(2, "03-01")],
        deals=[deal(1, "03-08", "WON", leadId=1), deal(2, "03-02", "WON", leadId=2)],
        deal_stage_history=[
            *deal_history(1, ("03-08", "NEW"), ("03-09 12:00", "WON")),
            *deal_history(2, ("03-02", "NEW"), ("03-06", "WON")),
        ],
    )
    assert value(found, "lead_to_sale_days_avg") == 2.25  # (−0.5 + 5) / 2
    assert value(found, "lead_to_sale_days_median") == 2.25
    assert issue(found, "sale_before_lead", "deal") == 1


# Deals


PAID = Settings(paid_stages=["UC_PAID"])


def test_paid_stage_is_a_sale_and_neither_potential_nor_forgotten() -> None:
    rows: dict[str, Any] = {
        "deals": [deal(1, "01-20", "UC_PAID", opportunity=176)],
        "deal_stage_history": deal_history(1, ("01-20", "NEW"), ("02-03", "UC_PAID")),
    }
    unnamed, named = facts(**rows), facts(PAID, **rows)
    assert [value(unnamed, n) for n in ("sales_period", "deals_in_work", "deals_forgotten")] == [
        0,
        1,
        1,
    ]
    assert [value(named, n) for n in ("sales_period", "deals_in_work", "deals_forgotten")] == [
        1,
        0,
        0,
    ]
    assert value(named, "sales_amount_period", FEBRUARY) == D(176)
    assert value(named, "potential_amount") == 0
    for found in (unnamed, named):
        listed = data_quality(found).filter(check="success_stage_not_final").row(0, named=True)
        assert (listed["detail"], listed["records"], listed["amount"]) == (
            "Успешно закрыто",
            1,
            D(176),
        )


def test_moving_from_paid_to_won_does_not_move_the_sale() -> None:
    history = deal_history(1, ("02-01", "NEW"), ("02-10", "UC_PAID"), ("03-15", "WON"))
    rows: dict[str, Any] = {"deals": [deal(1, "02-01", "WON")], "deal_stage_history": history}
    assert one(facts(PAID, **rows).deals, 1)["sold_at"] == utc("02-10")
    assert one(facts(**rows).deals, 1)["sold_at"] == utc("03-15")


def test_sold_at_fallbacks_in_order() -> None:
    found = facts(
        deals=[
            deal(1, "03-01", "WON"),
            # The history ends elsewhere: it lacks the present stay.
            deal(2, "03-01", "WON", movedTime=at("03-07 10:00"), closed="Y"),
            # A date is midnight UTC in the server's offset.
            deal(3, "03-01", "WON", closed="Y", closedate="2026-03-08T03:00:00+03:00"),
            deal(4, "03-01", "WON", closed="N", closedate="2026-03-08T03:00:00+03:00"),
        ],
        deal_stage_history=[
            *deal_history(1, ("03-01", "NEW"), ("03-05", "WON")),
            *deal_history(2, ("03-02", "WON"), ("03-04", "OFFER")),
        ],
    )
    moments = [utc("03-05"), utc("03-07 10:00"), utc("03-08"), None]
    assert found.deals["sold_at"].to_list() == moments
    assert found.deals["sold_at_source"].to_list() == [
        "history",
        "moved_time",
        "close_date",
        "none",
    ]
    assert value(found, "sales_cohort", MARCH) == 4
    assert value(found, "sales_period", MARCH) == 3
    assert issue(found, "sale_date_fallback", "deal") == 2
    assert issue(found, "sale_without_date", "deal") == 1


def test_won_again_counts_from_the_last_stay_and_reversals_are_no_sales() -> None:
    found = facts(
        deals=[deal(1, "02-01", "WON"), deal(2, "02-01", "LOSE"), deal(3, "02-01", "OFFER")],
        deal_stage_history=[
            *deal_history(1, ("02-02", "WON"), ("02-20", "OFFER"), ("03-03", "WON")),
            *deal_history(2, ("02-02", "WON"), ("03-04", "LOSE")),
            *deal_history(3, ("02-02", "WON"), ("03-05", "OFFER")),
        ],
    )
    assert value(found, "sales_period", MARCH) == 1
    assert value(found, "sales_period", FEBRUARY) == 0
    assert value(found, "deals_failed_period", MARCH) == 1
    assert value(found, "deals_failed_cohort", MARCH) == 0
    assert value(found, "deals_in_work") == 1
    assert issue(found, "reversal", "deal") == 2


def test_failed_statuses_are_one_stay() -> None:
    found = facts(
        deals=[deal(1, "03-01", "APOLOGY")],
        deal_stage_history=deal_history(
            1, ("03-01", "NEW"), ("03-03", "LOSE"), ("03-09", "APOLOGY")
        ),
    )
    assert one(found.deals, 1)["failed_at"] == utc("03-03")
    assert one(found.deals, 1)["age_days"] == 2.0


def test_history_is_ordered_by_time_then_row_id() -> None:
    rows = deal_history(1, ("03-01", "NEW"), ("03-05", "OFFER"), ("03-05", "WON"))
    found = facts(deals=[deal(1, "03-01", "WON")], deal_stage_history=rows[::-1])
    assert found.stage_visits["stage_id"].to_list() == ["NEW", "OFFER", "WON"]
    assert found.stage_visits["days"].to_list()[:2] == [4.0, 0.0]


def test_average_sale_is_a_ratio_of_sums() -> None:
    found = facts(
        deals=[
            deal(1, "03-01", "WON", opportunity=100, assignedById=1, movedTime=at("03-02")),
            deal(2, "03-01", "WON", opportunity=0, assignedById=1, movedTime=at("03-02")),
            deal(3, "03-01", "WON", opportunity=400, assignedById=2, movedTime=at("03-02")),
        ]
    )
    assert value(found, "average_sale_period") == pytest.approx(500 / 3)
    assert by(found, "average_sale_period", "manager_name") == {"Анна Ли": 50.0, "Пётр": 400.0}
    assert by(found, "sales_cohort", "department_name") == {"Розница": 2, "Опт": 1}
    assert issue(found, "sale_without_amount", "deal") == 1


def test_days_to_close_in_both_views_and_bins() -> None:
    closings = {1: "02-22 23:59", 2: "02-23", 3: "03-17 23:00", 4: "03-18"}
    deals = [deal(n, "02-15", "WON", movedTime=at(moment)) for n, moment in closings.items()]
    lost = deal(5, "01-02", "LOSE", movedTime=at("02-01"))
    found = facts(deals=[*deals, lost, deal(6, "03-01")])
    bins = by(found, "deals_closed_cohort", "days_to_close_bin")
    # 7.999, 8, 30.96, 31 and 30 days, and an open one without.
    assert bins == {"0–7": 1, "8–30": 3, "31–90": 1, None: 0}
    assert value(found, "days_to_close_median_period", JANUARY) is None
    assert value(found, "days_to_close_avg_cohort", JANUARY) == 30.0


def test_customer_kind_by_any_contact_or_company_directly() -> None:
    found = facts(
        companies=[{"id": 50, "isMyCompany": "Y"}],
        deals=[
            deal(1, "03-01", companyId=7, contactIds=[1]),
            deal(2, "03-02", companyId=0, contactIds=[1, 2]),  # contact 1
            deal(3, "03-03", companyId=8, contactIds=[2]),  # contact 2
            deal(4, "03-04", companyId=8, contactIds=[]),  # company 8
            deal(5, "03-05", contactId=9),
            deal(6, "03-06", companyId=50),  # own legal entity: none
            deal(7, "03-07", companyId=50, contactId=9),
        ],
    )
    kinds = found.deals["customer_kind"].to_list()
    assert kinds == ["new", "repeat", "repeat", "repeat", "new", "unknown", "repeat"]


def test_customer_kind_ties_by_id_and_legacy_first() -> None:
    found = facts(
        Settings(legacy_rules=[{"originator_ids": ["1C"]}]),
        deals=[
            deal(1, "03-05", companyId=7),
            deal(2, "03-05", companyId=7),
            deal(3, "03-05", companyId=8),
            deal(4, "03-20", companyId=8, originatorId="1C"),  # legacy is earlier than any other
        ],
    )
    assert found.deals["customer_kind"].to_list() == ["new", "repeat", "repeat", "new"]


def test_repeat_means_sale_counts_sales_before_the_creation() -> None:
    rows: dict[str, Any] = {
        "deals": [
            deal(1, "03-01", "WON", companyId=7),
            deal(2, "03-05", companyId=7),  # 1 was sold later
            deal(3, "03-12", companyId=7),
            deal(4, "03-01", "LOSE", companyId=8),
            deal(5, "03-12", companyId=8),
        ],
        "deal_stage_history": deal_history(1, ("03-01", "NEW"), ("03-10", "WON")),
    }
    by_deal = facts(**rows).deals["customer_kind"].to_list()
    by_sale = facts(Settings(repeat_means="sale"), **rows).deals["customer_kind"].to_list()
    assert by_deal == ["new", "repeat", "repeat", "new", "repeat"]
    assert by_sale == ["new", "new", "repeat", "new", "new"]


def test_new_and_repeat_sales_and_the_portals_flag() -> None:
    found = facts(
        deals=[
            deal(1, "03-01", "WON", contactId=1, movedTime=at("03-02"), isReturnCustomer="Y"),
            deal(2, "03-03", "WON", contactId=1, movedTime=at("03-04"), isReturnCustomer="Y"),
            deal(3, "03-03", "WON", movedTime=at("03-04"), isReturnCustomer="Y"),
        ]
    )
    assert value(found, "sales_new_period", MARCH) == 1
    assert value(found, "sales_repeat_period", MARCH) == 1
    assert value(found, "sales_repeat_amount_cohort", MARCH) == D(100)
    assert issue(found, "repeat_flag_disagrees", "deal") == 1


def test_attribution_by_customer_takes_the_latest_lead_before_the_deal() -> None:
    rows: dict[str, Any] = {
        "leads": [
            lead(1, "03-01", sourceId="WEB", contactId=5),
            lead(2, "03-03", sourceId="CALL", companyId=7),
            lead(3, "03-09", sourceId="WEB", contactId=5),
        ],
        "deals": [
            deal(1, "03-05", "WON", contactIds=[4, 5], companyId=7, movedTime=at("03-06")),
            deal(2, "03-05", leadId=99, contactIds=[5]),
            deal(3, "03-01", contactIds=[5]),  # not before the deal
        ],
    }
    direct = facts(**rows)
    assert direct.deals["lead_link"].to_list() == ["none", "deleted", "none"]
    found = facts(Settings(attribution="customer"), **rows)
    assert found.deals["lead_link"].to_list() == ["customer", "deleted", "none"]
    assert one(found.deals, 1)["lead_id"] == 2
    assert by(found, "revenue_per_lead_cohort", "source_name") == {"Сайт": 0.0, "Звонок": 100.0}
    assert by(found, "revenue_per_lead_period", "source_name") == {"Сайт": 0.0, "Звонок": 100.0}


# Funnels


def test_cohort_funnel_nests_and_lists_apart() -> None:
    found = facts(
        leads=[
            lead(1, "03-01", "CONVERTED"),
            lead(2, "03-01", "CONVERTED"),
            lead(3, "03-01", "CALL"),
            lead(4, "03-01", "JUNK"),
        ],
        deals=[
            deal(1, "03-02", "WON", leadId=1, movedTime=at("03-03")),
            deal(3, "03-02", "WON", leadId=3, movedTime=at("03-03")),
        ],
    )
    assert found.funnel("marketing", "cohort", MARCH).rows() == [
        ("received", 4, None, None),
        ("quality", 2, 0.5, 0.5),
        ("deal", 1, 0.25, 0.5),
        ("sale", 1, 0.25, 1.0),
        ("sale_not_quality", 1, None, None),
    ]
    assert value(found, "leads_with_sale_cohort", MARCH) == 2
    assert issue(found, "sale_not_quality", "lead") == 1


def test_period_funnel_may_exceed_one() -> None:
    found = facts(
        leads=[lead(1, "02-01", "CONVERTED"), lead(2, "02-01", "CONVERTED"), lead(3, "03-01")],
        lead_stage_history=[
            *lead_history(1, ("02-01", "NEW"), ("03-02", "CONVERTED")),
            *lead_history(2, ("02-01", "NEW"), ("03-02", "CONVERTED")),
        ],
    )
    assert found.funnel("sales_dynamics", "period", MARCH).rows() == [
        ("received", 1, None, None),
        ("quality", 2, 2.0, 2.0),
        ("sale", 0, 0.0, 0.0),
    ]


# Stages


def visited_deals(settings: Settings | None = None) -> Facts:
    """Five deals of March.

    1: new, offer (2 days), new again, offer (present)
    2: new, contract, lost          dropped on the contract
    3: created lost
    4: new, removed stage, won
    5: new, present stage (offer) known by movedTime only
    """
    return facts(
        settings,
        deals=[
            deal(1, "03-01", "OFFER"),
            deal(2, "03-01", "LOSE", opportunity=70),
            deal(3, "03-01", "LOSE", opportunity=30),
            deal(4, "03-01", "WON"),
            deal(5, "03-01", "OFFER", movedTime=at("03-21 20:00")),
        ],
        deal_stage_history=[
            *deal_history(
                1, ("03-01", "NEW"), ("03-02", "OFFER"), ("03-04", "NEW"), ("03-11 20:00", "OFFER")
            ),
            *deal_history(2, ("03-01", "NEW"), ("03-04", "CONTRACT"), ("03-09", "LOSE")),
            *deal_history(3, ("03-01", "LOSE")),
            *deal_history(
                4, ("03-01", "NEW"), ("03-01", "NEW"), ("03-06", "GONE"), ("03-07", "WON")
            ),
            *deal_history(5, ("03-01", "NEW")),
        ],
    )


def test_stage_pass_and_forward_rates() -> None:
    found = visited_deals()
    new, offer = stage(found, "deal", "NEW"), stage(found, "deal", "OFFER")
    assert (new["visited"], new["items"], new["stage_pass_rate"]) == (4, 5, 0.8)
    assert new["stage_forward_rate"] == 1.0  # 1 and 5 to the offer, 2 to the contract, 4 won
    assert (offer["visited"], offer["stage_forward_rate"]) == (2, 0.0)
    assert stage(found, "deal", "CONTRACT")["stage_forward_rate"] == 0.0  # lost is not forward
    assert stage(found, "deal", "GONE")["stage_forward_rate"] == 1.0


def test_stage_days_of_finished_visits_and_standing_now() -> None:
    found = visited_deals()
    new, offer = stage(found, "deal", "NEW"), stage(found, "deal", "OFFER")
    # NEW: 1, 7 + 20/24, 3, 5 and 20 + 20/24 days; consecutive rows on it are one visit.
    assert new["finished_visits"] == 5
    assert new["stage_days_avg"] == pytest.approx((1 + 7 + 3 + 5 + 20 + 40 / 24) / 5, rel=1e-12)
    assert new["stage_days_median"] == 5.0
    assert (offer["finished_visits"], offer["stage_days_avg"]) == (1, 2.0)
    assert (offer["standing_now"], offer["days_on_stage_now"]) == (2, 15.0)  # 20 and 10 days
    for final in ("WON", "LOSE"):
        row = stage(found, "deal", final)
        assert (row["stage_days_avg"], row["days_on_stage_now"]) == (None, None)


def test_dropped_by_the_last_open_stage() -> None:
    found = visited_deals()
    contract = stage(found, "deal", "CONTRACT")
    assert (contract["dropped"], contract["dropped_amount"]) == (1, D(70))
    assert contract["dropped_share"] == 1.0
    none = stage(found, "deal", None)
    assert (none["stage_name"], none["dropped"], none["dropped_amount"]) == (
        "создан проваленным",
        1,
        D(30),
    )
    assert found.stages("deal")["dropped"].sum() == value(found, "deals_failed_cohort")


def test_dropped_looks_before_the_present_failure_only() -> None:
    found = facts(
        deals=[deal(1, "03-01", "APOLOGY")],
        deal_stage_history=deal_history(
            1, ("03-01", "OFFER"), ("03-02", "LOSE"), ("03-03", "NEW"), ("03-04", "LOSE"),
            ("03-05", "APOLOGY"),
        ),
    )  # fmt: skip
    assert stage(found, "deal", "NEW")["dropped"] == 1
    assert stage(found, "deal", "OFFER")["dropped"] == 0


def test_deleted_stage_is_named_and_listed() -> None:
    found = visited_deals()
    assert stage(found, "deal", "GONE")["stage_name"] == "удалённый этап (GONE)"
    assert issue(found, "unknown_stage_in_history", "deal") == 1


def test_transitions_mark_moves_back() -> None:
    moves = visited_deals().transitions("deal")
    found = {
        (row["stage_id"], row["to_stage_id"]): (row["transitions"], row["is_back"])
        for row in moves.iter_rows(named=True)
    }
    assert found[("NEW", "OFFER")] == (3, False)
    assert found[("OFFER", "NEW")] == (1, True)
    assert found[("CONTRACT", "LOSE")] == (1, False)
    assert sum(count for count, _ in found.values()) == 8


def test_stage_base_of_deals_is_the_pipeline_and_of_leads_all() -> None:
    found = facts(
        leads=[lead(1, "03-01"), lead(2, "03-01", "CALL", sourceId="WEB", movedTime=at("03-02"))],
        deals=[deal(1, "03-01", "C1:NEW"), deal(2, "03-01", "NEW")],
        deal_stage_history=deal_history(1, ("03-01", "NEW"), ("03-05", "C1:NEW")),
    )
    rates = found.metric("stage_pass_rate", MARCH, entity="deal").rows()
    assert rates == [
        (0, "NEW", "Новая", 2, 2, 1.0),
        (1, "C1:NEW", "Доставка", 1, 1, 1.0),
    ]
    assert stage(found, "lead", "CALL")["stage_pass_rate"] == 0.5
    by_source = found.metric("stage_pass_rate", MARCH, ["source_name"], entity="lead")
    assert by_source.select("source_name", "stage_id", "value").rows() == [
        ("Сайт", "CALL", 1.0),
        ("без источника", "NEW", 1.0),
    ]


def test_named_paid_stage_is_success_in_stage_metrics() -> None:
    rows: dict[str, Any] = {
        "deals": [deal(1, "03-01", "UC_PAID")],
        "deal_stage_history": deal_history(1, ("03-01", "CONTRACT"), ("03-05", "UC_PAID")),
    }
    assert stage(facts(**rows), "deal", "UC_PAID")["standing_now"] == 1
    assert stage(facts(PAID, **rows), "deal", "UC_PAID")["standing_now"] == 0
    assert stage(facts(PAID, **rows), "deal", "CONTRACT")["stage_forward_rate"] == 1.0


def test_moves_back_are_to_open_stages_only() -> None:
    found = facts(
        deals=[deal(1, "03-01", "NEW", stageSemanticId="F"), deal(2, "03-01", "OFFER")],
        deal_stage_history=[
            # OFFER stands before WON, yet after NEW; by its own row, deal 1 failed on NEW.
            *deal_history(1, ("03-01", "OFFER"), ("03-05", "NEW")),
            *deal_history(2, ("03-01", "LOSE"), ("03-03", "WON"), ("03-05", "OFFER")),
        ],
    )
    moves = found.transitions("deal").select("stage_id", "to_stage_id", "is_back")
    assert moves.rows() == [
        ("LOSE", "WON", False),
        ("OFFER", "NEW", False),
        ("WON", "OFFER", True),
    ]


def test_visit_of_several_rows_means_what_the_last_says() -> None:
    rows = deal_history(1, ("03-01", "OFFER"), ("03-03", "OFFER"), ("03-07", "LOSE"))
    rows[0]["STAGE_SEMANTIC_ID"] = "F"
    found = facts(deals=[deal(1, "03-01", "LOSE")], deal_stage_history=rows)
    visit = stage(found, "deal", "OFFER")
    assert (visit["stage_days_avg"], visit["dropped"]) == (6.0, 1)
    assert one(found.deals, 1)["failed_at"] == utc("03-07")


def test_another_pipeline_is_neither_forward_nor_back() -> None:
    found = facts(
        deals=[deal(1, "03-01", "OFFER"), deal(2, "03-01", "C1:NEW")],
        deal_stage_history=[
            *deal_history(1, ("03-01", "C1:NEW"), ("03-05", "OFFER")),
            *deal_history(2, ("03-01", "OFFER"), ("03-05", "C1:NEW")),
        ],
    )
    assert stage(found, "deal", "C1:NEW")["stage_forward_rate"] == 0.0
    assert found.transitions("deal")["is_back"].to_list() == [False, False]
    assert by(found, "deals_created", "pipeline_name") == {"Продажи": 1, "Доставка": 1}


def test_present_visit_means_what_the_item_means_now() -> None:
    found = facts(
        leads=[lead(1, "03-01", "MEET", stageSemanticId="F")],
        lead_stage_history=lead_history(1, ("03-01", "CALL"), ("03-02", "MEET")),
    )
    assert stage(found, "lead", "MEET")["standing_now"] == 0
    assert stage(found, "lead", "CALL")["dropped"] == 1


def test_moved_after_as_of_stands_zero_days() -> None:
    found = facts(leads=[lead(1, "03-01", "CALL", movedTime=at("03-31 20:05"))])
    assert stage(found, "lead", "CALL")["days_on_stage_now"] == 0.0


def test_negative_visit_stays_in_and_is_listed() -> None:
    found = facts(
        deals=[deal(1, "03-01", "OFFER", movedTime=at("03-03"))],
        deal_stage_history=deal_history(1, ("03-05", "NEW")),
    )
    assert stage(found, "deal", "NEW")["stage_days_avg"] == -2.0
    assert issue(found, "negative_stage_days", "deal") == 1


# Dimensions and data quality


def test_dimensions_of_leads_and_deals() -> None:
    found = facts(
        leads=[
            lead(1, "03-01", sourceId="WEB", utmCampaign="spring", assignedById=1),
            lead(2, "03-01", sourceId="", assignedById="77"),
            lead(3, "03-01", sourceId="OLD", utmCampaign="", assignedById="0"),
        ],
        lead_addresses=[{"ID": "1", "ADDRESS_CITY": " Казань "}, {"ID": "2", "ADDRESS_CITY": ""}],
        deals=[deal(1, "03-02", leadId=1, sourceId="CALL"), deal(2, "03-02")],
    )
    assert found.leads["source_name"].to_list() == [
        "Сайт",
        "без источника",
        "удалённый источник (OLD)",
    ]
    assert found.leads["city"].to_list() == ["Казань", None, None]
    assert found.leads["manager_name"].to_list() == [
        "Анна Ли",
        "пользователь 77",
        "без ответственного",
    ]
    assert by(found, "leads_received", "utm_campaign") == {"spring": 1, None: 2}
    assert by(found, "deals_created", "city") == {"Казань": 1, None: 1}
    assert by(found, "deals_created", "source_name") == {"Звонок": 1, "без источника": 1}
    assert by(found, "deals_created", "lead_source_name") == {"Сайт": 1, "без лида": 1}


def test_city_field_is_decoded_and_the_deals_own_first() -> None:
    items = {"UF_CRM_CITY": {"items": [{"ID": "1", "VALUE": "Омск"}, {"ID": "2", "VALUE": "Уфа"}]}}
    found = facts(
        Settings(city_field="UF_CRM_CITY", user_fields=["UF_CRM_TAGS"]),
        fields=[{"entityTypeId": n, "fields": items} for n in (1, 2)],
        leads=[lead(1, "03-01", UF_CRM_CITY=1, UF_CRM_TAGS=["a", "b"])],
        lead_addresses=[{"ID": "1", "ADDRESS_CITY": "Казань"}],
        deals=[deal(1, "03-02", leadId=1, UF_CRM_CITY="2"), deal(2, "03-02", leadId=1)],
    )
    assert found.leads["city"].to_list() == ["Омск"]
    assert found.deals["city"].to_list() == ["Уфа", "Омск"]
    assert found.leads["UF_CRM_TAGS"].to_list() == ["a, b"]


def test_data_quality_counts() -> None:
    found = facts(
        leads=[
            lead(1, "03-01", "CONVERTED", assignedById=2),
            lead(2, "03-01", "CONVERTED", contactId=3),
            lead(3, "03-01", "CONVERTED"),
            lead(4, "03-01", "CALL", assignedById=2),
            *(lead(100 + n, "03-02") for n in range(20)),
            lead(200, "03-03"),
        ],
        contacts=[{"id": 9, "leadId": 3}],
        lead_stage_history=lead_history(4, ("03-02", "CALL")),
    )
    assert issue(found, "quality_with_nothing_linked", "lead") == 1
    assert issue(found, "held_by_dismissed", "lead") == 1
    begins = data_quality(found).filter(check="history_begins", entity="lead").row(0, named=True)
    assert (begins["detail"], begins["records"]) == ("2026-03-02", 4)
    # 20 records against a median of 4 (1, 4, 20) are not an import; against 1 they are.
    assert issue(found, "import_day", "lead") == 0
    spread = facts(
        leads=[lead(n, f"03-{n:02}") for n in range(1, 20)]
        + [lead(100 + n, "03-25") for n in range(20)]
    )
    assert issue(spread, "import_day", "lead") == 20


def test_the_portal_goes_by_its_own_semantics() -> None:
    settings = Settings(
        paid_stages=["UC_PAID"],
        sales_pipelines=[0],
        lead_stage_outcomes={"MEET": "quality", "CONVERTED": "in_work"},
        legacy_rules=[{"originator_ids": ["1C"]}],
    )
    found = facts(
        settings,
        leads=[
            lead(1, "03-01", "MEET"),
            lead(2, "03-01", "CONVERTED", dateClosed=at("03-04 10:00")),
            # Junk, then spam: closed since the first.
            lead(3, "03-01", "SPAM"),
            lead(4, "03-01", "JUNK", originatorId="1C", dateClosed=at("02-01 10:00")),
        ],
        lead_stage_history=lead_history(3, ("03-02 23:59", "JUNK"), ("03-05", "SPAM")),
        deals=[
            deal(1, "03-01", "UC_PAID"),
            deal(2, "03-01", "WON"),
            deal(3, "03-01", "C1:WON", originatorId="1C", movedTime=at("03-05 00:00")),
            deal(4, "03-01", "WON", isRecurring="Y"),
            deal(5, "03-01"),
        ],
        deal_stage_history=[
            *deal_history(2, ("03-01", "WON"), ("03-03", "UC_PAID"), ("03-09", "WON")),
            *deal_history(5, ("03-01", "WON"), ("03-03", "NEW")),
        ],
    )
    gone = [("deal", deal(6, "02-01", "LOSE"), utc("03-31 00:00"))]
    columns = ("bridge_kind", "portal_state", "our_state", "portal_closed_date", "deleted_date")
    rows = portal_bridge(found, gone).select("entity", "item_id", *columns).rows()

    def day(number: int) -> date:
        return date(2026, 3, number)

    assert rows == [
        ("lead", 1, "counted", "in_work", "quality", None, None),
        ("lead", 2, "counted", "success", "in_work", day(4), None),
        ("lead", 3, "counted", "failed", "junk", day(2), None),
        # Never closed before the day of its creation.
        ("lead", 4, "legacy", "failed", None, day(1), None),
        ("deal", 1, "counted", "in_work", "sale", None, None),
        # To us sold since the 1st, to the portal since the 9th.
        ("deal", 2, "counted", "success", "sale", day(9), None),
        ("deal", 3, "other_pipeline", "success", None, day(5), None),
        ("deal", 4, "template", "success", None, None, None),
        ("deal", 5, "counted", "in_work", "in_work", None, None),
        ("deal", 6, "deleted", "failed", None, None, day(31)),
    ]


def test_unknown_names_are_told() -> None:
    found = facts()
    with pytest.raises(KeyError, match="no metric"):
        found.metric("leads")
    with pytest.raises(ValueError, match="no dimension"):
        found.metric("leads_received", group_by=["colour"])
    with pytest.raises(ValueError, match="pass entity"):
        found.metric("visited")
    assert value(found, "leads_received") == 0
    assert value(found, "processing_days_avg") is None


def test_reference_month() -> None:
    """The figures that users know."""
    leads = [
        *(lead(n, "03-02 10:00", "JUNK", dateClosed=at("03-07 10:00")) for n in range(1, 897)),
        *(
            lead(n, "03-02 10:00", "CONVERTED", dateClosed=at("03-07 10:00"))
            for n in range(897, 1150)
        ),
        *(lead(n, "03-20", "CALL") for n in range(1150, 1399)),
        *(lead(n, "02-10", "CALL") for n in range(2001, 2012)),
    ]
    deals = [
        *(deal(n, "03-29") for n in range(1, 359)),
        *(deal(n, "03-10") for n in range(359, 374)),
        *(
            deal(2000 + n, "02-15", "WON", leadId=2000 + n, movedTime=at("03-16"))
            for n in range(1, 12)
        ),
        *(deal(n, "01-31", "UC_PAID", opportunity=1_000_000) for n in range(5001, 5177)),
    ]
    found = facts(Settings(sales_pipelines=[0]), leads=leads, deals=deals)
    expected = {
        "leads_received": 1398,
        "leads_junk": 896,
        "leads_quality_cohort": 253,
        "leads_quality_period": 253,
        "leads_in_work": 249,
        "processing_days_avg": 5.0,
        "deals_created": 373,
        "deals_forgotten": 15,
        "leads_with_sale_period": 11,
        "leads_with_sale_cohort": 0,
        "sales_amount_cohort": D(0),
    }
    assert {name: value(found, name, MARCH) for name in expected} == expected
    assert round(value(found, "lead_to_sale_rate_period", MARCH), 4) == 0.0079
    sale = found.funnel("sales_dynamics", "period", MARCH).row(-1, named=True)
    assert round(sale["share_of_previous"], 4) == 0.0435
    assert value(found, "deals_forgotten") == 15 + 176
    listed = data_quality(found).filter(check="success_stage_not_final").row(0, named=True)
    assert (listed["records"], listed["amount"]) == (176, D(176_000_000))


# Files


def test_reads_json_lines_and_parquet(tmp_path: Path) -> None:
    rows = [lead(1, "03-01", contactIds=[3]), lead(2, "03-02", contactIds=[])]
    (tmp_path / "leads.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "deals.jsonl").write_text(
        '{"id": 1, "createdTime": "2026-03-01T00:00:00+03:00", "stageId": "NEW", '
        '"opportunity": 0.1, "currencyId": "RUB"}',
        encoding="utf-8",
    )
    pl.DataFrame(STATUSES).write_parquet(tmp_path / "statuses.parquet")
    pl.DataFrame(CURRENCIES).write_parquet(tmp_path / "currencies.parquet")
    (tmp_path / "portal.json").write_text(json.dumps({"now": AS_OF.isoformat()}))
    portal = Portal.read(tmp_path)
    found = calculate(portal, Settings(), portal.now)
    assert value(found, "leads_new") == 2
    assert found.leads["contact_ids"].to_list() == [[3], []]
    assert value(found, "potential_amount") == D("0.10")
    with pytest.raises(FileNotFoundError, match="data directory"):
        Portal.read(tmp_path / "none")


# Olist: real leads, figures computed straight from the published files

OLIST = Path(os.environ.get("OLIST_DIR", ROOT / "../shared/data/olist"))
needs_olist = pytest.mark.skipif(
    not (OLIST / "expected.json").exists(),
    reason=f"no Olist set in {OLIST}: set OLIST_DIR to the folder with expected.json",
)
# The metric of each figure that expected.json gives for a group.
OF_LEADS = {
    "leads_received": "leads_received",
    "leads_quality": "leads_quality_cohort",
    "leads_in_work": "leads_in_work",
    "leads_junk": "leads_junk",
    "leads_new": "leads_new",
    "leads_with_deal": "leads_with_deal_cohort",
    "leads_with_sale": "leads_with_sale_cohort",
    "lead_to_sale_rate": "lead_to_sale_rate_cohort",
    "revenue_per_lead_brl": "revenue_per_lead_cohort",
    "days_to_sale_avg": "lead_to_sale_days_avg",
    "days_to_sale_median": "lead_to_sale_days_median",
}
OF_SALES = {
    "sales": "sales_cohort",
    "sales_amount_brl": "sales_amount_cohort",
    "average_sale_brl": "average_sale_cohort",
}


@pytest.fixture(scope="module")
def olist() -> tuple[Facts, dict[str, Any]]:
    portal = Portal.read(OLIST / "portal")
    expected = json.loads((OLIST / "expected.json").read_text(encoding="utf-8"), parse_float=D)
    return calculate(portal, Settings(), portal.now), expected


def same(found: Any, expected: Any, name: str) -> None:
    """Equal; averages of days to the error of the sums of floats that made the expected ones."""
    if "days_to_sale" in name and expected is not None:
        assert found == pytest.approx(float(expected), rel=1e-13), name
    elif isinstance(found, float):
        assert found == float(expected), name
    else:
        assert found == expected, name


@needs_olist
def test_olist_totals(olist: tuple[Facts, dict[str, Any]]) -> None:
    found, expected = olist
    for name, metric in (OF_LEADS | OF_SALES).items():
        same(value(found, metric), expected["total"][name], name)
    for name in ("deals_created", "deals_in_work", "deals_forgotten"):
        same(value(found, name), expected[name], name)
    same(value(found, "deals_failed_cohort"), expected["deals_failed"], "deals_failed")
    same(value(found, "potential_amount"), expected["potential_amount_brl"], "potential_amount")
    kinds = by(found, "sales_cohort", "customer_kind")
    assert kinds == {"new": expected["customer_kind"]["new"]}
    assert issue(found, "sale_without_amount", "deal") == expected["sales_with_zero_amount"]
    assert issue(found, "sale_before_lead", "deal") == expected["sales_before_first_contact"]
    managers = found.metric("sales_cohort", group_by=["manager_id"])
    assert managers.height == expected["sales_by_manager_count"]
    days = found.leads.filter(pl.col("lead_to_sale_days") >= 0)["lead_to_sale_days"].mean()
    assert days == pytest.approx(float(expected["days_to_sale_avg_without_those"]), rel=1e-13)


@needs_olist
def test_olist_by_source(olist: tuple[Facts, dict[str, Any]]) -> None:
    found, expected = olist
    groups = expected["by_source"]

    def check(metrics: dict[str, str], column: str) -> None:
        for name, metric in metrics.items():
            values = by(found, metric, column)
            assert len(values) == len(groups)
            for source, figures in groups.items():
                code = None if source == "(empty)" else source.upper()
                same(values[code], figures[name], f"{source} {name}")

    check(OF_LEADS, "source_id")
    check(OF_SALES, "lead_source_id")


@needs_olist
def test_olist_by_month(olist: tuple[Facts, dict[str, Any]]) -> None:
    found, expected = olist
    for name, metric in OF_LEADS.items():
        values = by(found, metric, "month")
        for month, figures in expected["by_month_cohort"].items():
            same(values[date.fromisoformat(f"{month}-01")], figures[name], f"{month} {name}")
    sums = found.leads.group_by(pl.col("created_date").dt.truncate("1mo").alias("month")).agg(
        pl.col("sales_count", "sales_amount").sum()
    )
    for month, sales, amount in sums.iter_rows():
        figures = expected["by_month_cohort"][f"{month:%Y-%m}"]
        assert (sales, amount) == (figures["sales"], figures["sales_amount_brl"])
    period_metrics = {
        "leads_received": "leads_received",
        "sales": "sales_period",
        "sales_amount_brl": "sales_amount_period",
        "lead_to_sale_rate": "lead_to_sale_rate_period",
        "revenue_per_lead_brl": "revenue_per_lead_period",
    }
    for name, metric in period_metrics.items():
        values = by(found, metric, "month")
        for month, figures in expected["by_month_period"].items():
            # A month without any record has no row.
            empty = None if "rate" in name or "per_lead" in name else 0
            same(values.get(date.fromisoformat(f"{month}-01"), empty), figures[name], name)
    assert set(by(found, "revenue_per_lead_period", "month")) == {
        date.fromisoformat(f"{month}-01") for month in expected["by_month_period"]
    }


@needs_olist
def test_olist_by_segment_and_by_source_and_month(olist: tuple[Facts, dict[str, Any]]) -> None:
    found, expected = olist
    with_segment = calculate(found.portal, Settings(user_fields=["UF_CRM_SEGMENT"]), found.as_of)
    segments = by(with_segment, "sales_cohort", "UF_CRM_SEGMENT")
    assert {name or "(empty)": sales for name, sales in segments.items()} == expected[
        "sales_by_segment"
    ]
    cells = found.metric("leads_received", group_by=["source_id", "month"])
    assert {
        (source.lower() if source else "(empty)", f"{month:%Y-%m}"): leads
        for source, month, leads in cells.select("source_id", "month", "value").iter_rows()
    } == {
        (source, month): leads
        for source, months in expected["by_source_and_month_received"].items()
        for month, leads in months.items()
    }
    assert len(found.portal.lead_stage_history) == expected["lead_stage_history_rows"]

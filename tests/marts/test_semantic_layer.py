"""Every metric of the semantic layer on a small company whose figures are worked out by hand."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from pytest import approx

from pipelines.environment import ROOT
from pipelines.errors import PublishFailed
from pipelines.metric_sql import MetricQuery, SemanticLayer, filled
from pipelines.mf import run_mf
from pipelines.publish import DEFINITIONS
from pipelines.warehouse import Warehouse
from tests.support.semantic_fixtures import RUB, Ask, ask, company

__all__ = ["ask", "company"]

SEMANTIC = ROOT / "dbt_project" / "models" / "semantic"
MONTH = ["metric_time__month"]


def query(company: Warehouse, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(company.published / "crm.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("metric", "by_month", "total"),
    [
        # Leads 4 and 5 are of February, 1 to 3 of March; 6 is imported.
        ("leads_received", {"02-01": 2, "03-01": 3}, 5),
        ("leads_junk", {"02-01": 0, "03-01": 1}, 1),
        ("leads_in_work", {"02-01": 1, "03-01": 1}, 2),
        ("leads_new", {"02-01": 0, "03-01": 1}, 1),
        ("leads_in_progress", {"02-01": 1, "03-01": 0}, 1),
        ("leads_repeat", {"02-01": 1, "03-01": 0}, 1),
        ("leads_first_time", {"02-01": 1, "03-01": 3}, 4),
        ("leads_forgotten", {"02-01": 1, "03-01": 1}, 2),
        ("leads_forgotten_without_plan", {"02-01": 0, "03-01": 1}, 1),
        ("leads_inactive", {"02-01": 1, "03-01": 1}, 2),
        ("leads_without_planned_activity", {"02-01": 0, "03-01": 1}, 1),
        ("leads_quality_cohort", {"02-01": 1, "03-01": 1}, 2),
        ("leads_quality_period", {"03-01": 2}, 2),
        ("leads_with_deal_cohort", {"02-01": 2, "03-01": 2}, 4),
        ("leads_with_deal_period", {"03-01": 4}, 4),
        ("leads_with_sale_cohort", {"02-01": 2, "03-01": 1}, 3),
        ("leads_with_sale_period", {"03-01": 3}, 3),
        ("leads_quality_with_deal_cohort", {"02-01": 1, "03-01": 1}, 2),
        ("leads_quality_with_sale_cohort", {"02-01": 1, "03-01": 1}, 2),
        ("leads_with_sale_not_quality_cohort", {"02-01": 1, "03-01": 0}, 1),
        ("lead_to_quality_rate_cohort", {"02-01": 1 / 2, "03-01": 1 / 3}, 2 / 5),
        ("lead_to_quality_rate_period", {"02-01": 0, "03-01": 2 / 3}, 2 / 5),
        ("lead_to_deal_rate_cohort", {"02-01": 1, "03-01": 2 / 3}, 4 / 5),
        ("lead_to_deal_rate_period", {"02-01": 0, "03-01": 4 / 3}, 4 / 5),
        ("lead_to_sale_rate_cohort", {"02-01": 1, "03-01": 1 / 3}, 3 / 5),
        ("lead_to_sale_rate_period", {"02-01": 0, "03-01": 1}, 3 / 5),
        # 19 days; 2 and 4.
        ("processing_days_avg", {"02-01": 19, "03-01": 3}, 25 / 3),
        ("processing_days_median", {"02-01": 19, "03-01": 3}, 4),
        ("processing_days_p90", {"02-01": 19, "03-01": 3.8}, 16),
        # 38 and 29 days; 8.
        ("lead_to_sale_days_avg", {"02-01": 33.5, "03-01": 8}, 25),
        ("lead_to_sale_days_median", {"02-01": 33.5, "03-01": 8}, 29),
        # Lead 3 since 5 March is 26 days and 10 hours old, lead 5 since 11 February 48 and 10.
        ("lead_age_days", {"02-01": (19 + 1162 / 24) / 2, "03-01": (2 + 4 + 634 / 24) / 3}, None),
        ("sales_amount_of_leads_cohort", {"02-01": RUB("500.50"), "03-01": RUB(1000)}, None),
        ("revenue_per_lead_cohort", {"02-01": 250.25, "03-01": 1000 / 3}, 300.1),
        # Leads came in February, and no sale; in March 1,500.50 for 3 leads.
        ("revenue_per_lead_period", {"02-01": 0, "03-01": 1500.5 / 3}, 300.1),
        # Deal 4 is of February, 7 of the service pipeline.
        ("deals_created", {"02-01": 1, "03-01": 7}, 8),
        ("deals_in_work", {"02-01": 0, "03-01": 1}, 1),
        ("deals_failed_cohort", {"02-01": 0, "03-01": 2}, 2),
        ("deals_failed_period", {"03-01": 2}, 2),
        ("deals_closed_cohort", {"02-01": 1, "03-01": 6}, 7),
        ("deals_closed_period", {"03-01": 7}, 7),
        ("sales_cohort", {"02-01": 1, "03-01": 4}, 5),
        ("sales_period", {"03-01": 5}, 5),
        ("sales_amount_cohort", {"02-01": RUB(300), "03-01": RUB("1611.50")}, RUB("1911.50")),
        ("sales_amount_period", {"03-01": RUB("1911.50")}, RUB("1911.50")),
        ("average_sale_cohort", {"02-01": 300, "03-01": 1611.5 / 3}, 477.875),
        # Five sales; the amount of deal 6 is unknown.
        ("average_sale_period", {"03-01": 477.875}, 477.875),
        ("sales_with_amount_cohort", {"02-01": 1, "03-01": 3}, 4),
        ("sales_with_amount_period", {"03-01": 4}, 4),
        ("sales_amount_cohort_unknown", {"02-01": 0, "03-01": 1}, 1),
        ("sales_amount_period_unknown", {"03-01": 1}, 1),
        ("sales_new_cohort", {"02-01": 1, "03-01": 2}, 3),
        ("sales_new_period", {"03-01": 3}, 3),
        ("sales_repeat_cohort", {"02-01": 0, "03-01": 1}, 1),
        ("sales_repeat_period", {"03-01": 1}, 1),
        ("sales_new_share_period", {"03-01": 3 / 5}, 3 / 5),
        ("sales_repeat_share_period", {"03-01": 1 / 5}, 1 / 5),
        ("sales_new_amount_cohort", {"02-01": RUB(300), "03-01": RUB("1500.50")}, None),
        ("sales_new_amount_period", {"03-01": RUB("1800.50")}, None),
        # The one repeat sale has no known amount: never 0. February has no such sale.
        ("sales_repeat_amount_cohort", {"02-01": RUB(0), "03-01": None}, None),
        ("sales_repeat_amount_cohort_unknown", {"02-01": 0, "03-01": 1}, 1),
        ("sales_repeat_amount_period", {"03-01": None}, None),
        ("sales_repeat_amount_period_unknown", {"03-01": 1}, 1),
        ("sales_new_amount_period_unknown", {"03-01": 0}, 0),
        # Deal 9 names neither company nor contact.
        ("sales_unknown_cohort", {"02-01": 0, "03-01": 1}, 1),
        ("sales_unknown_period", {"03-01": 1}, 1),
        ("sales_unknown_amount_cohort", {"02-01": RUB(0), "03-01": RUB(111)}, RUB(111)),
        ("sales_unknown_amount_period", {"03-01": RUB(111)}, RUB(111)),
        ("sales_unknown_amount_period_unknown", {"03-01": 0}, 0),
        ("potential_amount", {"02-01": RUB(0), "03-01": RUB(2000)}, RUB(2000)),
        ("potential_amount_unknown", {"02-01": 0, "03-01": 0}, 0),
        # Deal 3 is of lead 4, which came in February.
        ("leads_potential_amount", {"02-01": RUB(2000), "03-01": RUB(0)}, RUB(2000)),
        ("leads_potential_amount_unknown", {"02-01": 0, "03-01": 0}, 0),
        # Due on the 30th: lead 5 and deal 3.
        ("leads_overdue", {"02-01": 1, "03-01": 0}, 1),
        ("leads_overdue_amount", {"02-01": RUB(0), "03-01": RUB(0)}, RUB(0)),
        ("leads_forgotten_amount", {"02-01": RUB(0), "03-01": RUB(0)}, RUB(0)),
        ("leads_without_planned_activity_amount", {"02-01": RUB(0), "03-01": RUB(0)}, RUB(0)),
        ("deals_overdue", {"02-01": 0, "03-01": 1}, 1),
        ("deals_overdue_amount", {"02-01": RUB(0), "03-01": RUB(2000)}, RUB(2000)),
        ("deals_overdue_amount_unknown", {"02-01": 0, "03-01": 0}, 0),
        ("deals_forgotten_amount", {"02-01": RUB(0), "03-01": RUB(2000)}, RUB(2000)),
        ("deals_forgotten_without_plan_amount", {"02-01": RUB(0), "03-01": RUB(0)}, RUB(0)),
        ("deals_without_planned_activity_amount", {"02-01": RUB(0), "03-01": RUB(0)}, RUB(0)),
        ("deals_forgotten", {"02-01": 0, "03-01": 1}, 1),
        ("deals_forgotten_without_plan", {"02-01": 0, "03-01": 0}, 0),
        ("deals_inactive", {"02-01": 0, "03-01": 1}, 1),
        ("deals_without_planned_activity", {"02-01": 0, "03-01": 0}, 0),
        # Deals 3, 5 and 6 are repeat; the portal says so of deal 5: a repeated inquiry.
        ("deals_repeat_flag_different", {"02-01": 0, "03-01": 2}, 2),
        # 42 days; 6, 19, 2, 5, 0 and 7.
        ("days_to_close_avg_cohort", {"02-01": 42, "03-01": 6.5}, 81 / 7),
        ("days_to_close_median_cohort", {"02-01": 42, "03-01": 5.5}, 6),
        ("days_to_close_avg_period", {"03-01": 81 / 7}, 81 / 7),
        ("days_to_close_median_period", {"03-01": 6}, 6),
        ("deal_age_days", {"02-01": 42, "03-01": (39 + 634 / 24) / 7}, None),
        # Deals 1, 2 and 6 came 8, 38 and 29 days after their leads; 4 and 9 have none that counts.
        ("sale_after_lead_days_avg_period", {"03-01": 25}, 25),
        ("sale_after_lead_days_median_period", {"03-01": 29}, 29),
        ("sales_without_lead_period", {"03-01": 2}, 2),
        ("sales_without_lead_amount_period", {"03-01": RUB(411)}, RUB(411)),
        ("sales_of_leads_period", {"03-01": 3}, 3),
        ("sales_amount_of_leads_period", {"03-01": RUB("1500.50")}, RUB("1500.50")),
        ("sales_amount_of_leads_period_unknown", {"03-01": 1}, 1),
        ("sales_amount_of_leads_cohort_unknown", {"02-01": 1, "03-01": 0}, 1),
        ("sales_without_lead_amount_period_unknown", {"03-01": 0}, 0),
        # Two days of 25 with VAT in either month; in March 45.50 of ADS, and 10 of no source.
        ("ad_cost", {"02-01": RUB(60), "03-01": RUB("115.50")}, RUB("175.50")),
        ("ad_cost_unknown", {"02-01": 0, "03-01": 1}, 1),
        ("ad_clicks", {"02-01": 6, "03-01": 4}, 10),
        ("cost_per_lead", {"02-01": 30, "03-01": 38.5}, 35.1),
        ("cost_per_quality_lead_cohort", {"02-01": 60, "03-01": 115.5}, 87.75),
        # In February money was spent, and nothing became quality, a deal or a sale.
        ("cost_per_quality_lead_period", {"02-01": None, "03-01": 57.75}, 87.75),
        ("cost_per_deal_cohort", {"02-01": 30, "03-01": 57.75}, 43.875),
        ("cost_per_deal_period", {"02-01": None, "03-01": 28.875}, 43.875),
        ("cost_per_sale_cohort", {"02-01": 30, "03-01": 115.5}, 58.5),
        ("cost_per_sale_period", {"02-01": None, "03-01": 38.5}, 58.5),
        # Leads 1 and 5, whose sale is unknown; ADS had no cost yet when lead 4 came.
        ("sales_amount_of_ad_leads_cohort", {"02-01": None, "03-01": RUB(1000)}, RUB(1000)),
        ("sales_amount_of_ad_leads_cohort_unknown", {"02-01": 1, "03-01": 0}, 1),
        ("return_on_spend_cohort", {"02-01": None, "03-01": 884.5 / 115.5}, 824.5 / 175.5),
        ("cost_share_of_sales_cohort", {"02-01": None, "03-01": 0.1155}, 0.1755),
        # When deals 1, 2 and 6 were sold, both sources had a cost.
        ("sales_amount_of_ad_leads_period", {"03-01": RUB("1500.50")}, RUB("1500.50")),
        ("sales_amount_of_ad_leads_period_unknown", {"03-01": 1}, 1),
        ("return_on_spend_period", {"02-01": -1, "03-01": 1385 / 115.5}, 1325 / 175.5),
        ("cost_share_of_sales_period", {"02-01": None, "03-01": 115.5 / 1500.5}, 175.5 / 1500.5),
    ],
)
def test_metrics_by_month_and_in_all(
    ask: Ask, metric: str, by_month: dict[str, Any], total: Any
) -> None:
    found = ask(metric, MONTH)
    assert found == {
        month: value if value is None or isinstance(value, RUB) else approx(value)
        for month, value in by_month.items()
    }
    if total is not None:
        assert ask(metric) == (total if isinstance(total, RUB) else approx(total))


@pytest.mark.parametrize(
    ("metrics", "dimension", "expected"),
    [
        ("leads_received", "lead__source_name", {"Web": 3, "Ads": 2}),
        ("leads_received", "lead__utm_source", {"yandex": 1, None: 4}),
        ("leads_received", "lead__utm_medium", {None: 5}),
        ("leads_received", "lead__utm_campaign", {None: 5}),
        ("leads_received", "lead__utm_content", {None: 5}),
        ("leads_received", "lead__utm_term", {None: 5}),
        ("leads_received", "lead__manager_name", {"Анна Орлова": 3, "Иван Котов": 2}),
        ("leads_received", "lead__department_name", {"Розница": 3, "Опт": 2}),
        ("leads_received", "lead__stage_name", {"New": 1, "Talk": 1, "Junk": 1, "Converted": 2}),
        ("leads_received", "lead__city", {"Казань": 1, "Тверь": 1, None: 3}),
        ("leads_received", "metric_time__year", {"01-01": 5}),
        ("leads_received", "metric_time__quarter", {"01-01": 5}),
        ("leads_received", "metric_time__week", {"02-09": 2, "03-02": 3}),
        (
            "leads_received",
            "metric_time__day",
            {"02-10": 1, "02-11": 1, "03-02": 1, "03-03": 1, "03-05": 1},
        ),
        ("deals_created", "deal__pipeline_name", {"Продажи": 8}),
        ("deals_created", "deal__stage_name", {"Won": 5, "Lose": 2, "Prep": 1}),
        ("deals_created", "deal__customer_kind", {"new": 3, "repeat": 3, "unknown": 2}),
        ("deals_created", "deal__manager_name", {"Анна Орлова": 5, "Иван Котов": 3}),
        ("deals_created", "deal__department_name", {"Розница": 5, "Опт": 3}),
        ("deals_created", "deal__source_name", {"без источника": 8}),
        ("deals_created", "deal__city", {"Казань": 1, "Тверь": 1, None: 6}),
        ("deals_created", "deal__utm_source", {None: 8}),
        (
            "deals_created",
            "deal__lead_source_name",
            {"Web": 2, "Ads": 3, "без лида": 1, "лид удалён": 1, "лид импортирован": 1},
        ),
        # The same by way of the lead: deals without one, or with an imported one, have no source.
        ("deals_created", "lead__source_name", {"Web": 2, "Ads": 3, None: 3}),
        (
            "deals_closed_period",
            "deal__days_to_close_bin",
            {"0–7": 5, "8–30": 1, "31–90": 1},
        ),
        # A lead without UTM is a group; the sale of Tver has no known amount, so no revenue either.
        ("revenue_per_lead_period", "lead__utm_source", {"yandex": 1000, None: 500.5 / 4}),
        (
            "revenue_per_lead_period",
            "lead__city",
            {"Казань": 1000, "Тверь": None, None: 500.5 / 3},
        ),
        ("revenue_per_lead_period", "lead__source_name", {"Web": 1000 / 3, "Ads": 250.25}),
        (
            "lead_to_sale_rate_period",
            "lead__manager_name",
            {"Анна Орлова": 2 / 3, "Иван Котов": 0.5},
        ),
        (
            "leads_received",
            "lead__state",
            {"quality": 2, "junk": 1, "new": 1, "in_progress": 1},
        ),
        # What happened within the period, by the source of the lead: deals 1 and 6; deal 2.
        ("leads_quality_period", "lead__source_name", {"Web": 1, "Ads": 1}),
        ("leads_with_deal_period", "lead__source_name", {"Web": 2, "Ads": 2}),
        ("leads_with_sale_period", "lead__source_name", {"Web": 2, "Ads": 1}),
        ("sales_period", "lead__source_name", {"Web": 2, "Ads": 1, None: 2}),
        ("sales_amount_period", "deal__currency_code", {"RUB": RUB("1911.50"), "XAU": None}),
        ("sales_amount_period_unknown", "deal__currency_code", {"RUB": 0, "XAU": 1}),
        ("sales_of_leads_period", "lead__source_name", {"Web": 2, "Ads": 1}),
        # What leads, deals and costs share; leads without a label are no costs without one.
        ("ad_cost", "touch_source", {"Web": 120, "Ads": 45.5, "не сопоставлено": 10}),
        ("ad_cost", "touch_utm_source", {"yandex": 120, "VK": 45.5, "nobody": 10}),
        ("ad_cost", "touch_utm_campaign", {"spring": 45.5, "не сопоставлено": 130}),
        (
            "ad_cost",
            "ad_cost__match_kind",
            {"lead_utm_source": 120, "rule": 45.5} | {"unknown_utm_source": 10},
        ),
        ("ad_cost", "ad_cost__source_code", {None: 175.5}),
        ("cost_per_lead", "touch_source", {"Web": 40, "Ads": 22.75, "не сопоставлено": None}),
        (
            "cost_per_lead",
            "touch_utm_source",
            {"yandex": 120, "VK": None, "nobody": None, None: None},
        ),
        (
            "return_on_spend_period",
            "touch_source",
            {"Web": 880 / 120, "Ads": 10, "не сопоставлено": -1},
        ),
        (
            "cost_share_of_sales_period",
            "touch_source",
            {"Web": 0.12, "Ads": 1 / 11, "не сопоставлено": None},
        ),
        ("sales_of_leads_period", "touch_utm_source", {"yandex": 1, None: 2}),
        # Sales of deleted and of imported leads are in separate rows next to the total.
        (
            "sales_amount_period",
            "deal__lead_source_name",
            {
                "Web": RUB(1000),
                "Ads": RUB("500.50"),
                "лид удалён": RUB(300),
                "лид импортирован": RUB(111),
            },
        ),
    ],
)
def test_dimensions(ask: Ask, metrics: str, dimension: str, expected: dict[Any, Any]) -> None:
    assert ask(metrics, [dimension]) == {
        key: None if value is None else approx(value) for key, value in expected.items()
    }


def test_an_amount_tells_nothing_from_unknown(ask: Ask) -> None:
    """The amount of lead 5's sale is unknown; leads 2 and 3 have no sale: 0.

    When MetricFlow joins metrics, a group without a sale has no row; the views fill it.
    """
    found = ask(
        "sales_cohort sales_amount_cohort sales_amount_cohort_unknown average_sale_cohort",
        ["deal__state", "deal__currency_code"],
    )
    assert found == {
        ("sale", "RUB"): (4, RUB("1911.50"), 0, approx(477.875)),
        ("sale", "XAU"): (1, None, 1, None),
        ("failed", "RUB"): (0, RUB(0), 0, None),
        ("in_work", "RUB"): (0, RUB(0), 0, None),
    }
    of_leads = "sales_amount_of_leads_cohort sales_amount_of_leads_cohort_unknown"
    found = ask(f"{of_leads} revenue_per_lead_cohort", ["lead__stage_name"])
    assert found == {
        "New": (RUB(0), 0, 0),
        "Talk": (None, 1, None),
        "Junk": (RUB(0), 0, 0),
        "Converted": (RUB("1500.50"), 0, approx(750.25)),
    }
    # The 0 of lead 2, which has no sale, does not make the sale of lead 5 known.
    found = ask(
        of_leads, ["lead__manager_name"], "{{ Dimension('lead__stage_name') }} <> 'Converted'"
    )
    assert found == {"Анна Орлова": (None, 1), "Иван Котов": (RUB(0), 0)}


def test_sales_are_new_repeat_or_of_no_customer(ask: Ask) -> None:
    for view in ("cohort", "period"):
        names = [
            f"sales_{view}",
            *(f"sales_{kind}_{view}" for kind in ("new", "repeat", "unknown")),
        ]
        assert ask(" ".join(names)) == (5, 3, 1, 1)


AGE = "lead_age__age_days"


def test_cohorts_at_the_same_age(ask: Ask) -> None:
    """Leads 4 and 5 of February are 49 and 48 days old, those of March 26 to 29.

    Quality: lead 1 after 2 days, lead 4 after 19. First deals: lead 1 after 2, 3 after 1, 4 after
    19, 5 after 24. Sales: lead 1 after 8 (1,000), 5 after 29 (amount unknown), 4 after 38.
    """
    found = ask(
        "leads_by_age lead_to_quality_rate_by_age lead_to_deal_rate_by_age"
        " lead_to_sale_rate_by_age sales_amount_by_age",
        [*MONTH, AGE],
    )
    nothing = (None, None, None, None, None)
    assert found == {
        ("02-01", 7): (2, 0, 0, 0, RUB(0)),
        ("02-01", 14): (2, 0, 0, 0, RUB(0)),
        ("02-01", 30): (2, 1 / 2, 1, 1 / 2, None),
        ("03-01", 7): (3, approx(1 / 3), approx(2 / 3), 0, RUB(0)),
        ("03-01", 14): (3, approx(1 / 3), approx(2 / 3), approx(1 / 3), RUB(1000)),
        ("03-01", 30): nothing,
        **{(month, age): nothing for month in ("02-01", "03-01") for age in (60, 90, 180)},
    }
    counts = (
        "leads_quality_by_age leads_with_deal_by_age leads_with_sale_by_age"
        " sales_amount_by_age_unknown"
    )
    assert ask(counts, [AGE], "{{ Dimension('lead__source_name') }} = 'Ads'") == {
        # Leads 3 and 4: the younger is of 5 March.
        7: (0, 1, 0, 0),
        14: (0, 1, 0, 0),
        **dict.fromkeys((30, 60, 90, 180), (None, None, None, None)),
    }
    february = f"{{{{ Dimension('{AGE}') }}}} = 30 and {{{{ Dimension('lead__city') }}}} = 'Тверь'"
    assert ask(f"{counts} sales_amount_by_age", ["lead__city"], february) == {
        "Тверь": (0, 1, 1, 1, None)
    }


def test_several_ages_together_say_nothing(ask: Ask) -> None:
    assert ask("lead_to_sale_rate_by_age leads_by_age sales_amount_by_age") == (None, None, None)
    assert ask("lead_to_sale_rate_by_age", ["lead__source_name"]) == {"Web": None, "Ads": None}


def test_funnels_of_leads_in_both_views(ask: Ask) -> None:
    """Cohort: each step is part of the one before. Period: each step by its own event."""
    cohort = ask(
        "leads_received leads_quality_cohort leads_quality_with_deal_cohort"
        " leads_quality_with_sale_cohort leads_with_sale_not_quality_cohort",
        ["lead__source_name"],
    )
    # Web: leads 1, 2 and 5; lead 5 has a sale and is not quality. Ads: leads 3 and 4.
    assert cohort == {"Web": (3, 1, 1, 1, 1), "Ads": (2, 1, 1, 1, 0)}
    period = ask(
        "leads_received leads_quality_period leads_with_deal_period leads_with_sale_period", MONTH
    )
    assert period == {"02-01": (2, 0, 0, 0), "03-01": (3, 2, 4, 3)}


def test_stages_of_leads(ask: Ask) -> None:
    found = ask(
        "visited stage_items stage_forward_rate dropped dropped_amount dropped_share"
        " stage_days_avg standing_now days_on_stage_now",
        ["stage__stage_name"],
        "{{ Dimension('stage__entity') }} = 'lead'",
    )
    # NEW: 2, 4, 19 and 1 days; lead 3 stands there for 26 days and 10 hours, lead 5 on TALK for 47
    # and 10. Leads 1, 4 and 5 went on, lead 2 dropped.
    assert found == {
        "New": (5, 5, 3 / 5, 1, RUB(0), 1 / 5, approx(6.5), 1, approx(634 / 24)),
        "Talk": (1, 5, 0, 0, RUB(0), 0, None, 1, approx(1138 / 24)),
        "Junk": (1, 5, 0, 0, RUB(0), 0, None, 0, None),
        "Converted": (2, 5, 0, 0, RUB(0), 0, None, 0, None),
    }


def test_stages_of_deals(ask: Ask) -> None:
    found = ask(
        "visited stage_items stage_pass_rate stage_forward_rate dropped dropped_amount"
        " dropped_share",
        ["stage__stage_name"],
        "{{ Dimension('stage__entity') }} = 'deal'",
    )
    assert found == {
        "New": (6, 8, 6 / 8, approx(5 / 6), 1, RUB(700), approx(1 / 6)),
        "Prep": (3, 8, 3 / 8, approx(2 / 3), 0, RUB(0), 0),
        # Deal 6 stood on it twice, and was won again after the first time.
        "Won": (5, 8, 5 / 8, 1 / 5, 0, RUB(0), 0),
        "Lose": (2, 8, 2 / 8, 0, 0, RUB(0), 0),
        "создан проваленным": (0, 0, None, None, 1, RUB(40), None),
    }
    # Of the pipeline as a whole: 8 deals stood in it, one dropped from a stage, one before any.
    found = ask(
        "visited dropped dropped_share",
        ["stage__pipeline_name"],
        "{{ Dimension('stage__entity') }} = 'deal'",
    )
    assert found == {"Продажи": (8, 2, 1 / 8)}


def test_days_on_stages(ask: Ask) -> None:
    found = ask(
        "stage_days_avg stage_days_median standing_now days_on_stage_now",
        ["stage__stage_name"],
        "{{ Dimension('stage__entity') }} = 'deal' and {{ Dimension('stage__pipeline_name') }}"
        " = 'Продажи'",
    )
    # NEW: 6, 10, 2, 42, 2 and 7 days. PREP: 9, 2 and 2; deal 3 stands there since 7 March.
    assert found == {
        "New": (approx(11.5), approx(6.5), 0, None),
        "Prep": (approx(13 / 3), approx(2), 1, approx(24 + 10 / 24)),
        "Won": (None, None, 0, None),
        "Lose": (None, None, 0, None),
        "создан проваленным": (None, None, 0, None),
    }


def test_stages_by_dimensions_of_their_items(ask: Ask) -> None:
    leads = "{{ Dimension('stage__entity') }} = 'lead'"
    assert ask("visited stage_pass_rate", ["stage__stage_name", "lead__source_name"], leads) == {
        ("New", "Web"): (3, 1),
        ("New", "Ads"): (2, 1),
        ("Talk", "Web"): (1, approx(1 / 3)),
        ("Talk", "Ads"): (0, 0),
        ("Junk", "Web"): (1, approx(1 / 3)),
        ("Junk", "Ads"): (0, 0),
        ("Converted", "Web"): (1, approx(1 / 3)),
        ("Converted", "Ads"): (1, 1 / 2),
    }
    deals = "{{ Dimension('stage__entity') }} = 'deal'"
    assert ask("dropped", ["deal__manager_name"], deals) == {"Анна Орлова": 1, "Иван Котов": 1}
    # Deals 4 of February; 1, 2, 3, 5 and 9 of March.
    where = f"{deals} and {{{{ Dimension('stage__stage_name') }}}} = 'New'"
    assert ask("visited", MONTH, where) == {"02-01": 1, "03-01": 5}


def test_transitions(ask: Ask) -> None:
    found = ask(
        "transitions",
        ["stage__stage_name", "stage__next_stage_name", "stage__is_back_move"],
        "{{ Dimension('stage__entity') }} = 'deal'"
        " and {{ Dimension('stage__next_stage_name') }} is not null",
    )
    by_stages = {tuple(sorted(map(str, key))): value for key, value in found.items()}
    assert by_stages == {
        ("False", "New", "Prep"): 2,
        ("False", "New", "Won"): 3,
        ("False", "Lose", "New"): 1,
        ("False", "Prep", "Won"): 3,
        ("Prep", "True", "Won"): 1,
    }


def test_views_hold_the_same_figures(company: Warehouse) -> None:
    rows = query(
        company,
        """
        select metric_time__month::varchar, leads_received, lead_to_quality_rate_period,
            sales_period, sales_amount_period, average_sale_period
        from metrics.sales_dynamics order by all
        """,
    )
    assert rows == [
        ("2026-02-01", 2, 0, 0, RUB(0), None),
        ("2026-03-01", 3, approx(2 / 3), 5, RUB("1911.50"), approx(477.875)),
    ]
    (marketing,) = query(
        company,
        """
        select sum(leads_received), sum(sales_of_leads_period), sum(sales_period),
            sum(sales_amount_of_leads_period), sum(potential_amount)
        from metrics.marketing
        """,
    )
    assert marketing == (5, 3, 5, RUB("1500.50"), RUB(2000))
    (costs,) = query(
        company,
        "select sum(ad_cost), sum(ad_cost_unknown), sum(leads_received)"
        " from metrics.marketing_costs",
    )
    assert costs == (RUB("175.50"), 1, 5)
    # Rows of a view add up: a deal is in one month, pipeline and manager only.
    stages = query(
        company,
        """
        select stage__stage_name, sum(visited), sum(stage_items) from metrics.deal_stages
        group by all having sum(visited) > 0 order by 2 desc
        """,
    )
    assert stages == [("New", 6, 8), ("Won", 5, 8), ("Prep", 3, 8), ("Lose", 2, 8)]


# Entity, ID, pipeline, stage, its name, next stage, visited, only row, forwarded, dropped, day.
# Lead 1 and deal 1 share their number. Lead 2 came back to NEW, deal 1 stood there twice. Deal 2
# could stand on a New of each pipeline, deal 3 was created failed.
REACHED = """
create schema marts;
create table marts.fct_stage_reach as
select *, 2 * item_id + cast(entity = 'deal' as integer) as item_key, true as is_counted
from (
    values
    ('lead', 1, null, 'NEW', 'New', null, true, true, false, false, date '2026-02-01'),
    ('lead', 1, null, 'TALK', 'Talk', null, false, true, false, false, date '2026-02-01'),
    ('lead', 2, null, 'NEW', 'New', 'TALK', true, false, true, false, date '2026-03-01'),
    ('lead', 2, null, 'TALK', 'Talk', 'NEW', true, true, false, false, date '2026-03-01'),
    ('lead', 2, null, 'NEW', 'New', null, true, false, false, false, date '2026-03-01'),
    ('deal', 1, 'A', 'NEW', 'New', 'NEW', true, false, false, false, date '2026-03-01'),
    ('deal', 1, 'A', 'NEW', 'New', 'LOSE', true, false, false, true, date '2026-03-01'),
    ('deal', 2, 'A', 'NEW', 'New', null, false, false, false, false, date '2026-03-01'),
    ('deal', 2, 'A', 'PREP', 'Prep', 'C1:NEW', true, true, false, false, date '2026-03-01'),
    ('deal', 2, 'B', 'C1:NEW', 'New', null, true, false, false, false, date '2026-03-01'),
    ('deal', 3, 'A', null, 'failed', null, false, false, false, true, date '2026-03-01')
) as rows(
    entity, item_id, pipeline_name, stage_id, stage_name, next_stage_id, is_visited, is_only_row,
    is_forwarded, is_drop, item_created_date
)
"""
FEBRUARY, MARCH = dt.date(2026, 2, 1), dt.date(2026, 3, 1)


@pytest.mark.parametrize(
    ("by", "is_by_row", "expected"),
    [
        # Visitors, base, gone on, dropped.
        (
            ("stage__stage_name",),
            True,
            {
                ("New",): (4, 4, 1, 1),
                ("Talk",): (1, 2, 0, 0),
                ("Prep",): (1, 1, 0, 0),
                ("failed",): (0, 0, 0, 1),
            },
        ),
        (
            ("stage__stage_id",),
            True,
            {
                ("NEW",): (3, 4, 1, 1),
                ("C1:NEW",): (1, 1, 0, 0),
                ("TALK",): (1, 2, 0, 0),
                ("PREP",): (1, 1, 0, 0),
                (None,): (0, 0, 0, 1),
            },
        ),
        (
            ("stage__pipeline_name", "stage__stage_name"),
            True,
            {
                (None, "New"): (2, 2, 1, 0),
                (None, "Talk"): (1, 2, 0, 0),
                ("A", "New"): (1, 2, 0, 1),
                ("A", "Prep"): (1, 1, 0, 0),
                ("B", "New"): (1, 1, 0, 0),
                ("A", "failed"): (0, 0, 0, 1),
            },
        ),
        # Lead 2 went two ways from New: it is in both groups.
        (
            ("stage_name", "stage__next_stage_id"),
            True,
            {
                ("New", None): (3, 3, 0, 0),
                ("New", "TALK"): (1, 1, 1, 0),
                ("New", "NEW"): (1, 1, 0, 0),
                ("New", "LOSE"): (1, 1, 0, 1),
                ("Talk", None): (0, 1, 0, 0),
                ("Talk", "NEW"): (1, 1, 0, 0),
                ("Prep", "C1:NEW"): (1, 1, 0, 0),
                ("failed", None): (0, 0, 0, 1),
            },
        ),
        (
            ("stage__stage_name", "metric_time__month"),
            True,
            {
                ("New", FEBRUARY): (1, 1, 0, 0),
                ("Talk", FEBRUARY): (0, 1, 0, 0),
                ("New", MARCH): (3, 3, 1, 1),
                ("Talk", MARCH): (1, 1, 0, 0),
                ("Prep", MARCH): (1, 1, 0, 0),
                ("failed", MARCH): (0, 0, 0, 1),
            },
        ),
        # Of several stages together an item is one: rows cannot stand for items.
        (("stage__entity",), False, {("lead",): (2, 2, 1, 0), ("deal",): (2, 2, 0, 2)}),
        (
            ("stage__pipeline_name",),
            False,
            {(None,): (2, 2, 1, 0), ("A",): (2, 2, 0, 2), ("B",): (1, 1, 0, 0)},
        ),
        ((), False, {(): (4, 4, 1, 2)}),
    ],
)
def test_an_item_of_several_rows_is_counted_once(
    company: Warehouse,
    by: tuple[str, ...],
    is_by_row: bool,
    expected: dict[tuple[Any, ...], tuple[int, ...]],
) -> None:
    layer = SemanticLayer.load(company.published / "current" / DEFINITIONS)
    metrics = ("visited", "stage_items", "visitors_forwarded", "dropped")
    sql = layer.sql(MetricQuery(metrics, by, in_period=False))
    with duckdb.connect() as connection:
        connection.execute(REACHED)
        rows = connection.execute(filled(sql)).fetchall()
    found = {row[: len(by)]: row[len(by) :] for row in rows}
    assert found == expected
    assert len(rows) == len(found)
    assert ("count_if(is_only_row" in sql) is is_by_row


def test_a_total_over_stages_counts_an_item_once(company: Warehouse) -> None:
    layer = SemanticLayer.load(company.published / "current" / DEFINITIONS)
    asked = MetricQuery(("visited",), ("stage__stage_name",), in_period=False, totals=True)
    with duckdb.connect() as connection:
        connection.execute(REACHED)
        rows = connection.execute(filled(layer.sql(asked))).fetchall()
    assert sorted((total_of, name or "", visited) for name, total_of, visited in rows) == [
        (0, "New", 4),
        (0, "Prep", 1),
        (0, "Talk", 1),
        (0, "failed", 0),
        (1, "", 4),
    ]


def test_rows_said_to_be_the_only_ones_are(company: Warehouse) -> None:
    """The small company has deals that came back to a stage, and none in two pipelines."""
    rows = query(
        company,
        """
        select bool_or(is_only_row), count(*) = 1, count(*) from marts.fct_stage_reach
        where stage_id is not null group by item_key, stage_name
        """,
    )
    assert all(said == is_one for said, is_one, _ in rows)
    assert {count for _, _, count in rows} == {1, 2}


def test_a_group_of_which_no_metric_has_a_record_is_none(company: Warehouse) -> None:
    """As in MetricFlow: two metrics of one's own, of two outcomes, tell of no third."""
    told = json.loads((company.published / "current" / DEFINITIONS).read_text(encoding="utf-8"))
    (received,) = [metric for metric in told["metrics"] if metric["name"] == "leads_received"]
    for outcome in ("junk", "quality"):
        condition = "{{ Dimension('lead__outcome') }} = '" + outcome + "'"
        told["metrics"].append(
            {
                **received,
                "name": outcome,
                "filter": {"where_filters": [{"where_sql_template": condition}]},
            }
        )
    layer = SemanticLayer(told)
    sql = layer.sql(MetricQuery(("junk", "quality"), ("lead__outcome",), in_period=False))
    counts = dict(query(company, "select outcome, count(*) from marts.fct_leads group by outcome"))
    assert sorted(query(company, filled(sql))) == [
        ("junk", counts["junk"], 0),
        ("quality", 0, counts["quality"]),
    ]
    assert counts["in_work"] > 0


def test_every_view_can_be_read_under_any_name(company: Warehouse, tmp_path: Path) -> None:
    copy = tmp_path / "march.duckdb"
    copy.write_bytes((company.published / "crm.duckdb").read_bytes())
    saved = yaml.safe_load((SEMANTIC / "saved_queries.yml").read_text(encoding="utf-8"))
    names = {entry["name"] for entry in saved["saved_queries"]}
    with duckdb.connect() as connection:
        connection.execute(f"attach '{copy}' as archive (read_only)")
        views = connection.execute(
            "select view_name from duckdb_views() where database_name = 'archive'"
            " and schema_name = 'metrics'"
        ).fetchall()
        assert {name for (name,) in views} == names
        for name in names:
            result = connection.execute(f"select * from archive.metrics.{name}")
            assert result.fetchone() is not None, name
            kinds = {str(column[1]) for column in result.description}
            assert not kinds & {"HUGEINT", "TIMESTAMP"}, name


def test_views_have_numerators_and_denominators_beside_ratios() -> None:
    saved = yaml.safe_load((SEMANTIC / "saved_queries.yml").read_text(encoding="utf-8"))
    ratios = {m["name"]: m["type_params"] for m in metrics() if m["type"] == "ratio"}
    missing = [
        (query["name"], name, part)
        for query in saved["saved_queries"]
        for name in query["query_params"]["metrics"]
        if name in ratios
        for part in (ratios[name]["numerator"], ratios[name]["denominator"])
        if part not in query["query_params"]["metrics"]
    ]
    assert missing == []


def metrics() -> list[dict[str, Any]]:
    """All metrics as their YAML files have them."""
    found = []
    for file in SEMANTIC.glob("*.yml"):
        found += yaml.safe_load(file.read_text(encoding="utf-8")).get("metrics", [])
    return found


def test_every_metric_is_labelled_in_both_languages_and_filters_what_counts() -> None:
    for metric in metrics():
        meta = metric["config"]["meta"]
        assert re.search("[а-яё]", metric["label"], re.IGNORECASE), metric["name"]
        assert re.search("[а-яё]", meta["definition_ru"], re.IGNORECASE), metric["name"]
        assert not re.search("[а-яё]", metric["description"] + meta["label_en"], re.IGNORECASE)
        assert meta["format"] in ("count", "amount", "days", "rate"), metric["name"]
        # Of a spend file nothing is left out.
        if metric["type"] == "simple" and not metric["name"].startswith("ad_"):
            assert "is_counted" in metric["filter"], metric["name"]
            if metric["name"].endswith("_period"):
                assert "is not null" in metric["filter"], metric["name"]
    for language in ("label", "label_en"):
        labels = [m.get(language) or m["config"]["meta"].get(language) for m in metrics()]
        assert len(labels) == len(set(labels))


def test_dim_metrics_is_the_graph(company: Warehouse) -> None:
    rows = query(company, "select metric_name from marts.dim_metrics order by all")
    names = {name for (name,) in rows} - {"leads_repeat_share"}
    parts = {metric["name"] for metric in metrics() if metric["config"]["meta"].get("part")}
    assert names == {metric["name"] for metric in metrics()} - parts
    rows = query(
        company,
        """
        select label_ru, label_en, value_format, formula, row_filter, numerator, denominator,
            time_axis, time_view
        from marts.dim_metrics
        where metric_name in
            ('leads_junk', 'lead_to_sale_rate_period', 'sales_amount_period', 'deals_forgotten')
        order by metric_name
        """,
    )
    deals, rate, junk, sales = rows
    assert deals[:4] == ("Забытые сделки", "Forgotten deals", "count", "count_if(is_forgotten)")
    assert deals[4:] == ("is_counted", None, None, "created_date", "stock")
    assert junk[2:] == (
        "count",
        "count_if(is_junk)",
        "is_counted",
        None,
        None,
        "created_date",
        None,
    )
    assert rate == (
        "Конверсия в продажу, общая",
        "Lead to sale rate, within the period",
        "rate",
        "leads_with_sale_period / leads_received",
        None,
        "leads_with_sale_period",
        "leads_received",
        "first_sold_date",
        "period",
    )
    assert sales[2:5] == (
        "amount",
        "sum(case when is_sale then base_amount end)",
        "is_counted and sold_date is not null",
    )


def test_metrics_are_grouped_and_dated_in_words(company: Warehouse) -> None:
    rows = query(
        company,
        """
        select metric_name, metric_group, time_axis_ru, time_axis_en
        from marts.dim_metrics
        where metric_name in (
            'average_sale_period', 'days_to_close_avg_period', 'deals_forgotten', 'leads_junk',
            'lead_to_sale_rate_period', 'sales_period', 'stage_days_avg'
        )
        order by metric_name
        """,
    )
    assert rows == [
        ("average_sale_period", "money", "продажа", "sale"),
        ("days_to_close_avg_period", "time", "продажа или провал", "sale or failure"),
        ("deals_forgotten", "forgotten", "создание сделки", "creation of the deal"),
        (
            "lead_to_sale_rate_period",
            "conversions",
            "первая продажа лида",
            "first sale of the lead",
        ),
        ("leads_junk", "leads", "создание лида", "creation of the lead"),
        ("sales_period", "deals", "продажа", "sale"),
        (
            "stage_days_avg",
            "stages",
            "создание лида или сделки",
            "creation of the lead or deal",
        ),
    ]


def test_mf_answers_while_a_refresh_writes(company: Warehouse, tmp_path: Path) -> None:
    answer = tmp_path / "answer.csv"
    command = [sys.executable, "-m", "pipelines", "mf", "query", "--quiet"]
    command += ["--metrics", "leads_received,sales_amount_period", "--csv", str(answer)]
    command += ["--group-by", "lead__source_name", "--order", "-leads_received"]
    before = (company.published / "crm.duckdb").read_bytes()
    with company.lock(), duckdb.connect(str(company.database)) as writer:
        writer.execute("begin")
        writer.execute("create table main.half_built as select 1 as n")
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "WAREHOUSE_DIR": str(company.directory)},
            capture_output=True,
            text=True,
            check=False,
        )
        writer.execute("rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    assert answer.read_text(encoding="utf-8").splitlines() == [
        "lead__source_name,leads_received,sales_amount_period",
        "Web,3,1000.0",
        "Ads,2,500.5",
        ",0,411.0",
    ]
    assert (company.published / "crm.duckdb").read_bytes() == before


def test_mf_without_anything_published_says_so(tmp_path: Path) -> None:
    with pytest.raises(PublishFailed, match="run a refresh first"):
        run_mf(Warehouse(tmp_path), ["list", "metrics"])

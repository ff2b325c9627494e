"""The marts against the independent calculation, record by record, on a company with all quirks.

The calculation (tests/calculation) was written from the definitions alone, reads the portal's rows
and shares no code with dbt. Codes and numbers are compared, not made-up labels.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import complete
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_company import generate
from scripts.demo_portal import serve
from tests.support import calculation
from tests.support.compiled_models import run_models

LEAD_COLUMNS = (
    "outcome, semantics, outcome_at, quality_at, quality_date, first_deal_at, first_deal_date,"
    " first_sold_at, first_sold_date, is_new, is_forgotten, has_deal, has_sale, deals_count,"
    " sales_count, sales_amount, potential_amount, is_legacy, city, manager_id, source_id,"
    " stage_id, has_planned_activity, next_activity_at, last_activity_at, created_date,"
    " processing_days, age_days"
)
DEAL_COLUMNS = (
    "state, semantics, sold_at, sold_date, sold_at_source, failed_at, failed_date, amount,"
    " base_amount, customer_kind, lead_link, lead_source_name, is_legacy, is_forgotten, city,"
    " manager_id, pipeline_id, stage_id, has_planned_activity, next_activity_at,"
    " is_sales_pipeline, created_date, days_to_close, age_days, lead_to_sale_days"
)

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "changed": {
        "paid_stages": ["UC_PAID", "C1:UC_PAID"],
        "sales_pipelines": [0, 1],
        "attribution": "customer",
        "repeat_means": "sale",
        "planned_is_not_forgotten": True,
        "forgotten_lead_days": 10,
        "forgotten_deal_days": 5,
        "lead_stage_outcomes": {"PROCESSED": "quality"},
        "legacy_rules": [{"entity": "deal", "originator_ids": ["import"]}],
    },
}


@dataclass(frozen=True)
class Company:
    """A generated portal and the warehouse that read it."""

    portal: calculation.Portal
    warehouse: Warehouse
    as_of: dt.datetime


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    folder = tmp_path_factory.mktemp("second")
    generate(folder / "portal", leads=2500, seed=11)
    warehouse = Warehouse(folder / "data")
    with serve(folder / "portal") as portal:
        summary = extract(Client(portal.webhook_url), warehouse, Settings.load())
    complete(warehouse, summary.refresh_no)
    return Company(calculation.Portal.read(folder / "portal"), warehouse, summary.as_of)


def known(company: Company, values: dict[str, Any]) -> dict[str, Any]:
    """The settings without stages that this company does not have."""
    stages = {row["STATUS_ID"] for row in _statuses(company)}
    kept = dict(values)
    if "paid_stages" in kept:
        kept["paid_stages"] = [stage for stage in kept["paid_stages"] if stage in stages]
        assert kept["paid_stages"]
    return kept


def _statuses(company: Company) -> list[dict[str, Any]]:
    path = company.warehouse.directory.parent / "portal" / "statuses.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def differences(mart: pl.DataFrame, found: pl.DataFrame, key: str, columns: str) -> list[str]:
    """Columns in which the two disagree, with the first few records."""
    names = [name.strip() for name in columns.split(",")]
    assert mart[key].sort().to_list() == found[key].sort().to_list()
    joined = mart.select(key, *names).join(found.select(key, *names), on=key, suffix="_calculated")
    told = []
    for name in names:
        ours, theirs = pl.col(name), pl.col(f"{name}_calculated")
        if joined[name].dtype.is_float():
            near = (ours - theirs.cast(pl.Float64)).abs() < 1e-9
            differs = ~near.fill_null(value=False) & ~(ours.is_null() & theirs.is_null())
        else:
            differs = ours.ne_missing(theirs.cast(joined[name].dtype))
        bad = joined.filter(differs)
        if bad.height:
            rows = bad.select(key, name, f"{name}_calculated").head(3).rows()
            told.append(f"{name}: {bad.height} differ, e.g. {rows}")
    return told


@pytest.mark.parametrize("name", SETTINGS)
def test_marts_equal_the_second_calculation(company: Company, name: str) -> None:
    values = known(company, SETTINGS[name])
    settings = Settings.model_validate({**Settings.load().model_dump(), **values})
    run_models(company.warehouse.directory, settings.dbt_vars())
    facts = calculation.calculate(company.portal, calculation.Settings(**values), company.as_of)
    with company.warehouse.connect() as connection:
        leads = pl.DataFrame(connection.sql("select * from marts.fct_leads").to_arrow_table())
        deals = pl.DataFrame(connection.sql("select * from marts.fct_deals").to_arrow_table())
    assert differences(leads, facts.leads, "lead_id", LEAD_COLUMNS) == []
    assert differences(deals, facts.deals, "deal_id", DEAL_COLUMNS) == []

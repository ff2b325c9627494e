"""A small company, built once, and MetricFlow on what it published.

The figures that the tests expect are worked out by hand from the rows below. It is 31 March 2026,
20:00, in Moscow; everything happens at 10:00.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from metricflow.engine.metricflow_engine import MetricFlowEngine, MetricFlowQueryRequest

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import complete
from pipelines.environment import ROOT
from pipelines.metric_sql import MetricQuery, SemanticLayer, filled
from pipelines.publish import publish
from pipelines.settings import DBT_PROJECT, Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import serve
from tests.support.compiled_models import run_models
from tests.support.metricflow_engine import load_engine
from tests.support.raw_tables import insert_rows
from tests.support.small_portal import deal, deal_visit, lead, lead_visit, status, write_portal

SETTINGS = """
sales_pipelines: [0]
legacy_rules: [{entity: lead, originator_ids: ["1C"]}]
spend_rules: [{utm_source: vk, source: ADS}]
"""

STATUSES = [
    status(1, "STATUS", "NEW"),
    status(2, "STATUS", "TALK"),
    status(3, "STATUS", "JUNK", "F"),
    status(4, "STATUS", "CONVERTED", "S"),
    status(5, "DEAL_STAGE", "NEW"),
    status(6, "DEAL_STAGE", "PREP"),
    status(7, "DEAL_STAGE", "WON", "S"),
    status(8, "DEAL_STAGE", "LOSE", "F"),
    status(9, "SOURCE", "WEB"),
    status(10, "SOURCE", "ADS"),
    {**status(11, "DEAL_STAGE_1", "C1:WON", "S"), "CATEGORY_ID": "1"},
]
USERS = [
    {"ID": "1", "ACTIVE": True, "NAME": "Анна", "LAST_NAME": "Орлова", "UF_DEPARTMENT": [1]},
    {"ID": "2", "ACTIVE": True, "NAME": "Иван", "LAST_NAME": "Котов", "UF_DEPARTMENT": [2]},
]
DEPARTMENTS = [{"ID": "1", "NAME": "Розница", "SORT": 1}, {"ID": "2", "NAME": "Опт", "SORT": 2}]
CATEGORIES = [
    {"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"},
    {"id": 1, "name": "Сервис", "sort": 200, "isDefault": "N"},
]
MEANINGS = {"JUNK": "F", "CONVERTED": "S", "LOSE": "F", "WON": "S", "C1:WON": "S"}

# Number: source, manager, stages with the day on which each was entered, anything else.
LEADS: dict[int, tuple[str, int, list[tuple[str, str]], dict[str, Any]]] = {
    # Quality after 2 days.
    1: ("WEB", 1, [("NEW", "03-02"), ("CONVERTED", "03-04")], {"utmSource": "yandex"}),
    # Junk after 4 days; its only deal is one of service.
    2: ("WEB", 1, [("NEW", "03-03"), ("JUNK", "03-07")], {}),
    # Forgotten; its deal failed.
    3: ("ADS", 2, [("NEW", "03-05")], {}),
    # Quality after 19 days.
    4: ("ADS", 2, [("NEW", "02-10"), ("CONVERTED", "03-01")], {"isReturnCustomer": "Y"}),
    # In progress, idle, with a planned activity; yet its deal is sold.
    5: ("WEB", 1, [("NEW", "02-11"), ("TALK", "02-12")], {"active": "03-20"}),
    # Imported: in no metric.
    6: ("WEB", 1, [("NEW", "03-10")], {"originatorId": "1C"}),
}
CITIES = {1: "Казань", 5: "Тверь"}

# Number: lead, manager, contact, amount, stages, anything else.
DEALS: dict[int, tuple[int, int, int, float, list[tuple[str, str]], dict[str, Any]]] = {
    1: (1, 1, 1, 1000, [("NEW", "03-04"), ("WON", "03-10")], {}),
    2: (4, 2, 2, 500.5, [("NEW", "03-01"), ("PREP", "03-11"), ("WON", "03-20")], {}),
    # In work, idle, with a planned activity.
    3: (4, 2, 2, 2000, [("NEW", "03-05"), ("PREP", "03-07")], {"active": "03-05"}),
    # Its lead is deleted.
    4: (99, 1, 3, 300, [("NEW", "02-01"), ("WON", "03-15")], {}),
    # Its customer came before and had bought nothing by then: the portal has its own flag.
    5: (3, 1, 3, 700, [("NEW", "03-06"), ("LOSE", "03-08")], {"isRepeatedApproach": "Y"}),
    # Reopened, then won for good. Gold has no rate: its amount is unknown.
    6: (
        *(5, 1, 1, 5),
        [("PREP", "03-07"), ("WON", "03-09"), ("PREP", "03-10"), ("WON", "03-12")],
        {"currencyId": "XAU"},
    ),
    # Of the service pipeline: in no metric.
    7: (2, 1, 0, 999, [("C1:WON", "03-12")], {"categoryId": 1}),
    # Created as failed.
    8: (0, 2, 0, 40, [("LOSE", "03-09")], {}),
    # Its lead is imported.
    9: (6, 1, 0, 111, [("NEW", "03-11"), ("WON", "03-18")], {}),
}


# 25 a day and 20 % of VAT, of the source of lead 1; a rule names that of vk, gold has no rate, and
# nobody fits nothing.
AD_COSTS: list[dict[str, Any]] = [
    {"date_from": "2026-02-27", "date_to": "2026-03-02", "utm_source": "YANDEX", "cost": 100}
    | {"vat_percent": 20, "clicks": 10},
    {"date_from": "2026-03-10", "utm_source": "VK", "utm_campaign": "spring", "cost": 45.5},
    {"date_from": "2026-03-11", "utm_source": "vk", "utm_campaign": "spring", "cost": 7}
    | {"currency_code": "XAU"},
    {"date_from": "2026-03-12", "utm_source": "nobody", "cost": 10},
]


def at(day: str) -> str:
    return f"2026-{day}T10:00:00+03:00"


def planned(number: int, entity: str, item_id: int, created: str) -> dict[str, Any]:
    """An open activity."""
    owner_type = {"lead": 1, "deal": 2}[entity]
    row = {"ID": number, "OWNER_ID": item_id, "OWNER_TYPE_ID": owner_type, "COMPLETED": "N"}
    return row | {"CREATED": at(created)}


def lay_out_company(folder: Path) -> None:
    """Writes the data directory of the portal."""
    leads: list[dict[str, Any]] = []
    deals: list[dict[str, Any]] = []
    lead_visits: list[dict[str, Any]] = []
    deal_visits: list[dict[str, Any]] = []
    for number, (source, manager, stages, extra) in LEADS.items():
        stage, moved = stages[-1]
        active = extra.get("active", moved)
        row = lead(
            number,
            sourceId=source,
            assignedById=manager,
            createdTime=at(stages[0][1]),
            movedTime=at(moved),
            updatedTime=at(active),
            lastActivityTime=at(active),
            stageId=stage,
            stageSemanticId=MEANINGS.get(stage, "P"),
            **{name: value for name, value in extra.items() if name != "active"},
        )
        leads.append(row)
        for name, day in stages:
            owner = (len(lead_visits) + 1, number)
            lead_visits.append(lead_visit(*owner, name, MEANINGS.get(name, "P"), at(day)))
    for number, (lead_id, manager, contact, amount, stages, extra) in DEALS.items():
        stage, moved = stages[-1]
        active = extra.get("active", moved)
        row = deal(
            number,
            assignedById=manager,
            opportunity=amount,
            createdTime=at(stages[0][1]),
            movedTime=at(moved),
            updatedTime=at(active),
            lastActivityTime=at(active),
            stageId=stage,
            stageSemanticId=MEANINGS.get(stage, "P"),
            closed="Y" if stage in MEANINGS else "N",
            **({"leadId": lead_id} if lead_id else {}),
            **({"contactId": contact, "contactIds": [contact]} if contact else {}),
            **{name: value for name, value in extra.items() if name != "active"},
        )
        deals.append(row)
        for name, day in stages:
            owner = (len(deal_visits) + 1, number)
            visit = deal_visit(*owner, name, MEANINGS.get(name, "P"), at(day))
            deal_visits.append(visit | {"CATEGORY_ID": row["categoryId"]})
    write_portal(
        folder,
        statuses=STATUSES,
        users=USERS,
        departments=DEPARTMENTS,
        categories=CATEGORIES,
        leads=leads,
        deals=deals,
        contacts=[
            {"id": number, "createdTime": at("01-10"), "updatedTime": at("01-10")}
            for number in (1, 2, 3)
        ],
        lead_stage_history=lead_visits,
        deal_stage_history=deal_visits,
        activities=[
            # Both are due on the day before, and deal 3 has one without a deadline.
            {**planned(1, "lead", 5, "03-31"), "DEADLINE": at("03-30")},
            {**planned(2, "deal", 3, "03-05"), "DEADLINE": at("03-30")},
            {**planned(3, "deal", 3, "03-05"), "DEADLINE": "9999-12-31T00:00:00+03:00"},
        ],
        lead_addresses=[{"ID": n, "ADDRESS_CITY": city} for n, city in CITIES.items()],
    )


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The published company, built by the project and the metric that docs/questions.md adds.

    COMPANY names a folder where it is kept, for repeated runs of these tests.
    """
    folder = os.environ.get("COMPANY")
    return build_company(Path(folder) if folder else tmp_path_factory.getbasetemp() / "company")


# Every test file that imports a session fixture has its own of it: the build is shared here.
@functools.cache
def build_company(folder: Path) -> Warehouse:
    warehouse = Warehouse(folder / "data")
    if warehouse.published.exists():
        return warehouse
    lay_out_company(folder / "portal")
    settings = folder / "settings.yml"
    settings.write_text(SETTINGS, encoding="utf-8")
    with serve(folder / "portal") as portal:
        client = Client(portal.webhook_url, retry_seconds=0.01)
        complete(warehouse, extract(client, warehouse, Settings.load(settings)).refresh_no)
    insert_rows(
        warehouse.database,
        "ad_costs",
        [
            {"file": "ads.csv", "line_number": line, "date_to": row["date_from"], **row}
            for line, row in enumerate(AD_COSTS, start=2)
        ],
    )
    project = folder / "project"
    shutil.copytree(DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    page = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    own_metric = page.split("```yaml\n")[1].split("```")[0]
    (project / "models" / "semantic" / "own.yml").write_text(own_metric, encoding="utf-8")
    run_models(warehouse.directory, Settings.load(settings).dbt_vars(), project)
    publish(warehouse)
    return warehouse


Ask = Callable[..., Any]


@pytest.fixture(scope="session", params=["MetricFlow", "metric_sql"])
def ask(company: Warehouse, request: pytest.FixtureRequest) -> Ask:
    """Rows of a metrics query: {group: value}, or {group: (value, …)} of several metrics.

    Once as `mf query` compiles it, once as pages and workbooks have it.
    """
    manifest = company.directory / "dbt" / "semantic_manifest.json"
    engine, layer = load_engine(manifest), SemanticLayer.load(manifest)
    path = company.published / "crm.duckdb"

    def compiled(names: list[str], group_by: Sequence[str], where: str | None) -> str:
        if request.param == "MetricFlow":
            return compile_query(engine, names, group_by, where)
        # MetricFlow puts the period first.
        by = sorted(group_by, key=lambda name: not name.startswith("metric_time"))
        conditions = (where,) if where else ()
        return filled(layer.sql(MetricQuery(tuple(names), tuple(by), where=conditions)))

    def answer(metrics: str, group_by: Sequence[str] = (), where: str | None = None) -> Any:
        names = metrics.split()
        with duckdb.connect(str(path), read_only=True) as connection:
            result = connection.execute(compiled(names, group_by, where))
            columns = [column[0] for column in result.description]
            rows = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
        found: dict[Any, Any] = {}
        for row in rows:
            group = [shown(value) for name, value in row.items() if name not in names]
            values = tuple(row[name] for name in names)
            key = group[0] if len(group) == 1 else tuple(group)
            found[key] = values[0] if len(names) == 1 else values
        return found if group_by else next(iter(found.values()))

    return answer


def compile_query(
    engine: MetricFlowEngine, metrics: list[str], group_by: Sequence[str], where: str | None
) -> str:
    request = MetricFlowQueryRequest.create(
        metric_names=metrics,
        group_by_names=list(group_by),
        where_constraints=[where] if where else None,
    )
    return str(engine.explain(request).sql_statement.without_descriptions.sql)


def shown(value: Any) -> Any:
    """A period as its first day in text, anything else as it is."""
    return value.strftime("%m-%d") if hasattr(value, "strftime") else value


RUB = Decimal

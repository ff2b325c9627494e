"""Marts = MetricFlow = the independent calculation, on a hundred random companies and more.

All companies are packed into one portal that is read over HTTP three times; then each set of
settings is one build. Managers are disjoint, so a difference by manager names its company, which
can be tested alone: RANDOM_COMPANIES=1 RANDOM_SEED=17. Counts and amounts are equal exactly, days
and ratios to the error of sums of floats.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import polars as pl
import polars.selectors as cs
import pytest

from pipelines.compiled import nodes_in_order
from pipelines.metric_sql import MetricQuery, SemanticLayer, filled
from pipelines.metrics import create_views
from pipelines.settings import Settings
from pipelines.user_fields import add_dimensions
from pipelines.warehouse import Warehouse
from tests.support import calculation
from tests.support.calculation.bridge import Deleted
from tests.support.calculation.metrics import METRICS, STAGE_METRICS
from tests.support.calculation.quality import SUCCESS_NAME, offset_differs
from tests.support.compiled_models import run_models
from tests.support.equal_tables import differing_tables
from tests.support.metricflow_engine import load_engine
from tests.support.plans import joins_of_all
from tests.support.random_companies import (
    USER_FIELDS,
    company_of,
)
from tests.support.random_warehouse import SETTINGS, Companies, read_companies
from tests.support.semantic_fixtures import compile_query

COMPANIES = int(os.environ.get("RANDOM_COMPANIES", "120"))
# MetricFlow writes a query of all metrics in two seconds. So most groupings are asked for each
# fourth metric, another fourth for each next grouping; with more companies (`make soak`), for all.
ASKED = 4 if COMPANIES <= 120 else 1
SEED = int(os.environ.get("RANDOM_SEED", "1"))
T = TypeVar("T")
PERIOD = (dt.date(2026, 1, 1), dt.date(2026, 3, 31))
# A quarter, a month, its last day, and a day on which a sync found records gone.
BRIDGED = [
    PERIOD,
    (dt.date(2026, 2, 1), dt.date(2026, 2, 28)),
    (dt.date(2026, 2, 28), dt.date(2026, 2, 28)),
    (dt.date(2026, 3, 1), dt.date(2026, 3, 1)),
]
SHOWN = 20

# Columns of the calculation that the marts have under another name.
RENAMED = {
    "counts": "is_counted",
    "is_inactive": "is_idle",
    "is_forgotten_without_plan": "is_idle_without_plan",
    "opportunity": "amount",
    "has_counting_lead": "has_counted_lead",
    "stage_sort": "sort_order",
    "is_forward": "is_forwarded",
    "to_stage_id": "next_stage_id",
    "to_stage_name": "next_stage_name",
    "to_pipeline_name": "next_pipeline_name",
    "is_back": "is_back_move",
}
# What the marts do not hold as a column of the record.
NOT_IN_MARTS = {
    "is_known_stage",
    "has_own_semantics",
    "is_manager_dismissed",
    "contact_ids",
    # Of the calculation it is null for an own legal entity.
    "company_id",
    "is_first_time",
    "is_closed",
    "closed_date",
    "is_reversal",
    "counts_where_it_stands",
    "lead_department_name",
    "import_evidence",
    "meaning",
    "to_pipeline_id",
    "to_stage_sort",
    "to_is_open",
    # They have a row for each value: fct_user_field_values.
    *USER_FIELDS,
}

TIMES = ("day", "week", "month", "quarter", "year")
# Dimensions by which metrics are also asked month by month.
MAIN = {"source_name", "manager_name", "pipeline_name", "customer_kind", "lead_source_name"}
MAIN |= {"stage_name", "city", "utm_source"}
# What leads, deals and costs have in common.
OF_SPEND = {
    "touch_source",
    *(f"touch_utm_{label}" for label in ("source", "medium", "campaign", "content", "term")),
}
# Of a move, not of a visit: only moves are counted by them.
OF_MOVES = ("next_stage_id", "next_stage_name", "next_pipeline_name", "is_back_move")


@dataclass(frozen=True)
class Build:
    """The marts of one set of settings, and what the calculation says."""

    warehouse: Warehouse
    facts: calculation.Facts
    deleted: Sequence[Deleted]
    calculated: dict[Query, dict[str, dict[tuple[Any, ...], Any]]] = field(default_factory=dict)

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self.warehouse.database), read_only=True)

    def rows(self, sql: str) -> pl.DataFrame:
        return pl.DataFrame(self.connection.sql(sql).to_arrow_table())


@dataclass(frozen=True)
class Query:
    """Metrics by groups, as MetricFlow is asked; `view`: the saved query that asks it."""

    metrics: tuple[str, ...]
    group_by: tuple[str, ...] = ()
    period: tuple[dt.date, dt.date] | None = None
    entity: str | None = None
    view: str | None = None

    @property
    def where(self) -> str | None:
        conditions = []
        if self.period:
            day = "{{ TimeDimension('metric_time', 'day') }}"
            conditions.append(f"{day} between '{self.period[0]}' and '{self.period[1]}'")
        if self.entity:
            conditions.append(f"{{{{ Dimension('stage__entity') }}}} = '{self.entity}'")
        return " and ".join(conditions) or None


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Companies:
    return read_companies(tmp_path_factory.mktemp("random"), range(SEED, SEED + COMPANIES))


@pytest.fixture(scope="module")
def builds(companies: Companies) -> dict[str, Build]:
    """One build for each set of settings."""
    return {name: make_build(companies, name) for name in SETTINGS}


def make_build(companies: Companies, name: str) -> Build:
    values = SETTINGS[name](companies.portal)
    folder = companies.warehouse.directory.parent / name
    folder.mkdir()
    warehouse = Warehouse(folder)
    shutil.copy(companies.warehouse.database, warehouse.database)
    settings = Settings.model_validate({**Settings.load().model_dump(), **values})
    run_models(folder, settings.dbt_vars())
    with duckdb.connect(str(warehouse.database)) as connection:
        create_views(connection, folder / "dbt" / "semantic_manifest.json")
        content = manifest(folder)
        add_dimensions(content, connection)
    (folder / "dbt" / "semantic_manifest.json").write_text(json.dumps(content), encoding="utf-8")
    facts = calculation.calculate(companies.rows, calculation.Settings(**values), companies.as_of)
    return Build(warehouse, with_dimensions(facts, manifest(folder)), companies.deleted)


def manifest(folder: Path) -> dict[str, Any]:
    path = folder / "dbt" / "semantic_manifest.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def dimensions(content: dict[str, Any], model: str) -> list[str]:
    """Categorical dimensions of a semantic model."""
    named = next(entry for entry in content["semantic_models"] if entry["name"] == model)
    return [entry["name"] for entry in named["dimensions"] if entry["type"] == "categorical"]


def with_dimensions(facts: calculation.Facts, content: dict[str, Any]) -> calculation.Facts:
    """The facts with columns named like MetricFlow's dimensions, `lead__city`."""
    back = {new: old for old, new in RENAMED.items()}
    named_like_success = [
        stage.stage_id
        for stage in facts.reference.deal_stages.values()
        if stage.semantics == "P" and SUCCESS_NAME.search(stage.own_name)
    ]
    facts = replace(
        facts,
        deals=facts.deals.with_columns(
            is_on_success_like_stage=(pl.col("state") == "in_work")
            & pl.col("stage_id").is_in(named_like_success),
        ),
    )
    named = {
        entity: {
            f"{entity}__{name}": pl.col(back.get(name, name))
            for name in dimensions(content, f"{entity}s")
            if name != "pipeline_stage_name"
        }
        for entity in ("lead", "deal")
    }
    for entity, of_fields in named.items():
        for name in facts.settings.user_fields:
            of_fields[f"{entity}__{name.lower()}"] = pl.col(name)
    # Of a deal handed over, pipeline and stage are those of its sale.
    for name in ("pipeline_id", "pipeline_name", "stage_id", "stage_name"):
        named["deal"][f"deal__{name}"] = (
            pl.when("is_handed_over").then(f"sale_{name}").otherwise(name)
        )
    named["deal"]["deal__pipeline_stage_name"] = pl.concat_str(
        named["deal"]["deal__pipeline_name"], named["deal"]["deal__stage_name"], separator=" / "
    )
    costs = facts.ad_costs.with_columns(
        **{f"ad_cost__{name}": name for name in dimensions(content, "ad_costs")}
    )
    leads = facts.leads.with_columns(**named["lead"])
    # The lead of a deal is one that counts, or none.
    of_leads = leads.filter("counts").select("lead_id", *named["lead"])
    deals = facts.deals.join(of_leads, on="lead_id", how="left").with_columns(**named["deal"])
    return replace(facts, leads=leads, deals=deals, ad_costs=costs)


# Record by record


def differences(
    mart: pl.DataFrame, found: pl.DataFrame, keys: Sequence[str], number: str
) -> Iterator[str]:
    """Columns in which the two disagree, with the first few records and their companies."""
    found = found.select(pl.exclude(NOT_IN_MARTS)).rename(RENAMED, strict=False)
    columns = [name for name in found.columns if name not in keys and "__" not in name]
    joined = mart.select(*keys, *columns).join(
        found, on=keys, how="full", suffix="_calculated", nulls_equal=True
    )
    alone = joined.filter(pl.col(keys[-1]).is_null() | pl.col(f"{keys[-1]}_calculated").is_null())
    if alone.height:
        yield f"{alone.height} records on one side only: {alone.rows()[:3]}"
    for name in columns:
        ours, theirs = pl.col(name), pl.col(f"{name}_calculated")
        if joined[name].dtype.is_float():
            near = (ours - theirs).abs() <= 1e-9 * pl.max_horizontal(1, ours.abs())
            differs = ~near.fill_null(False) & ~(ours.is_null() & theirs.is_null())
        else:
            differs = ours.ne_missing(theirs.cast(joined[name].dtype))
        for row in joined.filter(differs).head(3).iter_rows(named=True):
            record = tuple(row[key] for key in keys)
            yield (
                f"{name} of {record}, company {company_of(row[number])}:"
                f" mart {row[name]!r}, calculation {row[f'{name}_calculated']!r}"
            )


@pytest.mark.parametrize("name", SETTINGS)
def test_no_tie_decides_anything(
    companies: Companies, builds: dict[str, Build], tmp_path: Path, name: str
) -> None:
    """Rows of one moment, say, are told apart by what they hold: each engine has the same marts."""
    shutil.copy(companies.warehouse.database, tmp_path / "warehouse.duckdb")
    values = SETTINGS[name](companies.portal)
    settings = Settings.model_validate({**Settings.load().model_dump(), **values})
    run_models(tmp_path, settings.dbt_vars(), ties_by_chance=True)
    usual, by_chance = builds[name].warehouse.database, tmp_path / "warehouse.duckdb"
    assert not differing_tables(usual, by_chance)


@pytest.mark.parametrize("name", SETTINGS)
def test_marts_equal_the_calculation_record_by_record(builds: dict[str, Build], name: str) -> None:
    build = builds[name]
    facts = build.facts
    leads = build.rows("select * from marts.fct_leads")
    deals = build.rows("select * from marts.fct_deals")
    visits = build.rows(
        "select * exclude (stage_state), case stage_state when 'success' then 'success'"
        " when 'failed' then 'failure' else 'open' end as meaning from marts.fct_stage_visits"
    )
    bridge = build.rows("select * from marts.fct_portal_bridge")
    costs = build.rows("select * from marts.fct_ad_costs")
    moves = facts.moves.with_columns(
        # A visit to a closed stage has no length in the marts.
        pl.when("is_open").then("days").alias("days")
    )
    found = [
        *differences(leads, facts.leads, ["lead_id"], "lead_id"),
        *differences(deals, facts.deals, ["deal_id"], "deal_id"),
        *differences(visits, moves, ["entity", "item_id", "visit_number"], "item_id"),
        *differences(costs, facts.ad_costs, ["file", "line_number", "cost_date"], "line_number"),
        *differences(
            bridge,
            calculation.portal_bridge(facts, build.deleted),
            ["entity", "item_id"],
            "item_id",
        ),
    ]
    assert not found, shown(name, found)


def test_another_offset_of_the_portal_is_known(builds: dict[str, Build]) -> None:
    for name, build in builds.items():
        ((differs,),) = build.rows(
            "select max(offset_differences_count) > 0 from staging.stg_bitrix24__refreshes"
        ).rows()
        gone = [row for _, row, _ in build.deleted]
        assert differs == offset_differs(build.facts, gone), name


@pytest.mark.parametrize("name", ["legacy", "legacy counted"])
def test_values_of_user_fields_equal_the_calculation(builds: dict[str, Build], name: str) -> None:
    build = builds[name]
    mart = {
        tuple(row[:3]): row[3]
        for row in build.rows(
            "select entity, item_id, field_name,"
            " string_agg(field_value, ', ' order by field_value) from marts.fct_user_field_values"
            " group by all"
        ).iter_rows()
    }
    calculated = {
        (entity, row[f"{entity}_id"], field): row[field]
        for entity, facts in (("lead", build.facts.leads), ("deal", build.facts.deals))
        for row in facts.iter_rows(named=True)
        for field in build.facts.settings.user_fields
        if row[field] is not None
    }
    assert len(calculated) > 50
    differing = {key for key in mart | calculated if mart.get(key) != calculated.get(key)}
    found = [(key, mart.get(key), calculated.get(key)) for key in sorted(differing)]
    assert not found, shown(name, [str(line) for line in found])


@pytest.mark.parametrize("name", SETTINGS)
def test_the_bridge_leads_from_our_figures_to_the_portals(
    builds: dict[str, Build], name: str
) -> None:
    build = builds[name]
    for period in BRIDGED:
        start, end = period
        counts = build.rows(
            f"""
            select entity,
                count(*) as portal,
                count_if(bridge_kind = 'counted' and created_date < date '{start}') as backlog,
                count_if(bridge_kind = 'legacy') as imports,
                count_if(bridge_kind = 'other_pipeline') as other_pipelines
            from marts.fct_portal_bridge
            where bridge_kind in ('counted', 'legacy', 'other_pipeline')
                and created_date <= date '{end}'
                and (portal_closed_date is null or portal_closed_date >= date '{start}')
            group by entity
            """
        )
        for entity, metric in (("lead", "leads_received"), ("deal", "deals_created")):
            ours = build.facts.metric(metric, period)["value"].item()
            (found,) = counts.filter(pl.col("entity") == entity).rows(named=True)
            added = found["backlog"] + found["imports"] + found["other_pipelines"]
            assert ours + added == found["portal"], f"{entity}s of {start} to {end}"


# Metric by metric


def models_of(content: dict[str, Any], name: str) -> set[str]:
    """Semantic models that a metric is made of."""
    models = {
        measure["name"]: model["name"]
        for model in content["semantic_models"]
        for measure in model["measures"]
    }
    metrics = {metric["name"]: metric["type_params"] for metric in content["metrics"]}
    params = metrics[name]
    if params["measure"]:
        return {models[params["measure"]["name"]]}
    parts = [params["numerator"], params["denominator"], *(params["metrics"] or [])]
    return {model for part in parts if part for model in models_of(content, part["name"])}


def whole_metrics(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Metrics without those that are only part of another."""
    return [m for m in content["metrics"] if not m["config"]["meta"].get("part")]


def queries(content: dict[str, Any]) -> list[Query]:
    """Every metric in every grouping that its records have."""
    of: dict[frozenset[str], tuple[str, ...]] = {}
    wholes = whole_metrics(content)
    for metric in wholes:
        key = frozenset(models_of(content, metric["name"]))
        of[key] = (*of.get(key, ()), metric["name"])
    leads, deals, stages = (of[frozenset([name])] for name in ("leads", "deals", "stages"))
    mixed, ages = of[frozenset(["leads", "deals"])], of[frozenset(["lead_ages"])]
    costs = of[frozenset(["ad_costs"])]
    of_costs = [names for models, names in of.items() if models > {"ad_costs"}]
    against_costs = tuple(name for names in of_costs for name in names)
    parts = (leads, deals, stages, mixed, ages, costs, against_costs)
    assert sum(map(len, parts)) == len(wholes)

    turns = itertools.count()

    def some(metrics: Sequence[str]) -> tuple[str, ...]:
        drawn = metrics[next(turns) % ASKED :: ASKED]
        # Where an amount is null, its count of unknown ones says why.
        return tuple(name for name in metrics if name.removesuffix("_unknown") in drawn)

    # Alone too: beside others a group that a metric has not is there all the same.
    alone = some((*leads, *deals, *mixed))
    found = [Query((name,), ("metric_time__month",)) for name in alone]
    for metrics in (leads + mixed, deals, stages):
        found += [Query(metrics, group) for group in ((), ("metric_time__month",))]
        found += [Query(some(metrics), (f"metric_time__{time}",)) for time in TIMES]
        found += [Query(metrics, (), PERIOD), Query(some(metrics), ("metric_time__month",), PERIOD)]
    spend = costs + against_costs
    found += [Query(spend, group) for group in ((), *((f"metric_time__{time}",) for time in TIMES))]
    found += [Query(spend, group, PERIOD) for group in ((), ("metric_time__month",))]
    found += [Query(spend, (name,)) for name in sorted(OF_SPEND)]
    found += [
        Query(spend, (name, "metric_time__month")) for name in ("touch_source", "touch_utm_term")
    ]
    found += [Query(spend, ("touch_source", "metric_time__week"), PERIOD)]
    found += [Query(metrics, ("touch_source",)) for metrics in (leads + mixed, deals)]
    found += [Query((name,), ("touch_utm_campaign",)) for name in some(spend)]
    found += [Query(costs, (f"ad_cost__{name}",)) for name in dimensions(content, "ad_costs")]
    for entity, metrics in (("lead", leads + mixed), ("deal", deals)):
        for name in dimensions(content, f"{entity}s"):
            group = f"{entity}__{name}"
            found.append(Query(metrics if name in MAIN else some(metrics), (group,)))
            if name in MAIN:
                found.append(Query(some(metrics), (group, "metric_time__month")))
                found.append(Query(some(metrics), (group,), PERIOD))
    age = "lead_age__age_days"
    found += [Query(ages), Query(ages, (age,)), Query(ages, (age,), PERIOD)]
    found += [Query(ages, (age, f"metric_time__{time}")) for time in TIMES]
    for name in MAIN & set(dimensions(content, "leads")):
        found.append(Query(some(deals), (f"lead__{name}",)))
        found.append(Query(ages, (age, f"lead__{name}")))
        found.append(Query(ages, (age, f"lead__{name}", "metric_time__month"), PERIOD))
    for name in dimensions(content, "lead_user_fields"):
        found.append(Query(some(leads + mixed + deals), (f"lead__{name}",)))
    for name in dimensions(content, "deal_user_fields"):
        found.append(Query(some(deals), (f"deal__{name}",)))
    for name in dimensions(content, "stages"):
        if name in ("is_open_stage", "is_standing"):
            continue  # They follow from the stage and the days on it; the metrics look at both.
        metrics = ("transitions",) if name in OF_MOVES else stages
        found.append(Query(metrics, (f"stage__{name}",)))
    stage = ("stage__pipeline_name", "stage__stage_name")
    for entity in ("lead", "deal"):
        for name in dimensions(content, f"{entity}s"):
            if name in MAIN:
                group = (*stage, f"{entity}__{name}")
                found.append(Query(stages, group, entity=entity))
        found.append(Query(stages, stage, PERIOD, entity))
    return found + saved_queries(content)


def saved_queries(content: dict[str, Any]) -> list[Query]:
    """The saved queries, as their views in schema `metrics` answer."""
    found = []
    for saved in content["saved_queries"]:
        params = saved["query_params"]
        group_by = [
            "__".join(part.strip("'\" ") for part in text[text.index("(") + 1 : -1].split(","))
            for text in params["group_by"]
        ]
        wheres = [
            where["where_sql_template"]
            for where in (params["where"] or {}).get("where_filters", [])
        ]
        entity = next((name for name in ("lead", "deal") for w in wheres if f"'{name}'" in w), None)
        found.append(
            Query(tuple(params["metrics"]), tuple(group_by), entity=entity, view=saved["name"])
        )
    return found


def calculated(build: Build, query: Query) -> dict[str, dict[tuple[Any, ...], Any]]:
    """Values of each metric of the query by group."""
    back = {f"stage__{new}": old for old, new in RENAMED.items()}
    keys = [
        name.removeprefix("metric_time__") if name.startswith("metric_time") else name
        for name in query.group_by
    ]
    found = {}
    stages = None
    for name in query.metrics:
        if name in STAGE_METRICS:
            keys_of_visits = [back.get(key, key.removeprefix("stage__")) for key in keys]
            if stages is None:
                entities = [query.entity] if query.entity else ["lead", "deal"]
                stages = build.facts.stage_counts(entities, query.period, keys_of_visits)
            frame = stages.select(*keys_of_visits, value=STAGE_METRICS[name][2])
        else:
            frame = build.facts.metric(name, query.period, keys).select(*keys, "value")
        found[name] = {row[:-1]: row[-1] for row in frame.iter_rows()}
    return found


def answered(build: Build, sql: str, query: Query) -> dict[str, dict[tuple[Any, ...], Any]]:
    """What the SQL of the query says, in the same form."""
    frame = build.rows(sql)
    # Periods come as instants, sums of whole numbers as decimals without decimals.
    frame = frame.with_columns(
        pl.col(pl.Datetime).cast(pl.Date), cs.by_dtype(pl.Decimal(38, 0)).cast(pl.Int64)
    )
    return {
        name: {row[:-1]: row[-1] for row in frame.select(*query.group_by, name).iter_rows()}
        for name in query.metrics
    }


def is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and other is not None:
        return abs(one - float(other)) <= 1e-9 * max(1.0, abs(one))
    return bool(one == other)


def unequal(build: Build, query: Query, sql: str) -> Iterator[str]:
    ours = answered(build, sql, query)
    asked = replace(query, view=None)
    if asked not in build.calculated:
        build.calculated[asked] = calculated(build, asked)
    theirs = build.calculated[asked]
    for metric in query.metrics:
        values = [*ours[metric].values(), *theirs[metric].values()]
        # A group without records has no row: a count or an amount of 0, nothing for anything else.
        unknown = f"{metric}_unknown"
        # No cost is no price, not a price of 0.
        is_amount = (unknown in METRICS or unknown in STAGE_METRICS) and metric != "ad_cost"
        is_count = bool(values) and all(isinstance(value, int) for value in values)
        nothing = 0 if is_amount or is_count else None
        groups = {**ours[metric], **theirs[metric]}
        for group in groups:
            one = ours[metric].get(group, nothing)
            other = theirs[metric].get(group, nothing)
            # Beside other metrics MetricFlow has a row of nulls for it, which the views fill.
            # What it is at an age that not all have reached is null by itself.
            is_filled = is_amount and unknown in query.metrics and not metric.endswith("_by_age")
            if one is None and is_filled and not query.view:
                one = None if ours[unknown][group] else 0
            if not is_same(one, other) and not is_same(other, one):
                by = dict(zip(query.group_by, group, strict=True))
                yield (
                    f"{metric} {query.view or ''} by {by} {query.where or ''}:"
                    f" MetricFlow {one!r}, calculation {other!r}"
                )


@pytest.fixture(scope="module")
def compiled(builds: dict[str, Build]) -> list[tuple[Query, str]]:
    """SQL of the queries: it depends on no setting.

    MetricFlow compiles for longer than all else takes: with few companies it is asked every second
    query, by another seed the others. Pages and workbooks ask them all.
    """
    folder = builds["default"].warehouse.directory
    content = manifest(folder)
    engine = load_engine(folder / "dbt" / "semantic_manifest.json")
    asked = queries(content)
    drawn = asked if ASKED == 1 else asked[SEED % 2 :: 2]
    return [
        (
            query,
            f"select * from metrics.{query.view}"
            if query.view
            else compile_query(engine, list(query.metrics), query.group_by, query.where),
        )
        for query in asked
        if query.view or query in drawn
    ]


def test_every_metric_is_calculated(builds: dict[str, Build]) -> None:
    content = manifest(builds["default"].warehouse.directory)
    names = {metric["name"] for metric in whole_metrics(content)}
    assert names - set(METRICS) - set(STAGE_METRICS) == set()


def test_no_join_compares_all_rows_with_all_others(builds: dict[str, Build]) -> None:
    """Of models and data tests."""
    build = builds["default"]
    cursor = build.connection.cursor()
    found = {}
    for node in nodes_in_order(build.warehouse.directory / "dbt" / "manifest.json"):
        if node["resource_type"] == "source":
            continue
        if joins := joins_of_all(cursor, node["compiled_code"]):
            found[node["name"]] = joins
    # Six ages of each lead are its grain.
    assert {name: joins for name, joins in found.items() if "fct_lead_ages" not in name} == {}


def under(name: str, asked: Sequence[T], shift: int) -> Sequence[T]:
    """What is asked under these settings: no SQL depends on them, so with few companies each query
    is asked under one, by another seed under another; with more, under all."""
    if ASKED == 1:
        return asked
    first = ([*SETTINGS].index(name) + SEED + shift) % len(SETTINGS)
    return asked[first :: len(SETTINGS)]


@pytest.mark.parametrize("name", SETTINGS)
def test_metricflow_equals_the_calculation(
    builds: dict[str, Build], compiled: list[tuple[Query, str]], name: str
) -> None:
    asked = under(name, compiled, shift=0)
    found = [line for query, sql in asked for line in unequal(builds[name], query, sql)]
    assert not found, shown(name, found)


@pytest.mark.parametrize("name", SETTINGS)
def test_pages_and_workbooks_ask_for_the_same(builds: dict[str, Build], name: str) -> None:
    """The SQL of `metric_sql`, and the totals that it makes of the same groups."""
    folder = builds[name].warehouse.directory
    layer = SemanticLayer.load(folder / "dbt" / "semantic_manifest.json")
    found = []
    for query in under(name, queries(manifest(folder)), shift=2):
        if query.view:
            continue
        where = (
            (f"{{{{ Dimension('stage__entity') }}}} = '{query.entity}'",) if query.entity else ()
        )
        asked = MetricQuery(
            query.metrics, query.group_by, in_period=query.period is not None, where=where
        )
        columns = {name: "metric_time" for name in query.group_by if name.startswith("metric_time")}
        renamed = "".join(f", {new} as {old}" for old, new in columns.items())
        sql = filled(layer.sql(replace(asked, totals=True)), period=query.period)
        groups = f"select *{renamed} from ({sql}) where total_of = 0"
        found += unequal(builds[name], query, groups)
        if query.group_by:
            total = f"select * from ({sql}) where total_of = {2 ** len(query.group_by) - 1}"
            found += unequal(builds[name], replace(query, group_by=()), total)
    assert not found, shown(name, found)


def shown(name: str, lines: Sequence[str]) -> str:
    again = f"one company alone: RANDOM_COMPANIES=1 RANDOM_SEED=<company>; seeds from {SEED}"
    return "\n".join([f"settings {name}: {len(lines)} differences; {again}", *lines[:SHOWN]])

"""The metrics of the pages, under presets and filters, against the independent calculation.

The SQL is that which a publication gives to the pages; the calculation reads the portal's rows.
That the shell puts a choice into the SQL as these tests do is compared text by text at the end.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from pipelines.metric_sql import filled
from pipelines.site import shell
from pipelines.site.choice import Choice
from pipelines.spend import read_spend
from tests.support import calculation
from tests.support.calculation.metrics import METRICS, STAGE_METRICS, Total
from tests.support.calculation.quality import SUCCESS_NAME
from tests.support.calculation.reference import CREATED_FAILED
from tests.support.report_portals import USER_FIELDS
from tests.support.reports_fixtures import PAGES, Sites

pytestmark = pytest.mark.site

MOSCOW = dt.timezone(dt.timedelta(hours=3))
AS_OF = dt.datetime(2026, 3, 31, 20, tzinfo=MOSCOW)
Days = tuple[dt.date, dt.date]
# By hand from 31 March 2026.
PERIODS: dict[str, Days] = {
    "thisMonth": (dt.date(2026, 3, 1), dt.date(2026, 3, 31)),
    "previousQuarter": (dt.date(2025, 10, 1), dt.date(2025, 12, 31)),
    "allTime": (dt.date(1900, 1, 1), dt.date(2999, 12, 31)),
}
# Filter → its column of leads, of deals by their own values, of deals by those of their lead.
COLUMNS: dict[str, tuple[str | None, str | None, str | None]] = {
    "pipeline": (None, "pipeline_name", None),
    "manager": ("manager_name", "manager_name", "lead_manager_name"),
    "source": ("source_name", "source_name", "lead_source_name"),
    "city": ("city", "city", "lead_city"),
    "deal_stage": (None, "pipeline_stage_name", None),
    "state": (None, "state", None),
    "lead_state": ("state", None, "lead_state"),
    "lead_stage": ("stage_name", None, "lead_stage_name"),
    "utm_campaign": ("utm_campaign", "utm_campaign", "lead_utm_campaign"),
}
# Filter → its column of costs, which no other filter tells apart.
COLUMNS_OF_COSTS = {"source": "source_name", "utm_campaign": "utm_campaign"}
# Columns of visits and of the calculation that the pages call otherwise.
BACK = {
    **{"sort_order": "stage_sort", "is_back_move": "is_back"},
    **{"next_stage_name": "to_stage_name", "next_pipeline_name": "to_pipeline_name"},
}
NOTHING = {"leads": "none", "deals": "none"}
FEBRUARY_OVER = "2026-03-01 00:00:00"


@dataclass(frozen=True)
class Company:
    """The published company, what the calculation says of it, and its pages."""

    data: Path
    facts: calculation.Facts
    blocks: list[dict[str, Any]]

    @cached_property
    def meta(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "meta.json").read_text(encoding="utf-8")))

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self.data / "site.duckdb"), read_only=True)

    @cached_property
    def choice(self) -> Choice:
        return Choice(AS_OF, dt.date.fromisoformat(self.meta["first_date"]))

    def variants(self, route: str) -> dict[str, dict[str, Any]]:
        """What a publication says of the page's blocks, by their names."""
        name = "index" if route == "/" else route.strip("/").replace("/", ".")
        page = json.loads((self.data / "pages" / f"{name}.json").read_text(encoding="utf-8"))
        return {block["id"]: block["variants"] for block in page["blocks"]}

    def metric_blocks(self, route: str) -> list[dict[str, Any]]:
        return [one for one in self.blocks if one["route"] == route and one["kind"] == "metrics"]


@pytest.fixture(scope="module")
def company(sites: Sites) -> Company:
    folder = sites.folder("company")
    portal = calculation.Portal.read(sites.root / "company" / "portal")
    with duckdb.connect(str(sites.data("company") / "site.duckdb"), read_only=True) as connection:
        row = connection.execute("select as_of from quality.refreshes").fetchone()
    assert row
    # The refresh began at 20:00, some seconds before it read the first record.
    as_of = row[0].replace(tzinfo=MOSCOW)
    assert AS_OF <= as_of < AS_OF + dt.timedelta(minutes=1)
    settings = sites.settings("company")
    portal = replace(portal, ad_costs=read_spend(settings))
    rules = [rule.model_dump(exclude_none=True) for rule in settings.spend_rules]
    known = calculation.Settings(user_fields=USER_FIELDS, spend_rules=rules)
    facts = calculation.calculate(portal, known, as_of)
    told = json.loads((folder / "blocks.json").read_text(encoding="utf-8"))
    return Company(sites.data("company"), with_names(facts), told["blocks"])


def with_names(facts: calculation.Facts) -> calculation.Facts:
    """The facts with columns named like the breakdowns of the pages."""
    sale = {
        name: pl.when("is_handed_over").then(f"sale_{name}").otherwise(name)
        for name in ("pipeline_name", "stage_name")
    }
    of_lead = facts.leads.filter("counts").select(
        "lead_id", lead_stage_name="stage_name", lead_state="state"
    )
    deals = facts.deals.join(of_lead, on="lead_id", how="left").with_columns(**sale)
    deals = deals.with_columns(
        pipeline_stage_name=pl.concat_str("pipeline_name", "stage_name", separator=" / ")
    )
    leads = facts.leads
    names = ("source_name", "manager_name", "city", "department_name", "stage_name", "state")
    names += tuple(f"utm_{one}" for one in ("source", "medium", "campaign", "content", "term"))
    fields = {name.lower(): pl.col(name) for name in facts.settings.user_fields}
    of_lead = {f"lead__{name}": pl.col(name) for name in names}
    of_lead |= {f"lead__{name}": column for name, column in fields.items()}
    leads = leads.with_columns(**of_lead)
    counted = leads.filter("counts").select("lead_id", *of_lead)
    deals = deals.join(counted, on="lead_id", how="left").with_columns(
        **{f"deal__{name}": column for name, column in fields.items()},
        **{
            f"deal__{name}": pl.col(name)
            for name in deals.columns
            if name.endswith(("_name", "_kind", "_bin"))
            or name in (*names, *(f"lead_{one}" for one in names), "pipeline_stage_name")
        }
    )
    costs = facts.ad_costs.with_columns(
        **{f"ad_cost__{name}": pl.col(name) for name in facts.ad_costs.columns}
    )
    return replace(facts, leads=leads, deals=deals, ad_costs=costs)


def front_matter(route: str) -> dict[str, str]:
    path = shell.REPORTS / "pages" / f"{'index' if route == '/' else route.strip('/')}.md"
    head = path.read_text(encoding="utf-8").split("---")[1]
    return dict(re.findall(r"^(\w+): *(.*)$", head, re.MULTILINE))


def offered(company: Company, route: str) -> list[dict[str, Any]]:
    """The filters of a page, with the first of which the calculation knows the columns."""
    head = front_matter(route)
    names = re.findall(r"\w+", f"{head.get('filters', '')} {head.get('more_filters', '')}")
    known = {one["name"]: one for one in company.meta["filters"]}
    return [known[name] for name in names if name in known and name in COLUMNS]


def states(company: Company, route: str) -> Iterator[tuple[str, Days, dict[str, Any], str]]:
    """Name, period, chosen filter and its value: each preset, and each filter in this month."""
    for name, days in PERIODS.items():
        yield name, days, {}, ""
    for one in offered(company, route):
        value = one["options"][min(1, len(one["options"]) - 1)]["value"]
        yield one["name"], PERIODS["thisMonth"], one, value


def condition(column: Any, value: str) -> str:
    """SQL of a filter with one value; one without a column leaves nothing."""
    if column is None:
        return "false"
    text = "'" + value.replace("'", "''") + "'"
    if isinstance(column, dict):
        return f"({column['id']} in (select id from ({column['of']}) where value in ({text})))"
    return f"({column} in ({text}))" if value else f"({column} is null)"


def narrowed(facts: calculation.Facts, name: str, value: str, by_lead: bool) -> calculation.Facts:
    """The leads, deals and costs that a filter keeps."""

    def keep(frame: pl.DataFrame, column: str | None) -> pl.DataFrame:
        if column is None:
            return frame
        wanted = pl.col(column).is_null() if value == "" else pl.col(column) == value
        return frame.filter(wanted)

    of_leads, of_deals, of_lead_deals = COLUMNS[name]
    leads = facts.leads
    if name == "pipeline":
        # It narrows the sales of leads, never the leads.
        sales = keep(facts.deals.filter("counts", state="sale"), of_deals)
        is_sold = pl.col("lead_id").is_in(sales["lead_id"].drop_nulls().implode())
        leads = leads.with_columns(has_sale=pl.col("has_sale") & is_sold)
    return replace(
        facts,
        leads=keep(leads, of_leads),
        deals=keep(facts.deals, of_lead_deals if by_lead else of_deals),
        ad_costs=keep(facts.ad_costs, COLUMNS_OF_COSTS[name])
        if name in COLUMNS_OF_COSTS
        else facts.ad_costs.clear(),
    )


def expected(
    facts: calculation.Facts, block: Mapping[str, Any], metric: str, by: Sequence[str], period: Any
) -> dict[tuple[Any, ...], Any]:
    """The metric by its groups."""
    if metric in STAGE_METRICS:
        entity = re.search(r"stage__entity = '(\w+)'", block.get("where") or "")
        named = [one for one in ("lead", "deal") if any(name.startswith(f"{one}__") for name in by)]
        entities = [entity[1]] if entity else (named or ["lead", "deal"])
        keys = [BACK.get(name.removeprefix("stage__"), name.removeprefix("stage__")) for name in by]
        frame = facts.stage_counts(entities, period, keys)
        frame = frame.select(*keys, value=STAGE_METRICS[metric][2])
    else:
        frame = facts.metric(metric, period, list(by)).select(*by, "value")
    found = {row[:-1]: row[-1] for row in frame.iter_rows()}
    if "stage__is_open_stage" in (block.get("where") or ""):
        visits = facts.stage_visits.filter(pl.col("is_open") & pl.col("entity").is_in(entities))
        names = {*visits["stage_name"], CREATED_FAILED}
        at = list(by).index("stage__stage_name")
        found = {group: value for group, value in found.items() if group[at] in names}
    return found


def is_same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return abs(float(one) - float(other)) <= 1e-9 * max(1.0, abs(float(other)))


def is_sum(metric: str) -> bool:
    """Whether a group without records has a zero: others have no value there."""
    if metric in STAGE_METRICS:
        return STAGE_METRICS[metric][1] is None
    found = METRICS[metric]
    # Nothing spent is no cost, not a cost of 0.
    return isinstance(found, Total) and (not found.measure.is_cost or metric == "ad_cost_unknown")


def of_where(facts: calculation.Facts, where: str | None) -> calculation.Facts:
    """The deals or costs that a block's condition keeps."""
    if where == "ad_cost__matched_source_id is null":
        return replace(facts, ad_costs=facts.ad_costs.filter(pl.col("matched_source_id").is_null()))
    if where not in ("deal__is_on_success_like_stage", "not deal__is_on_success_like_stage"):
        assert where is None or where.startswith("stage__"), where
        return facts
    stages = [
        stage.stage_id
        for stage in facts.reference.deal_stages.values()
        if stage.semantics == "P" and SUCCESS_NAME.search(stage.own_name)
    ]
    assert stages
    is_on = pl.col("is_in_work") & pl.col("stage_id").is_in(stages)
    return replace(facts, deals=facts.deals.filter(~is_on if where.startswith("not") else is_on))


def unequal(
    company: Company,
    facts: calculation.Facts,
    block: Mapping[str, Any],
    by: Sequence[str],
    sql: str,
    period: Days,
    window: Days,
) -> Iterator[str]:
    """What the SQL says otherwise than the calculation."""
    grain = (block["grain"] or ["month"])[0]
    result = company.connection.execute(sql)
    columns = [column[0] for column in result.description]
    rows = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
    axis = ["period"] if block["grain"] else []
    ours = {tuple(row[name] for name in (*axis, *by)): row for row in rows}
    stock = block["metrics"] if block.get("period") == "none" else block["now"]
    for metric in block["metrics"]:
        days = None if metric in stock else window if block["grain"] else period
        theirs = expected(facts, block, metric, [*([grain] if axis else []), *by], days)
        nothing = 0 if is_sum(metric) else None
        for group in {**theirs, **ours}:
            if metric in STAGE_METRICS and group and set(group) == {None}:
                continue  # Visits of deals in a block of leads, which no page shows.
            one = ours[group][metric] if group in ours else nothing
            other = theirs.get(group, nothing)
            if not is_same(one, other) and not (block.get("limit") and group not in ours):
                yield f"{block['id']}: {metric} of {group}: page {one!r}, calculation {other!r}"


@pytest.mark.parametrize("route", PAGES)
def test_metrics_of_a_page_are_those_of_the_calculation(company: Company, route: str) -> None:
    variants, found = company.variants(route), []
    by_lead = "deals=lead_deals" in front_matter(route).get("targets", "")
    for block in company.metric_blocks(route):
        is_of_stages = any(metric in STAGE_METRICS for metric in block["metrics"])
        for state, period, chosen, value in states(company, route):
            if is_of_stages and chosen.get("name") in ("pipeline", "deal_stage", "state"):
                continue
            facts = (
                narrowed(company.facts, chosen["name"], value, by_lead) if chosen else company.facts
            )
            facts = of_where(facts, block.get("where"))
            columns = dict(chosen["columns"]) if chosen else {}
            if by_lead:
                columns["deals"] = columns.get("lead_deals")
            where = {
                target: condition(column, value)
                for target, column in columns.items()
                if column or target == "ad_costs"
            }
            grain = (block["grain"] or ["month"])[0]
            window = company.choice.window(grain, period)
            for names, variant in variants[block["id"]].items():
                by, sql = names.split(", ") if names else [], variant["sql"]
                text = filled(sql, period=period, window=window, grain=grain, where=where)
                found += [
                    f"{state}: {line}"
                    for line in unequal(company, facts, block, by, text, period, window)
                ]
    assert not found, "\n".join([f"{len(found)} differences", *found[:20]])


def test_the_stages_of_a_pipeline(company: Company) -> None:
    """Under a filter by pipeline, stage figures are those of the pipeline's stages."""
    (pipeline,) = [one for one in company.meta["filters"] if one["name"] == "pipeline"]
    found, seen = [], 0
    for route in PAGES:
        for block in company.metric_blocks(route):
            if not any(metric in STAGE_METRICS for metric in block["metrics"]):
                continue
            if "'deal'" not in (block.get("where") or ""):
                continue
            sql = company.variants(route)[block["id"]][", ".join((block["by"] or [[]])[0])]["sql"]
            for option in pipeline["options"]:
                where = {
                    target: condition(column, option["value"])
                    for target, column in pipeline["columns"].items()
                }
                by = (block["by"] or [[]])[0]
                keys = [name.removeprefix("stage__") for name in by]
                if "pipeline_name" not in keys:
                    continue
                place = keys.index("pipeline_name")
                text = filled(sql, period=PERIODS["thisMonth"], where=where)
                for line in unequal(
                    company,
                    company.facts,
                    {**block, "limit": 1},
                    by,
                    text,
                    PERIODS["thisMonth"],
                    PERIODS["thisMonth"],
                ):
                    found.append(f"{route} {option['value']}: {line}")
                rows = company.connection.execute(text).fetchall()
                assert {row[place] for row in rows} <= {option["value"]}
                seen += len(rows)
    assert seen > 0
    assert not found, "\n".join(found[:20])


@pytest.mark.parametrize(
    ("route", "block", "average", "amount"),
    [
        ("/sales/", "managers", "average_sale_period", "sales_amount_period"),
        ("/marketing/", "sources", "revenue_per_lead_period", "sales_amount_of_leads_period"),
        ("/sales/", "deal_stages", "dropped_amount", "dropped_amount"),
    ],
)
def test_beside_an_average_stands_what_it_leaves_out(
    company: Company, route: str, block: str, average: str, amount: str
) -> None:
    """As in the workbooks: as many records as the amount that it is made of."""
    for variant in company.variants(route)[block].values():
        result = company.connection.execute(filled(variant["sql"]))
        names = [name for name, *_ in result.description]
        at = [names.index(f"{name}_unknown") for name in (average, amount)]
        rows = result.fetchall()
        assert rows
        assert all(row[at[0]] == row[at[1]] is not None for row in rows)


@pytest.mark.parametrize("route", PAGES)
def test_first_figures_are_the_answers(company: Company, route: str) -> None:
    """What a page shows before its engine is there is what the SQL says, also of the period before
    and of the year before on a time axis. By hand: all of February, as it has no 31st, as it stood
    when it was over, as March is not over for longer; a month's axis ends on 31 March 2025 at 20:00."""
    for block in company.metric_blocks(route):
        first = next(iter(company.variants(route)[block["id"]].values()))
        grain = (block["grain"] or ["month"])[0]
        march = {"period": PERIODS["thisMonth"]}
        window = company.choice.window(grain, PERIODS["thisMonth"])
        asked = {"rows": {**march, "window": window, "grain": grain}}
        if block["compare"]:
            year = (dt.date(2025, 3, 1), dt.date(2025, 3, 31))
            asked["compare"] = {
                "period": year if block["grain"] else (dt.date(2026, 2, 1), dt.date(2026, 2, 28)),
                "until": "timestamp '2025-03-31 20:00:00'" if block["grain"] else None,
                "window": company.choice.window(grain, year) if block["grain"] else window,
                "grain": grain,
                "reached": "timestamp '2025-03-31 20:00:00'"
                if block["grain"]
                else f"timestamp '{FEBRUARY_OVER}'",
            }
        for name, choice in asked.items():
            rows = company.connection.execute(filled(first["sql"], **choice)).fetchall()
            assert len(first[name]) == len(rows), (block["id"], name)
            for told, row in zip(first[name], rows, strict=True):
                for one, other in zip(told, row, strict=True):
                    same = (
                        is_same(one, other)
                        if isinstance(one, int | float)
                        else str(one) == str(other)
                    )
                    assert same, (block["id"], name, told, row)


def test_february_is_shown_at_the_age_of_march(company: Company) -> None:
    """Beside March stands what the leads of February had come to when February was over: less than
    what has become of them since."""
    reached = dt.datetime.fromisoformat(f"{FEBRUARY_OVER}+03:00")
    february = (dt.date(2026, 2, 1), dt.date(2026, 2, 28))
    at_age = [name for name, one in company.meta["metrics"].items() if one["at_age"]]
    assert {*at_age} >= {f"lead_to_{step}_rate_cohort" for step in ("quality", "deal", "sale")}
    seen = fewer = 0
    for block in company.metric_blocks("/marketing/"):
        shown = [name for name in block["metrics"] if name in at_age]
        if not shown or not block["compare"] or block["grain"]:
            continue
        by = (block["by"] or [[]])[0]
        first = company.variants("/marketing/")[block["id"]][", ".join(by)]
        names = [column["name"] for column in first["columns"]]
        rows = [dict(zip(names, row, strict=True)) for row in first["compare"]]
        for metric in shown:
            then = company.facts.metric(metric, february, by, reached=reached)
            now = company.facts.metric(metric, february, by)
            theirs = {row[:-1]: row[-1] for row in then.select(*by, "value").iter_rows()}
            for row in rows:
                group = tuple(row[name] for name in by)
                assert is_same(row[metric], theirs.get(group)), (block["id"], metric, group)
                seen += 1
            fewer += then["value"].fill_null(0).sum() < now["value"].fill_null(0).sum()
    assert seen > 10
    assert fewer > 0


def test_the_shell_fills_the_same_text(company: Company) -> None:
    """The SQL of every block, with filters, a period that is cut and a time axis."""
    days = PERIODS["previousQuarter"]
    where = {"leads": "city in ('Казань')", "stages_leads": "city in ('Казань')"}
    cases = [
        variant["sql"]
        for route in PAGES
        for variants in company.variants(route).values()
        for variant in variants.values()
        if "sql" in variant and "[[set" not in variant["sql"]
    ]
    script = """
        import { fillPlaceholders } from './shell/sql.js';
        import { readFileSync } from 'node:fs';
        const { cases, where, start, end, until } = JSON.parse(readFileSync(0, 'utf8'));
        const choice = {
            where: (target) => where[target] ?? 'true',
            period: { start, end, until, reached: `${end} 21:00:00` },
            window: { start, end },
            grain: 'quarter',
            userFields: [],
        };
        console.log(JSON.stringify(cases.map((sql) => fillPlaceholders(sql, choice))));
    """
    given = {"cases": cases, "where": where, "start": str(days[0]), "end": str(days[1])}
    process = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        cwd=shell.REPORTS,
        input=json.dumps(given | {"until": "20:00:00"}),
        capture_output=True,
        text=True,
        check=True,
    )
    ours = [
        filled(
            sql,
            period=days,
            until=f"timestamp '{days[1]} 20:00:00'",
            reached=f"timestamp '{days[1]} 21:00:00'",
            window=days,
            grain="quarter",
            where=where,
        )
        for sql in cases
    ]
    assert json.loads(process.stdout) == ours

"""Metrics by name over the calculated facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property

import polars as pl

from tests.support.calculation.portal import Portal
from tests.support.calculation.reference import CREATED_FAILED, Reference
from tests.support.calculation.settings import Settings

Period = tuple[date, date]

# One day in microseconds: durations are added as whole numbers, so that sums are exact.
DAY = 86_400_000_000
AGES = (7, 14, 30, 60, 90, 180)
TRUNCATIONS = {"day": "1d", "week": "1w", "month": "1mo", "quarter": "1q", "year": "1y"}


@dataclass(frozen=True)
class Measure:
    """A count (or a sum of `value`) of the rows where `where` holds, dated by `date`.

    `unknown`: of an amount, the column that says which records, or how many, it leaves out.
    `by_lead`: rows are deals, but dimensions are those of their lead. `is_cost`: nothing is null,
    as leads that nobody paid for have no price. `event`: when `where` came to hold, by which an
    earlier cohort is told as it was at an earlier moment.
    """

    frame: str
    date: str
    where: str | None = None
    value: str | None = None
    unknown: str | None = None
    by_lead: bool = False
    is_cost: bool = False
    event: str | None = None


@dataclass(frozen=True)
class Total:
    """The measure itself."""

    measure: Measure


@dataclass(frozen=True)
class Ratio:
    """Sum over sum, null where the denominator is 0."""

    numerator: Measure
    denominator: Measure


@dataclass(frozen=True)
class Return:
    """Sales less their cost over the cost; or the share of the sales that the cost is."""

    sales: Measure
    cost: Measure
    is_share: bool = False


@dataclass(frozen=True)
class Average:
    """Mean of a column of days over the rows that have it."""

    days: Measure


@dataclass(frozen=True)
class Part:
    """Numerator (the sum of the days) or denominator (the rows that have them) of an average."""

    average: Average
    part: str


@dataclass(frozen=True)
class Percentile:
    """Continuous percentile (linear interpolation) of a column of days."""

    days: Measure
    quantile: float


@dataclass(frozen=True)
class AtAge:
    """What the leads of a cohort had come to at one age, which all of them have reached.

    `event`: column of the instant of the lead that is counted, None: the leads themselves; 'sales'
    and 'unknown sales': the sum of the known amounts of their sales, and how many are unknown.
    `is_rate`: over the leads.
    """

    event: str | None
    is_rate: bool = False


Metric = Total | Ratio | Return | Average | Percentile | Part | AtAge


def _lead(where: str | None = None, day: str = "created_date", value: str | None = None) -> Measure:
    return Measure("leads", day, where, value)


def _deal(where: str | None = None, day: str = "created_date", value: str | None = None) -> Measure:
    return Measure("deals", day, where, value)


def _amounts(name: str, measure: Measure) -> dict[str, Metric]:
    """An amount, and how many records it leaves out."""
    return {name: Total(measure), f"{name}_unknown": Total(replace(measure, value=measure.unknown))}


def _lead_amount(where: str) -> Measure:
    return Measure("leads", "created_date", where, "opportunity_amount", "is_amount_unknown")


def _deal_amount(where: str | None, day: str = "created_date") -> Measure:
    return Measure("deals", day, where, "base_amount", "is_amount_unknown")


def _average(name: str, total: str, records: str, days: Measure) -> dict[str, Metric]:
    """An average of days with its two parts, by their names."""
    average = Average(days)
    return {
        name: average,
        total: Part(average, "numerator"),
        records: Part(average, "denominator"),
    }


def _metrics() -> dict[str, Metric]:
    received = _lead()
    sales_of_leads = Measure("deals", "sold_date", "is_sale_of_lead", by_lead=True)
    amount_of_leads = replace(sales_of_leads, value="base_amount", unknown="is_amount_unknown")
    of_lead = Measure(
        "leads", "created_date", None, "known_sales_amount", "sales_amount_unknown_count"
    )
    found: dict[str, Metric] = {
        "leads_received": Total(received),
        "leads_by_age": AtAge(None),
        "sales_amount_by_age": AtAge("sales"),
        "sales_amount_by_age_unknown": AtAge("unknown sales"),
        "leads_junk": Total(replace(_lead("is_junk"), event="outcome_at")),
        "leads_in_work": Total(_lead("is_in_work")),
        "leads_new": Total(_lead("is_new")),
        "leads_in_progress": Total(_lead("is_in_progress")),
        "leads_repeat": Total(_lead("is_repeat")),
        "leads_first_time": Total(_lead("is_first_time")),
        "leads_forgotten": Total(_lead("is_forgotten")),
        "leads_inactive": Total(_lead("is_inactive")),
        "leads_forgotten_without_plan": Total(_lead("is_forgotten_without_plan")),
        "leads_without_planned_activity": Total(_lead("is_without_plan")),
        "processing_days_median": Percentile(_lead(value="processing_days"), 0.5),
        "processing_days_p90": Percentile(_lead(value="processing_days"), 0.9),
        "lead_to_sale_days_median": Percentile(_lead(value="lead_to_sale_days"), 0.5),
        "leads_quality_with_deal_cohort": Total(_lead("is_quality_with_deal")),
        "leads_quality_with_sale_cohort": Total(_lead("is_quality_with_sale")),
        "leads_with_sale_not_quality_cohort": Total(_lead("is_sale_not_quality")),
        **_amounts("sales_amount_of_leads_cohort", of_lead),
        **_amounts(
            "leads_potential_amount",
            replace(
                of_lead, value="known_potential_amount", unknown="potential_amount_unknown_count"
            ),
        ),
        "leads_overdue": Total(_lead("is_overdue")),
        **_amounts("leads_overdue_amount", _lead_amount("is_overdue")),
        **_amounts("leads_forgotten_amount", _lead_amount("is_forgotten")),
        **_amounts("leads_without_planned_activity_amount", _lead_amount("is_without_plan")),
        "revenue_per_lead_cohort": Ratio(of_lead, received),
        "sales_of_leads_period": Total(sales_of_leads),
        **_amounts("sales_amount_of_leads_period", amount_of_leads),
        "revenue_per_lead_period": Ratio(amount_of_leads, received),
        "deals_created": Total(_deal()),
        **_amounts("deals_created_amount", _deal_amount(None)),
        "deals_in_work": Total(_deal("is_in_work")),
        **_amounts("potential_amount", _deal_amount("is_in_work")),
        **_amounts("deals_forgotten_amount", _deal_amount("is_forgotten")),
        **_amounts("deals_without_planned_activity_amount", _deal_amount("is_without_plan")),
        **_amounts(
            "deals_forgotten_without_plan_amount", _deal_amount("is_forgotten_without_plan")
        ),
        "deals_overdue": Total(_deal("is_overdue")),
        **_amounts("deals_overdue_amount", _deal_amount("is_overdue")),
        "deals_forgotten": Total(_deal("is_forgotten")),
        "deals_inactive": Total(_deal("is_inactive")),
        "deals_forgotten_without_plan": Total(_deal("is_forgotten_without_plan")),
        "deals_without_planned_activity": Total(_deal("is_without_plan")),
        "deals_repeat_flag_different": Total(_deal("is_repeat_flag_different")),
    }
    for name, total, records, days in (
        ("processing_days_avg", "processing_days_total", "leads_processed", "processing_days"),
        (
            "lead_to_sale_days_avg",
            "lead_to_sale_days_total",
            "leads_with_dated_sale",
            "lead_to_sale_days",
        ),
        ("lead_age_days", "lead_age_days_total", "leads_with_age", "age_days"),
    ):
        found |= _average(name, total, records, _lead(value=days))
    found |= _average(
        "deal_age_days", "deal_age_days_total", "deals_with_age", _deal(value="age_days")
    )
    after_lead = _deal(day="sold_date", value="lead_to_sale_days")
    found |= {
        "sales_without_lead_period": Total(_deal("is_sale_without_lead", "sold_date")),
        **_amounts(
            "sales_without_lead_amount_period", _deal_amount("is_sale_without_lead", "sold_date")
        ),
        **_average(
            "sale_after_lead_days_avg_period",
            "sale_after_lead_days_total_period",
            "sales_with_lead_days_period",
            after_lead,
        ),
        "sale_after_lead_days_median_period": Percentile(after_lead, 0.5),
    }
    cost = Measure("ad_costs", "cost_date", None, "base_cost", "is_cost_unknown", is_cost=True)
    found |= _amounts("ad_cost", cost)
    found["ad_clicks"] = Total(replace(cost, value="clicks"))
    found["cost_per_lead"] = Ratio(cost, received)
    for step, flag, event in (
        ("quality", "is_quality", "quality_date"),
        ("deal", "has_deal", "first_deal_date"),
        ("sale", "has_sale", "first_sold_date"),
    ):
        count = "leads_quality" if step == "quality" else f"leads_with_{step}"
        moment = event.replace("_date", "_at")
        found[f"{count}_by_age"] = AtAge(moment)
        found[f"lead_to_{step}_rate_by_age"] = AtAge(moment, is_rate=True)
        for view, day in (("cohort", "created_date"), ("period", event)):
            reached = replace(_lead(flag, day), event=moment if view == "cohort" else None)
            found[f"{count}_{view}"] = Total(reached)
            found[f"lead_to_{step}_rate_{view}"] = Ratio(reached, received)
            name = "quality_lead" if step == "quality" else step
            found[f"cost_per_{name}_{view}"] = Ratio(cost, reached)
    for view in ("cohort", "period"):
        sold, failed, closed = (
            ("sold_date", "failed_date", "closed_date")
            if view == "period"
            else ("created_date", "created_date", "created_date")
        )
        days = _deal("is_closed", closed, "days_to_close")
        found |= {
            f"sales_{view}": Total(_deal("is_sale", sold)),
            **_amounts(f"sales_amount_{view}", _deal_amount("is_sale", sold)),
            f"sales_with_amount_{view}": Total(_deal("is_known_sale", sold)),
            f"average_sale_{view}": Ratio(
                _deal_amount("is_sale", sold), _deal("is_known_sale", sold)
            ),
            f"deals_failed_{view}": Total(_deal("is_failed", failed)),
            f"deals_closed_{view}": Total(_deal("is_closed", closed)),
            **_average(
                f"days_to_close_avg_{view}",
                f"days_to_close_total_{view}",
                f"deals_with_close_date_{view}",
                days,
            ),
            f"days_to_close_median_{view}": Percentile(days, 0.5),
        }
        for kind in ("new", "repeat", "unknown"):
            sales = f"is_{kind}_sale"
            found[f"sales_{kind}_{view}"] = Total(_deal(sales, sold))
            found |= _amounts(f"sales_{kind}_amount_{view}", _deal_amount(sales, sold))
    of_ads = {
        "cohort": replace(of_lead, where="has_ad_cost"),
        "period": replace(amount_of_leads, where="is_sale_of_ads"),
    }
    for view, sales in of_ads.items():
        found |= _amounts(f"sales_amount_of_ad_leads_{view}", sales)
        found[f"return_on_spend_{view}"] = Return(sales, cost)
        found[f"cost_share_of_sales_{view}"] = Return(sales, cost, is_share=True)
    sold = _deal("is_sale", "sold_date")
    for kind in ("new", "repeat"):
        of_kind = _deal(f"is_{kind}_sale", "sold_date")
        found[f"sales_{kind}_share_period"] = Ratio(of_kind, sold)
    return found


METRICS = _metrics()

# Numerator, denominator and value of each stage metric, as columns of `Facts.stages`.
STAGE_METRICS: dict[str, tuple[str | None, str | None, str]] = {
    "visited": ("visited", None, "visited"),
    "stage_items": ("items", None, "items"),
    "stage_pass_rate": ("visited", "items", "stage_pass_rate"),
    "visitors_forwarded": ("forwarded", None, "forwarded"),
    "stage_forward_rate": ("forwarded", "visited", "stage_forward_rate"),
    "stage_days_total": ("stage_days", None, "stage_days"),
    "stage_visits_finished": ("finished_visits", None, "finished_visits"),
    "stage_days_avg": ("stage_days", "finished_visits", "stage_days_avg"),
    "stage_days_median": (None, "finished_visits", "stage_days_median"),
    "days_standing_total": ("days_standing", None, "days_standing"),
    "standing_now": ("standing_now", None, "standing_now"),
    "days_on_stage_now": ("days_standing", "standing_now", "days_on_stage_now"),
    "dropped": ("dropped", None, "dropped"),
    "dropped_amount": ("dropped_amount", None, "dropped_amount"),
    "dropped_amount_unknown": ("dropped_amount_unknown", None, "dropped_amount_unknown"),
    "visitors_dropped": ("visitors_dropped", None, "visitors_dropped"),
    "dropped_share": ("visitors_dropped", "visited", "dropped_share"),
    "moved_out": ("moved_out", None, "moved_out"),
    "transitions": ("transitions", None, "transitions"),
}

FUNNELS = {
    "sales_dynamics": ("quality", "sale"),
    "marketing": ("quality", "deal", "sale"),
}
APART = "sale_not_quality"
REACHED = {
    "quality": ("leads_quality", "is_quality"),
    "deal": ("leads_with_deal", "has_deal"),
    "sale": ("leads_with_sale", "has_sale"),
}


@dataclass(frozen=True)
class Facts:
    """One row per lead, deal and stage visit; `counts` is true for what the metrics hold."""

    portal: Portal
    settings: Settings
    as_of: datetime
    reference: Reference
    leads: pl.DataFrame
    deals: pl.DataFrame
    stage_visits: pl.DataFrame
    ad_costs: pl.DataFrame

    def metric(
        self,
        name: str,
        period: Period | None = None,
        group_by: Sequence[str] = (),
        entity: str | None = None,
        reached: datetime | None = None,
    ) -> pl.DataFrame:
        """One metric by any columns of its records and day, week, month, quarter, year.

        `period` holds both its first and last day; without it everything counts (stock). `reached`:
        counts of a cohort as they were at that moment, by what is known now.
        Stage metrics need `entity` (lead or deal) and are by pipeline and stage as well.
        Returns the group columns, numerator, denominator (null if the metric is not a ratio)
        and value. A group without records has no row; without groups there is one row.
        """
        if name in STAGE_METRICS:
            if entity is None:
                raise ValueError(f"{name} is of leads or of deals: pass entity")
            numerator, denominator, value = STAGE_METRICS[name]
            keys = [*_beside_stage(group_by), *STAGE_KEYS]
            return self.stages(entity, period, group_by).select(
                *keys,
                (pl.col(numerator) if numerator else pl.lit(None)).alias("numerator"),
                (pl.col(denominator) if denominator else pl.lit(None)).alias("denominator"),
                pl.col(value).alias("value"),
            )
        if name not in METRICS:
            raise KeyError(f"no metric {name}; there are {sorted([*METRICS, *STAGE_METRICS])}")
        metric = METRICS[name]
        keys = list(group_by)
        match metric:
            case Total(measure):
                return self._total(measure, period, keys, reached).select(
                    *keys, "numerator", pl.lit(None).alias("denominator"), value="numerator"
                )
            case Part(average, part):
                found = self._days(average, average.days, period, keys)
                return found.select(*keys, numerator=part, denominator=pl.lit(None), value=part)
            case Average(days) | Percentile(days):
                return self._days(metric, days, period, keys)
            case Ratio(above, below):
                return self._ratio(above, below, period, keys, reached)
            case Return():
                return self._return(metric, period, keys)
            case AtAge():
                return self._at_age(metric, period, keys)

    def funnel(
        self,
        name: str,
        view: str,
        period: Period | None = None,
        group_by: Sequence[str] = (),
    ) -> pl.DataFrame:
        """Steps of a funnel: group columns, step, leads, share_of_first, share_of_previous.

        In the cohort view each step includes the one before; the step `sale_not_quality` counts
        the leads with a sale that are not quality, apart and without shares.
        """
        keys = list(group_by)
        steps = ["received", *FUNNELS[name]]
        if view == "cohort":
            flags = [REACHED[step][1] for step in FUNNELS[name]]
            leads = self._dated(Measure("leads", "created_date"), period, keys)
            counts = [
                pl.len().alias("received"),
                *(
                    pl.all_horizontal(flags[: number + 1]).sum().alias(step)
                    for number, step in enumerate(FUNNELS[name])
                ),
                (pl.col("has_sale") & ~pl.col("is_quality")).sum().alias(APART),
            ]
            wide = leads.group_by(keys).agg(counts) if keys else leads.select(counts)
        elif view == "period":
            wide = self.metric("leads_received", period, keys).select(*keys, received="value")
            for step in FUNNELS[name]:
                reached = self.metric(f"{REACHED[step][0]}_period", period, keys)
                wide = _join(wide, reached.select(*keys, pl.col("value").alias(step)), keys)
        else:
            raise ValueError(f"view is {view!r}, not cohort or period")
        counted = [column for column in wide.columns if column not in keys]
        wide = wide.with_columns(pl.col(counted).fill_null(0).cast(pl.Int64))
        rows = [
            wide.select(
                *keys,
                pl.lit(step).alias("step"),
                pl.col(step).alias("leads"),
                share_of_first=_rate(step, "received") if before else pl.lit(None, pl.Float64),
                share_of_previous=_rate(step, before) if before else pl.lit(None, pl.Float64),
            )
            for step, before in zip(steps, [None, *steps], strict=False)
        ]
        if view == "cohort":
            rows.append(wide.select(*keys, pl.lit(APART).alias("step"), leads=APART))
        found = pl.concat(rows, how="diagonal")
        return found.sort(keys, nulls_last=True, maintain_order=True) if keys else found

    def stages(
        self, entity: str, period: Period | None = None, group_by: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Every stage metric of the items created in the period, a row per group and stage.

        Stages without items on them or dropped from them are left out. Failed items without an
        open stage before are in a row without stage, named "создан проваленным".
        """
        by = [*_beside_stage(group_by), *STAGE_KEYS]
        found = self.stage_counts([entity], period, by)
        return found.filter((pl.col("visited") > 0) | (pl.col("dropped") > 0))

    def stage_counts(
        self, entities: Sequence[str], period: Period | None, keys: Sequence[str]
    ) -> pl.DataFrame:
        """Every stage metric of the items created in the period, a row per group.

        `keys` are columns of visits (STAGE_COLUMNS) and of the items. `items`: created items of
        the group, for deals those that ever stood in a pipeline of the group's stages.
        """
        by = list(keys)
        visits = self._visits(entities, period, by)
        finished = ~pl.col("is_current") & pl.col("is_open") & pl.col("days").is_not_null()
        standing = pl.col("is_current") & pl.col("is_open") & pl.col("days").is_not_null()
        days = _micros(pl.col("days"))
        item = pl.struct("entity", "item_id")
        found = _grouped(
            visits.drop_nulls("stage_id"),
            by,
            item.n_unique().alias("visited"),
            item.filter("is_forward").n_unique().alias("forwarded"),
            item.filter("is_drop").n_unique().alias("visitors_dropped"),
            item.filter("is_moved_out").n_unique().alias("moved_out"),
            finished.sum().alias("finished_visits"),
            pl.when(finished.sum() > 0).then(days.filter(finished).sum() / DAY).alias("stage_days"),
            (days.filter(finished).quantile(0.5, "linear") / DAY).alias("stage_days_median"),
            standing.sum().alias("standing_now"),
            pl.when(standing.sum() > 0)
            .then(days.filter(standing).sum() / DAY)
            .alias("days_standing"),
            pl.col("to_stage_id").is_not_null().sum().alias("transitions"),
        )
        drops = _grouped(
            visits.filter("is_drop"),
            by,
            item.n_unique().alias("dropped"),
            pl.col("amount").sum().alias("dropped_amount"),
            pl.col("amount").count().alias("dropped_amount_known"),
            pl.col("is_unknown").sum().alias("dropped_amount_unknown"),
        )
        stood = (
            visits.drop_nulls("stage_id")
            .drop(STAGE_DETAILS)
            .unique(["entity", "item_id", "pipeline_id"])
        )
        on_any_stage = stood.join(
            self._all_stages, on=["entity", "pipeline_id"], nulls_equal=True
        ).with_columns(
            to_stage_id=pl.lit(None, pl.String),
            to_stage_name=pl.lit(None, pl.String),
            to_pipeline_name=pl.lit(None, pl.String),
            is_back=pl.lit(False),
        )
        base = _grouped(on_any_stage, by, item.n_unique().alias("items"))
        counts = ["visited", "forwarded", "visitors_dropped", "finished_visits", "standing_now"]
        counts += ["transitions", "dropped", "items", "moved_out"]
        counts += ["dropped_amount_known", "dropped_amount_unknown"]
        return (
            _join(_join(base, found, by), drops, by)
            .with_columns(pl.col(counts).fill_null(0).cast(pl.Int64))
            .with_columns(
                dropped_amount=_known(
                    pl.col("dropped_amount").fill_null(0),
                    pl.col("dropped_amount_known"),
                    pl.col("dropped_amount_unknown"),
                ),
                stage_pass_rate=_rate("visited", "items"),
                stage_forward_rate=_rate("forwarded", "visited"),
                stage_days_avg=_rate("stage_days", "finished_visits"),
                days_on_stage_now=_rate("days_standing", "standing_now"),
                dropped_share=_rate("visitors_dropped", "visited"),
            )
            .sort(by or "visited", nulls_last=True)
        )

    def transitions(
        self, entity: str, period: Period | None = None, group_by: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Moves from stage to stage of the items created in the period, counted.

        `is_back`: to an open stage of the same pipeline, from a later one or from a closed one.
        """
        by = [*_beside_stage(group_by), "pipeline_id", "stage_id", "to_pipeline_id", "to_stage_id"]
        moves = self._visits([entity], period, by).drop_nulls("to_stage_id")
        return (
            moves.group_by([*by, "stage_name", "to_stage_name", "is_back"])
            .len("transitions")
            .sort(by, nulls_last=True)
        )

    @cached_property
    def _counting(self) -> dict[str, pl.DataFrame]:
        """The counting rows, with the flags that only metrics need."""
        plan = (pl.col("is_in_work") & ~pl.col("has_planned_activity")).alias("is_without_plan")
        leads = self.leads.filter("counts").with_columns(
            plan,
            (pl.col("is_quality") & pl.col("has_deal")).alias("is_quality_with_deal"),
            (pl.col("is_quality") & pl.col("has_sale")).alias("is_quality_with_sale"),
            (~pl.col("is_quality") & pl.col("has_sale")).alias("is_sale_not_quality"),
            # The 0 of a lead that has nothing to sum does not make an unknown sum of others known.
            pl.when(pl.col("sales_count") > pl.col("sales_amount_unknown_count"))
            .then("sales_amount")
            .alias("known_sales_amount"),
            pl.when(pl.col("deals_in_work_count") > pl.col("potential_amount_unknown_count"))
            .then("potential_amount")
            .alias("known_potential_amount"),
        )
        kind = pl.col("customer_kind")
        # Of a deal handed over, pipeline and stage are those of its sale.
        sold = [
            pl.when("is_handed_over").then(f"sale_{name}").otherwise(name).alias(name)
            for name in ("pipeline_id", "pipeline_name", "stage_id", "stage_name")
        ]
        deals = self.deals.filter("counts").with_columns(
            *sold,
            plan,
            (pl.col("is_sale") & pl.col("has_counting_lead")).alias("is_sale_of_lead"),
            (pl.col("is_sale") & ~pl.col("has_counting_lead")).alias("is_sale_without_lead"),
            (pl.col("is_sale") & pl.col("has_ad_cost")).alias("is_sale_of_ads"),
            (pl.col("is_sale") & (kind == "new")).alias("is_new_sale"),
            (pl.col("is_sale") & (kind == "repeat")).alias("is_repeat_sale"),
            (pl.col("is_sale") & (kind == "unknown")).alias("is_unknown_sale"),
            (pl.col("is_sale") & ~pl.col("is_amount_unknown")).alias("is_known_sale"),
        )
        return {
            "leads": leads.with_columns(_touch("")),
            "deals": deals.with_columns(_touch("lead_")),
            "ad_costs": self.ad_costs.with_columns(_touch("")),
            "lead_ages": self._lead_ages(leads, deals),
            "all_leads": self.leads,
            "all_deals": self.deals,
        }

    def _dated(self, measure: Measure, period: Period | None, keys: list[str]) -> pl.DataFrame:
        """Rows of the period, with the group columns; of events only those whose day is known.

        Records with an unknown creation time are in no period, and count without a period.
        """
        frame = self._counting[measure.frame]
        day = pl.col(measure.date)
        if measure.date != "created_date":
            frame = frame.filter(day.is_not_null())
        if period:
            frame = frame.filter(day.is_between(*period))
        columns = []
        for key in keys:
            if key in TRUNCATIONS:
                columns.append(day.dt.truncate(TRUNCATIONS[key]).alias(key))
                continue
            is_own = "__" in key or key.startswith("touch_")
            source = f"lead_{key}" if measure.by_lead and not is_own else key
            if source not in frame.columns:
                raise ValueError(f"{measure.frame} have no dimension {source}")
            columns.append(pl.col(source).alias(key))
        return frame.with_columns(columns)

    def _total(
        self,
        measure: Measure,
        period: Period | None,
        keys: list[str],
        reached: datetime | None = None,
    ) -> pl.DataFrame:
        rows = self._dated(measure, period, keys)
        holds = pl.col(measure.where) if measure.where else pl.lit(True)
        if reached and measure.event:
            holds &= (pl.col(measure.event) <= reached).fill_null(True)
        matched = (holds.sum() if measure.where else pl.len()).cast(pl.Int64)
        if measure.value is None:
            sum_ = matched
        elif measure.is_cost and measure.value != measure.unknown:
            spent = pl.col(measure.value)
            sum_ = pl.when(spent.count() > 0).then(spent.sum())
        elif measure.value == measure.unknown:
            sum_ = pl.col(measure.value).filter(holds).sum().cast(pl.Int64)
        else:
            amount = pl.col(measure.value).filter(holds)
            left_out = pl.col(str(measure.unknown)).filter(holds).sum()
            sum_ = _known(amount.sum(), amount.count(), left_out)
        found = _grouped(rows, keys, sum_.alias("numerator"))
        return found.sort(keys, nulls_last=True) if keys else found

    def _ratio(
        self,
        above: Measure,
        below: Measure,
        period: Period | None,
        keys: list[str],
        reached: datetime | None = None,
    ) -> pl.DataFrame:
        numerators = self._total(above, period, keys, reached)
        denominators = self._total(below, period, keys).select(*keys, denominator="numerator")
        # A group without records of the numerator has 0; one whose amounts are unknown stays null.
        found = _join(numerators.with_columns(has_records=True), denominators, keys).with_columns(
            pl.when(pl.col("has_records").is_null() & ~pl.lit(above.is_cost))
            .then(pl.lit(0).cast(numerators.schema["numerator"]))
            .otherwise(pl.col("numerator"))
            .alias("numerator"),
            pl.col("denominator").fill_null(0),
        )
        found = found.select(
            *keys, "numerator", "denominator", value=_rate("numerator", "denominator")
        )
        return found.sort(keys, nulls_last=True) if keys else found

    def _return(self, metric: Return, period: Period | None, keys: list[str]) -> pl.DataFrame:
        sales = self._total(metric.sales, period, keys).select(
            *keys, sold="numerator", has_records=True
        )
        spent = self._total(metric.cost, period, keys).select(*keys, spent="numerator")
        sold = pl.col("sold")
        # Of costs without sales nothing came back; sales whose amount is unknown stay so.
        sold = pl.when(pl.col("has_records").is_null()).then(0).otherwise(sold).cast(pl.Float64)
        cost = pl.col("spent").cast(pl.Float64)
        above, below = (cost, sold) if metric.is_share else (sold - cost, cost)
        found = _join(sales, spent, keys).select(
            *keys,
            numerator=above,
            denominator=below,
            value=pl.when(below != 0).then(above / below),
        )
        return found.sort(keys, nulls_last=True) if keys else found

    def _days(
        self, metric: Average | Percentile, days: Measure, period: Period | None, keys: list[str]
    ) -> pl.DataFrame:
        rows = self._dated(days, period, keys)
        if days.where:
            rows = rows.filter(days.where)
        column = _micros(pl.col(str(days.value)))
        if isinstance(metric, Average):
            numerator = pl.when(column.count() > 0).then(column.sum() / DAY)
            value = column.sum() / (column.count() * DAY)
        else:
            numerator = pl.lit(None, pl.Float64).first()
            value = column.quantile(metric.quantile, "linear") / DAY
        known = column.count() > 0
        columns = [
            numerator.alias("numerator"),
            column.count().cast(pl.Int64).alias("denominator"),
            pl.when(known).then(value).alias("value"),
        ]
        found = _grouped(rows, keys, *columns)
        return found.sort(keys, nulls_last=True) if keys else found

    def _at_age(self, metric: AtAge, period: Period | None, keys: list[str]) -> pl.DataFrame:
        rows = self._dated(Measure("lead_ages", "created_date"), period, keys)
        leads = pl.len().cast(pl.Int64)
        match metric.event:
            case None:
                counted = leads
            case "sales":
                counted = _known(
                    pl.col("sold").sum(), pl.col("sold_known").sum(), pl.col("sold_unknown").sum()
                )
            case "unknown sales":
                counted = pl.col("sold_unknown").sum().cast(pl.Int64)
            case event:
                counted = (pl.col(event) - pl.col("created_at") <= pl.col("age")).sum()
                counted = counted.cast(pl.Int64)
        is_said = pl.col("is_old").all() & (pl.col("age").n_unique() == 1)
        numerator = pl.when(is_said).then(counted)
        value = numerator.cast(pl.Float64) / leads if metric.is_rate else numerator
        found = _grouped(
            rows,
            keys,
            numerator.alias("numerator"),
            pl.when(is_said).then(leads).alias("denominator"),
            value.alias("value"),
        )
        return found.sort(keys, nulls_last=True) if keys else found

    def _lead_ages(self, leads: pl.DataFrame, deals: pl.DataFrame) -> pl.DataFrame:
        """Each lead at each age, with what its sales had brought by then."""
        ages = pl.DataFrame({"lead_age__age_days": AGES}).with_columns(
            age=pl.Series([timedelta(days=age) for age in AGES], dtype=pl.Duration("us"))
        )
        aged = leads.filter(pl.col("created_at").is_not_null()).join(ages, how="cross")
        sales = deals.filter(pl.col("is_sale") & pl.col("sold_at").is_not_null())
        sold = (
            aged.select("lead_id", "lead_age__age_days", "age", "created_at")
            .join(
                sales.select("lead_id", "sold_at", "base_amount", "is_amount_unknown"), on="lead_id"
            )
            .filter(pl.col("sold_at") - pl.col("created_at") <= pl.col("age"))
            .group_by("lead_id", "lead_age__age_days")
            .agg(
                sold=pl.col("base_amount").sum(),
                sold_known=pl.col("base_amount").count(),
                sold_unknown=pl.col("is_amount_unknown").sum(),
            )
        )
        return aged.join(sold, on=["lead_id", "lead_age__age_days"], how="left").with_columns(
            pl.col("sold", "sold_known", "sold_unknown").fill_null(0),
            is_old=pl.lit(self.as_of) - pl.col("created_at") >= pl.col("age"),
        )

    def _visits(
        self, entities: Sequence[str], period: Period | None, keys: Sequence[str]
    ) -> pl.DataFrame:
        """Visits of the items created in the period, with their group columns and next stage.

        Items that failed without an open stage before have one more row, without a stage.
        """
        item_keys = [key for key in keys if key not in (*STAGE_COLUMNS, "counts")]
        parts = []
        for entity in entities:
            if entity not in ("lead", "deal"):
                raise ValueError(f"entity is {entity!r}, not lead or deal")
            is_lead = entity == "lead"
            # A visit counts by its own pipeline, wherever the item stands now.
            created = self._dated(Measure(f"all_{entity}s", "created_date"), period, item_keys)
            items = created.select(
                *item_keys,
                pl.col(f"{entity}_id").alias("item_id"),
                pl.lit(entity).alias("entity"),
                (pl.lit(None, pl.Int64) if is_lead else pl.col("pipeline_id")).alias("pipeline_id"),
                pl.col("opportunity_amount" if is_lead else "base_amount").alias("amount"),
                pl.col("is_amount_unknown").alias("is_unknown"),
                pl.col("is_junk" if is_lead else "is_failed").alias("is_failure"),
                pl.col("counts" if is_lead else "counts_where_it_stands").alias("counts"),
            )
            visits = self.moves.join(items.drop("pipeline_id", "counts"), on=["entity", "item_id"])
            created_failed = (
                items.filter("is_failure")
                .join(visits.filter("is_drop"), on="item_id", how="anti")
                .with_columns(
                    stage_name=pl.lit(CREATED_FAILED),
                    is_drop=pl.lit(True),
                    is_moved_out=pl.lit(False),
                    is_back=pl.lit(False),
                )
            )
            parts += [visits, created_failed]
        counting = pl.concat(parts, how="diagonal_relaxed").filter("counts")
        return counting.with_columns(self._name_of(pl.col("pipeline_id")).alias("pipeline_name"))

    @cached_property
    def moves(self) -> pl.DataFrame:
        """Visits with the stage that follows."""
        following = ["pipeline_id", "stage_id", "stage_name", "stage_sort", "is_open"]
        same_pipeline = pl.col("pipeline_id").eq_missing(pl.col("to_pipeline_id"))
        to_earlier = (pl.col("to_stage_sort") < pl.col("stage_sort")).fill_null(False)
        return (
            self.stage_visits.sort("entity", "item_id", "visit_number")
            .with_columns(
                pl.col(column).shift(-1).over("entity", "item_id").alias(f"to_{column}")
                for column in following
            )
            .with_columns(
                is_back=same_pipeline
                & pl.col("to_is_open").fill_null(False)
                & (~pl.col("is_open") | to_earlier),
                to_pipeline_name=self._name_of(pl.col("to_pipeline_id")),
            )
        )

    def _name_of(self, pipeline_id: pl.Expr) -> pl.Expr:
        return pipeline_id.replace_strict(
            self._pipeline_names, default=None, return_dtype=pl.String
        )

    @cached_property
    def _pipeline_names(self) -> dict[int, str]:
        ids = {*self.reference.pipelines, *self.stage_visits["pipeline_id"].drop_nulls()}
        return {pipeline_id: self.reference.pipeline_name(pipeline_id) for pipeline_id in ids}

    @cached_property
    def _all_stages(self) -> pl.DataFrame:
        """Stages of the reference data, and those that only visits name, by entity and pipeline."""
        columns = ["entity", "pipeline_id", "stage_id", "stage_name", "stage_sort"]
        listed = [
            (entity, stage.pipeline_id, stage.stage_id, stage.name, stage.sort)
            for entity in ("lead", "deal")
            for stage in self.reference.stages(entity).values()
        ]
        visited = self.stage_visits.select(columns)
        found = pl.DataFrame(listed, schema=visited.schema, orient="row")
        return pl.concat([found, visited]).unique(["entity", "pipeline_id", "stage_id"])


STAGE_KEYS = ("pipeline_id", "stage_id", "stage_name")
STAGE_DETAILS = ["stage_id", "stage_name", "stage_sort", "to_stage_id", "to_stage_name", "is_back"]
STAGE_DETAILS += ["to_pipeline_name"]
STAGE_COLUMNS = {"entity", "pipeline_id", "pipeline_name", "to_pipeline_id", *STAGE_DETAILS}


def _beside_stage(group_by: Sequence[str]) -> list[str]:
    """Group columns of items; stage metrics are by pipeline and stage of the visit anyway."""
    return [key for key in group_by if key not in STAGE_KEYS]


def _touch(prefix: str) -> list[pl.Expr]:
    """The labels of the first touch, under the names that leads, deals and costs share."""
    labels = ["utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term"]
    names = {"touch_source": f"{prefix}source_name"}
    names |= {f"touch_{label}": f"{prefix}{label}" for label in labels}
    return [pl.col(source).alias(name) for name, source in names.items()]


def _micros(days: pl.Expr) -> pl.Expr:
    """Days as whole microseconds (exact up to 2**53)."""
    return (days * DAY).round().cast(pl.Int64)


def _known(total: pl.Expr, known: pl.Expr, unknown: pl.Expr) -> pl.Expr:
    """A sum of amounts: of those known; null where there are only unknown ones, 0 of none."""
    return pl.when((known > 0) | (unknown == 0)).then(total)


def _grouped(rows: pl.DataFrame, keys: list[str], *columns: pl.Expr) -> pl.DataFrame:
    """Aggregates by the keys; one row without any."""
    return rows.group_by(keys).agg(columns) if keys else rows.select(columns)


def _rate(above: str, below: str) -> pl.Expr:
    divided = pl.col(above).cast(pl.Float64) / pl.col(below).cast(pl.Float64)
    return pl.when(pl.col(below) != 0).then(divided)


def _join(
    left: pl.DataFrame, right: pl.DataFrame, keys: Sequence[str], how: str = "full"
) -> pl.DataFrame:
    if not keys:
        return (
            left.join(right, how="cross")
            if how == "left"
            else pl.concat([left, right], how="horizontal")
        )
    return left.join(right, on=list(keys), how=how, nulls_equal=True, coalesce=True)  # type: ignore[arg-type]

"""The tables of the workbooks as data: which metrics, by what, over what time, in what order.

What a metric is, is said in `dbt_project/models/semantic/` alone: here it is put into a table by
its name. Unasked stand beside an amount the count of the records that it leaves out, and beside the
share of a cohort what it is made of and the ends of its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.excel.period import Period
from pipelines.metric_sql import PERIOD, MetricQuery, SemanticLayer, filled, without_grain
from pipelines.metrics import SCHEMA

# What a column is beside the metric that it is named for: `sales_period__before`.
BEFORE, CHANGE, STOCK = "__before", "__change", "__stock"
# The ends of the interval (95 %) of a cohort's share.
LOW, HIGH = "__low", "__high"

# Dimensions whose columns are not called like them.
COLUMNS = {PERIOD: "month", "lead_age__age_days": "cohort_age"}

PIPELINE_PLACE = """(
    select min(sort_order) from marts.dim_pipelines as place
    where place.pipeline_id = answer.pipeline_id
) nulls last"""
STAGE_PLACE = """(
    select min(sort_order) from marts.dim_stages as place
    where place.entity = {entity} and place.stage_id = answer.stage_id
) nulls last"""


@dataclass(frozen=True)
class Table:
    """A table of a sheet.

    Attributes:
        metrics: Their names, in the order of the columns.
        by: Dimensions, as a `MetricQuery` takes them; a column is named without the entity of its
            dimension or the word touch, and flags stand after the metrics. Ids tell rows apart and
            are not shown.
        order: SQL by columns of the answer; totals come last.
        totals: With the row of all; of a matrix also with the column of all.
        in_period: Only what happened in the period, each metric by its own time axis.
        where: Conditions in MetricFlow's form.
        only: SQL condition on rows of the answer.
        compared: Metrics with the period before and the change beside them.
        stock: Metrics as they are now, whenever their records were created; they come last.
        each: The table has the rows of each dimension one after another, then the total.
    """

    metrics: tuple[str, ...]
    by: tuple[str | tuple[str, ...], ...] = ()
    order: tuple[str, ...] = ()
    totals: bool = False
    in_period: bool = True
    where: tuple[str, ...] = ()
    only: str = "true"
    compared: tuple[str, ...] = ()
    stock: tuple[str, ...] = ()
    each: bool = False

    def sql(self, layer: SemanticLayer, period: Period, before: bool = False) -> str:
        """The table as SQL on the published file; with `before` that of the period before."""
        if self.each:
            return self._one_after_another(layer, period)
        query = self._query(layer, self.metrics, self.in_period)
        if before:
            answer = _before(layer.sql(query), period)
        else:
            answer = filled(layer.sql(query), period=(period.start, period.end))
        if self.compared or self.stock:
            answer = self._beside(layer, period, answer)
        shown = [f"{dimension} as {name}" for dimension, name in self._names()]
        flags = [one for one in shown if one.split()[-1].startswith("is_")]
        columns = [one for one in shown if one not in flags] + self._columns(layer) + flags
        if self.totals:
            first = 1 << len(self.by) - 1
            columns.append(f"total_of & {first} > 0 as is_total")
            if len(self.by) > 1:
                columns.append("total_of & 1 > 0 as is_row_total")
        named = f"select {', '.join(columns)} from ({answer})"
        order = [*(["is_total"] if self.totals else []), *self.order]
        ordered = f" order by {', '.join(order)}" if order else ""
        return f"select * from ({named}) as answer where {self.only}{ordered}"

    def _names(self) -> list[tuple[str, str]]:
        """Column of the answer and of the table of each dimension."""
        found = []
        for dimension in self._query(None, (), self.in_period).dimensions:
            column = without_grain(dimension)
            name = column.rpartition("__")[2].removeprefix("touch_")
            found.append((column, COLUMNS.get(column, name)))
        return found

    def _query(
        self, layer: SemanticLayer | None, metrics: Sequence[str], in_period: bool
    ) -> MetricQuery:
        names = tuple(with_beside(layer, metrics)) if layer else tuple(metrics)
        return MetricQuery(
            names, self.by, in_period=in_period, where=self.where, totals=self.totals
        )

    def _columns(self, layer: SemanticLayer) -> list[str]:
        columns, before = [], with_beside(layer, self.compared)
        for name in with_beside(layer, self.metrics):
            columns.append(name)
            if name in before:
                columns.append(f"{name}{BEFORE}")
            if name in self.compared:
                columns.append(f"{name} - {name}{BEFORE} as {name}{CHANGE}")
            if layer.has_interval(name):
                parts = ", ".join(layer.parts(name))
                columns.append(f"{SCHEMA}.wilson_low({parts}) as {name}{LOW}")
                columns.append(f"{SCHEMA}.wilson_high({parts}) as {name}{HIGH}")
        return columns + [f"{name}{STOCK}" for name in with_beside(layer, self.stock)]

    def _beside(self, layer: SemanticLayer, period: Period, now: str) -> str:
        """Rows of the period, of the one before and of now, side by side."""
        answers = [(now, "", with_beside(layer, self.metrics))]
        for metrics, suffix, in_period in (
            (self.compared, BEFORE, True),
            (self.stock, STOCK, False),
        ):
            if metrics:
                sql = layer.sql(self._query(layer, metrics, in_period))
                told = _before(sql, period) if in_period else filled(sql)
                answers.append((told, suffix, with_beside(layer, metrics)))
        keys = [dimension for dimension, _ in self._names()] + ["total_of"] * self.totals
        parts = []
        for sql, suffix, names in answers:
            columns = [*keys, *(f"{name} as {name}{suffix}" for name in names)]
            parts.append(f"select {', '.join(columns)} from ({sql})")
        values = ", ".join(
            _of_nothing(layer, name, f"max({name}{suffix})") + f" as {name}{suffix}"
            for _, suffix, names in answers
            for name in names
        )
        grouped = " union all by name ".join(parts)
        return f"select {', '.join(keys)}, {values} from ({grouped}) group by {', '.join(keys)}"

    def _one_after_another(self, layer: SemanticLayer, period: Period) -> str:
        parts = []
        for place, dimension in enumerate([*self.by, None]):
            by = () if dimension is None else (dimension,)
            one = replace(self, by=by, order=(), totals=False, each=False)
            (name,) = [column for _, column in one._names()] or ["null"]
            label = "null" if dimension is None else f"'{name}'"
            rest = "*" if dimension is None else f"* exclude ({name})"
            parts.append(
                f"select {label} as utm_label, {name} as utm_value, {rest}, {place} as place,"
                f" {dimension is None} as is_total from ({one.sql(layer, period)})"
            )
        answer = " union all by name ".join(parts)
        order = ", ".join(["place", *self.order])
        return f"select * exclude (place) from ({answer}) as answer order by {order}"


def _before(sql: str, period: Period) -> str:
    """The SQL of a query for the period before; its cohorts at the age of those of the period."""
    end = period.previous_until
    until = f"timestamptz '{end.isoformat()}'" if end else None
    return filled(
        sql,
        period=(period.previous_start, period.previous_end),
        until=until,
        reached=f"timestamptz '{period.previous_as_of.isoformat()}'",
    )


def with_beside(layer: SemanticLayer, metrics: Sequence[str]) -> list[str]:
    """Metrics, each with what it leaves out behind it, and before the share of a cohort what it is
    made of, where that does not stand already."""
    found: dict[str, None] = {}
    for name in metrics:
        for part in layer.parts(name) if layer.has_interval(name) else ():
            if part not in metrics:
                found.setdefault(part)
        found.setdefault(name)
        counted = layer.left_out(name)
        if counted:
            found.setdefault(counted)
    return list(found)


def _of_nothing(layer: SemanticLayer, name: str, value: str) -> str:
    """A count or amount of a group that has no record of it: 0."""
    metric = layer.metrics[name]
    measure = metric["type_params"]["measure"]
    fills = measure is not None and measure["fill_nulls_with"] is not None
    unknown = f"{name}_unknown" in layer.metrics
    return f"coalesce({value}, 0)" if fills or unknown else value


# The sheet of figures


@dataclass(frozen=True)
class Block:
    """Figures under a title, beside those of the period before where they may be compared.

    `share`: counts also as a share of the first figure.
    """

    title: str
    metrics: tuple[str, ...]
    share: bool = True


@dataclass(frozen=True)
class Step:
    """A step of a funnel: its counts of those created in the period, and within the period."""

    word: str
    cohort: str
    period: str


RECEIVED_LEADS = (
    "leads_received",
    "leads_junk",
    "leads_quality_cohort",
    "leads_in_work",
    "leads_new",
    "leads_in_progress",
    "leads_forgotten",
)
SALES_BLOCKS = (
    Block(
        "leads_of_period",
        (
            *RECEIVED_LEADS,
            "leads_without_planned_activity",
            "leads_overdue",
            "leads_overdue_amount",
            "leads_first_time",
            "leads_repeat",
            "processing_days_avg",
            "processing_days_median",
        ),
    ),
    Block(
        "deals_of_period",
        (
            "deals_created",
            "deals_in_work",
            "potential_amount",
            "deals_failed_cohort",
            "deals_forgotten",
            "deals_without_planned_activity",
            "deals_overdue",
            "deals_overdue_amount",
            "sales_cohort",
            "sales_amount_cohort",
            "average_sale_cohort",
            "sales_new_cohort",
            "sales_new_amount_cohort",
            "sales_repeat_cohort",
            "sales_repeat_amount_cohort",
            "sales_unknown_cohort",
            "sales_unknown_amount_cohort",
            "days_to_close_avg_cohort",
            "days_to_close_median_cohort",
        ),
    ),
    Block(
        "sold_in_period",
        (
            "sales_period",
            "sales_amount_period",
            "average_sale_period",
            "sales_new_period",
            "sales_new_amount_period",
            "sales_repeat_period",
            "sales_repeat_amount_period",
            "sales_unknown_period",
            "sales_unknown_amount_period",
            "deals_failed_period",
            "days_to_close_avg_period",
            "days_to_close_median_period",
        ),
        share=False,
    ),
)
MARKETING_BLOCKS = (
    Block(
        "leads_of_period",
        (
            *RECEIVED_LEADS,
            "leads_with_deal_cohort",
            "leads_with_sale_cohort",
            "sales_amount_of_leads_cohort",
            "revenue_per_lead_cohort",
        ),
    ),
    Block(
        "sold_in_period",
        (
            "sales_period",
            "sales_amount_period",
            "sales_of_leads_period",
            "sales_amount_of_leads_period",
            "revenue_per_lead_period",
            "sale_after_lead_days_median_period",
        ),
        share=False,
    ),
)
RECEIVED = Step("received", "leads_received", "leads_received")
QUALITY = Step("quality", "leads_quality_cohort", "leads_quality_period")
WITH_DEAL = Step("with_deal", "leads_quality_with_deal_cohort", "leads_with_deal_period")
WITH_SALE = Step("with_sale", "leads_quality_with_sale_cohort", "leads_with_sale_period")
SALES_FUNNEL = (RECEIVED, QUALITY, WITH_SALE)
MARKETING_FUNNEL = (RECEIVED, QUALITY, WITH_DEAL, WITH_SALE)
# Leads with a sale that are not quality stand apart: they are in no step.
APART = "leads_with_sale_not_quality_cohort"
CONVERSIONS = (
    ("to_quality", "lead_to_quality_rate"),
    ("to_deal", "lead_to_deal_rate"),
    ("to_sale", "lead_to_sale_rate"),
    ("revenue_per_lead", "revenue_per_lead"),
)
NOW = Table(
    (
        "leads_in_work",
        "leads_forgotten",
        "leads_forgotten_without_plan",
        "leads_without_planned_activity",
        "leads_overdue",
        "leads_overdue_amount",
        "deals_in_work",
        "potential_amount",
        "deals_forgotten",
        "deals_forgotten_without_plan",
        "deals_without_planned_activity",
        "deals_overdue",
        "deals_overdue_amount",
    ),
    in_period=False,
)
PIPELINES = Table(
    (
        "deals_created",
        "deals_in_work",
        "potential_amount",
        "deals_forgotten",
        "deals_overdue",
        "deals_failed_cohort",
        "sales_cohort",
        "sales_amount_cohort",
    ),
    by=("deal__pipeline_name",),
    order=("deals_created desc", "pipeline_name"),
    totals=True,
)

# The other sheets of both workbooks

MONTHS = Table(
    (
        "leads_received",
        "leads_quality_cohort",
        "leads_in_progress",
        "leads_new",
        "leads_junk",
        "lead_to_quality_rate_cohort",
        "lead_to_sale_rate_cohort",
        "lead_to_sale_rate_period",
        "deals_created",
        "deals_failed_period",
        "sales_period",
        "sales_new_period",
        "sales_repeat_period",
        "sales_unknown_period",
        "sales_amount_period",
        "sales_new_amount_period",
        "sales_repeat_amount_period",
        "sales_unknown_amount_period",
        "average_sale_period",
        "potential_amount",
    ),
    by=("metric_time__month",),
    order=("month",),
    totals=True,
    in_period=False,
)
MARKETING_MONTHS = Table(
    (
        "leads_received",
        "leads_junk",
        "leads_new",
        "leads_in_progress",
        "leads_quality_cohort",
        "leads_with_deal_cohort",
        "leads_with_sale_cohort",
        "lead_to_quality_rate_cohort",
        "lead_to_deal_rate_cohort",
        "lead_to_sale_rate_cohort",
        "sales_amount_of_leads_cohort",
        "revenue_per_lead_cohort",
        "leads_with_sale_period",
        "lead_to_sale_rate_period",
        "sales_amount_of_leads_period",
        "revenue_per_lead_period",
        "deals_created",
        "leads_potential_amount",
    ),
    by=("metric_time__month",),
    order=("month",),
    totals=True,
    in_period=False,
)
COHORT_AGES = Table(
    (
        "leads_by_age",
        "leads_quality_by_age",
        "lead_to_quality_rate_by_age",
        "leads_with_deal_by_age",
        "lead_to_deal_rate_by_age",
        "leads_with_sale_by_age",
        "lead_to_sale_rate_by_age",
        "sales_amount_by_age",
    ),
    by=("metric_time__month", "lead_age__age_days"),
    order=("month", "cohort_age"),
    in_period=False,
    # An age that not all leads of the month have reached says nothing yet.
    only="leads_by_age is not null",
)
MANAGERS = Table(
    (
        "leads_received",
        "lead_to_quality_rate_cohort",
        "sales_period",
        "sales_amount_period",
        "average_sale_period",
    ),
    by=("manager_name",),
    order=("coalesce(sales_amount_period, 0) desc", "leads_received desc", "manager_name"),
    totals=True,
    compared=("leads_received", "sales_period", "sales_amount_period"),
    stock=(
        "deals_in_work",
        "potential_amount",
        "leads_forgotten",
        "deals_forgotten",
        "deals_overdue",
    ),
    only="leads_received + sales_period + leads_received__before + sales_period__before"
    " + deals_in_work__stock + leads_forgotten__stock > 0",
)
LEAD_MANAGERS = Table(
    (
        "leads_received",
        "leads_junk",
        "leads_in_work",
        "leads_quality_cohort",
        "lead_to_quality_rate_cohort",
        "lead_to_deal_rate_cohort",
        "leads_with_sale_period",
        "processing_days_avg",
    ),
    by=("lead__manager_name",),
    order=("leads_received desc", "manager_name"),
    totals=True,
    compared=("leads_received", "leads_with_sale_period"),
    stock=("leads_in_work", "leads_forgotten", "leads_without_planned_activity"),
    only="leads_received + leads_received__before + leads_in_work__stock > 0",
)
DEAL_STAGES = Table(
    ("deals_created", "deals_created_amount", "deal_age_days", "deals_forgotten", "deals_overdue"),
    by=(
        (
            "deal__state",
            "deal__pipeline_id",
            "deal__pipeline_name",
            "deal__stage_id",
            "deal__stage_name",
        ),
    ),
    order=(
        "array_position(['in_work', 'sale', 'failed'], state)",
        PIPELINE_PLACE,
        "pipeline_name",
        STAGE_PLACE.format(entity="'deal'"),
        "stage_name",
        "stage_id",
    ),
    totals=True,
)
LEAD_STAGES = Table(
    ("leads_received", "lead_age_days", "leads_forgotten", "leads_without_planned_activity"),
    by=(("lead__outcome", "lead__stage_id", "lead__stage_name"),),
    order=(
        "array_position(['in_work', 'quality', 'junk'], outcome)",
        STAGE_PLACE.format(entity="'lead'"),
        "stage_name",
        "stage_id",
    ),
    totals=True,
)
STAGES = Table(
    (
        "visited",
        "stage_pass_rate",
        "visitors_forwarded",
        "stage_forward_rate",
        "stage_days_avg",
        "stage_days_median",
        "dropped",
        "dropped_amount",
        "dropped_share",
        "moved_out",
    ),
    by=(
        "stage__entity",
        "stage__pipeline_id",
        "stage__pipeline_name",
        "stage__stage_id",
        "stage__stage_name",
    ),
    order=(
        "entity desc",
        PIPELINE_PLACE,
        "pipeline_name",
        "stage_id is null",
        STAGE_PLACE.format(entity="answer.entity"),
        "stage_name",
    ),
)
TRANSITIONS = Table(
    ("transitions",),
    by=(
        "stage__entity",
        "stage__pipeline_id",
        "stage__pipeline_name",
        "stage__stage_id",
        "stage__stage_name",
        "stage__next_stage_id",
        "stage__next_stage_name",
        "stage__next_pipeline_name",
        "stage__is_back_move",
    ),
    order=(
        "entity desc",
        PIPELINE_PLACE,
        "pipeline_name",
        "transitions desc",
        "stage_name",
        "next_stage_name",
        "next_pipeline_name",
    ),
    only="transitions > 0",
)
CLOSING = Table(
    (
        "deals_closed_cohort",
        "sales_cohort",
        "sales_amount_cohort",
        "deals_failed_cohort",
        "deals_closed_period",
        "sales_period",
        "sales_amount_period",
        "deals_failed_period",
    ),
    by=("deal__days_to_close_bin",),
    order=("cast(regexp_extract(days_to_close_bin, '\\d+') as integer)",),
    totals=True,
    where=("{{ Dimension('deal__days_to_close_bin') }} is not null",),
)
ATTENTION = Table(
    (
        "leads_in_work",
        "leads_forgotten",
        "leads_inactive",
        "leads_without_planned_activity",
        "leads_overdue",
        "leads_overdue_amount",
        "deals_in_work",
        "potential_amount",
        "deals_forgotten",
        "deals_forgotten_amount",
        "deals_inactive",
        "deals_without_planned_activity",
        "deals_without_planned_activity_amount",
        "deals_overdue",
        "deals_overdue_amount",
    ),
    by=("manager_name",),
    order=("coalesce(deals_forgotten_amount, 0) desc", "leads_forgotten desc", "manager_name"),
    totals=True,
    in_period=False,
    only="leads_in_work + deals_in_work > 0",
)
COHORT_RATES = tuple(f"lead_to_{step}_rate_cohort" for step in ("quality", "deal", "sale"))
OF_LEADS = (
    "leads_received",
    "leads_junk",
    "leads_new",
    "leads_in_progress",
    "leads_in_work",
    "leads_quality_cohort",
    "lead_to_quality_rate_cohort",
    "leads_with_deal_cohort",
    "lead_to_deal_rate_cohort",
    "leads_with_sale_cohort",
    "lead_to_sale_rate_cohort",
    "sales_amount_of_leads_cohort",
    "revenue_per_lead_cohort",
    "leads_potential_amount",
)
SOURCES = Table(
    (
        *OF_LEADS,
        "leads_with_deal_period",
        "lead_to_deal_rate_period",
        "leads_with_sale_period",
        "lead_to_sale_rate_period",
        "sales_amount_of_leads_period",
        "revenue_per_lead_period",
    ),
    by=("lead__source_name",),
    order=("leads_received desc", "source_name"),
    totals=True,
)
SOURCES_COMPARED = Table(
    (
        "leads_received",
        "leads_with_deal_period",
        "leads_with_sale_period",
        "sales_amount_of_leads_period",
        "revenue_per_lead_period",
    ),
    by=("lead__source_name",),
    order=(
        "coalesce(sales_amount_of_leads_period, 0) desc",
        "leads_received desc",
        "source_name",
    ),
    totals=True,
    # Deals of no lead that counts have no source of a lead.
    only="source_name is not null or is_total",
    compared=(
        "leads_received",
        "leads_with_deal_period",
        "leads_with_sale_period",
        "sales_amount_of_leads_period",
        "revenue_per_lead_period",
    ),
)
UTM = Table(
    OF_LEADS,
    by=(
        "lead__utm_campaign",
        "lead__utm_source",
        "lead__utm_medium",
        "lead__utm_content",
        "lead__utm_term",
    ),
    order=("leads_received desc", "utm_value nulls last"),
    each=True,
)
OF_SPEND = (
    "ad_cost",
    "ad_clicks",
    "leads_received",
    "cost_per_lead",
    "cost_per_quality_lead_cohort",
    "cost_per_quality_lead_period",
    "cost_per_deal_cohort",
    "cost_per_deal_period",
    "cost_per_sale_cohort",
    "cost_per_sale_period",
    "sales_amount_of_ad_leads_cohort",
    "return_on_spend_cohort",
    "cost_share_of_sales_cohort",
    "sales_amount_of_ad_leads_period",
    "return_on_spend_period",
    "cost_share_of_sales_period",
)
SPEND = Table(
    OF_SPEND,
    by=("touch_source",),
    order=("ad_cost desc nulls last", "leads_received desc", "source nulls last"),
    totals=True,
    # Sales of no lead that counts have no source of a lead.
    only="source is not null or is_total",
)
SPEND_MONTHS = Table(
    OF_SPEND, by=("metric_time__month",), order=("month",), totals=True, in_period=False
)
SPEND_UTM = Table(
    OF_SPEND,
    by=(
        "touch_utm_campaign",
        "touch_utm_source",
        "touch_utm_medium",
        "touch_utm_content",
        "touch_utm_term",
    ),
    order=("ad_cost desc nulls last", "leads_received desc", "utm_value nulls last"),
    each=True,
)
SPEND_UNMATCHED = Table(
    ("ad_cost", "ad_clicks"),
    by=(
        (
            "ad_cost__match_kind",
            "touch_utm_source",
            "touch_utm_campaign",
            "ad_cost__source_code",
            "ad_cost__file",
        ),
    ),
    order=("ad_cost desc nulls last", "match_kind", "utm_source", "utm_campaign", "file"),
    totals=True,
    where=("{{ Dimension('ad_cost__matched_source_id') }} is null",),
)
MONEY_BY_SOURCE = Table(
    (
        "deals_created",
        "deals_in_work",
        "potential_amount",
        "deals_failed_cohort",
        "sales_cohort",
        "sales_amount_cohort",
        "sales_period",
        "sales_amount_period",
        "average_sale_period",
        "sale_after_lead_days_median_period",
    ),
    by=(("deal__has_counted_lead", "deal__lead_source_name"),),
    # Deals without a lead that counts stand in rows of their own at the end.
    order=(
        "has_counted_lead desc",
        "sales_amount_period desc nulls last",
        "deals_created desc",
        "lead_source_name",
    ),
    totals=True,
)

# Matrices

LEADS_BY_STAGE_AND_MANAGER = Table(
    ("leads_received",),
    by=(("lead__stage_id", "lead__stage_name"), "lead__manager_name"),
    order=(STAGE_PLACE.format(entity="'lead'"), "stage_name", "manager_name nulls last"),
    totals=True,
)
DAYS_BY_STAGE_AND_MANAGER = Table(
    ("days_on_stage_now",),
    by=(("stage__stage_id", "stage__stage_name"), "lead__manager_name"),
    order=(STAGE_PLACE.format(entity="'lead'"), "stage_name", "manager_name nulls last"),
    totals=True,
    where=("{{ Dimension('stage__entity') }} = 'lead'",),
)
DEALS_BY_STAGE_AND_MANAGER = Table(
    ("deals_created", "deals_created_amount"),
    by=(
        ("deal__pipeline_id", "deal__pipeline_name", "deal__stage_id", "deal__stage_name"),
        "deal__manager_name",
    ),
    order=(
        PIPELINE_PLACE,
        "pipeline_name",
        STAGE_PLACE.format(entity="'deal'"),
        "stage_name",
        "stage_id",
        "manager_name nulls last",
    ),
    totals=True,
)
SOURCE_MONTHS = Table(
    ("leads_potential_amount",),
    by=("lead__source_name", "metric_time__month"),
    # The source with the largest sum first.
    order=(
        "max(leads_potential_amount) filter (where is_row_total) over (partition by source_name)"
        " desc nulls last",
        "source_name",
        "month nulls last",
    ),
    totals=True,
    in_period=False,
)
LEADS_BY_SOURCE = Table(
    ("leads_received",),
    by=("lead__source_name",),
    order=("leads_received desc", "source_name"),
    totals=True,
)
# Of all sources apart: totals over stages too would be the dearest query of a workbook.
PASS_RATE_BY_STAGE = Table(
    ("stage_pass_rate",),
    by=("stage__stage_id", "stage__stage_name"),
    order=(STAGE_PLACE.format(entity="'lead'"), "stage_name"),
    where=(
        "{{ Dimension('stage__entity') }} = 'lead'",
        "{{ Dimension('stage__stage_id') }} is not null",
    ),
)
PASS_RATE_BY_SOURCE_AND_STAGE = replace(
    PASS_RATE_BY_STAGE, by=("lead__source_name", *PASS_RATE_BY_STAGE.by), order=()
)

# What the sums of a workbook leave out, by the currency of the records.
LEFT_OUT = (
    Table(("sales_amount_period_unknown",), by=("deal__currency_code",)),
    Table(("deals_created_amount_unknown",), by=("deal__currency_code",)),
    Table(("potential_amount_unknown",), by=("deal__currency_code",), in_period=False),
    Table(("leads_overdue_amount_unknown",), by=("lead__currency_code",), in_period=False),
)

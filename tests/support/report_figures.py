"""The figures of each page, in SQL over the published marts, and their format.

The conditions name codes, instants and links of the full marts where the pages read flags and days
of their narrow tables; a month begins at midnight in Moscow. Nothing here is the pages' own SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import duckdb

AS_OF = "2026-03-31"
# Preset → its days and those that it is compared with, by hand from 31 March 2026.
PRESETS = {
    "thisMonth": ("2026-03-01", "2026-03-31", "2026-02-01", "2026-02-28"),
    "previousMonth": ("2026-02-01", "2026-02-28", "2026-01-01", "2026-01-28"),
    "quarter": ("2026-01-01", "2026-03-31", "2025-10-01", "2025-12-31"),
    "previousQuarter": ("2025-10-01", "2025-12-31", "2025-07-01", "2025-09-30"),
    "year": ("2026-01-01", "2026-03-31", "2025-01-01", "2025-03-31"),
    "previousYear": ("2025-01-01", "2025-12-31", "2024-01-01", "2024-12-31"),
    "allTime": ("1900-01-01", "2999-12-31", "1900-01-02", "1900-01-01"),
}
# 20 days over the end of a month, and the 20 before.
DAYS = ("2026-02-10", "2026-03-01", "2026-01-21", "2026-02-09")

# User field → the entities that have it.
USER_FIELDS = {"UF_CRM_DIRECTION": ("deal",), "UF_CRM_LANDING": ("lead",)}
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")

LEAD_STATE = (
    "case when outcome <> 'in_work' then outcome when is_new then 'new' else 'in_progress' end"
)


def of_lead(what: str) -> str:
    """SQL of a value of a deal's lead, where that lead counts."""
    return (
        f"(select {what} from marts.fct_leads as lead"
        " where lead.is_counted and lead.lead_id = fct_deals.lead_id)"
    )


def quoted(values: Sequence[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


class Filters(NamedTuple):
    """The filters of a page.

    columns: filter → what it narrows of leads and of deals (None: nothing); tables: names that the
    figures have for both, and what they select from; fields: whose user fields narrow each;
    apart: filter → what it narrows of a figure that names it as {filter}.
    """

    columns: Mapping[str, tuple[str | None, str | None]]
    fields: tuple[str | None, str | None] = ("lead", "deal")
    tables: Mapping[str, str] = {
        "leads": "marts.fct_leads where is_counted",
        "deals": "marts.fct_deals where is_counted",
    }
    apart: Mapping[str, str] = {"pipeline": "pipeline_name"}

    def condition(self, chosen: Mapping[str, Sequence[str]], table: int) -> str:
        """The SQL condition that the chosen values put on the first or second table.

        '' is not a value.
        """
        parts = ["true"]
        for key, values in chosen.items():
            if key in USER_FIELDS:
                entity = self.fields[table]
                if entity in USER_FIELDS[key]:
                    filled = (
                        "select item_id from marts.fct_user_field_values"
                        f" where entity = '{entity}' and field_name = '{key}'"
                    )
                    among = f"{entity}_id in ({filled} and field_value in ({quoted(values)}))"
                    none = f"{entity}_id not in ({filled})" if "" in values else "false"
                    parts.append(f"({among} or {none})")
            elif what := self.columns[key][table]:
                parts.append(f"coalesce({what}, '') in ({quoted(values)})")
        return " and ".join(parts)

    @property
    def user_fields(self) -> set[str]:
        """The user fields that narrow something."""
        return {name for name, having in USER_FIELDS.items() if set(self.fields) & set(having)}


SALES = Filters(
    {
        "pipeline": (None, "pipeline_name"),
        "manager": ("manager_name", "manager_name"),
        "source": ("source_name", "source_name"),
        "city": ("city", "city"),
        "deal_stage": (None, "pipeline_name || ' / ' || stage_name"),
        "state": (None, "state"),
        "lead_stage": ("stage_name", None),
        "lead_state": (LEAD_STATE, None),
        **{name: (name, name) for name in UTM},
    }
)
MARKETING = Filters(
    {
        "source": ("source_name", "lead_source_name"),
        "manager": ("manager_name", "lead_manager_name"),
        "city": ("city", "lead_city"),
        "lead_stage": ("stage_name", of_lead("stage_name")),
        "lead_state": (LEAD_STATE, of_lead(LEAD_STATE)),
        **{name: (name, f"lead_{name}") for name in UTM},
    },
    fields=("lead", "lead"),
)
LEAD_OF_DEAL: dict[str, tuple[str | None, str | None]] = {
    "lead_source": ("source_name", "lead_source_name"),
    **{f"lead_{name}": (name, f"lead_{name}") for name in UTM},
}
MONEY = Filters(
    {**{key: SALES.columns[key] for key in ("pipeline", "manager", "city")}, **LEAD_OF_DEAL}
)
LEAD_LIST = Filters({key: of for key, of in SALES.columns.items() if of[0]}, fields=("lead", None))
DEAL_LIST = Filters(
    {**{key: of for key, of in SALES.columns.items() if of[1]}, **LEAD_OF_DEAL},
    fields=(None, "deal"),
)
QUALITY_PAGE = Filters(
    {
        "kind": ("kind", None),
        "severity": ("severity", None),
        "entity": ("entity", "entity"),
        "manager": ("manager_name", "manager_name"),
        "reversal": (None, "kind"),
    },
    fields=(None, None),
    tables={"issues": "quality.issues where true", "reversals": "marts.fct_reversals where true"},
)
BRIDGE = Filters(
    {
        "pipeline": (None, None),
        "manager": ("manager_name", "manager_name"),
        "source": ("source_name", "source_name"),
        "line": (None, None),
        "success_line": (None, None),
    },
    fields=(None, None),
    tables={
        "leads": "marts.fct_leads where is_counted",
        "portal": "marts.fct_portal_bridge where entity = 'lead'",
    },
    apart={"line": "line", "success_line": "success_line"},
)


@dataclass(frozen=True)
class State:
    """A choice of the filters: first and last day, those to compare with, values by filter."""

    days: tuple[str, str, str, str] = PRESETS["thisMonth"]
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Figure(NamedTuple):
    """How a figure is written, and the SQL of its value.

    {start} and {end} stand for the days, {pipeline} for the condition that the filter of pipelines
    puts on deals. `records`: the figure is the number of the records that it opens.
    """

    format: str
    sql: str
    records: bool = False


def moscow(instant: str) -> str:
    return f"cast({instant} at time zone 'Europe/Moscow' as date)"


def within(table: str, what: str, where: str, at: str | None) -> str:
    days = f" and {moscow(at)} between '{{start}}' and '{{end}}'" if at else ""
    return f"(select {what} from {table} where {where}{days})"


def leads(where: str = "true", at: str | None = "created_at", what: str = "count(*)") -> str:
    """SQL of an aggregate of the leads whose instant is in the period (None: at any time)."""
    return within("leads", what, where, at)


def deals(where: str = "true", at: str | None = "created_at", what: str = "count(*)") -> str:
    """SQL of an aggregate of the deals whose instant is in the period (None: at any time)."""
    return within("deals", what, where, at)


def count(sql: str) -> Figure:
    return Figure("count", sql, records=True)


def plain(sql: str) -> Figure:
    return Figure("count", sql)


def amount(sql: str) -> Figure:
    return Figure("money", f"coalesce({sql}, 0)")


def ratio(part: str, whole: str, format: str = "percent") -> Figure:
    return Figure(format, f"cast({part} as double) / nullif({whole}, 0)")


SALE, FAILED, OPEN = "state = 'sale'", "state = 'failed'", "state = 'in_work'"
QUALITY, JUNK, IN_WORK = "outcome = 'quality'", "outcome = 'junk'", "outcome = 'in_work'"
FIRST_STAGE = "(select stage_id from marts.dim_stages where is_first and entity = 'lead')"
NEW = f"{IN_WORK} and stage_id = {FIRST_STAGE}"
NEW_CUSTOMER, REPEAT = f"{SALE} and customer_kind = 'new'", f"{SALE} and customer_kind = 'repeat'"
SUM = "sum(base_amount)"
# Days of 24 hours without activity, as in dbt_project.yml.
AS_OF_AT = "timestamptz '2026-03-31 20:00:00+03'"
IDLE = f"date_diff('second', coalesce(last_activity_at, created_at), {AS_OF_AT}) >= 86400 *"
LEAD_FORGOTTEN, DEAL_FORGOTTEN = f"{IN_WORK} and {IDLE} 3", f"{OPEN} and {IDLE} 14"
UNPLANNED = "not has_planned_activity"
COUNTED_LEAD = "coalesce(lead_id in (select lead_id from marts.fct_leads where is_counted), false)"
WITH_DEAL = "lead_id in (select lead_id from marts.fct_deals where is_counted)"
WITH_SALE = f"lead_id in (select lead_id from marts.fct_deals where is_counted and {SALE})"


def days(aggregate: str, start: str, end: str) -> str:
    return f"{aggregate}(date_diff('second', {start}, {end}) / 86400.0)"


def amount_of_leads(where: str) -> str:
    """SQL of the sum of the deals of the leads created in the period: null where there are none."""
    of_lead = (
        f"(select {SUM} from marts.fct_deals"
        f" where is_counted and {where} and fct_deals.lead_id = leads.lead_id)"
    )
    return leads(what=f"sum(coalesce({of_lead}, 0))")


def first_sale(pipeline: str = "true") -> str:
    """SQL of the number of leads with their first sale in the period."""
    return f"""(
        select count(*) from (
            select min(sold_at) as first_sold_at from marts.fct_deals
            where is_counted and {SALE} and {pipeline}
                and lead_id in (select lead_id from leads)
            group by lead_id
        ) where {moscow("first_sold_at")} between '{{start}}' and '{{end}}'
    )"""


def sold_in_pipeline(where: str) -> str:
    """SQL of the number of leads created in the period with a sale in the chosen pipelines."""
    return leads(
        "lead_id in (select lead_id from marts.fct_deals"
        f" where is_counted and {SALE} and {{pipeline}}) and {where}"
    )


def customers(at: str) -> dict[str, Figure]:
    """Sales of deals created or sold in the period, to customers of each kind."""
    return {
        "sales": count(deals(SALE, at)),
        "sales_amount": amount(deals(SALE, at, SUM)),
        "average_sale": ratio(deals(SALE, at, SUM), deals(SALE, at), "money"),
        "sales_new": count(deals(NEW_CUSTOMER, at)),
        "sales_new_amount": amount(deals(NEW_CUSTOMER, at, SUM)),
        "sales_repeat": count(deals(REPEAT, at)),
        "sales_repeat_amount": amount(deals(REPEAT, at, SUM)),
    }


def rates(**counts: str) -> dict[str, Figure]:
    """The rows of a table of conversions: count and share of the leads received."""
    found = {}
    for name, sql in counts.items():
        found |= {name: plain(sql), f"{name}_rate": ratio(sql, leads())}
    return found


def in_portal(where: str) -> str:
    """SQL of the number of leads that the portal counts in a period: active in it, none deleted."""
    return f"(select count(*) from portal where {ACTIVE} and {where})"


CLOSED = "portal_closed_date between '{start}' and '{end}'"
ACTIVE = (
    "(bridge_kind not in ('template', 'deleted') and created_date <= '{end}'"
    " and coalesce(portal_closed_date, '2999-12-31') >= '{start}')"
)
CREATED = "created_date between '{start}' and '{end}'"
BRIDGE_LIST = f"""(
    select count(*) from (
        select case
            when bridge_kind <> 'counted' then bridge_kind
            when {CREATED} then 'ours' else 'backlog'
        end as line
        from portal where {ACTIVE} or (bridge_kind in ('template', 'deleted') and {CREATED})
    ) where {{line}}
)"""
# Leads that became quality here or were closed with success there, within the period.
SUCCESS_LIST = f"""(
    select count(*) from (
        select 'ours' as success_line from leads
        where {moscow("quality_at")} between '{{start}}' and '{{end}}'
        union all
        select 'ours_only' from leads
        where {moscow("quality_at")} between '{{start}}' and '{{end}}' and lead_id not in (
            select item_id from portal where portal_state = 'success' and {CLOSED}
        )
        union all
        select if(bridge_kind = 'counted', 'portal_only', bridge_kind) from portal
        where bridge_kind not in ('template', 'deleted') and portal_state = 'success' and {CLOSED}
            and item_id not in (
                select lead_id from leads
                where {moscow("quality_at")} between '{{start}}' and '{{end}}'
            )
    ) where {{success_line}}
)"""


def within_block(block: str, figures: Mapping[str, Figure]) -> dict[str, Figure]:
    return {f"{block}/{column}": figure for column, figure in figures.items()}


OF_SOURCE = {
    "received": plain(leads()),
    "junk": plain(leads(JUNK)),
    "new": plain(leads(NEW)),
    "in_work": plain(leads(IN_WORK)),
    "quality": plain(leads(QUALITY)),
    "quality_rate": ratio(leads(QUALITY), leads()),
    "deal_rate": ratio(leads(WITH_DEAL), leads()),
    "sale_rate": ratio(leads(WITH_SALE), leads()),
    "with_deal": plain(leads(WITH_DEAL)),
    "with_sale": plain(leads(WITH_SALE)),
    "sales_amount": Figure("amount", amount_of_leads(SALE)),
    "revenue_per_lead": ratio(amount_of_leads(SALE), leads(), "amount"),
    "potential_amount": Figure("amount", amount_of_leads(OPEN)),
}
SOLD_WITH_LEAD = f"{SALE} and {COUNTED_LEAD}"
TO_SALE_DAYS = ("lead_created_at", "sold_at")
SOLD_OF_SOURCE = {
    "sales": plain(deals(SALE, "sold_at")),
    "amount": Figure("amount", deals(SALE, "sold_at", SUM)),
    "average_sale": ratio(deals(SALE, "sold_at", SUM), deals(SALE, "sold_at"), "amount"),
    "days_median": Figure(
        "decimal", deals(SOLD_WITH_LEAD, "sold_at", days("median", *TO_SALE_DAYS))
    ),
}
FORGOTTEN_OF_MANAGER = {
    "leads": plain(leads(LEAD_FORGOTTEN, None)),
    "leads_unplanned": plain(leads(f"{LEAD_FORGOTTEN} and {UNPLANNED}", None)),
    "deals": plain(deals(DEAL_FORGOTTEN, None)),
    "deals_unplanned": plain(deals(f"{DEAL_FORGOTTEN} and {UNPLANNED}", None)),
    "deals_amount": Figure("amount", f"coalesce({deals(DEAL_FORGOTTEN, None, SUM)}, 0)"),
    "leads_without_activity": plain(leads(f"{IN_WORK} and {UNPLANNED}", None)),
    "deals_without_activity": plain(deals(f"{OPEN} and {UNPLANNED}", None)),
}


def forgotten(of: Callable[..., str], in_work: str, late: str, money: str) -> dict[str, Figure]:
    return {
        "forgotten": count(of(late, None)),
        "amount": amount(of(late, None, f"sum({money})")),
        "unplanned": count(of(f"{late} and {UNPLANNED}", None)),
        "planned": count(of(f"{late} and not {UNPLANNED}", None)),
        "without_activity": count(of(f"{in_work} and {UNPLANNED}", None)),
    }


# Page → its filters, and its figures by block/column. Funnels and tables of conversions are called
# funnel and conversions, the count of a list <list>_count/records, whatever block they stand in.
FIGURES: dict[str, tuple[Filters, dict[str, Figure]]] = {
    "/": (
        SALES,
        {
            "leads/received": count(leads()),
            "leads/quality": count(leads(QUALITY)),
            "leads/quality_rate": ratio(leads(QUALITY), leads()),
            "leads/junk": count(leads(JUNK)),
            "leads/revenue_per_lead": ratio(amount_of_leads(SALE), leads(), "money"),
            "sold/sales": count(deals(SALE, "sold_at")),
            "sold/sales_amount": amount(deals(SALE, "sold_at", SUM)),
            "sold/average_sale": ratio(
                deals(SALE, "sold_at", SUM), deals(SALE, "sold_at"), "money"
            ),
            "stock/in_work": count(deals(OPEN, None)),
            "stock/potential_amount": amount(deals(OPEN, None, SUM)),
            "stock/forgotten_leads": count(leads(LEAD_FORGOTTEN, None)),
            "stock/forgotten": count(deals(DEAL_FORGOTTEN, None)),
            "stock/forgotten_amount": amount(deals(DEAL_FORGOTTEN, None, SUM)),
        },
    ),
    "/sales/": (
        SALES,
        {
            **within_block(
                "lead_figures",
                {
                    "received": count(leads()),
                    "junk": count(leads(JUNK)),
                    "quality": count(leads(QUALITY)),
                    "quality_rate": ratio(leads(QUALITY), leads()),
                    "processing_days": Figure(
                        "days",
                        leads(
                            f"({QUALITY} or {JUNK})",
                            what=days("avg", "created_at", "outcome_at"),
                        ),
                    ),
                    "in_work": count(leads(IN_WORK)),
                    "forgotten": count(leads(LEAD_FORGOTTEN)),
                    "without_activity": count(leads(f"{IN_WORK} and {UNPLANNED}")),
                },
            ),
            **within_block(
                "deal_figures",
                {
                    "created": count(deals()),
                    "in_work": count(deals(OPEN)),
                    "failed": count(deals(FAILED)),
                    "forgotten": count(deals(DEAL_FORGOTTEN)),
                    "without_activity": count(deals(f"{OPEN} and {UNPLANNED}")),
                    **customers("created_at"),
                },
            ),
            **within_block("sold_figures", customers("sold_at")),
            "funnel/received": plain(leads()),
            "funnel/quality_cohort": plain(leads(QUALITY)),
            "funnel/quality_with_sale": plain(sold_in_pipeline(QUALITY)),
            "funnel/sale_not_quality": plain(sold_in_pipeline(f"not {QUALITY}")),
            **within_block(
                "conversions",
                rates(
                    quality_cohort=leads(QUALITY),
                    quality_period=leads(QUALITY, "quality_at"),
                    sale_cohort=sold_in_pipeline("true"),
                    sale_period=first_sale("{pipeline}"),
                ),
            ),
            "closing/days_average": Figure(
                "days",
                deals(
                    f"({SALE} or {FAILED})",
                    what=days("avg", "created_at", "coalesce(sold_at, failed_at)"),
                ),
            ),
            "closing/days_median": Figure(
                "days",
                deals(
                    f"({SALE} or {FAILED})",
                    what=days("median", "created_at", "coalesce(sold_at, failed_at)"),
                ),
            ),
            "without_activity/leads": count(leads(f"{IN_WORK} and {UNPLANNED}", None)),
            "without_activity/deals": count(deals(f"{OPEN} and {UNPLANNED}", None)),
            "without_activity/amount": amount(deals(f"{OPEN} and {UNPLANNED}", None, SUM)),
            "deal_list_count/records": plain(deals(OPEN, None)),
        },
    ),
    "/marketing/": (
        MARKETING,
        {
            "figures/received": count(leads()),
            "figures/quality": count(leads(QUALITY)),
            "figures/quality_rate": ratio(leads(QUALITY), leads()),
            "figures/with_sale": count(leads(WITH_SALE)),
            "figures/sales_amount": amount(amount_of_leads(SALE)),
            "figures/revenue_per_lead": ratio(amount_of_leads(SALE), leads(), "money"),
            "figures/forgotten": count(leads(LEAD_FORGOTTEN)),
            "funnel/received": plain(leads()),
            "funnel/quality_cohort": plain(leads(QUALITY)),
            "funnel/quality_with_deal": plain(leads(f"{QUALITY} and {WITH_DEAL}")),
            "funnel/quality_with_sale": plain(leads(f"{QUALITY} and {WITH_SALE}")),
            **within_block(
                "conversions",
                rates(
                    quality_cohort=leads(QUALITY),
                    quality_period=leads(QUALITY, "quality_at"),
                    deal_cohort=leads(WITH_DEAL),
                    deal_period=leads("true", "first_deal_at"),
                    sale_cohort=leads(WITH_SALE),
                    sale_period=first_sale(),
                ),
            ),
            "lead_list_count/records": plain(leads(IN_WORK, None)),
        },
    ),
    "/money/": (
        MONEY,
        {
            "sold/sales": count(deals(SALE, "sold_at")),
            "sold/sales_amount": amount(deals(SALE, "sold_at", SUM)),
            "sold/with_lead": count(deals(SOLD_WITH_LEAD, "sold_at")),
            "sold/with_lead_amount": amount(deals(SOLD_WITH_LEAD, "sold_at", SUM)),
            "sold/without_lead": count(deals(f"{SALE} and not {COUNTED_LEAD}", "sold_at")),
            "sold/without_lead_amount": amount(
                deals(f"{SALE} and not {COUNTED_LEAD}", "sold_at", SUM)
            ),
            "sold/days_median": Figure(
                "days", deals(SOLD_WITH_LEAD, "sold_at", days("median", *TO_SALE_DAYS))
            ),
            "sold/days_average": Figure(
                "days", deals(SOLD_WITH_LEAD, "sold_at", days("avg", *TO_SALE_DAYS))
            ),
            "sales_list_count/records": plain(deals(SALE, "sold_at")),
        },
    ),
    "/forgotten/": (
        SALES,
        {
            **within_block("deals", forgotten(deals, OPEN, DEAL_FORGOTTEN, "base_amount")),
            **within_block(
                "leads", forgotten(leads, IN_WORK, LEAD_FORGOTTEN, "opportunity_amount")
            ),
            "lead_list_count/records": plain(leads(LEAD_FORGOTTEN, None)),
            "deal_list_count/records": plain(deals(DEAL_FORGOTTEN, None)),
        },
    ),
    "/quality/": (
        QUALITY_PAGE,
        {
            "verdict/rows_not_loaded": plain(
                "(select sum(abs(rows_missing) + rows_unread) from quality.load_completeness)"
            ),
            "verdict/checks_passed": plain(
                "(select count(*) from quality.check_results where passed)"
            ),
            "verdict/errors": plain(
                "(select count(distinct (entity, record_key)) from quality.issues"
                " where severity = 'error')"
            ),
            "verdict/errors_amount": Figure(
                "money",
                f"""(select coalesce({SUM}, 0) from (
                    select any_value(base_amount) as base_amount from quality.issues
                    where severity = 'error' and base_amount is not null
                    group by entity, record_key
                ))""",
            ),
            "verdict/warnings": plain(
                "(select count(distinct (entity, record_key)) from quality.issues"
                " where severity = 'warning')"
            ),
            "issue_list_count/records": plain("(select count(*) from issues)"),
            "reversal_list_count/records": plain("(select count(*) from reversals)"),
        },
    ),
    "/bridge/": (
        BRIDGE,
        {
            "conversions/cohort_rate": ratio(leads(QUALITY), leads()),
            "conversions/period_rate": ratio(leads(QUALITY, "quality_at"), leads()),
            "conversions/portal_rate": ratio(
                in_portal(f"portal_state = 'success' and {CLOSED}"), in_portal("true")
            ),
            "bridge_list_count/records": plain(BRIDGE_LIST),
            "bridge_success_list_count/records": plain(SUCCESS_LIST),
        },
    ),
    "/leads/": (LEAD_LIST, {"lead_list_count/records": plain(leads())}),
    "/deals/": (DEAL_LIST, {"deal_list_count/records": plain(deals())}),
}
WITHOUT_PERIOD = {"/forgotten/", "/quality/"}
# Shown only where it is not zero.
NOT_ZERO = {"funnel/sale_not_quality"}


class Rows(NamedTuple):
    """A table with a row per value of a filter, which is what the filter leaves of the total."""

    filter: str
    key: str
    totals: str
    columns: Mapping[str, Figure]


# Page → table (and query of its rows) → what its rows and its total are.
TABLES: dict[str, dict[str, Rows]] = {
    "/marketing/": {
        "sources": Rows("source", "source_name", "source_totals", OF_SOURCE),
        "utm": Rows("utm_campaign", "label", "source_totals", OF_SOURCE),
    },
    "/money/": {
        "by_source": Rows("lead_source", "lead_source_name", "by_source_total", SOLD_OF_SOURCE)
    },
    "/forgotten/": {
        "by_manager": Rows("manager", "manager_name", "by_manager_total", FORGOTTEN_OF_MANAGER)
    },
}


def values(
    database: duckdb.DuckDBPyConnection,
    filters: Filters,
    figures: Mapping[str, Figure],
    state: State,
    compared: bool = False,
) -> dict[str, Any]:
    """The figures in a state of the filters, or those of the period before."""
    start, end = state.days[2:] if compared else state.days[:2]
    apart = {
        key: f"{what} in ({quoted(state.chosen[key])})" if key in state.chosen else "true"
        for key, what in filters.apart.items()
    }
    columns = ",\n".join(
        f'{figure.sql.format(start=start, end=end, **apart)} as "{name}"'
        for name, figure in figures.items()
    )
    tables = ", ".join(
        f"{name} as (from {source} and {filters.condition(state.chosen, table)})"
        for table, (name, source) in enumerate(filters.tables.items())
    )
    result = database.execute(f"with {tables} select {columns}")
    names = [column[0] for column in result.description]
    return dict(zip(names, result.fetchall()[0], strict=True))


SPACES = {0x202F: " ", 0xA0: " "}


def rounded(value: float | Decimal, digits: int) -> Decimal:
    unit = Decimal(1).scaleb(-digits)
    return Decimal(repr(value) if isinstance(value, float) else value).quantize(unit, ROUND_HALF_UP)


def grouped(value: Decimal) -> str:
    return f"{value:,}".replace(",", " ").replace(".", ",").replace("-", "−")


def written(value: Any, format: str) -> str:
    """A figure as a Russian page shows it, thin spaces as plain ones; a dash where it is null."""
    if value is None:
        return "—"
    if format in ("count", "amount"):
        return grouped(rounded(value, 0))
    if format == "percent":
        return grouped(rounded(float(value) * 100, 2 if 0 < abs(value) < 0.1 else 1)) + " %"
    if format in ("days", "decimal"):
        return grouped(rounded(value, 1)) + (" дн." if format == "days" else "")
    for unit, size in (("млрд", 10**9), ("млн", 10**6)):
        if abs(value) >= size:
            number = Decimal(repr(float(value))) / size
            digits = 2 - number.adjusted()
            text = grouped(rounded(number, max(digits, 0)))
            text = re.sub(r",?0+$", "", text) if "," in text else text
            return f"{text} {unit} ₽"
    return grouped(rounded(value, 0)) + " ₽"

"""What the figures of each page are, in SQL over the published marts, and how they are written.

The conditions name codes, instants and links of the full marts where the pages read flags and days
of their narrow tables; a month begins at midnight in Moscow. Nothing here is the pages' own SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import duckdb

AS_OF = "2026-03-31"
# Preset → its days and those that it is compared with, by hand from 31 March 2026.
PRESETS = {
    "thisMonth": ("2026-03-01", "2026-03-31", "2026-02-01", "2026-02-28"),
    "previousMonth": ("2026-02-01", "2026-02-28", "2026-01-01", "2026-01-31"),
    "quarter": ("2026-01-01", "2026-03-31", "2025-10-01", "2025-12-31"),
    "previousQuarter": ("2025-10-01", "2025-12-31", "2025-07-01", "2025-09-30"),
    "year": ("2026-01-01", "2026-03-31", "2025-01-01", "2025-03-31"),
    "previousYear": ("2025-01-01", "2025-12-31", "2024-01-01", "2024-12-31"),
    "allTime": ("1900-01-01", "2999-12-31", "1900-01-02", "1900-01-01"),
}
# 20 days over the end of a month, and the 20 before.
DAYS = ("2026-02-10", "2026-03-01", "2026-01-21", "2026-02-09")

UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")

# Filter → the column of leads and that of deals which it narrows (None: it does not).
Filters = Mapping[str, tuple[str | None, str | None]]
SALES: Filters = {
    "pipeline": (None, "pipeline_name"),
    "manager": ("manager_name", "manager_name"),
    "source": ("source_name", "source_name"),
    "city": ("city", "city"),
    "deal_stage": (None, "stage_name"),
    "state": (None, "state"),
    "lead_stage": ("stage_name", None),
    **{name: (name, name) for name in UTM},
}
MARKETING: Filters = {
    "source": ("source_name", "lead_source_name"),
    "manager": ("manager_name", "lead_manager_name"),
    "city": ("city", "lead_city"),
    "lead_stage": ("stage_name", None),
    **{name: (name, f"lead_{name}") for name in UTM},
}
# User field → the entities that have it.
USER_FIELDS = {"UF_CRM_DIRECTION": ("deal",), "UF_CRM_LANDING": ("lead",)}


@dataclass(frozen=True)
class State:
    """A choice of the filters: first and last day, those to compare with, values by filter."""

    days: tuple[str, str, str, str] = PRESETS["thisMonth"]
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)


def quoted(values: Sequence[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def condition(filters: Filters, chosen: Mapping[str, Sequence[str]], entity: str) -> str:
    """The SQL condition that the chosen values put on the leads or deals; '' is no value."""
    parts = ["true"]
    for key, values in chosen.items():
        if key in USER_FIELDS:
            if entity in USER_FIELDS[key]:
                parts.append(
                    f"{entity}_id in (select item_id from marts.fct_user_field_values where"
                    f" entity = '{entity}' and field_name = '{key}'"
                    f" and field_value in ({quoted(values)}))"
                )
        elif column := filters[key][entity == "deal"]:
            parts.append(f"coalesce({column}, '') in ({quoted(values)})")
    return " and ".join(parts)


class Figure(NamedTuple):
    """How a figure is written, and the SQL of its value with the days as {start} and {end}."""

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


def amount(sql: str) -> Figure:
    return Figure("money", f"coalesce({sql}, 0)")


def ratio(part: str, whole: str, format: str = "percent") -> Figure:
    return Figure(format, f"cast({part} as double) / nullif({whole}, 0)")


SALE, FAILED, OPEN = "state = 'sale'", "state = 'failed'", "state = 'in_work'"
QUALITY, JUNK, IN_WORK = "outcome = 'quality'", "outcome = 'junk'", "outcome = 'in_work'"
SUM = "sum(base_amount)"
# Days of 24 hours without activity, as in dbt_project.yml.
AS_OF_AT = "timestamptz '2026-03-31 20:00:00+03'"
IDLE = f"date_diff('second', coalesce(last_activity_at, created_at), {AS_OF_AT}) >= 86400 *"
LEAD_FORGOTTEN, DEAL_FORGOTTEN = f"{IN_WORK} and {IDLE} 3", f"{OPEN} and {IDLE} 14"

SALES_OF_LEADS = (
    f"(select {SUM} from marts.fct_deals where is_counted and {SALE} and lead_id in"
    f" (select lead_id from leads where {moscow('created_at')} between '{{start}}' and '{{end}}'))"
)

# Page → its filters and its figures by block/column.
FIGURES: dict[str, tuple[Filters, dict[str, Figure]]] = {
    "/": (
        SALES,
        {
            "leads/received": count(leads()),
            "leads/quality": count(leads(QUALITY)),
            "leads/quality_rate": ratio(leads(QUALITY), leads()),
            "leads/junk": count(leads(JUNK)),
            "leads/revenue_per_lead": ratio(
                f"coalesce({SALES_OF_LEADS}, 0)", leads(), format="money"
            ),
            "sold/sales": count(deals(SALE, "sold_at")),
            "sold/sales_amount": amount(deals(SALE, "sold_at", SUM)),
            "sold/average_sale": ratio(
                deals(SALE, "sold_at", SUM), deals(SALE, "sold_at"), format="money"
            ),
            "stock/in_work": count(deals(OPEN, None)),
            "stock/potential_amount": amount(deals(OPEN, None, SUM)),
            "stock/forgotten_leads": count(leads(LEAD_FORGOTTEN, None)),
            "stock/forgotten": count(deals(DEAL_FORGOTTEN, None)),
            "stock/forgotten_amount": amount(deals(DEAL_FORGOTTEN, None, SUM)),
        },
    ),
}


def values(
    database: duckdb.DuckDBPyConnection, page: str, state: State, compared: bool = False
) -> dict[str, Any]:
    """The figures of a page in a state of its filters, or those of the period before."""
    filters, figures = FIGURES[page]
    start, end = state.days[2:] if compared else state.days[:2]
    columns = ",\n".join(
        f'{figure.sql.format(start=start, end=end)} as "{name}"' for name, figure in figures.items()
    )
    result = database.execute(
        f"""
        with leads as (
            from marts.fct_leads where is_counted and {condition(filters, state.chosen, "lead")}
        ),
        deals as (
            from marts.fct_deals where is_counted and {condition(filters, state.chosen, "deal")}
        )
        select {columns}
        """
    )
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
    if format == "count":
        return grouped(rounded(value, 0))
    if format == "percent":
        return grouped(rounded(float(value) * 100, 2 if 0 < abs(value) < 0.01 else 1)) + " %"
    if format == "days":
        return grouped(rounded(value, 1)) + " дн."
    for unit, size in (("млрд", 10**9), ("млн", 10**6)):
        if abs(value) >= size:
            number = Decimal(repr(float(value))) / size
            digits = 2 - number.adjusted()
            text = grouped(rounded(number, max(digits, 0)))
            text = re.sub(r",?0+$", "", text) if "," in text else text
            return f"{text} {unit} ₽"
    return grouped(rounded(value, 0)) + " ₽"

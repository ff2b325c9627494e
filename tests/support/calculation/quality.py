"""Why a report may look wrong: counts of the records to fix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from tests.support.calculation.metrics import Facts
from tests.support.calculation.portal import Row, link, system_time
from tests.support.calculation.reference import Rates

# Names that say "closed successfully", in the portal's two usual languages, without a "not".
SUCCESS_NAME = re.compile(
    r"(?<!не )(?<!без )(?<!not )"
    r"(?<![a-zа-яё])(успех|успешн|выигран|оплачен|продан|success|(won|paid)(?![a-zа-яё]))",
    re.I,
)

# The portal writes the first row of the history a moment after its item.
FIRST_HISTORY = timedelta(minutes=1)

# A day is an import where it has at least this many records and this many times the median of
# the days that have any.
IMPORT_RECORDS = 20
IMPORT_TIMES_MEDIAN = 10

SCHEMA: dict[str, Any] = {
    "check": pl.String,
    "entity": pl.String,
    "detail": pl.String,
    "records": pl.Int64,
    "amount": pl.Decimal(38, 2),
}


def data_quality(facts: Facts) -> pl.DataFrame:
    """One row per check and detail (stage, day): check, entity, detail, records, amount.

    Records that the metrics leave out (legacy, pipelines that are not sales) are left out here
    too, except for stages named like a success and for days of imports: those explain them.
    """
    found = pl.concat(
        [
            *(pl.DataFrame([row], schema=SCHEMA, orient="row") for row in _counts(facts)),
            _success_stages(facts),
            _import_days(facts),
        ]
    )
    return found.sort("check", "entity", "detail", nulls_last=False)


Count = tuple[str, str, str | None, int, object]


def _counts(facts: Facts) -> Iterable[Count]:
    leads, deals = facts.leads.filter("counts"), facts.deals.filter("counts")
    sales = deals.filter("is_sale")

    def count(check: str, entity: str, rows: pl.DataFrame, amount: str | None = None) -> Count:
        total = rows[amount].sum() if amount else None
        return check, entity, None, rows.height, total

    zone = ZoneInfo(facts.settings.portal_timezone)
    rates = Rates(facts.portal, facts.as_of)
    source = pl.col("sold_at_source")
    no_lead = pl.col("lead_link") == "none"
    yield count("sale_without_amount", "deal", sales.filter(pl.col("amount").fill_null(0) == 0))
    yield count("sale_without_lead", "deal", sales.filter(no_lead), "base_amount")
    yield count("deal_without_lead", "deal", deals.filter(no_lead), "base_amount")
    gone = deals.filter(pl.col("lead_link") == "deleted")
    yield count("deal_with_deleted_lead", "deal", gone, "base_amount")
    # Imports are counted as such.
    fallbacks = sales.filter(source.is_in(FALLBACKS) & pl.col("import_evidence").is_null())
    yield count("sale_date_fallback", "deal", fallbacks)
    # What was moved after `as_of` gets its row of history with the next refresh.
    moved_later = [
        int(row["id"])
        for row in facts.portal.deals
        if (moved := system_time(row.get("movedTime"), zone, facts.as_of)) and moved > facts.as_of
    ]
    undated = pl.col("sold_at").is_null() & ~pl.col("deal_id").is_in(moved_later)
    yield count("sale_without_date", "deal", sales.filter(undated))
    lead_dates = facts.leads.select("lead_id", lead_created_at="created_at")
    early = sales.join(lead_dates, on="lead_id").filter(
        pl.col("sold_at") < pl.col("lead_created_at")
    )
    yield count("sale_before_lead", "deal", early)
    yield count("repeat_flag_disagrees", "deal", deals.filter("is_repeat_flag_different"))
    yield count("reversal", "deal", deals.filter("is_reversal"))
    yield count(
        "sale_not_quality", "lead", leads.filter(pl.col("has_sale") & ~pl.col("is_quality"))
    )
    linked = _linked_leads(facts)
    yield count(
        "quality_with_nothing_linked",
        "lead",
        leads.filter(
            pl.col("is_quality")
            & ~pl.col("lead_id").is_in(linked)
            & pl.col("company_id").is_null()
            & (pl.col("contact_ids").list.len() == 0)
        ),
    )
    for entity, items, own, base in (
        ("lead", leads, "opportunity", "opportunity_amount"),
        ("deal", deals, "amount", "base_amount"),
    ):
        unknown = items.filter(~pl.col("is_known_stage"))
        yield count("unknown_stage", entity, unknown)
        yield count("unknown_semantics", entity, unknown.filter(~pl.col("has_own_semantics")))
        yield count(
            "held_by_dismissed",
            entity,
            items.filter(pl.col("is_in_work") & pl.col("is_manager_dismissed")),
        )
        unknown_amounts = items.filter((pl.col(own).fill_null(0) != 0) & pl.col(base).is_null())
        has_rate = [
            bool(rates.at(code, None) if is_sale else rates.latest(code))
            for code, is_sale in unknown_amounts.select(
                "currency_code", pl.col("is_sale") if entity == "deal" else pl.lit(False)
            ).iter_rows()
        ]
        too_large = pl.Series(has_rate, dtype=pl.Boolean)
        yield count("amount_without_rate", entity, unknown_amounts.filter(~too_large))
        yield count("amount_too_large", entity, unknown_amounts.filter(too_large))
        evidence = pl.col("import_evidence")
        begun = items.filter(evidence.is_not_null())
        yield count("imported_history", entity, begun.filter(evidence != "close_date"))
        yield count("probably_imported", entity, begun.filter(evidence == "close_date"))
        visits = facts.stage_visits.filter((pl.col("entity") == entity) & pl.col("counts"))
        yield count("negative_stage_days", entity, visits.filter(pl.col("days") < 0))
        unknown_stages = visits.filter(~pl.col("is_known_stage")).unique("stage_id")
        yield count("unknown_stage_in_history", entity, unknown_stages)
        yield _history_start(facts, entity)
        rows = {"lead": facts.portal.leads, "deal": facts.portal.deals}[entity]
        yield "rows_loaded", entity, None, len(rows), None


FALLBACKS = ["moved_time", "close_date"]


def offset_differs(facts: Facts, gone: Iterable[Row] = ()) -> bool:
    """Whether the portal wrote a creation time with another offset than the time zone had then.

    Only times of this century up to `as_of`: others are errors of the record. `gone`: records
    that an earlier sync saw.
    """
    portal, zone = facts.portal, ZoneInfo(facts.settings.portal_timezone)
    rows = [*portal.leads, *portal.deals, *portal.contacts, *portal.companies, *gone]
    texts = [row["createdTime"] for row in rows if (row.get("createdTime") or "") >= "2000"]
    written = [datetime.fromisoformat(text) for text in texts]
    return any(
        time.utcoffset() != time.astimezone(zone).utcoffset()
        for time in written
        if time <= facts.as_of
    )


def _linked_leads(facts: Facts) -> list[int]:
    """Leads that a deal, a contact or a company of the portal names as its lead."""
    rows: list[Row] = [*facts.portal.deals, *facts.portal.contacts, *facts.portal.companies]
    return sorted({lead_id for row in rows if (lead_id := link(row.get("leadId")))})


def _history_start(facts: Facts, entity: str) -> Count:
    """Items older than the first row of their history by more than a minute, and its day."""
    history = {
        "lead": facts.portal.lead_stage_history,
        "deal": facts.portal.deal_stage_history,
    }[entity]
    items = facts.leads if entity == "lead" else facts.deals
    living = set(items[f"{entity}_id"])
    zone = ZoneInfo(facts.settings.portal_timezone)
    moments = [
        moment
        for row in history
        if int(row["OWNER_ID"]) in living
        and (moment := system_time(row["CREATED_TIME"], zone, facts.as_of))
        and moment <= facts.as_of
    ]
    first: datetime | None = min(moments, default=None)
    if first is None:
        return "history_begins", entity, None, items.height, None
    earlier = items.filter(pl.col("created_at") < first - FIRST_HISTORY).height
    day = first.astimezone(zone).date()
    return "history_begins", entity, day.isoformat() if earlier else None, earlier, None


def _success_stages(facts: Facts) -> pl.DataFrame:
    """Deals by stage named like a success that is not final, legacy and named ones included."""
    stages = [
        stage.stage_id
        for stage in facts.reference.deal_stages.values()
        if stage.semantics == "P" and SUCCESS_NAME.search(stage.own_name)
    ]
    return (
        facts.deals.filter(pl.col("stage_id").is_in(stages) & (pl.col("semantics") == "P"))
        .group_by("stage_name")
        .agg(pl.len().cast(pl.Int64).alias("records"), pl.col("base_amount").sum().alias("amount"))
        .select(
            pl.lit("success_stage_not_final").alias("check"),
            pl.lit("deal").alias("entity"),
            pl.col("stage_name").alias("detail"),
            "records",
            "amount",
        )
    )


def _import_days(facts: Facts) -> pl.DataFrame:
    parts = []
    for entity, items in (("lead", facts.leads), ("deal", facts.deals)):
        days = items.group_by("created_date").len("records")
        usual = pl.col("records").median()
        parts.append(
            days.filter(
                (pl.col("records") >= IMPORT_RECORDS)
                & (pl.col("records") > IMPORT_TIMES_MEDIAN * usual)
            ).select(
                pl.lit("import_day").alias("check"),
                pl.lit(entity).alias("entity"),
                pl.col("created_date").cast(pl.String).alias("detail"),
                pl.col("records").cast(pl.Int64),
                pl.lit(None, pl.Decimal(38, 2)).alias("amount"),
            )
        )
    return pl.concat(parts)

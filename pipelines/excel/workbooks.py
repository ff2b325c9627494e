"""The workbooks of the reports: which tables stand on which sheet, and their publication.

Figures come from the queries in `queries/`, which read the published file alone. Each runs as it is
in any DuckDB client after `set variable period_start = date '2026-03-01';` and likewise
`period_end`, `previous_start`, `previous_end` and
`set variable previous_until = timestamptz 'infinity';`, the moment at which the period before ends.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
from xlsxwriter.exceptions import XlsxWriterException

from pipelines.errors import DatabaseUnreadable, ExcelFailed, SettingsError
from pipelines.excel.period import Period, period_of
from pipelines.excel.sheets import COLORS, DASH, Book, Metric, Placed, Row, Sheet
from pipelines.publish import switch_link
from pipelines.readers import PUBLISHED, hand_over
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse, connect_published

QUERIES = Path(__file__).parent / "queries"
FETCHED_ROWS = 10_000
MEMORY_LIMIT = "2GB"
Step = tuple[str, tuple[str, str, str], tuple[str, str, str]]

RECEIVED_LEADS = (
    "leads_received",
    "leads_junk",
    "leads_quality_cohort",
    "leads_in_work",
    "leads_new",
    "leads_in_progress",
    "leads_forgotten",
)
LEAD_FIGURES = (
    *RECEIVED_LEADS,
    "leads_without_planned_activity",
    "leads_overdue",
    "leads_overdue_amount",
    "leads_first_time",
    "leads_repeat",
    "processing_days_avg",
    "processing_days_median",
)
DEAL_FIGURES = (
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
)
SOLD_FIGURES = (
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
)
MARKETING_FIGURES = (
    *RECEIVED_LEADS,
    "leads_with_deal_cohort",
    "leads_with_sale_cohort",
    "sales_amount_of_leads_cohort",
    "revenue_per_lead_cohort",
)
# Step of a funnel: count, share of the received and of the previous step; in both views.
RECEIVED = ("received", ("leads_received", "", ""), ("leads_received", "", ""))
QUALITY = (
    "quality",
    ("leads_quality_cohort", "lead_to_quality_rate_cohort", "lead_to_quality_rate_cohort"),
    ("leads_quality_period", "lead_to_quality_rate_period", "lead_to_quality_rate_period"),
)
WITH_DEAL = (
    "with_deal",
    (
        "leads_quality_with_deal_cohort",
        "leads_quality_with_deal_cohort_of_received",
        "leads_quality_with_deal_cohort_of_quality",
    ),
    ("leads_with_deal_period", "lead_to_deal_rate_period", "leads_with_deal_period_of_quality"),
)


def with_sale(previous: str) -> Step:
    """The last step of a funnel, after that with this name."""
    return (
        "with_sale",
        (
            "leads_quality_with_sale_cohort",
            "leads_quality_with_sale_cohort_of_received",
            f"leads_quality_with_sale_cohort_of_{previous}",
        ),
        (
            "leads_with_sale_period",
            "lead_to_sale_rate_period",
            f"leads_with_sale_period_of_{previous}",
        ),
    )


SALES_FUNNEL = (RECEIVED, QUALITY, with_sale("quality"))
MARKETING_FUNNEL = (RECEIVED, QUALITY, WITH_DEAL, with_sale("deal"))
CONVERSIONS = (
    ("to_quality", "lead_to_quality_rate"),
    ("to_deal", "lead_to_deal_rate"),
    ("to_sale", "lead_to_sale_rate"),
    ("revenue_per_lead", "revenue_per_lead"),
)
STOCK = (
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
)
# What came and what happened in a period. Anything else is how the records of a period stand now,
# and is not compared with older ones, which had more time.
COMPARED = ("leads_received", "leads_first_time", "leads_repeat", "deals_created")
LEAD_OUTCOMES = (
    ("leads_quality_cohort", COLORS["quality"]),
    ("leads_in_progress", COLORS["in_progress"]),
    ("leads_new", COLORS["new"]),
    ("leads_junk", COLORS["junk"]),
)
SALES_BLOCKS = (
    ("leads_of_period", LEAD_FIGURES),
    ("deals_of_period", DEAL_FIGURES),
    ("sold_in_period", SOLD_FIGURES),
)
MATRICES = (
    ("lead", "leads_received"),
    ("lead", "days_on_stage_now"),
    ("deal", "deals_created"),
    ("deal", "base_amount"),
    ("deal", "base_amount_unknown"),
)
# Averages leave out what their sums do.
LEFT_OUT_OF = {
    "average_sale_cohort": "sales_amount_cohort_unknown",
    "average_sale_period": "sales_amount_period_unknown",
    "revenue_per_lead_cohort": "sales_amount_of_leads_cohort_unknown",
    "revenue_per_lead_period": "sales_amount_of_leads_period_unknown",
}
STACKED = {"type": "column", "subtype": "stacked"}


def excel(
    warehouse: Warehouse,
    settings: Settings,
    start: dt.date | None = None,
    end: dt.date | None = None,
) -> Path:
    """Writes the workbooks of the current publication and puts each in place at once.

    Args:
        start: First day of the period; by default that of the month of `end`.
        end: Its last day; by default the day on which the data stand.

    Returns:
        The folder that `published/excel` points to.

    Raises:
        SettingsError: the period would end before it starts.
        ExcelFailed: nothing is published, or a workbook could not be written; the previous ones
            stay.
    """
    current = warehouse.published / "current"
    if not current.exists():
        raise ExcelFailed("nothing is published yet: run the refresh first")
    folder = current.resolve() / "excel"
    temporary = folder.with_name(f".excel-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        with Published(current.resolve() / "crm.duckdb", temporary) as published:
            try:
                zone = ZoneInfo(settings.portal_timezone)
                as_of = dt.datetime.fromtimestamp(published.about["as_of_epoch"], zone)
                published.set_period(period_of(start, end, as_of))
            except ValueError as error:
                raise SettingsError(str(error)) from None
            for write in (sales_dynamics, marketing):
                write(temporary / f"{write.__name__}.xlsx", published, settings)
        hand_over(temporary, PUBLISHED)
        folder.mkdir(exist_ok=True)
        hand_over(folder, PUBLISHED)
        for workbook in temporary.glob("*.xlsx"):
            workbook.replace(folder / workbook.name)
    except (DatabaseUnreadable, duckdb.Error, OSError, XlsxWriterException) as error:
        raise ExcelFailed(f"the workbooks could not be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    link = warehouse.published / "excel"
    if not link.is_symlink():
        switch_link(link, "current/excel")
    return folder


class Published:
    """The published file, asked with the queries of this folder."""

    period: Period

    def __init__(self, database: Path, temporary: Path) -> None:
        self.connection = connect_published(
            database, memory_limit=MEMORY_LIMIT, temp_directory=str(temporary)
        )
        self.about = self.one("about")

    def __enter__(self) -> Published:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def set_period(self, period: Period) -> None:
        """Sets what the queries read."""
        self.period = period
        days = {
            "period_start": period.start,
            "period_end": period.end,
            "previous_start": period.previous_start,
            "previous_end": period.previous_end,
        }
        for name, day in days.items():
            self.connection.execute(f"set variable {name} = date '{day}'")
        until = period.previous_until.isoformat() if period.previous_until else "infinity"
        self.connection.execute(f"set variable previous_until = timestamptz '{until}'")

    def ask(self, query: str) -> tuple[list[str], Iterator[Row]]:
        """Names of the columns, and the rows as they are read."""
        result = self.connection.execute((QUERIES / f"{query}.sql").read_text(encoding="utf-8"))
        columns = [column[0] for column in result.description]

        def rows() -> Iterator[Row]:
            while some := result.fetchmany(FETCHED_ROWS):
                yield from some

        return columns, rows()

    def all(self, query: str) -> list[dict[str, Any]]:
        """Rows of a small answer by name."""
        columns, rows = self.ask(query)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def one(self, query: str) -> dict[str, Any]:
        """The only row of an answer."""
        (row,) = self.all(query)
        return row


def sales_dynamics(path: Path, published: Published, settings: Settings) -> None:
    """Writes the workbook of the report on sales."""
    with Report(path, "sales_dynamics", published, settings) as report:
        figures = report.sheet("figures")
        months_sheet = report.sheet("months")
        months = report.table(months_sheet, "months")
        _month_charts(months_sheet, months, months_sheet.row + 1, 0, across=True)
        report.figures(figures, SALES_BLOCKS, SALES_FUNNEL)
        report.stock(figures)
        _month_charts(figures, months, 18, 10, across=False)
        _stages(report)
        report.table(report.sheet("transitions"), "transitions", freeze_columns=4)
        _managers(report, ("lead", "deal"))
        _closing(report)
        attention = report.sheet("attention")
        placed = report.table(attention, "attention")
        attention.shade(placed, ["leads_forgotten", "deals_forgotten"], "#F0A39B")
        _records(report, "deal")


def marketing(path: Path, published: Published, settings: Settings) -> None:
    """Writes the workbook of the report on marketing."""
    with Report(path, "marketing", published, settings) as report:
        figures = report.sheet("figures")
        report.figures(figures, [("leads_of_period", MARKETING_FIGURES)], MARKETING_FUNNEL)
        sources = report.sheet("sources")
        placed = report.table(sources, "sources")
        sources.shade(placed, (f"lead_to_{step}_rate_cohort" for step in ("quality", "deal")))
        sources.shade(placed, ["lead_to_sale_rate_cohort", "revenue_per_lead_cohort"])
        sources.shade(placed, ["lead_to_deal_rate_period", "lead_to_sale_rate_period"], "#8DB4E2")
        sources.shade(placed, ["revenue_per_lead_period"], "#8DB4E2")
        sources.chart(
            {"type": "bar", "subtype": "stacked"},
            report.book["chart_sources"],
            placed,
            "source_name",
            LEAD_OUTCOMES,
            at=(sources.row + 1, 0),
            unit=report.book["pieces"],
            size=(900, 300),
        )
        months = report.sheet("months")
        placed = report.table(months, "marketing_months")
        _marketing_month_charts(months, placed)
        _source_months(report)
        _stages_by_source(report)
        utm = report.sheet("utm")
        placed = report.table(utm, "utm", freeze_columns=2)
        utm.shade(placed, (f"lead_to_{step}_rate_cohort" for step in ("quality", "deal", "sale")))
        money = report.sheet("money_by_source")
        placed = report.table(money, "money_by_source")
        money.chart(
            {"type": "bar"},
            report.book["chart_money"],
            placed,
            "lead_source_name",
            [("sales_amount_period", COLORS["accent"])],
            at=(money.row + 1, 0),
            unit=report.book.currency,
            size=(900, 300),
        )
        _managers(report, ("lead",))
        _records(report, "lead")


class Report:
    """A workbook whose first sheet is written last: it tells what stands on the others."""

    def __init__(self, path: Path, name: str, published: Published, settings: Settings) -> None:
        self.name, self.published, self.settings = name, published, settings
        language = settings.report_lang
        metrics = {
            row["metric_name"]: Metric(
                row[f"label_{language}"], row[f"definition_{language}"], row["value_format"]
            )
            for row in published.all("metrics")
        }
        self.book = Book(path, language, published.about["base_currency"], metrics)
        self.about = Sheet(self.book, "about")

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._describe()
        self.book.file.close()

    def _span(self, start: dt.date, end: dt.date) -> str:
        return f"{start:%d.%m.%Y} – {end:%d.%m.%Y}"

    def _previous(self) -> str:
        """Days that the period is compared with, and the time at which the last of them ends."""
        period = self.published.period
        span = self._span(period.previous_start, period.previous_end)
        if period.previous_until is None:
            return span
        return f"{span} {self.book['until']} {period.previous_until:%H:%M}"

    def sheet(self, name: str) -> Sheet:
        """A new sheet with its title."""
        book, period = self.book, self.published.period
        sheet = Sheet(book, name, book[f"note_{name}"])
        parts = [
            f"{book['period']}: {self._span(period.start, period.end)}",
            f"{book['as_of']} {self.published.about['as_of_text']}",
            f"{book['amounts']} {book.currency}",
        ]
        sheet.start(" · ".join(parts))
        return sheet

    def table(
        self,
        sheet: Sheet,
        query: str,
        missing: str = DASH,
        freeze_columns: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> Placed | None:
        """A query as the only table of a sheet, with frozen headings and filters."""
        columns, rows = self.published.ask(query)
        sheet.file.freeze_panes(sheet.row + 1, freeze_columns)
        sheet.file.repeat_rows(sheet.row)
        return sheet.table(columns, rows, missing, labels=labels)

    def figures(
        self, sheet: Sheet, blocks: Sequence[tuple[str, Sequence[str]]], steps: Sequence[Step]
    ) -> None:
        """Figures beside those of the previous period, a funnel and conversions."""
        book = self.book
        now, before = self.published.all("figures")
        sheet.file.freeze_panes(3, 1)
        sheet.widen(0, 52)
        for column in range(1, 9):
            sheet.widen(column, 15)
        headings = [
            book["figure"],
            book["this_period"],
            book["share"],
            f"{book['previous_period']}, {self._previous()}",
            book["share"],
            book["change"],
            book["change_share"],
            book["left_out_now"],
            book["left_out_before"],
        ]
        for title, names in blocks:
            sheet.block(book[title])
            sheet.headings(headings)
            for name in names:
                self._figure(sheet, name, now, before)
        title = " → ".join(_inside(book[step]) for step, *_ in steps)
        sheet.block(f"{book['funnel']}: {title}")
        top = sheet.row
        shares = [book["of_received"], book["of_previous"]]
        sheet.headings([book["step"], book["cohort"], *shares, book["within_period"], *shares])
        for step, *views in steps:
            sheet.cell(0, "text", book[step])
            for column, name in enumerate(name for view in views for name in view):
                kind = "count" if column % 3 == 0 else "rate"
                sheet.cell(1 + column, kind, now.get(name), missing=DASH if name else "")
            sheet.row += 1
        apart = "leads_with_sale_not_quality_cohort"
        sheet.cell(0, "text", book.heading(apart))
        sheet.cell(1, "count", now[apart])
        sheet.row += 1
        sheet.block(book["conversions"])
        sheet.headings(["", book["cohort"], book["overall"]])
        for word, name in CONVERSIONS:
            kind = book.kind(f"{name}_cohort")
            label = f"{book[word]}, {book.currency}" if kind == "amount" else book[word]
            sheet.cell(0, "text", label)
            for column, view in enumerate(("cohort", "period"), start=1):
                book.heading(f"{name}_{view}")
                sheet.cell(column, kind, now[f"{name}_{view}"], missing=DASH)
            sheet.row += 1
        sheet.chart(
            {"type": "bar"},
            book["funnel"],
            Placed(sheet.name, top + 1, top + len(steps), {"step": 0, "cohort": 1, "all": 4}),
            "step",
            [("cohort", COLORS["accent"]), ("all", COLORS["new"])],
            at=(3, 10),
            unit=book["pieces"],
        )

    def stock(self, sheet: Sheet) -> None:
        """What is in work now, and the deals of the period by pipeline."""
        book, stock = self.book, self.published.one("stock")
        sheet.block(book["stock"])
        sheet.headings([book["figure"], book["now"], book["left_out"]])
        for name in STOCK:
            sheet.cell(0, "text", book.heading(name))
            sheet.cell(1, book.kind(name), stock[name], missing=DASH)
            sheet.cell(2, "count", stock.get(f"{name}_unknown"))
            sheet.row += 1
        sheet.block(book["by_pipeline"])
        columns, rows = self.published.ask("pipelines")
        sheet.table(columns, rows, filters=False)

    def _figure(self, sheet: Sheet, name: str, now: dict[str, Any], before: dict[str, Any]) -> None:
        book = self.book
        kind = book.kind(name)
        share = "lead_to_quality_rate_cohort" if name == "leads_quality_cohort" else f"{name}_share"
        sheet.cell(0, "text", book.heading(name))
        is_compared = name in COMPARED or name.endswith("_period")
        for column, figures in ((1, now), (3, before)) if is_compared else ((1, now),):
            sheet.cell(column, kind, figures[name], missing=DASH)
            if share in figures:
                sheet.cell(column + 1, "rate", figures[share], missing=DASH)
        left_out = LEFT_OUT_OF.get(name, f"{name}_unknown")
        sheet.cell(7, "count", now.get(left_out))
        if not is_compared:
            sheet.row += 1
            return
        sheet.cell(8, "count", before.get(left_out))
        if now[name] is not None and before[name] is not None:
            change = now[name] - before[name]
            sheet.cell(5, "change_days" if kind == "days" else "change", change)
            if before[name]:
                sheet.cell(6, "change_share", change / before[name])
        sheet.row += 1

    def _describe(self) -> None:
        book, about, published = self.book, self.about, self.published
        period = published.period
        for column, width in enumerate((60, 100, 36, 14)):
            about.widen(column, width)
        about.file.set_row(0, 26)
        about.text(book[self.name], "sheet_title")
        clock = f"{book['portal_time']}, {self.settings.portal_timezone}"
        self._pair("as_of", f"{published.about['as_of_text']} ({clock})")
        if published.about["history_from_date"]:
            day = f"{published.about['history_from_date']:%d.%m.%Y}"
            self._pair("partial_history", book["partial_history_text"].format(day=day))
        self._pair("portal", published.about["portal_url"])
        self._pair("period", self._span(period.start, period.end))
        self._pair("previous_period", self._previous())
        self._pair("currency", published.about["base_currency"])
        self._pair("views", book["views_text"])
        self._left_out()
        if published.about["crm_mode"] == "simple":
            about.text(book["no_leads"], "block_title")
        about.block(book["sheets"])
        about.headings(
            [book["sheet"], book["shows"], book["rows"], book["left_out"]],
            ["text", "text", "count", "count"],
        )
        for sheet in book.sheets[1:]:
            about.fit_height(["", sheet.note])
            about.file.write_url(
                about.row, 0, f"internal:'{sheet.name}'!A1", book.format("link"), sheet.name
            )
            about.cell(1, "wrapped", sheet.note)
            about.cell(2, "count", sheet.rows)
            about.cell(3, "count", sheet.left_out or None)
            about.row += 1
        about.block(book["settings"])
        about.headings([book["settings"], book["value"]], ["text", "text"])
        for name, value in self._settings():
            self._pair(name, value)
        about.block(book["definitions"])
        names = [book["figure"], book["definition"], book["metric_name"]]
        about.headings(names, ["text", "text", "text"])
        for name in book.used:
            metric = book.metrics[name]
            about.fit_height([metric.label, metric.definition])
            about.cell(0, "wrapped", metric.label)
            about.cell(1, "wrapped", metric.definition)
            about.cell(2, "wrapped", name)
            about.row += 1
        about.file.activate()

    def _left_out(self) -> None:
        """Which records no amount holds, and the currencies that would need a rate."""
        book, rows = self.book, self.published.all("left_out")
        self._pair("unknown_amounts", book["unknown_text"] if rows else book["all_known"])
        for row in rows:
            currencies = ", ".join(code or book["no_currency"] for code in row["currencies"])
            self._pair(f"unknown.{row['left_out_kind']}", f"{row['records']} ({currencies})")

    def _pair(self, word: str, value: Any) -> None:
        text = DASH if value is None else str(value)
        self.about.fit_height([self.book[word], text])
        self.about.cell(0, "wrapped", self.book[word])
        self.about.cell(1, "wrapped", text)
        self.about.row += 1

    def _settings(self) -> list[tuple[str, Any]]:
        book, settings, about = self.book, self.settings, self.published.about

        def flag(value: bool) -> str:
            return book["yes" if value else "no"]

        return [
            ("forgotten_lead_days", settings.forgotten_lead_days),
            ("forgotten_deal_days", settings.forgotten_deal_days),
            ("planned_is_not_forgotten", flag(settings.planned_is_not_forgotten)),
            ("sales_pipelines", about["sales_pipelines"]),
            ("paid_stages", about["paid_stages"] or book["none"]),
            ("lead_stage_outcomes", about["lead_stage_outcomes"] or book["none"]),
            ("repeat_means", book[f"repeat_means.{settings.repeat_means}"]),
            ("attribution", book[f"attribution.{settings.attribution}"]),
            ("legacy_rules", len(settings.legacy_rules) or book["none"]),
            ("include_legacy", flag(settings.include_legacy)),
            ("legacy_leads", about["legacy_leads"]),
            ("legacy_deals", about["legacy_deals"]),
        ]


def _inside(label: str) -> str:
    """A label within a title: only its first letter is small, a currency code stays."""
    return label[:1].lower() + label[1:]


def _records(report: Report, entity: str) -> None:
    """The list of an entity, with a column per user field; what is forgotten stands on red."""
    sheet = report.sheet(f"{entity}s")
    labels = {
        row["field_name"]: row["field_label"]
        for row in report.published.all("user_fields")
        if row["entity"] == entity
    }
    placed = report.table(sheet, f"{entity}s", missing="", freeze_columns=2, labels=labels)
    sheet.redden(placed, "is_forgotten")


def _month_charts(sheet: Sheet, placed: Placed | None, row: int, column: int, across: bool) -> None:
    """Leads by outcome, sales and their amount by month: beside or below each other."""
    book = sheet.book
    kinds: list[tuple[str, Sequence[tuple[str, str]], str]] = [
        ("chart_leads", LEAD_OUTCOMES, book["pieces"]),
        (
            "chart_sales",
            [
                ("sales_new_period", COLORS["accent"]),
                ("sales_repeat_period", COLORS["new"]),
                ("sales_unknown_period", COLORS["junk"]),
            ],
            book["pieces"],
        ),
        (
            "chart_amount",
            [
                ("sales_new_amount_period", COLORS["accent"]),
                ("sales_repeat_amount_period", COLORS["new"]),
                ("sales_unknown_amount_period", COLORS["junk"]),
            ],
            book.currency,
        ),
    ]
    for number, (title, series, unit) in enumerate(kinds):
        at = (row, column + 5 * number) if across else (row + 15 * number, column)
        sheet.chart(STACKED, book[title], placed, "month", series, at, unit)


def _marketing_month_charts(sheet: Sheet, placed: Placed | None) -> None:
    book, row = sheet.book, sheet.row + 1
    sheet.chart(
        STACKED,
        book["chart_leads"],
        placed,
        "month",
        LEAD_OUTCOMES,
        at=(row, 0),
        unit=book["pieces"],
        size=(640, 320),
    )
    rates = [
        ("lead_to_quality_rate_cohort", COLORS["quality"]),
        ("lead_to_deal_rate_cohort", COLORS["in_progress"]),
        ("lead_to_sale_rate_cohort", COLORS["accent"]),
    ]
    sheet.chart(
        {"type": "line"},
        book["chart_conversion"],
        placed,
        "month",
        rates,
        at=(row, 7),
        unit=book["cohort"],
        number_format="0%",
        size=(640, 320),
    )


def _stages(report: Report) -> None:
    sheet = report.sheet("stages")
    placed = report.table(sheet, "stages", freeze_columns=3)
    sheet.shade(placed, ["stage_pass_rate", "stage_forward_rate"])
    sheet.shade(placed, ["dropped_share"], "#F0A39B")


def _managers(report: Report, entities: Sequence[str]) -> None:
    """Stage × manager: the same managers stand in the same columns."""
    keys = ("pipeline_name", "stage_name") if "deal" in entities else ("stage_name",)
    sheet, published = report.sheet("managers"), report.published
    found = {name: published.all(f"{name}_managers") for name in entities}
    counts: dict[str, int] = {}
    for rows in found.values():
        for row in rows:
            if row["is_total"] and row["manager_name"] is not None:
                count = row.get("leads_received") or row.get("deals_created") or 0
                counts[row["manager_name"]] = counts.get(row["manager_name"], 0) + count
    order = sorted(counts, key=lambda name: (-counts[name], name))
    sheet.file.freeze_panes(sheet.row, len(keys) + 1)
    for entity, measure in MATRICES:
        if entity not in found:
            continue
        rows = found[entity]
        if measure.endswith("_unknown") and not any(row[measure] for row in rows):
            continue
        sheet.block(f"{report.book[f'entity.{entity}']}: {_inside(report.book.heading(measure))}")
        columns = list(rows[0])
        values = [tuple(row.values()) for row in rows]
        beside = [name for name in columns if name == "stage_id"]
        placed = sheet.matrix(columns, values, keys, "manager_name", measure, order, beside=beside)
        sheet.shade_together(placed, order)


def _closing(report: Report) -> None:
    sheet = report.sheet("closing")
    placed = report.table(sheet, "closing")
    for number, view in enumerate(("cohort", "period")):
        sheet.chart(
            STACKED,
            report.book[f"chart_closing_{view}"],
            placed,
            "days_to_close_bin",
            [(f"sales_{view}", COLORS["quality"]), (f"deals_failed_{view}", COLORS["junk"])],
            at=(sheet.row + 1, 5 * number),
            unit=report.book["pieces"],
        )


def _source_months(report: Report) -> None:
    sheet = report.sheet("source_months")
    columns, rows = report.published.ask("source_months")
    values = list(rows)
    month_at = columns.index("created_month")
    order = sorted({row[month_at] for row in values} - {None})
    sheet.file.freeze_panes(sheet.row + 1, 2)
    keys = ("source_name",)
    placed = sheet.matrix(columns, values, keys, "created_month", "leads_potential_amount", order)
    sheet.shade_together(placed, order)
    left_out = "leads_potential_amount_unknown"
    if any(row[columns.index(left_out)] for row in values):
        sheet.block(sheet.book.heading(left_out))
        sheet.matrix(columns, values, keys, "created_month", left_out, order)


def _stages_by_source(report: Report) -> None:
    sheet = report.sheet("stages_by_source")
    columns, rows = report.published.ask("stages_by_source")
    values = list(rows)
    source_at, stage_at = columns.index("source_name"), columns.index("stage_name")
    order = [row[stage_at] for row in values if row[source_at] is None]
    sheet.file.freeze_panes(sheet.row + 1, 2)
    keys = ("source_name", "leads_received")
    placed = sheet.matrix(
        columns, values, keys, "stage_name", "stage_pass_rate", order, totals=False
    )
    sheet.shade_together(placed, order, "#7FC29B")

"""The workbooks of the reports: which tables stand on which sheet, and their publication.

Metrics come from the tables that `tables.py` declares, by the definitions that are published with
the marts; lists of records and what is no metric from the queries in `queries/`. Those read the
published file alone and run as they are in any DuckDB client after
`set variable period_start = date '2026-03-01';` and likewise `period_end`.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
from xlsxwriter.exceptions import XlsxWriterException

from pipelines.errors import DatabaseUnreadable, ExcelFailed, SettingsError
from pipelines.excel import tables
from pipelines.excel.period import Period, period_of
from pipelines.excel.sheets import (
    COLORS,
    DASH,
    WHOLE,
    Book,
    Line,
    Matrix,
    Metric,
    Placed,
    Row,
    Sheet,
)
from pipelines.excel.tables import HIGH, LOW, Block, Step, Table
from pipelines.metric_sql import SemanticLayer
from pipelines.publish import DEFINITIONS, switch_link
from pipelines.readers import PUBLISHED, hand_over
from pipelines.settings import Settings
from pipelines.side_by_side import SideBySide, results
from pipelines.warehouse import Warehouse, connect_published

QUERIES = Path(__file__).parent / "queries"
FETCHED_ROWS = 10_000
MEMORY_LIMIT = "2GB"
LEAD_OUTCOMES = (
    ("leads_quality_cohort", COLORS["quality"]),
    ("leads_in_progress", COLORS["in_progress"]),
    ("leads_new", COLORS["new"]),
    ("leads_junk", COLORS["junk"]),
)
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
    if not (current / DEFINITIONS).exists():
        raise ExcelFailed("an earlier version published this: run `python -m pipelines publish`")
    folder = current.resolve() / "excel"
    temporary = folder.with_name(f".excel-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()

        def written(
            connection: duckdb.DuckDBPyConnection,
            write: Callable[[Path, Published, Settings], None],
        ) -> None:
            published = Published(current.resolve(), connection)
            try:
                zone = ZoneInfo(settings.portal_timezone)
                as_of = dt.datetime.fromtimestamp(published.about["as_of_epoch"], zone)
                published.set_period(period_of(start, end, as_of))
            except ValueError as error:
                raise SettingsError(str(error)) from None
            write(temporary / f"{write.__name__}.xlsx", published, settings)

        database = current.resolve() / "crm.duckdb"
        limits = {"memory_limit": MEMORY_LIMIT, "temp_directory": str(temporary)}
        with connect_published(database, **limits) as connection, SideBySide(connection) as threads:
            results([threads.submit(written, write) for write in (sales_dynamics, marketing)])
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
    """A publication: its marts, asked by what is published with them."""

    period: Period

    def __init__(self, publication: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.layer = SemanticLayer.load(publication / DEFINITIONS)
        self.connection = connection
        self.about = self.one("about")

    def set_period(self, period: Period) -> None:
        """Sets what tables and queries read."""
        self.period = period
        for name, day in (("period_start", period.start), ("period_end", period.end)):
            self.connection.execute(f"set variable {name} = date '{day}'")

    def ask(self, asked: str | Table, before: bool = False) -> tuple[list[str], Iterator[Row]]:
        """Names of the columns, and the rows as they are read.

        Args:
            asked: A table, or the name of a query.
            before: Ask the table for the period before.
        """
        if isinstance(asked, Table):
            sql = asked.sql(self.layer, self.period, before)
        else:
            sql = (QUERIES / f"{asked}.sql").read_text(encoding="utf-8")
        result = self.connection.execute(sql)
        columns = [column[0] for column in result.description]

        def rows() -> Iterator[Row]:
            while some := result.fetchmany(FETCHED_ROWS):
                yield from some

        return columns, rows()

    def all(self, asked: str | Table, before: bool = False) -> list[dict[str, Any]]:
        """Rows of a small answer by name."""
        columns, rows = self.ask(asked, before)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def one(self, asked: str | Table, before: bool = False) -> dict[str, Any]:
        """The only row of an answer."""
        (row,) = self.all(asked, before)
        return row


def sales_dynamics(path: Path, published: Published, settings: Settings) -> None:
    """Writes the workbook of the report on sales."""
    with Report(path, "sales_dynamics", published, settings) as report:
        figures = report.sheet("figures")
        months_sheet = report.sheet("months")
        months = report.table(months_sheet, tables.MONTHS)
        _month_charts(months_sheet, months, months_sheet.row + 1, 0, across=True)
        report.figures(figures, tables.SALES_BLOCKS, tables.SALES_FUNNEL)
        report.stock(figures)
        _month_charts(figures, months, 18, 10, across=False)
        _manager_figures(report, tables.MANAGERS, "sales_amount_period", report.book.currency)
        _by_stage(
            report, "deal_stages", tables.DEAL_STAGES, "deals_created_amount", report.book.currency
        )
        _stages(report)
        report.table(report.sheet("transitions"), tables.TRANSITIONS, freeze_columns=4)
        _managers(report, with_deals=True)
        _closing(report)
        attention = report.sheet("attention")
        placed = report.table(attention, tables.ATTENTION)
        attention.shade(placed, ["leads_forgotten", "deals_forgotten"], "#F0A39B")
        _bars(
            report, attention, placed, "chart_attention", "manager_name", "deals_forgotten_amount"
        )
        _records(report, "deal")
        _issues(report)


def marketing(path: Path, published: Published, settings: Settings) -> None:
    """Writes the workbook of the report on marketing."""
    with Report(path, "marketing", published, settings) as report:
        figures = report.sheet("figures")
        report.figures(figures, tables.MARKETING_BLOCKS, tables.MARKETING_FUNNEL)
        compared = report.sheet("sources_compared")
        placed = report.table(compared, tables.SOURCES_COMPARED)
        _bars(
            *(report, compared, placed, "chart_sources_amount", "source_name"),
            "sales_amount_of_leads_period",
        )
        _sources(report)
        if published.about["has_spend"]:
            _spend(report)
        months = report.sheet("months")
        placed = report.table(months, tables.MARKETING_MONTHS)
        _marketing_month_charts(months, placed)
        report.table(report.sheet("cohort_ages"), tables.COHORT_AGES, freeze_columns=2)
        _source_months(report)
        pieces = report.book["pieces"]
        _by_stage(report, "lead_stages", tables.LEAD_STAGES, "leads_received", pieces)
        _stages_by_source(report)
        utm = report.sheet("utm")
        placed = report.table(utm, tables.UTM, freeze_columns=2)
        report.shade(utm, placed, tables.COHORT_RATES)
        money = report.sheet("money_by_source")
        placed = report.table(money, tables.MONEY_BY_SOURCE)
        _bars(
            *(report, money, placed, "chart_money", "lead_source_name"),
            "sales_amount_period",
        )
        _manager_figures(report, tables.LEAD_MANAGERS, "leads_received", pieces)
        _managers(report, with_deals=False)
        _records(report, "lead")
        _issues(report)


class Report:
    """A workbook whose first sheet is written last: it tells what stands on the others."""

    def __init__(self, path: Path, name: str, published: Published, settings: Settings) -> None:
        self.name, self.published, self.settings = name, published, settings
        language = settings.report_lang
        published.connection.execute(f"set variable language = '{language}'")
        metrics = {
            row["metric_name"]: Metric(
                row[f"label_{language}"],
                row[f"definition_{language}"],
                row["value_format"],
                row["is_comparable"],
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
            foot = f"{self.book[self.name]} · {self.book['as_of']} {self._as_of()}"
            for sheet in self.book.sheets:
                sheet.print_with(foot)
        self.book.file.close()

    def _span(self, start: dt.date, end: dt.date) -> str:
        return f"{start:%d.%m.%Y} – {end:%d.%m.%Y}"

    def _as_of(self) -> str:
        return str(self.published.about["as_of_text"])

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
        note = book[f"note_{name}"].format(min_sample=self.settings.min_sample)
        sheet = Sheet(book, name, note)
        parts = [
            f"{book['period']}: {self._span(period.start, period.end)}",
            f"{book['as_of']} {self._as_of()}",
            f"{book['amounts']} {book.currency}",
        ]
        sheet.start(" · ".join(parts))
        return sheet

    def table(
        self,
        sheet: Sheet,
        asked: str | Table,
        missing: str = DASH,
        freeze_columns: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> Placed | None:
        """The only table of a sheet, with frozen headings and filters."""
        columns, rows = self.published.ask(asked)
        sheet.file.freeze_panes(sheet.row + 1, freeze_columns)
        sheet.file.repeat_rows(sheet.row)
        return sheet.table(columns, rows, missing, labels=labels)

    def shade(
        self, sheet: Sheet, placed: Placed | None, columns: Sequence[str], color: str = "#7FC29B"
    ) -> None:
        """Shades what is per lead; rows of too few leads are in italics instead."""
        sheet.shade(placed, columns, color, ("leads_received", self.settings.min_sample))

    def figures(self, sheet: Sheet, blocks: Sequence[Block], steps: Sequence[Step]) -> None:
        """Figures beside those of the previous period, a funnel and conversions."""
        book = self.book
        shown = [name for block in blocks for name in block.metrics]
        counts = [name for step in steps for name in (step.cohort, step.period)]
        views = ("cohort", "period")
        rates = [f"{name}_{view}" for _, name in tables.CONVERSIONS for view in views]
        names = dict.fromkeys([*shown, *counts, tables.APART, *rates])
        now = self.published.one(Table(tuple(names)))
        compared = tuple(name for name in names if book.metrics[name].is_comparable)
        before = self.published.one(Table(compared), before=True)
        sheet.file.freeze_panes(3, 1)
        sheet.widen(0, 52)
        for column in range(1, 9):
            sheet.widen(column, 14)
        headings = [
            book["figure"],
            book["this_period"],
            book["share"],
            f"{book['previous_period']}, {self._previous()}; {book['at_age']}",
            book["share"],
            book["change"],
            book["change_share"],
            book["left_out_now"],
            book["left_out_before"],
        ]
        for block in blocks:
            sheet.block(book[block.title])
            sheet.headings(headings)
            for name in block.metrics:
                self._figure(sheet, name, now, before, block.metrics[0] if block.share else None)
        self._funnel(sheet, steps, now)
        sheet.block(book["conversions"])
        sheet.headings(["", book["cohort"], book["low"], book["high"], book["overall"]])
        for word, name in tables.CONVERSIONS:
            kind = book.kind(f"{name}_cohort")
            label = f"{book[word]}, {book.currency}" if kind == "amount" else book[word]
            sheet.cell(0, "text", label)
            for column, view in ((1, "cohort"), (4, "period")):
                book.heading(f"{name}_{view}")
                sheet.cell(column, kind, now[f"{name}_{view}"], missing=DASH)
            for column, end in ((2, LOW), (3, HIGH)):
                sheet.cell(column, kind, now.get(f"{name}_cohort{end}"))
            sheet.row += 1

    def _funnel(self, sheet: Sheet, steps: Sequence[Step], now: Mapping[str, Any]) -> None:
        """Steps in both views, each with its share of the first and of the one before."""
        book = self.book
        title = " → ".join(_inside(book[step.word]) for step in steps)
        sheet.block(f"{book['funnel']}: {title}")
        top = sheet.row
        shares = [book["of_received"], book["of_previous"]]
        sheet.headings([book["step"], book["cohort"], *shares, book["within_period"], *shares])
        for number, step in enumerate(steps):
            sheet.cell(0, "text", book[step.word])
            for column, view in ((1, "cohort"), (4, "period")):
                first, above, name = (
                    getattr(one, view) for one in (steps[0], steps[number - 1], step)
                )
                book.heading(name)
                sheet.cell(column, "count", now[name])
                for beside, whole in ((1, first), (2, above)) if number else ():
                    share = _share(now[name], now[whole])
                    sheet.cell(column + beside, "rate", share, missing=DASH)
            sheet.row += 1
        sheet.cell(0, "text", book.heading(tables.APART))
        sheet.cell(1, "count", now[tables.APART])
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
        book, stock = self.book, self.published.one(tables.NOW)
        sheet.block(book["stock"])
        sheet.headings([book["figure"], book["now"], book["left_out"]])
        for name in tables.NOW.metrics:
            sheet.cell(0, "text", book.heading(name))
            sheet.cell(1, book.kind(name), stock[name], missing=DASH)
            sheet.cell(2, "count", stock.get(self.published.layer.left_out(name) or ""))
            sheet.row += 1
        sheet.block(book["by_pipeline"])
        columns, rows = self.published.ask(tables.PIPELINES)
        sheet.table(columns, rows, filters=False)

    def _figure(
        self,
        sheet: Sheet,
        name: str,
        now: Mapping[str, Any],
        before: Mapping[str, Any],
        whole: str | None,
    ) -> None:
        book, kind = self.book, self.book.kind(name)
        whole = whole if name != whole and kind == "count" else None
        counted = self.published.layer.left_out(name) or ""
        sheet.cell(0, "text", book.heading(name))
        for column, figures in ((1, now), (3, before)):
            if name in figures:
                sheet.cell(column, kind, figures[name], missing=DASH)
                if whole:
                    share = _share(figures[name], figures[whole])
                    sheet.cell(column + 1, "rate", share, missing=DASH)
        sheet.cell(7, "count", now.get(counted))
        if name in before:
            sheet.cell(8, "count", before.get(counted))
            if now[name] is not None and before[name] is not None:
                change = now[name] - before[name]
                sheet.cell(5, "change_days" if kind == "days" else "change", change)
                sheet.cell(6, "change_share", _share(change, before[name]))
        sheet.row += 1
        sheet.rows += 1

    def _describe(self) -> None:
        book, about, published = self.book, self.about, self.published
        period = published.period
        for column, width in enumerate((48, 90, 36, 12)):
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
        book, found = self.book, []
        for table in tables.LEFT_OUT:
            (name,) = table.metrics
            rows = [row for row in self.published.all(table) if row[name]]
            if rows:
                told = sorted(row["currency_code"] or "" for row in rows)
                currencies = ", ".join(code or book["no_currency"] for code in told)
                records = sum(row[name] for row in rows)
                found.append((name, f"{records} ({currencies})"))
        self._pair("unknown_amounts", book["unknown_text" if found else "all_known"])
        for name, text in found:
            self._pair(f"unknown.{name}", text)

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
            ("min_sample", settings.min_sample),
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


def _share(part: Any, whole: Any) -> float | None:
    """A part of a whole, None where there is no whole."""
    return float(part) / float(whole) if whole and part is not None else None


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
        at = (row, column) if across else (row + 15 * number, column)
        right = 575 * number if across else 0
        sheet.chart(STACKED, book[title], placed, "month", series, at, unit, right=right)


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
        at=(row, 0),
        right=655,
        unit=book["cohort"],
        number_format="0%",
        size=(640, 320),
    )


def _bars(
    report: Report, sheet: Sheet, placed: Placed | None, title: str, names: str, amount: str
) -> None:
    """An amount of each row as a bar, below the table."""
    sheet.chart(
        {"type": "bar"},
        report.book[title],
        placed,
        names,
        [(amount, COLORS["accent"])],
        at=(sheet.row + 1, 0),
        unit=report.book.currency,
        size=(900, 300),
    )


def _sources(report: Report) -> None:
    sheet = report.sheet("sources")
    placed = report.table(sheet, tables.SOURCES)
    report.shade(sheet, placed, (*tables.COHORT_RATES, "revenue_per_lead_cohort"))
    of_period = ("lead_to_deal_rate_period", "lead_to_sale_rate_period", "revenue_per_lead_period")
    report.shade(sheet, placed, of_period, "#8DB4E2")
    sheet.chart(
        {"type": "bar", "subtype": "stacked"},
        report.book["chart_sources"],
        placed,
        "source_name",
        LEAD_OUTCOMES,
        at=(sheet.row + 1, 0),
        unit=report.book["pieces"],
        size=(900, 300),
    )


def _spend(report: Report) -> None:
    """What was spent beside what it brought, by source, month and label, and what fits nothing."""
    pair = [
        ("ad_cost", COLORS["junk"]),
        ("sales_amount_of_ad_leads_period", COLORS["accent"]),
    ]
    for name, table, category, kind in (
        ("spend", tables.SPEND, "source", "bar"),
        ("spend_months", tables.SPEND_MONTHS, "month", "column"),
    ):
        sheet = report.sheet(name)
        placed = report.table(sheet, table)
        sheet.chart(
            {"type": kind},
            report.book["chart_spend"],
            placed,
            category,
            pair,
            at=(sheet.row + 1, 0),
            unit=report.book.currency,
            size=(900, 300),
        )
    report.table(report.sheet("spend_utm"), tables.SPEND_UTM, freeze_columns=2)
    report.table(report.sheet("spend_unmatched"), tables.SPEND_UNMATCHED)


def _manager_figures(report: Report, table: Table, charted: str, unit: str) -> None:
    sheet = report.sheet("manager_figures")
    placed = report.table(sheet, table)
    sheet.chart(
        {"type": "bar"},
        report.book.heading(charted),
        placed,
        "manager_name",
        [(charted, COLORS["accent"])],
        at=(sheet.row + 1, 0),
        unit=unit,
        size=(900, 300),
    )


def _by_stage(report: Report, name: str, table: Table, charted: str, unit: str) -> None:
    """Records of the period by state and present stage."""
    sheet = report.sheet(name)
    placed = report.table(sheet, table, freeze_columns=3)
    sheet.chart(
        {"type": "bar"},
        report.book.heading(charted),
        placed,
        "stage_name",
        [(charted, COLORS["accent"])],
        at=(sheet.row + 1, 0),
        unit=unit,
        size=(900, 300),
    )


def _stages(report: Report) -> None:
    sheet = report.sheet("stages")
    placed = report.table(sheet, tables.STAGES, freeze_columns=3)
    sheet.shade(placed, ["stage_pass_rate", "stage_forward_rate"])
    sheet.shade(placed, ["dropped_share"], "#F0A39B")


def _issues(report: Report) -> None:
    """What makes figures wrong or incomplete, and what to do about it."""
    sheet, book = report.sheet("issues"), report.book
    kinds = {
        "severity": "code",
        "issue": "told",
        "what_to_do": "told",
        "records_count": "count",
        "at_stake_amount": "amount",
    }
    for column, width in enumerate((16, 50, 96, 12, 16)):
        sheet.widen(column, width)
    sheet.file.freeze_panes(sheet.row + 1, 0)
    sheet.file.repeat_rows(sheet.row)
    sheet.headings(list(map(book.heading, kinds)), [*["text"] * 3, "count", "amount"])
    for row in report.published.all("issues"):
        row["severity"] = book[f"severity.{row['severity']}"]
        sheet.fit_height([row["severity"], row["issue"], row["what_to_do"]])
        for column, (name, kind) in enumerate(kinds.items()):
            sheet.cell(column, kind, row[name], missing=DASH)
        sheet.row += 1
        sheet.rows += 1
    if not sheet.rows:
        sheet.text(book["empty"], "note")
    _restatements(report, sheet)


def _restatements(report: Report, sheet: Sheet) -> None:
    """What changed in finished months since it was published, where anything did."""
    rows, book = report.published.all("restatements"), report.book
    if not rows:
        return
    sheet.block(book["restated"])
    names = ("month", "figure", "restated_why", "restated_before", "restated_after")
    sheet.headings([book[name] for name in names], [*["text"] * 3, "amount", "amount"])
    for row in rows:
        figure = f"{row['figure']}: {row['source_name']}"
        why = f"{row['explanation']} ({book['as_of'].lower()} {row['as_of_text']})"
        sheet.fit_height(["", figure, why])
        sheet.cell(0, "month", row["statement_month"])
        sheet.cell(1, "told", figure)
        sheet.cell(2, "told", why)
        sheet.cell(3, "amount", row["before_value"], missing=DASH)
        sheet.cell(4, "amount", row["after_value"], missing=DASH)
        sheet.row += 1
        sheet.rows += 1


def _managers(report: Report, with_deals: bool) -> None:
    """Stage × manager: the same managers stand in the same columns."""
    keys = ("pipeline_name", "stage_name") if with_deals else ("stage_name",)
    sheet, published = report.sheet("managers"), report.published
    leads = published.all(tables.LEADS_BY_STAGE_AND_MANAGER)
    deals = published.all(tables.DEALS_BY_STAGE_AND_MANAGER) if with_deals else []
    counts: Counter[Any] = Counter()
    for row in [*leads, *deals]:
        if row["is_total"] and not row["is_row_total"]:
            counts[row["manager_name"]] += row.get("leads_received", row.get("deals_created", 0))
    order = sorted(counts, key=lambda name: (name is None, -counts[name], str(name)))
    received = _matrix(leads, keys, "manager_name", order)
    # The days stand in the rows of the leads.
    standing = {
        (row["stage_id"], row["is_total"], _across(row, "manager_name")): row
        for row in published.all(tables.DAYS_BY_STAGE_AND_MANAGER)
    }
    for row in leads:
        found = standing.get((row["stage_id"], row["is_total"], _across(row, "manager_name")), {})
        row["days_on_stage_now"] = found.get("days_on_stage_now")
    created = _matrix(deals, keys, "manager_name", order)
    sheet.file.freeze_panes(sheet.row, len(keys) + 1)
    for entity, matrix, measure in (
        ("lead", received, "leads_received"),
        ("lead", received, "days_on_stage_now"),
        ("deal", created, "deals_created"),
        ("deal", created, "deals_created_amount"),
        ("deal", created, "deals_created_amount_unknown"),
    ):
        rows = leads if entity == "lead" else deals
        is_left_out = measure.endswith("_unknown") and not any(row[measure] for row in rows)
        if (entity == "deal" and not with_deals) or is_left_out:
            continue
        sheet.block(f"{report.book[f'entity.{entity}']}: {_inside(report.book.heading(measure))}")
        sheet.shade_together(sheet.matrix(matrix, measure), order)


def _across(row: Mapping[str, Any], across: str) -> Any:
    return WHOLE if row["is_row_total"] else row[across]


def _matrix(
    rows: Sequence[dict[str, Any]], keys: Sequence[str], across: str, order: Sequence[Any]
) -> Matrix:
    """A matrix of rows in their order; stages of one name are told apart by their ids."""
    lines: dict[tuple[Any, ...], Line] = {}
    for row in rows:
        shown = tuple(row.get(name) for name in keys)
        line = Line(shown, row["is_total"], {})
        apart = (*shown, row.get("pipeline_id"), row.get("stage_id"), row["is_total"])
        lines.setdefault(apart, line).cells[_across(row, across)] = row
    return Matrix(keys, list(lines.values()), order)


def _closing(report: Report) -> None:
    sheet = report.sheet("closing")
    placed = report.table(sheet, tables.CLOSING)
    for number, view in enumerate(("cohort", "period")):
        sheet.chart(
            STACKED,
            report.book[f"chart_closing_{view}"],
            placed,
            "days_to_close_bin",
            [(f"sales_{view}", COLORS["quality"]), (f"deals_failed_{view}", COLORS["junk"])],
            at=(sheet.row + 1, 0),
            right=575 * number,
            unit=report.book["pieces"],
        )


def _source_months(report: Report) -> None:
    sheet = report.sheet("source_months")
    rows = report.published.all(tables.SOURCE_MONTHS)
    months = {row["month"] for row in rows if not row["is_row_total"]}
    order = sorted(months, key=lambda month: (month is None, month or dt.date.max))
    sheet.file.freeze_panes(sheet.row + 1, 2)
    matrix = _matrix(rows, ("source_name",), "month", order)
    sheet.shade_together(sheet.matrix(matrix, "leads_potential_amount"), order)
    counted = "leads_potential_amount_unknown"
    if any(row[counted] for row in rows):
        sheet.block(sheet.book.heading(counted))
        sheet.matrix(matrix, counted)


def _stages_by_source(report: Report) -> None:
    sheet, published = report.sheet("stages_by_source"), report.published
    whole = {row["stage_name"]: row for row in published.all(tables.PASS_RATE_BY_STAGE)}
    rates: dict[Any, dict[Any, dict[str, Any]]] = {}
    for row in published.all(tables.PASS_RATE_BY_SOURCE_AND_STAGE):
        rates.setdefault(row["source_name"], {})[row["stage_name"]] = row
    order = list(whole)
    keys = ("source_name", "leads_received")
    lines = [
        Line(
            (row["source_name"], row["leads_received"]),
            row["is_total"],
            whole if row["is_total"] else rates.get(row["source_name"], {}),
        )
        for row in published.all(tables.LEADS_BY_SOURCE)
    ]
    sheet.file.freeze_panes(sheet.row + 1, 2)
    placed = sheet.matrix(Matrix(keys, lines, order, totals=False), "stage_pass_rate")
    sheet.shade_together(placed, order, "#7FC29B")

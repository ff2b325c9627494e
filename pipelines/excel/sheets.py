"""Writing of sheets: tables, matrices and charts with the headings and formats of their columns.

A column's name says what it is: metrics have label and format in `marts.dim_metrics`, other columns
are known by their ending (`_amount`, `_days`, `_date` …, see CONTRIBUTING.md).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.utility import xl_col_to_name, xl_rowcol_to_cell

from pipelines.excel.lists import Cells, ListSheet, fitting
from pipelines.excel.tables import BEFORE, CHANGE, HIGH, LOW, STOCK
from pipelines.excel.words import CURRENCY_SYMBOLS, WORDS

ROW_LIMIT = 1_048_576
EXCEL_EPOCH = dt.date(1899, 12, 30).toordinal()
DASH = "—"
Row = Sequence[Any]

FONT = {"font_name": "Calibri", "font_size": 10, "valign": "vcenter"}
NUMBER_FORMATS = {
    "count": "#,##0",
    "id": "0",
    "amount": "#,##0",
    "days": "0.0",
    "rate": "[=0]0%;[<0.1]0.00%;0.0%",
    "change": "+#,##0;-#,##0;0",
    "change_days": "+0.0;-0.0;0.0",
    "change_share": "+0.0%;-0.0%;0.0%",
    "date": "dd.mm.yyyy",
    "month": "mm.yyyy",
}
WIDTHS = {"text": 20, "title": 34, "code": 14, "flag": 10, "amount": 13, "date": 11}
DEFAULT_WIDTH = 9
# Bold letters of a heading are wider, and stand off the edge.
HEADING_LETTER, HEADING_EDGE = 1.1, 2.5
# Inches of paper that stay free, and the points between: the width and height of a page.
MARGINS = {"left": 0.4, "right": 0.4, "top": 0.5, "bottom": 0.6}
PAGE_WIDTH, PAGE_HEIGHT = (11.69 - 0.8) * 72, (8.27 - 1.1) * 72
LETTER_WIDTH, PIXEL = 5.25, 0.75
# What is by so much longer than a page is made smaller to stand on one; no page cuts a chart.
SMALLER, SMALLER_WITH_CHART = 1.35, 2.2
NAMED = 28
LINE_HEIGHT = 15
MOST_BARS = 20
TEXTS = {"text", "title", "code", "flag"}
HEADINGS = {**dict.fromkeys(TEXTS, "heading"), "date": "heading_date", "month": "heading_date"}
CODES = {"state", "outcome", "customer_kind", "entity", "utm_label", "match_kind", "severity"}
COLORS = {
    "quality": "#2F9E6E",
    "in_progress": "#4A8FD6",
    "new": "#A9C9EC",
    "junk": "#B9BEC6",
    "accent": "#1D5FA8",
}
HIDDEN = {
    *("is_total", "is_row_total", "crm_url"),
    *("stage_id", "next_stage_id", "pipeline_id", "has_counted_lead"),
}
BESIDE = {BEFORE: "before", CHANGE: "changed", STOCK: "at_present", LOW: "low", HIGH: "high"}


@dataclass(frozen=True)
class Metric:
    """Label, definition and format (count, amount, days, rate) of a metric, and whether a period's
    figure may be compared with an earlier period's, of cohorts at the same age."""

    label: str
    definition: str
    value_format: str
    is_comparable: bool


@dataclass(frozen=True)
class Placed:
    """Where the body of a table stands: rows and the columns by name."""

    sheet: str
    first_row: int
    last_row: int
    columns: dict[Any, int]

    def cells(self, column: str) -> list[Any]:
        """The column's body as charts take it."""
        at = self.columns[column]
        return [self.sheet, self.first_row, at, self.last_row, at]


class _Whole:
    """Stands for all values across a matrix."""


WHOLE = _Whole()


@dataclass(frozen=True)
class Line:
    """A row of a matrix: values of its keys, and measures by the value across."""

    keys: tuple[Any, ...]
    is_total: bool
    cells: dict[Any, dict[str, Any]]


@dataclass(frozen=True)
class Matrix:
    """Rows by keys, a column for every value across; `totals`: with a column of all before them."""

    keys: Sequence[str]
    lines: Sequence[Line]
    across: Sequence[Any]
    totals: bool = True


def heading_width(heading: str) -> float:
    """The width of a column in which no word of its heading is broken."""
    longest = max(map(len, heading.split()), default=0)
    return HEADING_LETTER * longest + HEADING_EDGE


class Book:
    """A workbook of which rows are flushed as they are written: memory does not grow with them."""

    def __init__(
        self, path: Path, language: str, currency: str | None, metrics: dict[str, Metric]
    ) -> None:
        self.words = WORDS[language]
        self.metrics = metrics
        self.currency = CURRENCY_SYMBOLS.get(currency or "", currency or "")
        self.used: list[str] = []
        self.sheets: list[Sheet] = []
        self.file = xlsxwriter.Workbook(
            path,
            {
                "constant_memory": True,
                "tmpdir": str(path.parent),
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        # A long list with long titles can exceed what plain ZIP holds.
        self.file.use_zip64()
        self.formats: dict[tuple[str, bool], Any] = {}

    def format(self, kind: str, total: bool = False) -> Any:
        """The format of a kind of cells; of a total: bold, on grey."""
        if (kind, total) not in self.formats:
            look: dict[str, Any] = {**FONT}
            match kind:
                case "sheet_title":
                    look |= {"bold": True, "font_size": 16, "font_color": COLORS["accent"]}
                case "block_title":
                    look |= {"bold": True, "font_size": 12, "font_color": COLORS["accent"]}
                case "note":
                    look |= {"font_color": "#5F6670"}
                case "heading":
                    look |= {"bold": True, "bg_color": "#E8EEF5", "bottom": 1, "text_wrap": True}
                    look |= {"indent": 1}
                case "heading_number" | "heading_month" | "heading_date":
                    look |= {"bold": True, "bg_color": "#E8EEF5", "bottom": 1, "text_wrap": True}
                    look |= {"align": "center" if kind == "heading_date" else "right"}
                case "wrapped":
                    look |= {"text_wrap": True, "valign": "top", "indent": 1}
                case "told":
                    look |= {"text_wrap": True, "indent": 1}
                case "id" | "link":
                    look |= {"font_color": COLORS["accent"], "underline": 1, "valign": "top"}
                case "dash":
                    look |= {"align": "right", "font_color": "#9AA1AB"}
                case "points":
                    look |= {"num_format": '+0.0" {0}";-0.0" {0}";0.0" {0}"'.format(self["points"])}
            if kind in NUMBER_FORMATS:
                look |= {"num_format": NUMBER_FORMATS[kind]}
            if kind == "heading_month":
                look |= {"num_format": NUMBER_FORMATS["month"]}
            if kind in TEXTS:
                look |= {"indent": 1}
            if kind in ("date", "month"):
                look |= {"align": "center"}
            if total:
                look |= {"bold": True, "bg_color": "#F3F4F6"}
            self.formats[kind, total] = self.file.add_format(look)
        return self.formats[kind, total]

    def __getitem__(self, word: str) -> str:
        return self.words[word]

    def kind(self, column: str) -> str:
        """What the cells of a column are, by its name."""
        name, suffix = _beside(column)
        if suffix:
            kind = self.kind(name)
            if suffix != CHANGE:
                return kind
            return "change_days" if kind == "days" else "change"
        if column in self.metrics:
            return self.metrics[column].value_format
        if column in CODES:
            return "code"
        if column in ("month", "title"):
            return column
        if column == "cohort_age":
            return "count"
        if column.startswith("is_"):
            return "flag"
        for kind in ("id", "days", "date", "count"):
            if column.endswith(f"_{kind}"):
                return kind
        if column.endswith("_unknown"):
            return "count"
        if "amount" in column:
            return "amount"
        return "rate" if column.endswith("_rate") else "text"

    def heading(self, column: str) -> str:
        """The label of a column, with the currency of amounts; a metric is noted as used."""
        name, suffix = _beside(column)
        if name in self.metrics:
            if name not in self.used:
                self.used.append(name)
            label = self.metrics[name].label
        else:
            label = self.words[name]
        label = f"{label}, {self.currency}" if self.kind(name) == "amount" else label
        return f"{label}: {self.words[BESIDE[suffix]]}" if suffix else label


def _beside(column: str) -> tuple[str, str]:
    """The metric that a column stands beside, and what it says of it; the column itself."""
    for suffix in BESIDE:
        if column.endswith(suffix):
            return column.removesuffix(suffix), suffix
    return column, ""


def _missing(kind: str, missing: str) -> str:
    """What stands for null in a column; an amount is null where nobody knows it, also in lists."""
    if kind == "amount":
        return DASH
    return "" if kind in TEXTS or kind == "date" else missing


class Sheet:
    """A sheet that is written from top to bottom."""

    def __init__(self, book: Book, name: str, note: str = "") -> None:
        self.book = book
        self.name = book[name]
        self.note = note
        self.row = 0
        self.rows = 0
        self.left_out = 0
        # Points that headings and charts take beside the rows.
        self.more_height = 0.0
        self.smaller = SMALLER
        self.widths: dict[int, float] = {}
        self.file: ListSheet = book.file.add_worksheet(self.name, ListSheet)
        self.file.hide_gridlines(2)
        self.file.set_landscape()
        self.file.set_paper(9)
        self.file.fit_to_pages(1, 0)
        self.file.set_margins(**MARGINS)
        book.sheets.append(self)

    def start(self, period: str) -> None:
        """Title, period and what the sheet shows."""
        self.file.set_row(0, 26)
        self.text(self.name, "sheet_title")
        self.text(period, "note")
        if self.note:
            self.text(self.note, "note")
        self.row += 1

    def print_with(self, foot: str) -> None:
        """What stands at the foot of each page; what nearly fits on one page is printed on one."""
        left, name = foot.replace("&", "&&"), self.name.replace("&", "&&")
        pages = self.book["pages"].format(page="&P", pages="&N")
        self.file.set_footer(f"&L&8{left}&C&8{name}&R&8{pages}")
        width = LETTER_WIDTH * sum(self.widths.values())
        height = LINE_HEIGHT * self.row + self.more_height
        if height * min(1, PAGE_WIDTH / max(width, 1)) <= self.smaller * PAGE_HEIGHT:
            self.file.fit_to_pages(1, 1)

    def text(self, text: str, kind: str, column: int = 0) -> None:
        """One cell of text on a row of its own."""
        self.file.write_string(self.row, column, text, self.book.format(kind))
        self.row += 1

    def block(self, title: str) -> None:
        """The title of a block, after a free row."""
        self.row += 1
        self.text(title, "block_title")

    def headings(self, headings: Sequence[Any], kinds: Sequence[str] = ()) -> None:
        """A row of headings, aligned as the cells below: by default one of text, then numbers."""
        # Bold letters are wider.
        self.fit_height([str(heading) for heading in headings], share=0.85, more=LINE_HEIGHT / 2)
        for column, heading in enumerate(headings):
            if isinstance(heading, dt.date):
                self.cell(column, "heading_month", heading)
            else:
                below = kinds[column] if kinds else "count" if column else "text"
                kind = HEADINGS.get(below, "heading_number")
                self.file.write_string(self.row, column, str(heading), self.book.format(kind))
        self.row += 1

    def fit_height(self, texts: Sequence[str], share: float = 1, more: float = 0) -> None:
        """Gives the present row the height of its longest text, as wrapped in its column.

        Args:
            texts: Of the first columns.
            share: Of a column's width, in letters, that a line holds.
            more: Points beside those of the lines.
        """
        lines = (
            ceil(len(text) / (share * self.widths.get(column, DEFAULT_WIDTH))) or 1
            for column, text in enumerate(texts)
        )
        height = LINE_HEIGHT * max(lines, default=1) + more
        self.more_height += height - LINE_HEIGHT
        self.file.set_row(self.row, height)

    def widen(self, column: int, width: float) -> None:
        """A column takes the widest that any of its tables asks for."""
        if width > self.widths.get(column, 0):
            self.widths[column] = width
            self.file.set_column(column, column, width, self.book.format("text"))

    def cell(
        self, column: int, kind: str, value: Any, total: bool = False, missing: str = ""
    ) -> None:
        """One cell of the present row; texts are never formulas."""
        form = self.book.format(kind, total)
        if value is None:
            if missing:
                self.file.write_string(self.row, column, missing, self.book.format("dash", total))
            elif total:
                self.file.write_blank(self.row, column, None, form)
        elif isinstance(value, str):
            self.file.write_string(self.row, column, fitting(value), form)
        elif isinstance(value, dt.date):
            serial = value.toordinal() - EXCEL_EPOCH
            self.file.write_number(self.row, column, serial, form)
        else:
            self.file.write_number(self.row, column, value, form)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Row],
        missing: str = DASH,
        filters: bool = True,
        labels: Mapping[str, str] | None = None,
    ) -> Placed | None:
        """Headings and rows; the row with `is_total` stands apart at the end.

        Args:
            columns: Names of the values in the rows; `is_total` and `crm_url` make no column.
            rows: Read as they are written.
            missing: What stands for null.
            filters: Whether the headings filter; one table of a sheet can.
            labels: Columns of texts that the CRM names, last and in this order.

        Returns:
            Where the body stands; None where there are no records.
        """
        labels = labels or {}
        own = [name for name in columns if name not in HIDDEN and name not in labels]
        shown = [(name, columns.index(name)) for name in (*own, *labels)]
        total_at = columns.index("is_total") if "is_total" in columns else None
        kinds = ["text" if name in labels else self.book.kind(name) for name, _ in shown]
        headings = list(map(self.book.heading, own))
        headings += [
            f"{label} (ID {name})" if label in headings else label for name, label in labels.items()
        ]
        for column, ((name, _), kind) in enumerate(zip(shown, kinds, strict=True)):
            named = kind == "text" and (column == 0 or name.endswith("stage_name"))
            width = NAMED if named else WIDTHS.get(kind, DEFAULT_WIDTH)
            self.widen(column, max(width, heading_width(headings[column])))
        self.headings(headings, kinds)
        first_row = self.row
        cells = [
            (f'<c r="{xl_col_to_name(column)}', self._cells(name, kind, at, columns, missing))
            for column, ((name, at), kind) in enumerate(zip(shown, kinds, strict=True))
        ]
        left_out = written = 0
        for row in rows:
            total = total_at is not None and row[total_at]
            if total and not written:
                continue
            # The last row tells what is missing.
            if self.row + (1 if total else 0) >= ROW_LIMIT - 1:
                left_out += 1
                continue
            if total:
                self.file.set_row(self.row, 3)
                self.row += 1
                for column, ((_, at), kind) in enumerate(zip(shown, kinds, strict=True)):
                    if column == 0:
                        self.cell(0, "text", self.book["total"], total)
                    else:
                        self.cell(column, kind, row[at], total, _missing(kind, missing))
            else:
                number = self.row + 1
                written += 1
                self.file.write_cells(
                    self.row,
                    "".join(f"{start}{number}{cell}" for start, of in cells if (cell := of(row))),
                    len(cells) - 1,
                )
            self.row += 1
        self.rows += written
        if left_out:
            self.left_out += left_out
            told = self.book["row_limit"].format(shown=written, left_out=left_out)
            self.text(told, "block_title")
        if not written:
            self.text(self.book["empty"], "note")
            return None
        if filters:
            self.file.autofilter(first_row - 1, 0, first_row + written - 1, len(shown) - 1)
        return Placed(
            self.name,
            first_row,
            first_row + written - 1,
            {name: column for column, (name, _) in enumerate(shown)},
        )

    def _cells(
        self, name: str, kind: str, at: int, columns: Sequence[str], missing: str
    ) -> Callable[[Row], str]:
        """What makes the cells of a column, each behind its place; empty where there is none."""
        book, sheet = self.book, self.file
        form = book.format(kind)
        if kind == "id":
            url_at = columns.index("crm_url")
            # Only the portal's address and its number.
            return lambda row: "" if row[at] is None else sheet.link(row[url_at], row[at], form)

        def cell(value: Any) -> str:
            if value is None and name == "utm_value":
                return sheet.text(book["no_label"], book.format("text"))
            if value is None:
                text = _missing(kind, missing)
                return sheet.text(text, book.format("dash")) if text else ""
            if kind == "flag":
                return sheet.text(book["yes" if value else "no"], form)
            if kind == "code":
                return sheet.text(book[f"{name}.{value}"], form)
            if isinstance(value, str):
                return sheet.text(value, form)
            if isinstance(value, dt.date):
                return sheet.number(value.toordinal() - EXCEL_EPOCH, form)
            return sheet.number(value, form)

        known = Cells(cell)
        return lambda row: known[row[at]]

    def matrix(self, matrix: Matrix, measure: str) -> Placed | None:
        """A table of one measure with a column for every value across.

        Returns:
            Where the body stands; None where there are no records.
        """
        kind = self.book.kind(measure)
        keys, across = matrix.keys, matrix.across
        ordered = [*([WHOLE] if matrix.totals else []), *across]
        placed = {value: column for column, value in enumerate(ordered, len(keys))}
        names = [
            self.book["total"] if value is WHOLE else DASH if value is None else value
            for value in ordered
        ]
        self.book.heading(measure)
        for column, name in enumerate([*keys, *ordered]):
            is_name = column < len(keys) and self.book.kind(name) == "text"
            width = NAMED if is_name else WIDTHS.get(kind, DEFAULT_WIDTH)
            heading = self.book.heading(name) if column < len(keys) else names[column - len(keys)]
            self.widen(column, max(width, heading_width(str(heading))))
        kinds = [*map(self.book.kind, keys), *([kind] * len(ordered))]
        self.headings([*map(self.book.heading, keys), *names], kinds)
        lines = [line for line in matrix.lines if not line.is_total]
        if not lines:
            self.text(self.book["empty"], "note")
            return None
        first_row = self.row
        for line in matrix.lines:
            if line.is_total:
                self.file.set_row(self.row, 3)
                self.row += 1
            for column, (name, text) in enumerate(zip(keys, line.keys, strict=True)):
                shown = self.book["total"] if line.is_total and column == 0 else text
                shown_as = "text" if line.is_total and column == 0 else self.book.kind(name)
                self.cell(column, shown_as, shown, line.is_total)
            for value in ordered:
                cells = line.cells.get(value)
                bold = line.is_total or value is WHOLE
                unknown = DASH if kind == "amount" and cells else ""
                found = cells[measure] if cells else None
                self.cell(placed[value], kind, found, bold, unknown)
            self.row += 1
        self.rows += len(lines)
        return Placed(self.name, first_row, first_row + len(lines) - 1, placed)

    def shade(
        self,
        placed: Placed | None,
        columns: Iterable[Any],
        color: str = "#7FC29B",
        sample: tuple[str, int] | None = None,
    ) -> None:
        """Shades the numbers of each column from white, the lowest, to the colour.

        Args:
            sample: A column, and how much of it a row needs to be shaded.
        """
        if placed is None:
            return
        for name in columns:
            column = placed.columns[name]
            if sample:
                records = xl_rowcol_to_cell(
                    placed.first_row, placed.columns[sample[0]], col_abs=True
                )
                self.file.conditional_format(
                    *(placed.first_row, column, placed.last_row, column),
                    {
                        "type": "formula",
                        "criteria": f"={records}<{sample[1]}",
                        "format": self.book.file.add_format({"italic": True}),
                        "stop_if_true": True,
                    },
                )
            self._scale(placed.first_row, column, placed.last_row, column, color)

    def shade_together(
        self, placed: Placed | None, columns: Sequence[Any], color: str = "#8DB4E2"
    ) -> None:
        """Shades the numbers of neighbouring columns on one scale."""
        if placed and columns:
            first, last = placed.columns[columns[0]], placed.columns[columns[-1]]
            self._scale(placed.first_row, first, placed.last_row, last, color)

    def _scale(self, row: int, column: int, last_row: int, last: int, color: str) -> None:
        self.file.conditional_format(
            *(row, column, last_row, last),
            {"type": "2_color_scale", "min_color": "#FFFFFF", "max_color": color},
        )

    def redden(self, placed: Placed | None, column: str) -> None:
        """Rows in which a flag says yes stand on light red."""
        if placed is None:
            return
        flag = xl_rowcol_to_cell(placed.first_row, placed.columns[column], col_abs=True)
        self.file.conditional_format(
            *(placed.first_row, 0, placed.last_row, max(placed.columns.values())),
            {
                "type": "formula",
                "criteria": f'={flag}="{self.book["yes"]}"',
                "format": self.book.file.add_format({"bg_color": "#FBE3E1"}),
            },
        )

    def chart(
        self,
        kind: dict[str, str],
        title: str,
        placed: Placed | None,
        categories: str,
        series: Sequence[tuple[str, str]],
        at: tuple[int, int],
        unit: str,
        number_format: str = "#,##0",
        size: tuple[int, int] = (560, 285),
        right: int = 0,
    ) -> None:
        """A chart of columns of a table.

        Args:
            kind: Type and subtype.
            series: Column and colour of each.
            at: Row and column of the upper left corner.
            unit: Title of the axis of values.
            right: Pixels from there to the right.
        """
        if placed is None:
            return
        if kind["type"] == "bar":
            placed = replace(
                placed, last_row=min(placed.last_row, placed.first_row + MOST_BARS - 1)
            )
            bars = placed.last_row - placed.first_row + 1
            size = (size[0], max(size[1], 130 + 28 * bars))
        chart = self.book.file.add_chart(kind)
        for column, color in series:
            chart.add_series(
                {
                    "name": [placed.sheet, placed.first_row - 1, placed.columns[column]],
                    "categories": placed.cells(categories),
                    "values": placed.cells(column),
                    "fill": {"color": color},
                    "line": {"color": color, "width": 2 if kind["type"] == "line" else 0.5},
                    "gap": 60,
                }
            )
        labels = {"num_font": {"size": 9}, "line": {"color": "#C9CED6"}}
        values: dict[str, Any] = {
            **labels,
            "name": unit,
            "name_font": {"size": 9, "bold": False},
            "num_format": number_format,
            "major_gridlines": {"visible": True, "line": {"color": "#E3E6EA"}},
            "min": 0,
        }
        names: dict[str, Any] = dict(labels)
        if categories == "month":
            names |= {"num_format": NUMBER_FORMATS["month"], "text_axis": True}
        if kind["type"] == "bar":
            # The first category on top; names stand on the vertical axis.
            chart.set_x_axis(values)
            chart.set_y_axis({**names, "reverse": True, "crossing": "max", "interval_unit": 1})
        else:
            chart.set_x_axis(names)
            chart.set_y_axis(values)
        chart.set_title({"name": title, "name_font": {"size": 12}, "overlay": False})
        chart.set_legend({"position": "bottom" if len(series) > 1 else "none"})
        chart.set_size({"width": size[0], "height": size[1]})
        self.file.insert_chart(*at, chart, {"object_position": 3, "x_offset": right})
        if at[0] >= self.row:
            self.more_height += 0 if right else PIXEL * size[1] + 2 * LINE_HEIGHT
            self.smaller = SMALLER_WITH_CHART

"""Rows of lists say what XlsxWriter would write cell by cell."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from openpyxl import load_workbook

from pipelines.excel.lists import TEXT_LIMIT, Cells, ListSheet

TEXTS = (
    "Лид №5",
    '=HYPERLINK("https://evil.example/";"Счёт")',
    "<script>&amp;</script>",
    "]]> & \"'",
    "<r><b></r>",
    " with spaces ",
    "two\nlines\tand a tab",
    "a bell \x07 and _x0041_",
    "𝄞 clef",
    "\ufffe",
    "",
    "я" * (TEXT_LIMIT + 1),
)
NUMBERS = (0, 1, -7, 10**15, 1 / 3, 1e-9, Decimal("110971.00"), Decimal("0.10"), True)
ADDRESS = 'https://portal.example/crm/lead/details/7/?a=1&b="2"'


@pytest.fixture
def sheets(tmp_path: Path) -> dict[str, Any]:
    """The same values cell by cell and as rows, as another program reads them."""
    file = tmp_path / "book.xlsx"
    book = xlsxwriter.Workbook(
        file, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    )
    form, bold = book.add_format({"num_format": "0.0"}), book.add_format({"bold": True})
    cells, rows = book.add_worksheet("cells", ListSheet), book.add_worksheet("rows", ListSheet)
    for sheet in (cells, rows):
        sheet.set_row(0, 30)
        sheet.write_string(0, 0, "head", bold)
    for row, text in enumerate(TEXTS, 1):
        shown = text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
        cells.write_string(row, 0, shown, bold)
        rows.write_cells(row, f'<c r="A{row + 1}{rows.text(text, bold)}', 1)
    for row, value in enumerate(NUMBERS, len(TEXTS) + 1):
        cells.write_number(row, 1, value, form)
        rows.write_cells(row, f'<c r="B{row + 1}{rows.number(value, form)}', 1)
    row = len(TEXTS) + len(NUMBERS) + 1
    quoted = ADDRESS.replace('"', '""')
    cells.write_formula(row, 0, f'=HYPERLINK("{quoted}",7)', form, 7)
    rows.write_cells(row, f'<c r="A{row + 1}{rows.link(ADDRESS, 7, form)}', 1)
    for sheet in (cells, rows):
        sheet.write_string(row + 1, 0, "foot", bold)
    book.close()
    return {sheet.title: sheet for sheet in load_workbook(file).worksheets}


def test_a_row_holds_what_its_cells_would(sheets: dict[str, Any]) -> None:
    def content(name: str) -> list[Any]:
        return [
            (cell.coordinate, cell.value, cell.data_type, cell.number_format, cell.font.b)
            for row in sheets[name].iter_rows()
            for cell in row
        ]

    assert content("rows") == content("cells")
    assert sheets["rows"].dimensions == sheets["cells"].dimensions
    assert sheets["rows"].row_dimensions[1].height == 30


def test_what_somebody_wrote_is_never_markup(sheets: dict[str, Any]) -> None:
    for name in ("rows", "cells"):
        shown = [sheets[name].cell(row, 1).value for row in range(2, len(TEXTS) + 2)]
        assert [shown[1], shown[2], shown[4]] == [TEXTS[1], TEXTS[2], TEXTS[4]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(tmp_path: Path, value: float) -> None:
    with xlsxwriter.Workbook(tmp_path / "book.xlsx", {"constant_memory": True}) as book:
        sheet = book.add_worksheet("rows", ListSheet)
        with pytest.raises(TypeError):
            sheet.number(value, book.add_format())


def test_a_cell_is_made_once_for_a_value() -> None:
    made: list[Any] = []

    def cell(value: Any) -> str:
        made.append(value)
        return f"<{value}>"

    cells = Cells(cell)
    assert [cells[value] for value in ("a", "b", "a", None, None)] == [
        *("<a>", "<b>", "<a>", "<None>", "<None>"),
    ]
    assert made == ["a", "b", None]

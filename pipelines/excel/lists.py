"""Rows of lists, each written at once: XlsxWriter takes some 20 µs for a cell, and a list of a big
portal has millions of them."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

TEXT_LIMIT = 32_767
# Values of a column whose cells are remembered: names of stages and managers, not titles.
REMEMBERED = 10_000


class ListSheet(Worksheet):
    """A sheet of a workbook with `constant_memory`, with rows of cells made by `cell`."""

    def write_cells(self, row: int, cells: str, last_column: int) -> None:
        """Writes a row below those written before.

        Args:
            cells: Of the row, in their order.
            last_column: That a cell may stand in.
        """
        if row > self.previous_row:
            self._write_single_row(row)
        self._check_dimensions(row, last_column)
        self.fh.write(f'<row r="{row + 1}">{cells}</row>')

    def text(self, text: str, form: Format) -> str:
        """A cell of text, behind its place."""
        shown = self._escape_data(self._escape_control_characters(fitting(text)))
        space = ' xml:space="preserve"' if text[:1].isspace() or text[-1:].isspace() else ""
        style = form._get_xf_index()
        return f'" s="{style}" t="inlineStr"><is><t{space}>{shown}</t></is></c>'

    def number(self, value: Any, form: Format) -> str:
        """A cell of a number, behind its place."""
        if not isfinite(value):
            raise TypeError(f"no cell can hold {value}")
        return f'" s="{form._get_xf_index()}"><v>{value:.16G}</v></c>'

    def link(self, address: str, value: int, form: Format) -> str:
        """A cell of a number that is a link, behind its place; Excel has no limit on such
        formulas."""
        quoted = address.replace('"', '""')
        formula = self._escape_data(f'HYPERLINK("{quoted}",{value:d})')
        return f'" s="{form._get_xf_index()}"><f>{formula}</f><v>{value:d}</v></c>'

    def _xml_rich_inline_string(self, string: str, attributes: Any = ()) -> None:
        # XlsxWriter takes `<r>…</r>` for markup of its own; here it is what somebody wrote.
        self._xml_inline_string(string, False, attributes)


class Cells(dict[Any, str]):
    """Value → its cell, made once for a value that comes again."""

    def __init__(self, make: Callable[[Any], str]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, value: Any) -> str:
        cell = self.make(value)
        if len(self) < REMEMBERED:
            self[value] = cell
        return cell


def fitting(text: str) -> str:
    """The text as a cell can hold it, which counts in halves of characters; a cut one says so."""
    if len(text) <= TEXT_LIMIT // 2:
        return text
    units = text.encode("utf-16-le")
    if len(units) <= 2 * TEXT_LIMIT:
        return text
    return units[: 2 * (TEXT_LIMIT - 1)].decode("utf-16-le", errors="ignore") + "…"

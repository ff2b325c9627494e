"""Answers of the methods, and pages of lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.demo_portal.params import as_mapping
from scripts.demo_portal.table import Selection, Table, among

PAGE_SIZE = 50

Params = Mapping[str, Any]


@dataclass
class Reply:
    """Result of a method; ``total`` and ``next`` are left out of the answer where None."""

    result: Any
    total: int | None = None
    next: int | None = None


Method = Callable[[Params], Reply]


def page(table: Table, shown: Mapping[str, str], selection: Selection, start: int) -> Reply:
    """The page of a list that begins at ``start``; a negative one counts nothing.

    Args:
        shown: name in the answer to SQL.
    """
    following = start + PAGE_SIZE
    if start > 0:
        # Found once for all pages: SQLite would walk to each of them from the first row on.
        ids = table.ids(selection)
        total = len(ids)
        selection = among(f"{table.name}.id", ids[start:following], selection.order)
    else:
        total = 0 if start < 0 else table.count(selection)
    rows = table.rows(shown, selection, PAGE_SIZE)
    return Reply(rows, total, following if start >= 0 and following < total else None)


def either(params: Params, name: str) -> Any:
    """A parameter of an upper-case method, whose name may come in upper case too."""
    return params.get(name, params.get(name.upper()))


def mapping(params: Params, name: str) -> dict[str, Any]:
    """A parameter that is a PHP array; anything else is an empty one."""
    return as_mapping(either(params, name)) or {}


def strings(params: Params, name: str) -> list[str]:
    """A parameter that is a list of names."""
    return [str(item) for item in mapping(params, name).values()]

"""Filters of the list methods: prefixes, nesting, empty values.

Prefixes as the documentation of crm.item.list, crm.lead.list, crm.stagehistory.list and user.get
names them. An empty filter value means "is empty", and ``!=`` and the other negations keep the rows
whose field is empty, as SQL made by Bitrix24 does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timezone
from typing import Any

import orjson
import polars as pl

from scripts.demo_portal.columns import Kind, parse_day, parse_instant
from scripts.demo_portal.params import as_mapping, php_float, php_int

PREFIXES = ("!=%", "!%=", "!@", "!%", "!=", "=%", "%=", ">=", "<=", ">", "<", "@", "=", "%", "!")
_NEGATED = {"!=": "=", "!": "=", "!@": "@", "!%": "%", "!=%": "=%", "!%=": "=%"}
_SAME = {"": "=", "%=": "=%"}
COMPARISONS = (">=", ">", "<=", "<")


class BadFilterValue(ValueError):
    """A filter value that its field cannot take; its text is the column."""


class _WrongValue(ValueError):
    """A value that the kind of a column cannot take."""


def split_key(key: str) -> tuple[str, str]:
    """``>=DATE_CREATE`` as (">=", "DATE_CREATE")."""
    prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), "")
    return prefix, key[len(prefix) :]


@dataclass(frozen=True)
class Condition:
    """One condition: ``operator`` is one of ``= > >= < <= @ % =%``."""

    column: str
    operator: str
    negated: bool
    value: Any


@dataclass
class Group:
    """Conditions joined by AND, or by OR."""

    any_of: bool = False
    members: list[Condition | Group] = field(default_factory=list)

    def canonical(self) -> bytes:
        """The same bytes for the same filter: the key of a cache."""
        return orjson.dumps(_plain(self), default=str)


def _plain(member: Condition | Group) -> list[Any]:
    if isinstance(member, Group):
        return [member.any_of, [_plain(item) for item in member.members]]
    return [member.column, member.operator, member.negated, member.value]


def parse(
    filters: dict[str, Any],
    column_of: Callable[[str], str | None],
    unknown: Callable[[str], None],
    nested: bool,
) -> Group:
    """A request's filter.

    Args:
        filters: the filter parameter.
        column_of: the column of a field name, None where there is no such field.
        unknown: called with the name of an unknown field (it raises, or lets it pass).
        nested: whether nested groups and ``logic`` are understood.
    """
    group = Group()
    for key, value in filters.items():
        if nested and key.lower() == "logic":
            group.any_of = str(value).upper() == "OR"
            continue
        inner = as_mapping(value) if nested and key.isdigit() else None
        if inner is not None:
            group.members.append(parse(inner, column_of, unknown, nested))
            continue
        prefix, name = split_key(key)
        column = column_of(name)
        if column is None:
            unknown(name)
            continue
        positive = _NEGATED.get(prefix, prefix)
        group.members.append(
            Condition(column, _SAME.get(positive, positive), prefix in _NEGATED, value)
        )
    return group


def expression(group: Group, kinds: dict[str, Kind], zone: timezone) -> pl.Expr:
    """The filter as a Polars expression, never null."""
    parts = [
        expression(member, kinds, zone)
        if isinstance(member, Group)
        else _condition(member, kinds.get(member.column), zone)
        for member in group.members
    ]
    if not parts:
        return pl.lit(True)
    return pl.any_horizontal(parts) if group.any_of else pl.all_horizontal(parts)


def _condition(condition: Condition, kind: Kind | None, zone: timezone) -> pl.Expr:
    column = pl.lit(None, dtype=pl.String) if kind is None else pl.col(condition.column)
    try:
        found = _positive(condition, column, kind or Kind.TEXT, zone).fill_null(False)
    except _WrongValue as error:
        raise BadFilterValue(condition.column) from error
    return ~found if condition.negated else found


def _positive(condition: Condition, column: pl.Expr, kind: Kind, zone: timezone) -> pl.Expr:
    operator, value = condition.operator, condition.value
    listed = value if isinstance(value, list) else None
    if isinstance(value, dict):
        listed = list(value.values())
    if operator == "@" or (operator == "=" and listed is not None):
        options = listed if listed is not None else [value]
        plain = [option for option in options if not _is_empty(option)]
        parts = [_equal(column, kind, option, zone) for option in options if _is_empty(option)]
        if kind in (Kind.INTS, Kind.JSON, Kind.BOOL, Kind.FLAG) or 0 in plain or "0" in plain:
            parts += [_equal(column, kind, option, zone) for option in plain]
        elif plain:
            parts.append(column.is_in([convert(option, kind, zone) for option in plain]))
        return pl.any_horizontal(parts) if parts else pl.lit(False)
    if listed is not None:
        raise _WrongValue
    if operator == "=":
        return _equal(column, kind, value, zone)
    if operator in ("%", "=%"):
        return _like(column, kind, str(value), whole=operator == "=%")
    if kind in (Kind.INTS, Kind.JSON):
        raise _WrongValue
    other = convert(value, kind, zone)
    compare = {">": column.gt, ">=": column.ge, "<": column.lt, "<=": column.le}[operator]
    return compare(other)


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value == ""


def _equal(column: pl.Expr, kind: Kind, value: Any, zone: timezone) -> pl.Expr:
    if kind == Kind.BOOL:
        return column.fill_null(False).eq(convert(value, kind, zone))
    if kind == Kind.FLAG:
        wanted = convert(value, kind, zone)
        return column.cast(pl.String).is_in(["true", "1", "Y"]).fill_null(False).eq(wanted)
    if kind == Kind.INTS:
        if _is_empty(value):
            return column.list.len().fill_null(0).eq(0)
        return column.list.contains(php_int(value))
    if kind == Kind.JSON:
        return column.map_elements(
            lambda text: _json_equal(text, value), return_dtype=pl.Boolean, skip_nulls=False
        )
    if kind in (Kind.INT, Kind.QUOTED, Kind.FLOAT):
        number = convert(value, kind, zone)
        return column.is_null() | column.eq(0) if number == 0 else column.eq(number)
    if _is_empty(value):
        return column.is_null() | column.eq("") if kind == Kind.TEXT else column.is_null()
    return column.eq(convert(value, kind, zone))


def _json_equal(text: str | None, value: Any) -> bool:
    stored = None if text is None else orjson.loads(text)
    if _is_empty(value):
        return stored in (None, "", [], {}, False)
    items = stored if isinstance(stored, list) else [stored]
    return any(str(item) == str(value) for item in items if item is not None)


def _like(column: pl.Expr, kind: Kind, pattern: str, whole: bool) -> pl.Expr:
    if kind == Kind.INTS:
        raise _WrongValue
    text = column if kind in (Kind.TEXT, Kind.JSON) else column.cast(pl.String)
    if not whole:
        return text.str.to_lowercase().str.contains(pattern.lower(), literal=True)
    wildcards = {"%": ".*", "_": "."}
    regex = "".join(wildcards.get(char, re.escape(char)) for char in pattern)
    return text.str.contains(f"(?is)^{regex}$")


def convert(value: Any, kind: Kind, zone: timezone) -> Any:
    """A filter value as the column keeps it.

    Raises:
        ValueError: the field is a date or a datetime and the value is none.
    """
    if isinstance(value, (list, dict)):
        raise _WrongValue(value)
    if kind in (Kind.INT, Kind.QUOTED):
        return php_int(value)
    if kind == Kind.FLOAT:
        return php_float(value)
    if kind == Kind.BOOL:
        return value in (True, 1, "1", "Y", "true")
    if kind == Kind.FLAG:
        return php_int(value) == 1
    if kind in (Kind.TIME, Kind.DATE):
        parsed = parse_instant(str(value), zone) if kind == Kind.TIME else parse_day(str(value))
        if parsed is None:
            raise _WrongValue(value)
        return parsed
    return "" if value is None else str(value)

"""Filters of the list methods, from the request to an SQL condition.

Prefixes as the documentation of crm.item.list, crm.lead.list, crm.stagehistory.list and user.get
names them. An empty filter value means "is empty", and ``!=`` and the other negations keep the rows
whose field is empty, as SQL made by Bitrix24 does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timezone
from typing import Any

import orjson

from scripts.demo_portal.params import as_mapping, php_float, php_int
from scripts.demo_portal.values import FLAGS, NUMBERS, TIMES, Kind, midnight, moment, written

PREFIXES = ("!=%", "!%=", "!@", "!%", "!=", "=%", "%=", ">=", "<=", ">", "<", "@", "=", "%", "!")
_NEGATED = {"!=": "=", "!": "=", "!@": "@", "!%": "%", "!=%": "=%", "!%=": "=%"}
_SAME = {"": "=", "%=": "=%"}

# SQL and the values of its placeholders.
Sql = tuple[str, list[Any]]


class BadFilterValue(ValueError):
    """A filter value that its field cannot take; its text is the column."""


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


def parse(
    filters: dict[str, Any],
    column_of: Callable[[str], str | None],
    unknown: Callable[[str], None],
    nested: bool,
) -> Group:
    """A request's filter.

    Args:
        filters: the filter parameter.
        column_of: the column of a field name; None if the field does not exist.
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


def where(group: Group, columns: Callable[[str], tuple[str, Kind]], zone: timezone) -> Sql:
    """The filter as an SQL condition.

    Args:
        group: the filter.
        columns: SQL and kind of a column.
        zone: the portal's offset, for datetimes without one.

    Raises:
        BadFilterValue: a value that its field cannot take.
    """
    members = [
        where(member, columns, zone)
        if isinstance(member, Group)
        else _condition(member, *columns(member.column), zone)
        for member in group.members
    ]
    return _joined(members, " or " if group.any_of else " and ") if members else ("true", [])


def _joined(members: Sequence[Sql], word: str) -> Sql:
    return (
        word.join(f"({sql})" for sql, _ in members),
        [value for _, values in members for value in values],
    )


def _condition(condition: Condition, column: str, kind: Kind, zone: timezone) -> Sql:
    try:
        sql, values = _positive(condition.operator, condition.value, column, kind, zone)
    except (ValueError, OverflowError) as error:
        raise BadFilterValue(condition.column) from error
    return (f"({sql}) is not true" if condition.negated else sql), values


def _positive(operator: str, value: Any, column: str, kind: Kind, zone: timezone) -> Sql:
    options = as_mapping(value)
    if kind in FLAGS:
        column = f"(coalesce(cast({column} as text), '') in ('true', '1', 'Y'))"
    if operator == "@" or (operator == "=" and options is not None):
        return _one_of([value] if options is None else [*options.values()], column, kind, zone)
    if options is not None:
        raise ValueError(value)
    if operator == "=":
        return _equal(value, column, kind, zone)
    if operator == "%":
        return f"instr(fold({column}), ?)", [str(value).lower()]
    if operator == "=%":
        return f"fold({column}) like ?", [str(value).lower()]
    if kind == Kind.JSON:
        raise ValueError(value)
    return f"{column} {operator} ?", [_convert(value, kind, zone)]


def _one_of(options: Sequence[Any], column: str, kind: Kind, zone: timezone) -> Sql:
    found: list[Sql] = []
    plain = []
    for option in options:
        sql, values = _equal(option, column, kind, zone)
        if sql == f"{column} = ?":
            plain += values
        else:
            found.append((sql, values))
    if plain:
        # One placeholder for any number of values.
        listed = f"{column} in (select value from json_each(?))"
        found.append((listed, [orjson.dumps(plain).decode()]))
    return _joined(found, " or ") if found else ("false", [])


def _equal(value: Any, column: str, kind: Kind, zone: timezone) -> Sql:
    is_empty = value is None or value is False or value == ""
    if kind == Kind.JSON:
        return f"holds({column}, ?)", [None if is_empty else str(value)]
    if is_empty and kind in TIMES:
        return f"{column} is null", []
    wanted = _convert(value, kind, zone)
    if kind in NUMBERS and wanted == 0:
        return f"coalesce({column}, 0) = 0", []
    if is_empty and kind not in FLAGS:
        return f"coalesce({column}, '') = ''", []
    return f"{column} = ?", [wanted]


def _convert(value: Any, kind: Kind, zone: timezone) -> Any:
    """A filter value as the column keeps it."""
    if isinstance(value, list | dict):
        raise ValueError(value)
    if kind in (Kind.INT, Kind.QUOTED):
        return php_int(value)
    if kind == Kind.FLOAT:
        return php_float(value)
    if kind == Kind.BOOL:
        return value in (True, 1, "1", "Y", "true")
    if kind == Kind.FLAG:
        return php_int(value) == 1
    if kind in TIMES:
        time = moment(str(value), zone) if kind == Kind.TIME else midnight(str(value))
        return written(time, zone)
    return "" if value is None else str(value)


def holds(kept: Any, wanted: str | None) -> bool:
    """SQL function: whether a value of kind JSON is, or has among its items, the one wanted."""
    value = orjson.loads(kept) if isinstance(kept, bytes) else kept
    if wanted is None:
        return value in (None, "", [], {}, False)
    items = value if isinstance(value, list) else [value]
    return any(str(item) == wanted for item in items if item is not None)


def fold(kept: Any) -> str | None:
    """SQL function: the text of a value without case; SQLite's own knows Latin letters only."""
    if kept is None:
        return None
    return (kept.decode() if isinstance(kept, bytes) else str(kept)).lower()

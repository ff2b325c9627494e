"""The first figures: what each block of a page shows under the default choice.

The shell shows them at once; what the reader chooses then its engine answers with the same SQL.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

import duckdb

from pipelines.errors import ReportFailed
from pipelines.metric_sql import (
    CHOSEN_GRAIN,
    MetricQuery,
    SemanticLayer,
    UnknownName,
    filled,
    without_grain,
)
from pipelines.site.choice import Choice, a_year_before
from pipelines.site.meta import FIRST_SETS

# A comment, a quote, an input, or what stands between them.
SIGNS = re.compile(r"(--[^\n]*|'|\$\{\s*inputs\.(\w+)(?:\.(\w+))?\s*\}|[^-'$]+|.)")
# The records that a list shows at first: those of a metric in the period, or as of now.
SET = re.compile(r"\[\[set (\w+)(?: (\w+?)(_now)?)?\]\]")
# In `by`: a breakdown by each user field.
USER_FIELDS = "__user_fields"
# The column of a time axis.
PERIOD = "period"


class PageFailed(ReportFailed):
    """A block of a page cannot be computed; names file and line."""


class Compiled(NamedTuple):
    """SQL of a metric block's variant, with its places."""

    main: str
    total: str | None
    line: str | None


def compiled(block: Mapping[str, Any], by: Sequence[str], layer: SemanticLayer) -> Compiled:
    """The SQL of a metric block broken down by dimensions.

    Args:
        block: As `blocks.json` of the shell tells it.

    Raises:
        PageFailed: names a metric or dimension that does not exist.
    """
    metrics = tuple(block["metrics"])
    stock = metrics if block.get("period") == "none" else tuple(block.get("now") or ())
    where = _conditions(block.get("where"))
    targets = {"stages": "none"} if "stage__entity = 'lead'" in (block.get("where") or "") else {}
    on_axis = bool(block.get("grain"))
    axis = (f"metric_time__{CHOSEN_GRAIN}",) if on_axis else ()
    in_time = tuple(name for name in metrics if name not in stock)
    try:
        beside = {
            column: name for metric in metrics for column, name in layer.beside(metric).items()
        }
        asked = MetricQuery(
            tuple(dict.fromkeys([*metrics, *beside.values()])),
            (*axis, *by),
            stock=tuple(
                name
                for metric in stock
                for name in (metric, *layer.beside(metric).values())
                if name not in in_time
            ),
            on_axis=on_axis,
            where=where,
            targets=targets,
        )
        columns = {name: name for name in metrics} | beside
        main = _named(layer.sql(asked), (*axis, *by), columns)
        total = None
        if block.get("total") and not on_axis:
            total = _named(layer.sql(replace(asked, by=())), (), columns)
        line = None
        if block.get("line") and in_time:
            months = ("metric_time__month", *by)
            line = layer.sql(replace(asked, metrics=in_time, stock=(), by=months, on_axis=True))
            line = _named(line, months, {name: name for name in in_time})
            line += f"\norder by {PERIOD} nulls last"
    except UnknownName as error:
        raise PageFailed(f"{block['place']}: {block['id']}: {error}") from error
    order = _order(block.get("order"), by, on_axis)
    limit = f"\nlimit {block['limit']}" if block.get("limit") else ""
    return Compiled(main + order + limit, total, line)


def _alternatives(block: Mapping[str, Any], dimensions: Sequence[str]) -> list[Sequence[str]]:
    """The breakdowns that a block offers; `lead__user_fields` is one for each of the user fields of
    leads among the dimensions."""
    found: list[Sequence[str]] = []
    for by in block.get("by") or [[]]:
        place = next((name for name in by if name.endswith(USER_FIELDS)), None)
        if place is None:
            found.append(by)
            continue
        entity = place.removesuffix(USER_FIELDS)
        fields = [name for name in dimensions if name.startswith(f"{entity}__uf_crm_")]
        found += [[field if name == place else name for name in by] for field in fields]
    return found


def _conditions(where: str | None) -> tuple[str, ...]:
    """`stage__entity = 'lead'` in MetricFlow's form."""
    if not where:
        return ()
    return (
        re.sub(
            r"\b[a-z]+(?:_[a-z]+)*__\w+", lambda name: f"{{{{ Dimension('{name[0]}') }}}}", where
        ),
    )


def _named(sql: str, by: Sequence[str], columns: Mapping[str, str]) -> str:
    """The answer under the names that the shell knows: the time axis first, as `period`."""
    keys = [
        f"metric_time as {PERIOD}" if name.startswith("metric_time") else without_grain(name)
        for name in by
    ]
    metrics = [
        name if name == column else f"{name} as {column}" for column, name in columns.items()
    ]
    return f"select {', '.join([*keys, *metrics])}\nfrom (\n{sql}\n) as answer"


def _order(order: str | None, by: Sequence[str], on_axis: bool) -> str:
    wanted = [f"{PERIOD} nulls last"] if on_axis else []
    if order:
        wanted.append(
            f"{order.lstrip('-')} {'desc' if order.startswith('-') else 'asc'} nulls last"
        )
    wanted += [f"{without_grain(name)} nulls last" for name in by]
    return f"\norder by {', '.join(wanted)}" if wanted else ""


class Figures:
    """Answers the blocks of the pages from the tables of the site.

    Args:
        connection: Has the site's tables as its default database.
        user_fields: As `meta.json` has them.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        layer: SemanticLayer,
        choice: Choice,
        user_fields: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self.connection, self.layer, self.choice = connection, layer, choice
        self.user_fields = user_fields

    def page(self, blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The blocks of a page: SQL of each variant, and what it shows at first.

        Raises:
            PageFailed: the SQL of a block does not run; names file, line and why.
        """
        found = []
        for block in blocks:
            try:
                variants = (
                    self._metrics(block)
                    if block["kind"] == "metrics"
                    else self._written(block, {one["id"]: one for one in blocks})
                )
            except duckdb.Error as error:
                where = f"{block['place']}: {block['id']}"
                raise PageFailed(f"{where}: {error}") from error
            found.append({"id": block["id"], "variants": variants})
        return found

    def _metrics(self, block: Mapping[str, Any]) -> dict[str, Any]:
        choice, variants = self.choice, {}
        grain = (block.get("grain") or ["month"])[0]
        before = choice.year_before if block.get("grain") else choice.before
        # A field that leads have and deals have not is no breakdown of deals.
        fields = [f"{one['entity']}__{one['name'].lower()}" for one in self.user_fields]
        for number, by in enumerate(_alternatives(block, fields)):
            sql = compiled(block, by, self.layer)
            variant: dict[str, Any] = {"sql": sql.main}
            if sql.total:
                variant["total"] = {"sql": sql.total}
            if sql.line:
                variant["line"] = {"sql": sql.line}
            if number == 0:
                window = choice.axis(grain)
                variant |= self._answer(sql.main, grain=grain, window=window)
                if sql.total:
                    variant["total"] |= self._answer(sql.total)
                if sql.line:
                    months = choice.window("month", choice.period)
                    variant["line"] |= self._answer(sql.line, window=months)
                if block.get("yearAgo"):
                    year = choice.year_before
                    asked = {"period": year.days, "until": year.until, "reached": year.reached}
                    variant["yearAgo"] = self._answer(sql.main, window=window, **asked)["rows"]
                if block.get("compare") and before:
                    asked = {
                        "period": before.days,
                        "until": before.until,
                        "reached": before.reached,
                    }
                    days = a_year_before(window)
                    rows = self._answer(sql.main, grain=grain, window=days, **asked)["rows"]
                    variant["compare"] = rows
                    if sql.total:
                        variant["total"]["compare"] = self._answer(sql.total, **asked)["rows"]
            variants[", ".join(by)] = variant
        return variants

    def _written(
        self, block: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """A block that is SQL; one that waits for a choice or only others name has no rows."""
        sql = None if block.get("inner") else _whole(block, others)
        if sql is None:
            return {}
        listed = block.get("list")
        if not listed:
            return {"": self._answer(sql)}
        sort, key = listed["sort"], listed["key"]
        order = (
            [f'"{sort.lstrip("-")}" {"desc" if sort.startswith("-") else "asc"} nulls last']
            if sort
            else []
        )
        order += [f'"{key}"'] if key else []
        by = f" order by {', '.join(order)}" if order else ""
        sums = "".join(f', sum("{name}") as "{name}"' for name in listed["sums"])
        answer = self._answer(f"select * from (\n{sql}\n) as records{by} limit {listed['rows']}")
        total = self._answer(f"select count(*) as records{sums} from (\n{sql}\n) as records")
        return {"": answer | {"total": total}}

    def named(self, sql: str) -> str:
        """SQL with the places that only pages have: `[[as_of_date]]`, `[[period_start]]`,
        `[[period_end]]`, `[[set leads]]`, `[[user_fields lead]]`."""
        sql = sql.replace("[[as_of_date]]", f"date '{self.choice.as_of:%Y-%m-%d}'")
        for place, day in zip(("start", "end"), self.choice.period, strict=True):
            sql = sql.replace(f"[[period_{place}]]", f"date '{day}'")
        sql = SET.sub(self._records, sql)
        for entity in ("lead", "deal"):
            columns = "".join(
                f', {one["sql"]} as "{one["name"]}"'
                for one in self.user_fields
                if one["entity"] == entity
            )
            sql = sql.replace(f"[[user_fields {entity}]]", columns)
        return sql

    def _records(self, place: re.Match[str]) -> str:
        listed, metric, is_now = place.groups()
        records = self.layer.records(metric or FIRST_SETS[listed])
        return f"({records.condition})" + ("" if is_now else f" and [[period {records.day}]]")

    def _answer(self, sql: str, **choice: Any) -> dict[str, Any]:
        asked = {
            "period": self.choice.period,
            "window": self.choice.axis("month"),
        }
        text = filled(self.named(sql), **(asked | choice))
        result = self.connection.execute(text)
        columns = [{"name": name, "type": str(kind)} for name, kind, *_ in result.description]
        return {
            "columns": columns,
            "rows": [[_json(value) for value in row] for row in result.fetchall()],
        }


def _whole(block: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> str | None:
    sql = _chosen(block["sql"], block.get("defaults") or {})
    if sql is None:
        return None
    for name in block.get("chain") or ():
        inner = _whole(others[name], others) if others[name]["kind"] == "sql" else None
        if inner is None:
            return None
        place = re.compile(r"\$\{\s*" + name + r"\s*\}")
        sql = f"(\n{inner}\n)".join(place.split(sql))
    return str(sql)


def _chosen(sql: str, defaults: Mapping[str, Any]) -> str | None:
    """SQL with the inputs' first values, quoted as the shell does; None where one has none."""
    parts, in_quotes = [], False
    for text, name, part in SIGNS.findall(sql):
        if not name:
            in_quotes ^= text == "'"
            parts.append(text)
            continue
        value = defaults.get(name)
        if value is not None and part in ("start", "end"):
            value = str(value).split("..")[part == "end"] if ".." in str(value) else None
        # Labels are known to the shell alone.
        if value is None or part == "label":
            return None
        escaped = str(value).replace("'", "''")
        is_plain = in_quotes or isinstance(value, int | float)
        parts.append(escaped if is_plain else f"'{escaped}'")
    return "".join(parts)


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dt.date | dt.datetime | dt.time):
        return str(value)
    return value


def texts(blocks: Sequence[Mapping[str, Any]], layer: SemanticLayer) -> Iterator[str]:
    """The SQL of the metric blocks: it says which tables and columns the site needs for them."""
    for block in blocks:
        if block["kind"] == "sql":
            continue
        for by in _alternatives(block, layer.dimensions()):
            sql = compiled(block, by, layer)
            yield from (text for text in sql if text)

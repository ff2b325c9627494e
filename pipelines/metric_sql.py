"""SQL of metrics by name, compiled from the semantic manifest that dbt writes.

Pages, lists of records and workbooks ask here for metrics; what a metric is, is said in
`dbt_project/models/semantic/` alone. MetricFlow compiles the same queries for `mf query`; here each
fact is read once per time axis, and the SQL has places for what a reader chooses:

- `[[where leads]]`: the condition of the filters on the rows of a semantic model; a metric whose
  meta says `narrowed_by: lead_sales` has `[[where lead_sales]]` too;
- `[[of stages_leads lead_id marts.fct_leads lead_id]]`: the same for rows that are of leads;
- `[[period created_date | created_at]]`: the period, by the day and the instant of the event;
- `[[window created_date | created_at]]`: the days of a time axis, which may begin earlier;
- `[[grain created_date]]`: the first day of the event's day, week, month, quarter or year;
- `[[reached quality_at]]`: what a record of an earlier cohort had come to by the moment at which
  that cohort was as old as the present one is now.

`filled` puts the choice into them.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

GRAINS = ("day", "week", "month", "quarter", "year")
AGGREGATES = {
    "sum": "sum({})",
    "sum_boolean": "count_if({})",
    "count_distinct": "count(distinct {})",
    "median": "median({})",
    "average": "avg({})",
    "min": "min({})",
    "max": "max({})",
}
DIMENSION = re.compile(r"\{\{\s*(?:TimeDimension|Dimension|Entity)\('(\w+)'(?:,\s*'\w+')?\)\s*\}\}")
PERIOD = "metric_time"
CHOSEN_GRAIN = "chosen"


class UnknownName(ValueError):
    """A metric or dimension that the semantic layer does not have, or a form not read here."""


@dataclass(frozen=True)
class MetricQuery:
    """What a table, tile or chart shows.

    Attributes:
        metrics: Names of metrics.
        by: Dimensions: `lead__source_name` is one of a semantic model and of those joined to it,
            `manager_name` that of each metric's own model, `touch_source` an entity that their
            models share, `metric_time__month` the period of each metric's own time axis; of
            `metric_time__chosen` the grain is chosen later.
            Dimensions in a tuple of their own are totalled together, as a stage with its name.
        in_period: Only what happened in the chosen period, each metric by its own time axis.
        stock: Those of the metrics that are told as of now, whatever the period.
        on_axis: The period is that of a time axis.
        where: Conditions in MetricFlow's form, `{{ Dimension('stage__entity') }} = 'lead'`.
        totals: With the totals over each part of `by`; `total_of` is the bit mask of the summed.
        targets: Semantic model → name of the filters that narrow it, by default its own.
    """

    metrics: tuple[str, ...]
    by: tuple[str | tuple[str, ...], ...] = ()
    in_period: bool = True
    stock: tuple[str, ...] = ()
    on_axis: bool = False
    where: tuple[str, ...] = ()
    totals: bool = False
    targets: Mapping[str, str] = field(default_factory=dict)

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Dimensions by what is totalled together."""
        return [(one,) if isinstance(one, str) else one for one in self.by]

    @property
    def dimensions(self) -> list[str]:
        """All of `by`, in its order."""
        return [name for group in self.groups for name in group]


@dataclass(frozen=True)
class Records:
    """The rows that a metric counts: a condition on a fact, and the day that dates them."""

    table: str
    condition: str
    day: str


@dataclass(frozen=True)
class Measure:
    """A simple metric: an aggregate of one fact by one time axis.

    Attributes:
        only_row: Of a count of distinct records: the column that says that a row is the only one of
            its record in any group by one of the dimensions `only_row_by`.
    """

    metric: str
    model: str
    aggregate: str
    expression: str
    conditions: tuple[str, ...]
    axis: str
    empty: int | None
    reached_at: str | None
    only_row: str | None
    only_row_by: tuple[str, ...]


@dataclass
class _Scan:
    """One read of a fact: its measures, and the models joined for their dimensions."""

    model: str
    axis: str | None
    in_period: bool
    measures: list[Measure] = field(default_factory=list)
    joined: dict[str, dict[str, str]] = field(default_factory=dict)


class SemanticLayer:
    """The semantic models and metrics of a manifest that dbt wrote.

    Args:
        manifest: Content of `semantic_manifest.json`.
    """

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.metrics = {metric["name"]: metric for metric in manifest["metrics"]}
        self._models = {model["name"]: model for model in manifest["semantic_models"]}
        self._primary = {
            model["name"]: _primary_entity(model) for model in manifest["semantic_models"]
        }
        self._measures = {
            measure["name"]: (model["name"], measure)
            for model in manifest["semantic_models"]
            for measure in model["measures"]
        }
        self._known: dict[str, Measure] = {}

    @classmethod
    def load(cls, semantic_manifest: Path) -> SemanticLayer:
        """Reads `semantic_manifest.json`."""
        return cls(json.loads(semantic_manifest.read_text(encoding="utf-8")))

    def sql(self, query: MetricQuery) -> str:
        """The query's SQL, with places for filters, period and grain.

        Columns are those of `by` and `metrics`, in that order, by their names there; with `totals`
        also `total_of`. A group that has no record of a metric has its 0 where the metric says so.

        Raises:
            UnknownName: no such metric or dimension, or a kind of metric that is not read here.
        """
        simple = dict.fromkeys(name for metric in query.metrics for name in self._simple(metric))
        scans = self._scans([self._measure(name) for name in simple], query)
        names = [without_grain(name) for name in query.dimensions]
        keys = [*names, *(["total_of"] if query.totals else [])]
        measured = "\nunion all by name\n".join(self._scan(scan, query) for scan in scans)
        merged = ",\n    ".join(
            [*keys, *(f"{self._merged(self._measure(name), query)} as {name}" for name in simple)]
        )
        grouped = f"\ngroup by {', '.join(keys)}" if keys else ""
        wanted = ",\n    ".join(
            [*keys, *(f"{self._expression(name)} as {name}" for name in query.metrics)]
        )
        return (
            f"with measured as (\n{_indented(measured)}\n),\n\n"
            f"merged as (\n    select\n        {merged.replace(chr(10), chr(10) + '    ')}\n"
            f"    from measured{grouped.replace(chr(10), chr(10) + '    ')}\n)\n\n"
            f"select\n    {wanted}\nfrom merged"
        )

    def records(self, metric: str) -> Records:
        """The rows behind a metric: of a ratio those of its numerator.

        Raises:
            UnknownName: no such metric, or one whose parts are of several facts or axes.
        """
        content = self._metric(metric)
        name = content["type_params"]["numerator"]["name"] if content["type"] == "ratio" else metric
        measures = [self._measure(one) for one in self._simple(name)]
        first = measures[0]
        same = [one for one in measures if (one.model, one.axis) == (first.model, first.axis)]
        conditions = dict.fromkeys(_counts(measure) for measure in same)
        common = [one for one in first.conditions if all(one in m.conditions for m in same)]
        any_of = " or ".join(f"({condition})" for condition in conditions)
        return Records(
            self._table(first.model),
            " and ".join([*common, f"({any_of})"]),
            self._dimension(first.model, first.axis),
        )

    def facts(self, metric: str) -> set[str]:
        """Tables that a metric is made of.

        Raises:
            UnknownName: no such metric, or a kind of metric that is not read here.
        """
        return {self._table(self._measure(name).model) for name in self._simple(metric)}

    def dimensions(self) -> list[str]:
        """Names of all that metrics are grouped by: dimensions, `lead__source_name`, and entities
        that are the rows of no model, `touch_source`."""
        primary = {name for name, _ in self._primary.values()}
        models = self._models.values()
        shared = [one["name"] for model in models for one in model["entities"]]
        return [
            *(
                f"{self._primary[model['name']][0]}__{dimension['name']}"
                for model in models
                for dimension in model["dimensions"]
            ),
            *(name for name in dict.fromkeys(shared) if name not in primary),
        ]

    def left_out(self, metric: str) -> str | None:
        """The metric that counts the records which an amount, or what is made of one, leaves
        out."""
        content = self._metric(metric)
        parts = self._inputs(content) if content["type"] != "simple" else []
        counts = [name for name in parts if name.endswith("_unknown")]
        named = [f"{name}_unknown" for name in (metric, *parts)]
        return next((name for name in (*named, *counts) if name in self.metrics), None)

    def beside(self, metric: str) -> dict[str, str]:
        """Metrics that stand beside a metric: how many records it leaves out, and those that a
        ratio is made of, of a share both; by the name of their column."""
        found = {}
        unknown = self.left_out(metric)
        if unknown:
            found[f"{metric}_unknown"] = unknown
        if self._metric(metric)["type"] == "ratio":
            part, found[f"{metric}__n"] = self._inputs(self._metric(metric))
            if _meta(self._metric(metric)).get("format") == "rate":
                found[f"{metric}__part"] = part
        return found

    def has_interval(self, metric: str) -> bool:
        """Whether a metric is a share of a cohort, whose interval says how sure it is."""
        return bool(_meta(self._metric(metric)).get("interval"))

    def parts(self, metric: str) -> list[str]:
        """Numerator and denominator of a ratio; none of another metric."""
        content = self._metric(metric)
        return self._inputs(content) if content["type"] == "ratio" else []

    def column(self, model: str, name: str) -> str:
        """A dimension of a semantic model, or a column of its fact, as SQL."""
        return self._dimension(model, name) if self._has(model, name) else name

    def _metric(self, name: str) -> dict[str, Any]:
        if name not in self.metrics:
            raise UnknownName(f"the semantic layer has no metric {name!r}")
        return dict(self.metrics[name])

    def _inputs(self, metric: Mapping[str, Any]) -> list[str]:
        parameters = metric["type_params"]
        inputs = {
            "ratio": lambda: [parameters["numerator"], parameters["denominator"]],
            "derived": lambda: parameters["metrics"],
        }.get(metric["type"])
        if inputs is None:
            raise UnknownName(f"{metric['name']}: {metric['type']} metrics are not read here")
        for one in inputs():
            if one["filter"] or one["alias"] or one["offset_window"] or one["offset_to_grain"]:
                raise UnknownName(
                    f"{metric['name']}: a filter, alias or offset of {one['name']} is not read here"
                )
        return [one["name"] for one in inputs()]

    def _simple(self, name: str) -> Iterator[str]:
        """Names of the simple metrics that a metric is made of."""
        metric = self._metric(name)
        if metric["type"] == "simple":
            yield name
        else:
            for one in self._inputs(metric):
                yield from self._simple(one)

    def _measure(self, name: str) -> Measure:
        if name not in self._known:
            self._known[name] = self._read_measure(self._metric(name))
        return self._known[name]

    def _read_measure(self, metric: Mapping[str, Any]) -> Measure:
        name = metric["name"]
        wanted = metric["type_params"]["measure"]
        model, measure = self._measures[wanted["name"]]
        if measure["agg"] == "percentile":
            parameters = measure["agg_params"]
            kind = "disc" if parameters["use_discrete_percentile"] else "cont"
            aggregate = f"quantile_{kind}({{}}, {parameters['percentile']})"
        elif measure["agg"] in AGGREGATES:
            aggregate = AGGREGATES[measure["agg"]]
        else:
            raise UnknownName(f"{name}: the aggregate {measure['agg']} is not read here")
        templates = [
            template["where_sql_template"]
            for one in (metric["filter"], wanted["filter"])
            if one
            for template in one["where_filters"]
        ]
        axis = (
            measure["agg_time_dimension"] or self._models[model]["defaults"]["agg_time_dimension"]
        )
        conditions = [
            condition
            for template in templates
            for condition in _conjuncts(self._rendered(template, model, {}))
        ]
        narrowed_by = ((metric["config"] or {}).get("meta") or {}).get("narrowed_by")
        if narrowed_by:
            conditions.append(f"[[where {narrowed_by}]]")
        return Measure(
            name,
            model,
            aggregate,
            " ".join((measure["expr"] or measure["name"]).split()),
            tuple(dict.fromkeys(conditions)),
            axis,
            wanted["fill_nulls_with"],
            _meta(metric).get("reached_at"),
            _meta(measure).get("only_row"),
            tuple(_meta(measure).get("only_row_by") or ()),
        )

    def _rendered(self, template: str, model: str, joined: dict[str, dict[str, str]]) -> str:
        """A condition of MetricFlow as SQL; `joined` takes the dimensions of other models."""

        def column(found: re.Match[str]) -> str:
            return self._column(found[1], model, joined)

        return " ".join(DIMENSION.sub(column, template).split())

    def _scans(self, measures: list[Measure], query: MetricQuery) -> list[_Scan]:
        of_now = {name for metric in query.stock for name in self._simple(metric)}
        by_axis = any(name.startswith(PERIOD) for name in query.dimensions)
        scans: dict[tuple[str, str | None, bool, int], _Scan] = {}
        for measure in measures:
            in_period = query.in_period and measure.metric not in of_now
            axis = measure.axis if in_period or by_axis else None
            for number, part in enumerate(self._parts(measure, query)):
                scan = scans.setdefault(
                    (measure.model, axis, in_period, number), _Scan(measure.model, axis, in_period)
                )
                scan.measures.append(part)
        return list(scans.values())

    def _parts(self, measure: Measure, query: MetricQuery) -> list[Measure]:
        """What adds up to a measure: of distinct records those with one row in a group, whose rows
        are counted, and the others, whose rows are read apart."""
        if not self._is_by_row(measure, query):
            return [measure]
        rows = f"count_if({measure.only_row} and ({{}}) is not null)"
        others = (*measure.conditions, f"not {measure.only_row}")
        return [replace(measure, aggregate=rows), replace(measure, conditions=others)]

    def _is_by_row(self, measure: Measure, query: MetricQuery) -> bool:
        """Whether each group is of one of the dimensions that tell a record's rows apart."""
        entity = self._primary[measure.model][0]
        telling = {one for name in measure.only_row_by for one in (name, f"{entity}__{name}")}
        return not query.totals and not telling.isdisjoint(query.dimensions)

    def _scan(self, scan: _Scan, query: MetricQuery) -> str:
        joined = scan.joined
        groups = [[self._key(name, scan) for name in group] for group in query.groups]
        keys = [sql for group in groups for sql in group]
        names = map(without_grain, query.dimensions)
        where = [self._rendered(template, scan.model, joined) for template in query.where]
        common = [
            condition
            for condition in scan.measures[0].conditions
            if all(condition in measure.conditions for measure in scan.measures)
        ]
        selected = [f"{sql} as {name}" for sql, name in zip(keys, names, strict=True)]
        if query.totals:
            summed = ", ".join(group[0] for group in groups)
            selected.append(f"grouping({summed}) as total_of" if groups else "0 as total_of")
        own_of = [
            " and ".join(one for one in measure.conditions if one not in common)
            for measure in scan.measures
        ]
        for measure, own in zip(scan.measures, own_of, strict=True):
            reached = f"[[reached {measure.reached_at}]]" if measure.reached_at else ""
            held = " and ".join(one for one in (own, reached) if one)
            filtered = f" filter (where {held})" if held else ""
            value = measure.aggregate.format(measure.expression)
            selected.append(f"{value}{filtered} as {measure.metric}")
        # A group of which no measure has a record is none.
        if all(own_of) and len(set(own_of)) > 1:
            common.append(f"({' or '.join(f'({own})' for own in dict.fromkeys(own_of))})")
        inner = [*self._narrowed(scan.model, query.targets), *common]
        if scan.in_period:
            axis = self._dimension(scan.model, scan.axis or "")
            inner.append(f"[[{'window' if query.on_axis else 'period'} {axis} | {_instant(axis)}]]")
        lines = [
            "select",
            "    " + ",\n    ".join(selected),
            "from (",
            f"    select * from {self._table(scan.model)}",
            "    where",
            "        " + "\n        and ".join(inner),
            f") as {scan.model}",
        ]
        for model, dimensions in sorted(joined.items()):
            entity, key = self._primary[model]
            columns = "".join(f", {sql} as {name}" for name, sql in sorted(dimensions.items()))
            lines += [
                f"left join (select {key} as {model}_key{columns} from {self._table(model)})"
                f" as {model}",
                f"    on {self._entity(scan.model, entity)} = {model}_key",
            ]
        if where:
            lines.append("where " + " and ".join(f"({one})" for one in where))
        if query.totals and groups:
            cube = ", ".join(f"({', '.join(group)})" for group in groups)
            lines.append(f"group by cube ({cube})")
        elif groups:
            lines.append(f"group by {', '.join(keys)}")
        return "\n".join(lines)

    def _merged(self, measure: Measure, query: MetricQuery) -> str:
        is_by_row = self._is_by_row(measure, query)
        value = f"{'sum' if is_by_row else 'max'}({measure.metric})"
        if measure.empty is not None:
            value = f"coalesce({value}, {measure.empty})"
        is_count = is_by_row or measure.empty is not None
        return f"cast({value} as bigint)" if is_count else value

    def _narrowed(self, model: str, targets: Mapping[str, str]) -> list[str]:
        """The places of the filters: rows without a key of their own are of leads and deals that
        the filters narrow too."""
        places = [f"[[where {targets.get(model, model)}]]"]
        if self._models[model]["primary_entity"]:
            for entity in self._models[model]["entities"]:
                other = next(
                    (
                        name
                        for name, (primary, _) in self._primary.items()
                        if primary == entity["name"] and self._models[name]["measures"]
                    ),
                    None,
                )
                if other is None:
                    continue
                target, key = targets.get(other, f"{model}_{other}"), self._primary[other][1]
                places.append(f"[[of {target} {entity['expr']} {self._table(other)} {key}]]")
        return places

    def _key(self, name: str, scan: _Scan) -> str:
        if name == PERIOD or name.startswith(f"{PERIOD}__"):
            grain = name.removeprefix(PERIOD).removeprefix("__") or "day"
            return _truncated(self._dimension(scan.model, scan.axis or ""), grain)
        plain, _, grain = name.rpartition("__")
        if grain in (*GRAINS, CHOSEN_GRAIN):
            return _truncated(self._column(plain, scan.model, scan.joined), grain)
        return self._column(name, scan.model, scan.joined)

    def _column(self, name: str, model: str, joined: dict[str, dict[str, str]]) -> str:
        """A dimension or entity as SQL in a scan of `model`; unqualified it is of that model."""
        entity, _, dimension = name.rpartition("__")
        if not entity and not self._has(model, name):
            return self._entity(model, name)
        if not entity or (entity == self._primary[model][0] and self._has(model, dimension)):
            return self._dimension(model, dimension)
        for other, (primary, _) in self._primary.items():
            if primary == entity and self._has(other, dimension):
                self._entity(model, entity)
                joined.setdefault(other, {})[name] = self._dimension(other, dimension)
                return name
        raise UnknownName(f"the semantic layer has no dimension {name!r}")

    def _has(self, model: str, dimension: str) -> bool:
        return any(one["name"] == dimension for one in self._models[model]["dimensions"])

    def _dimension(self, model: str, name: str) -> str:
        for dimension in self._models[model]["dimensions"]:
            if dimension["name"] == name:
                return " ".join((dimension["expr"] or name).split())
        raise UnknownName(f"the semantic model {model} has no dimension {name!r}")

    def _entity(self, model: str, entity: str) -> str:
        for one in self._models[model]["entities"]:
            if one["name"] == entity:
                return " ".join((one["expr"] or entity).split())
        raise UnknownName(f"{entity} is no dimension and no entity of the semantic model {model}")

    def _table(self, model: str) -> str:
        relation = self._models[model]["node_relation"]
        return f"{relation['schema_name']}.{relation['alias']}"

    def _expression(self, name: str) -> str:
        metric = self._metric(name)
        if metric["type"] == "simple":
            return name
        if metric["type"] == "ratio":
            above, below = (self._expression(one) for one in self._inputs(metric))
            return f"cast({above} as double) / nullif({below}, 0)"
        parts = {one: self._expression(one) for one in self._inputs(metric)}
        pattern = re.compile(r"\b(" + "|".join(map(re.escape, parts)) + r")\b")
        expression = " ".join(metric["type_params"]["expr"].split())
        return pattern.sub(lambda found: parts[found[0]], expression)


def filled(
    sql: str,
    *,
    period: tuple[dt.date, dt.date] | None = None,
    until: str | None = None,
    window: tuple[dt.date, dt.date] | None = None,
    grain: str = "month",
    where: Mapping[str, str] | None = None,
    reached: str | None = None,
) -> str:
    """The SQL of a query with a choice put into its places.

    Args:
        period: First and last day, both included; None: all time.
        until: SQL of the instant within its last day at which the period ends, where that is not
            the end of the day.
        window: First and last day of a time axis; None: all time.
        grain: Of `metric_time__chosen`.
        where: Conditions by target; a target that is missing is not narrowed.
        reached: SQL of the instant at which the cohort of the period is looked at; None: now.
    """

    def place(found: re.Match[str]) -> str:
        kind, _, rest = found[1].partition(" ")
        if kind == "where":
            return (where or {}).get(rest, "true")
        if kind == "of":
            target, column, table, key = rest.split()
            condition = (where or {}).get(target, "true")
            if condition == "true":
                return condition
            chosen = f"select {key} from {table} where {condition}"
            return f"({column} is null or {column} in ({chosen}))"
        if kind == "reached":
            # Of an unknown time: for all that is known it was so then too, as it is now.
            return f"coalesce({rest} <= {reached}, true)" if reached else "true"
        if kind == "grain":
            return f"cast(date_trunc('{grain}', {rest}) as date)"
        days = window if kind == "window" else period
        day, _, instant = rest.partition(" | ")
        if days is None:
            return "true"
        between = f"{day} between date '{days[0]}' and date '{days[1]}'"
        if not until or kind == "window":
            return between
        # The instants of the last day alone are looked at: those of all days are many bytes.
        return f"{between} and ({day} < date '{days[1]}' or {instant} <= {until})"

    return PLACES.sub(place, sql)


PLACES = re.compile(r"\[\[((?:where|of|period|window|grain|reached) .+?)\]\]")


def _meta(content: Mapping[str, Any]) -> dict[str, Any]:
    return dict((content["config"] or {}).get("meta") or {})


def _conjuncts(condition: str) -> list[str]:
    """The parts of a condition that must all hold."""
    if re.search(r"\b(or|between|case)\b", condition):
        return [condition]
    return re.split(r"\s+and\s+", condition)


def _primary_entity(model: Mapping[str, Any]) -> tuple[str, str]:
    """Name and column of the entity that a row of the model is."""
    for entity in model["entities"]:
        if entity["type"] == "primary":
            return entity["name"], entity["expr"] or entity["name"]
    return model["primary_entity"], model["primary_entity"]


def without_grain(name: str) -> str:
    """The column of a dimension: of a period without its grain."""
    plain, _, grain = name.rpartition("__")
    return plain if plain and grain in (*GRAINS, CHOSEN_GRAIN) else name


def _truncated(day: str, grain: str) -> str:
    if grain == CHOSEN_GRAIN:
        return f"[[grain {day}]]"
    return day if grain == "day" else f"cast(date_trunc('{grain}', {day}) as date)"


def _instant(day: str) -> str:
    """The instants beside days: marts name them alike, `sold_date` and `sold_at`."""
    return re.sub(r"_date\b", "_at", day)


def _counts(measure: Measure) -> str:
    """The rows that a measure counts, or adds up."""
    if measure.aggregate == AGGREGATES["sum_boolean"]:
        return measure.expression
    if measure.aggregate == AGGREGATES["sum"] and measure.empty is not None:
        return f"{measure.expression} > 0"
    return f"{measure.expression} is not null"


def _indented(sql: str) -> str:
    return "\n".join("    " + line for line in sql.splitlines())

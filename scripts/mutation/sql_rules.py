"""Mutants of a SQL query, made by rule on its syntax tree.

A mutant is named by the CTE in which it stands, its rule, and the piece of SQL that it takes, in
normal form: layout, comments and lines that move change no name. What Jinja decided (`'sale' =
'sale'`) is no rule of the SQL. A rule that a macro writes in several places, and marks with its
name in a comment, is broken in one of them: the model, or the CTE of one, whose unit tests hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

from sqlglot import exp, parse_one

DIALECT = "duckdb"
LONGEST = 120
HOMES = {
    "deal_state": "int_items__classified",
    "folded": "int_ad_labels__matched.stated",
    "lead_state": "int_items__classified",
    "seconds_between": "fct_deals",
    "to_base_amount": "int_deals__classified",
}
Node = exp.Expr
Kinds = dict[type[Any], type[Node]]

# `qualify` has to have a window.
ALL_ROWS = parse_one("row_number() over () > 0", dialect=DIALECT)
LIMITS: Kinds = {exp.LT: exp.LTE, exp.LTE: exp.LT, exp.GT: exp.GTE, exp.GTE: exp.GT}
OPPOSITES: Kinds = {
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.NullSafeEQ: exp.NullSafeNEQ,
    exp.NullSafeNEQ: exp.NullSafeEQ,
}
TWINS: Kinds = {
    **{exp.Min: exp.Max, exp.Max: exp.Min, exp.ArgMin: exp.ArgMax, exp.ArgMax: exp.ArgMin},
    **{exp.LogicalAnd: exp.LogicalOr, exp.LogicalOr: exp.LogicalAnd},
    **{exp.Lag: exp.Lead, exp.Lead: exp.Lag},
    **{exp.Greatest: exp.Least, exp.Least: exp.Greatest},
    **{exp.Add: exp.Sub, exp.Sub: exp.Add},
}


class Change(NamedTuple):
    """`new` in the place of `old`; `piece` names it."""

    rule: str
    piece: Node
    old: Node
    new: Node


@dataclass(frozen=True)
class SqlMutant:
    """One change of a query."""

    name: str
    old: Node
    new: Node


def to_sql(node: Node) -> str:
    """The SQL of a tree in normal form."""
    return node.sql(dialect=DIALECT, comments=False)


def folded(query: Node) -> Node:
    """The query without conditions that are true or false as they stand."""
    while (new := query.transform(_decided)) != query:
        query = new
    return query


def _decided(node: Node) -> Node:
    """What a node comes to where constants decide it; else the node."""
    if isinstance(node, exp.Paren) and isinstance(node.this, exp.Boolean):
        return node.this
    if isinstance(node, exp.Not) and isinstance(node.this, exp.Boolean):
        return exp.Boolean(this=not node.this.this)
    if isinstance(node, exp.EQ | exp.NEQ) and node.left.is_string and node.right.is_string:
        return exp.Boolean(this=(node.left == node.right) is isinstance(node, exp.EQ))
    if isinstance(node, exp.And | exp.Or):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(one, exp.Boolean):
                return other if one.this is isinstance(node, exp.And) else one
    if isinstance(node, exp.Case):
        branches, default = node.args["ifs"], node.args.get("default") or exp.null()
        if isinstance(node.this, exp.Literal):
            return next((one.args["true"] for one in branches if one.this == node.this), default)
        if isinstance(first := branches[0].this, exp.Boolean):
            others = _without(node, "ifs", 0) if len(branches) > 1 else default
            return branches[0].args["true"] if first.this else others
    return node


def mutants(query: Node, model: str) -> dict[str, SqlMutant]:
    """All mutants of a model's query by name; pieces that read alike are numbered."""

    def is_elsewhere(node: Node) -> bool:
        homes = {HOMES[mark] for mark in _marks(node)}
        return bool(homes - {model, f"{model}.{_part(node)}"})

    found: dict[str, SqlMutant] = {}
    for node in query.walk(prune=is_elsewhere):
        if is_elsewhere(node):
            continue
        for rule in RULES:
            for change in rule(node):
                name = numbered = f"{_part(node)} · {change.rule} · {_shown(change.piece)}"
                number = 1
                while numbered in found:
                    number += 1
                    numbered = f"{name} #{number}"
                found[numbered] = SqlMutant(numbered, change.old, change.new)
    return found


def _part(node: Node) -> str:
    """Name of the CTE that a node stands in."""
    cte = node.find_ancestor(exp.CTE)
    return cte.alias if cte else "query"


def _marks(node: Node) -> list[str]:
    """Names of the macros that wrote a node, as far as they have a home."""
    return [mark for comment in node.comments or () if (mark := comment.strip()) in HOMES]


def _shown(piece: Node) -> str:
    """The SQL of a piece, a macro by its name; of a long one its beginning, and its own number."""

    def named(node: Node) -> Node:
        return exp.column(marks[0]) if (marks := _marks(node)) else node

    text = to_sql(piece.transform(named))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… {crc32(text.encode()):08x}"


def broken(query: Node, mutant: SqlMutant) -> str:
    """The query's SQL with the mutant in it; the tree is left as it was."""
    mutant.old.replace(mutant.new)
    try:
        return to_sql(query)
    finally:
        mutant.new.replace(mutant.old)


def _with(node: Node, **arguments: Any) -> Node:
    copy = node.copy()
    for name, value in arguments.items():
        copy.set(name, value)
    return copy


def _without(node: Node, argument: str, place: int) -> Node:
    members = node.copy().args[argument]
    return _with(node, **{argument: members[:place] + members[place + 1 :]})


def _of_kind(node: Node, kind: type[Node]) -> Node:
    return kind(**node.copy().args)


def conditions(node: Node) -> Iterator[Change]:
    """A condition goes: an operand of `and`, `or`, the only one of a clause, a filter, a `not`."""
    if isinstance(node, exp.And | exp.Or):
        for goes, stays in ((node.left, node.right), (node.right, node.left)):
            if not isinstance(goes, type(node)):
                yield Change("without condition", goes, node, stays.copy())
    elif isinstance(node, exp.Where | exp.Having | exp.Qualify):
        is_rule = not isinstance(node.this, exp.And | exp.Boolean)
        if is_rule and not isinstance(node.parent, exp.Filter):
            holds = ALL_ROWS.copy() if isinstance(node, exp.Qualify) else exp.true()
            yield Change("without condition", node.this, node.this, holds)
    elif isinstance(node, exp.Filter):
        yield Change("without filter", node, node, node.this.copy())
    elif isinstance(node, exp.Not):
        yield Change("without not", node, node, node.this.copy())


def comparisons(node: Node) -> Iterator[Change]:
    """The limit itself falls on the other side, equal becomes unequal, a list is shorter."""
    if kind := LIMITS.get(type(node)):
        yield Change("other side of limit", node, node, _of_kind(node, kind))
    if (kind := OPPOSITES.get(type(node))) and not _joins(node):
        yield Change("opposite", node, node, _of_kind(node, kind))
    if isinstance(node, exp.In) and len(node.expressions) > 1:
        for place, member in enumerate(node.expressions):
            yield Change("not in list", member, node, _without(node, "expressions", place))


def _joins(node: Node) -> bool:
    """Whether it is a condition of a join, which goes as a whole instead."""
    above = node.find_ancestor(exp.Join, exp.Select)
    return isinstance(above, exp.Join)


def cases(node: Node) -> Iterator[Change]:
    """A branch goes, or is asked before the one that stands before it."""
    if not isinstance(node, exp.Case):
        return
    branches, default = node.args["ifs"], node.args.get("default")
    for place, branch in enumerate(branches):
        if len(branches) > 1:
            new = _without(node, "ifs", place)
        else:
            new = default.copy() if default else exp.null()
        yield Change("without branch", branch, node, new)
        before = branches[place - 1]
        if place and not node.this and not _alike(before, branch):
            ifs = node.copy().args["ifs"]
            ifs[place - 1], ifs[place] = ifs[place], ifs[place - 1]
            yield Change("branch before", branch, node, _with(node, ifs=ifs))
    if default:
        yield Change("without else", default, node, _with(node, default=None))


def _alike(one: Node, other: Node) -> bool:
    """Whether the order of two branches cannot matter: one result, or other values of a column."""
    if one.args["true"] == other.args["true"]:
        return True
    (column, values), (other_column, other_values) = _tested(one.this), _tested(other.this)
    return column is not None and column == other_column and not set(values) & set(other_values)


def _tested(test: Node) -> tuple[Node | None, list[Node]]:
    """The column of `= 'a'` or `in ('a', 'b')`, and the values that it is compared with."""
    if isinstance(test, exp.EQ) and isinstance(test.right, exp.Literal):
        return test.left, [test.right]
    if isinstance(test, exp.In) and test.expressions:
        return test.this, test.expressions
    return None, []


def defaults(node: Node) -> Iterator[Change]:
    """An argument of `coalesce` goes, or the second is taken before the first."""
    if not isinstance(node, exp.Coalesce):
        return
    arguments = [node.this, *node.expressions]
    for place, argument in enumerate(arguments):
        first, *rest = [one.copy() for one in arguments[:place] + arguments[place + 1 :]]
        new = exp.Coalesce(this=first, expressions=rest) if rest else first
        yield Change("without argument", argument, node, new)
    if not isinstance(arguments[1], exp.Literal | exp.Boolean | exp.Case):
        first, second, *rest = [one.copy() for one in arguments]
        new = exp.Coalesce(this=second, expressions=[first, *rest])
        yield Change("argument before", second, node, new)


def functions(node: Node) -> Iterator[Change]:
    """The twin of a function stands in its place, `distinct` goes, a number is one more."""
    if kind := TWINS.get(type(node)):
        yield Change("twin", node, node, _of_kind(node, kind))
    if isinstance(node, exp.Distinct) and isinstance(node.parent, exp.Count):
        yield Change("without distinct", node, node, node.expressions[0].copy())
    # A number of a type, of `count(case when … then 1 end)` or `exists (select 1)` says nothing.
    is_number = isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit()
    is_shown = isinstance(node.parent, exp.Select) and isinstance(node.parent.parent, exp.Exists)
    if is_number and not is_shown and not node.find_ancestor(exp.DataType, exp.Count):
        more = exp.Literal.number(int(node.this) + 1)
        yield Change("one more", node.parent or node, node, more)


def relations(node: Node) -> Iterator[Change]:
    """A left join loses rows, `distinct` goes, a union has the rows of one side."""
    if isinstance(node, exp.Join) and node.side == "LEFT":
        new = _with(node, side=None, kind="INNER")
        yield Change("inner join", exp.column(node.alias_or_name), node, new)
    if isinstance(node, exp.Select) and node.args.get("distinct"):
        yield Change("without distinct", node, node, _with(node, distinct=None))
    if isinstance(node, exp.Union):
        above = node.parent if isinstance(node.parent, exp.Union) else None
        if node.args.get("distinct") and not (above and above.args.get("distinct")):
            yield Change("union all", node.right, node, _with(node, distinct=False))
        for goes, stays in ((node.left, node.right), (node.right, node.left)):
            if not isinstance(goes, exp.Union) and (table := goes.find(exp.Table)):
                yield Change("without rows", table, node, stays.copy())


def windows(node: Node) -> Iterator[Change]:
    """A partition or an order loses a key, or goes the other way."""
    if isinstance(node, exp.Window):
        for place, key in enumerate(node.args.get("partition_by") or ()):
            yield Change("without partition", key, node, _without(node, "partition_by", place))
    if isinstance(node, exp.Order) and len(node.expressions) > 1:
        for place, key in enumerate(node.expressions):
            yield Change("without order", key, node, _without(node, "expressions", place))
    if isinstance(node, exp.Ordered):
        yield Change("other order", node, node, _with(node, desc=not node.args.get("desc")))


RULES: tuple[Callable[[Node], Iterator[Change]], ...] = (
    *(conditions, comparisons, cases, defaults, functions, relations, windows),
)

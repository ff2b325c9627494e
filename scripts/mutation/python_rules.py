"""Mutants of Python functions, made by rule on their syntax trees.

A mutant is named by its module, the function, the rule, and the piece of source that it takes.
Texts for people, annotations and what is logged are no rules.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

LONGEST = 100

LIMITS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
OPPOSITES = {
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is},
}
OPERATIONS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.BitOr: ast.BitAnd}
TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Change(NamedTuple):
    """`new` in the place of `old`; None leaves an item of a list out."""

    rule: str
    old: ast.AST
    new: ast.AST | None


class PythonMutant(NamedTuple):
    """A module with one change in a function: `function` is its outermost one, as `Class.name`."""

    name: str
    function: str
    tree: ast.Module


def mutants(source: str) -> Iterator[PythonMutant]:
    """All mutants of the functions of a module; pieces that read alike are numbered."""
    tree = ast.parse(source)
    seen: dict[str, int] = {}
    for function, node in _functions(tree):
        for piece in _pieces(node):
            for rule in RULES:
                for change in rule(piece):
                    text = " ".join(ast.unparse(change.old).split())[:LONGEST]
                    name = f"{function} · {change.rule} · {text}"
                    seen[name] = seen.get(name, 0) + 1
                    numbered = f"{name} #{seen[name]}" if seen[name] > 1 else name
                    yield PythonMutant(numbered, function, _changed(tree, change))


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The outermost functions, methods included."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    yield f"{node.name}.{method.name}", method


def _pieces(node: ast.AST) -> Iterator[ast.AST]:
    """What may be changed below a node."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            if isinstance(child, ast.Call) and ast.unparse(child.func).startswith("log."):
                continue
            yield child
            yield from _pieces(child)


def _changed(tree: ast.Module, change: Change) -> ast.Module:
    """A copy of the module with the change; the tree itself stays."""
    memo = {id(change.old): change.old}  # The copy holds the very node that is to go.
    new = copy.deepcopy(tree, memo)
    _Replacing(change).visit(new)
    return ast.fix_missing_locations(new)


class _Replacing(ast.NodeTransformer):
    def __init__(self, change: Change) -> None:
        self._change = change

    def visit(self, node: ast.AST) -> ast.AST | None:
        if node is self._change.old:
            new = self._change.new
            return ast.copy_location(new, node) if new is not None else None
        return self.generic_visit(node)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def comparisons(node: ast.AST) -> Iterator[Change]:
    """A limit takes in its end or leaves it out, an equality is turned round."""
    if isinstance(node, ast.Compare):
        for kinds, rule in ((LIMITS, "other limit"), (OPPOSITES, "opposite")):
            if type(node.ops[0]) in kinds:
                yield Change(
                    rule, node, _with(node, ops=[kinds[type(node.ops[0])](), *node.ops[1:]])
                )


def conditions(node: ast.AST) -> Iterator[Change]:
    """A condition goes, or is always or never true."""
    if isinstance(node, ast.BoolOp):
        for place, value in enumerate(node.values):
            others = [other for number, other in enumerate(node.values) if number != place]
            new = others[0] if len(others) == 1 else _with(node, values=others)
            yield Change(f"without {ast.unparse(value)[:40]} in", node, new)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield Change("without not", node, node.operand)
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        if not isinstance(node, ast.While):
            yield Change("always", node.test, ast.Constant(True))
        yield Change("never", node.test, ast.Constant(False))
    if isinstance(node, ast.comprehension):
        for condition in node.ifs:
            yield Change("always", condition, ast.Constant(True))


def values(node: ast.AST) -> Iterator[Change]:
    """A number is one more, a sum a difference, the smallest the largest."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield Change("one more", node, ast.Constant(node.value + 1))
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        yield Change("other operation", node, _with(node, op=OPERATIONS[type(node.op)]()))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TWINS:
        yield Change("twin", node, _with(node, func=ast.Name(TWINS[node.func.id], ast.Load())))


def statements(node: ast.AST) -> Iterator[Change]:
    """An error is not raised."""
    if isinstance(node, ast.Raise):
        yield Change("without", node, ast.Pass())


RULES: tuple[Callable[[ast.AST], Iterator[Change]], ...] = (
    *(comparisons, conditions, values, statements),
)

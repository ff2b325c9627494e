"""Request parameters as PHP reads them: bracket syntax, truthiness, ``$result[...]`` references."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

_KEY = re.compile(r"([^\[]+)((?:\[[^\]]*\])*)")
_REFERENCE = re.compile(r"\$result((?:\[[^\[\]]+\])+)")


def parse_query(query: str) -> dict[str, Any]:
    """``filter[>ID]=5&select[]=ID`` as nested dicts and lists."""
    root: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        match = _KEY.match(key)
        if match is None:
            continue
        path = [match[1], *re.findall(r"\[([^\]]*)\]", match[2])]
        node = root
        for step in path[:-1]:
            child = node.get(step or str(len(node)))
            if not isinstance(child, dict):
                child = node[step or str(len(node))] = {}
            node = child
        node[path[-1] or str(len(node))] = value
    return {key: _lists(value) for key, value in root.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return php_array({key: _lists(item) for key, item in value.items()})


def php_array(items: dict[str, Any]) -> dict[str, Any] | list[Any]:
    """A PHP array in JSON: a list where the keys run 0, 1, 2…, and so ``[]`` where it is empty."""
    if all(key == str(index) for index, key in enumerate(items)):
        return list(items.values())
    return items


def as_mapping(value: Any) -> dict[str, Any] | None:
    """A PHP array as a dict (a list gets its indexes as keys); None for anything else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    return None


def truthy(value: Any) -> bool:
    """PHP truthiness of a request value."""
    return bool(value) and value != "0"


def php_int(value: Any) -> int:
    """PHP ``(int)``: leading digits of a string, 0 where there are none, 64 bits at most."""
    if isinstance(value, (bool, int, float)):
        return int(value)
    match = re.match(r"\s*[+-]?\d+", str(value)) if value is not None else None
    return max(-(2**63), min(int(match[0]), 2**63 - 1)) if match else 0


def php_float(value: Any) -> float:
    """PHP ``(float)``."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    match = re.match(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", str(value))
    return float(match[0]) if match and value is not None else 0.0


def substitute(value: Any, results: dict[str, Any]) -> Any:
    """Replace ``$result[name][key]…`` in keys and values; what does not resolve becomes empty."""
    if isinstance(value, dict):
        return {str(substitute(k, results)): substitute(v, results) for k, v in value.items()}
    if isinstance(value, list):
        return [substitute(item, results) for item in value]
    if not isinstance(value, str) or "$result" not in value:
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole is not None:
        return _resolve(whole[1], results)
    return _REFERENCE.sub(lambda match: _text(_resolve(match[1], results)), value)


def _resolve(path: str, results: Any) -> Any:
    node = results
    for step in re.findall(r"\[([^\]]+)\]", path):
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            return ""
    return "" if node is None else node


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else ""
    return "" if isinstance(value, (dict, list)) else str(value)

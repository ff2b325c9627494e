"""Files in the values of fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def with_addresses(value: Any, name: str, address_of: Callable[[Any], str]) -> Any:
    """A value with the addresses of its files: others at every call, with what lets a reader in.

    Args:
        value: of a field, with a file as ``crm.item.list`` tells it: id, url, urlMachine.
        name: what the address for programs is called: ``urlMachine``, ``downloadUrl``.
        address_of: address of the file with an ID.
    """
    if isinstance(value, list):
        return [with_addresses(item, name, address_of) for item in value]
    if not isinstance(value, dict):
        return value
    if not {"url", "urlMachine"} & value.keys():
        return {key: with_addresses(item, name, address_of) for key, item in value.items()}
    address = address_of(value.get("id"))
    if name == "urlMachine":
        return {**value, name: address}
    return {"id": value.get("id"), "showUrl": value.get("url"), name: address}

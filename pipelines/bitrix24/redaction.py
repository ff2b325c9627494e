"""Removes addresses of files, tokens and webhook codes from a portal's answers.

File fields come as objects whose addresses hold the webhook's code or an access token, new at every
call; only the ID and name of a file are kept. People paste such addresses into texts too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import polars as pl

CUT = "<secret>"
# A secret in use is cut everywhere; a shorter one could be an ordinary word.
SHORTEST_SECRET = 8
FILE_ADDRESSES = {"url", "urlmachine", "showurl", "downloadurl", "detailurl", "previewurl", "src"}
KEPT_OF_A_FILE = {"id", "fileid", "name"}

# Separators and "=" may be escaped once or more if an address is a parameter of another one.
_BEFORE = r"(?:[?&;#]|%(?:25)*(?:3F|26|23))"
_EQUALS = r"(?:=|%(?:25)*3D)"
_TOKEN = re.compile(
    rf"({_BEFORE}(?:[\w\[.-]|%5B){{0,40}}?(?:token|auth|auth_?id|refresh_id|sessid|client_secret)"
    rf"(?:\]|%5D)?{_EQUALS})(?:(?!%(?:25)*26)[^\s&#\"'<>\[\]\\])+",
    re.IGNORECASE,
)
_SLASH = r"(?:\\?/|%(?:25)*2F)"
_WEBHOOK = re.compile(
    rf"({_SLASH}rest{_SLASH}\d+{_SLASH})(?:(?!%(?:25)*(?:2F|3F))[^\s/?#&\"'<>\[\]\\])+",
    re.IGNORECASE,
)
# Most answers have none of these and are kept as they came. PHP does not escape ASCII letters.
_SUSPECT = [
    "url",
    '"src',
    "rest/",
    "rest\\",
    "rest%",
    "token",
    "auth",
    "refresh_id",
    "sessid",
    "client_secret",
    *(f"\\ud{digit}" for digit in "89abcdef"),
]
# Without Unicode, as all of them are ASCII.
_ANY_SUSPECT = f"(?i-u:{'|'.join(map(re.escape, _SUSPECT))})"


# Control characters and lone surrogates: XML and Unicode forbid them, NUL ends SQL text, and
# terminals execute them.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


# The same for Polars, whose texts hold no surrogates.
UNREADABLE = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]"


def readable(value: Any) -> Any:
    """The value with U+FFFD in place of characters that no text may hold."""
    match value:
        case str():
            return _UNREADABLE.sub("\ufffd", value)
        case list():
            return [readable(item) for item in value]
        case dict():
            return {readable(name): readable(item) for name, item in value.items()}
    return value


def is_suspect(body: bytes, secrets: Sequence[str]) -> bool:
    """Whether the answer may hold something to cut."""
    try:
        # Many times as fast as Python's regular expressions.
        found = pl.Series([body]).cast(pl.String).str.contains(_ANY_SUSPECT)
    except pl.exceptions.PolarsError:
        # Not UTF-8.
        return True
    return bool(found[0]) or any(secret.encode() in body for secret in _long(secrets))


def is_file(value: Any) -> bool:
    """Whether an object looks like a file, or like what `redacted` leaves of one."""
    if not isinstance(value, dict):
        return False
    names = set(map(str.lower, value))
    return bool(names & FILE_ADDRESSES) or names <= KEPT_OF_A_FILE


def redacted(value: Any, secrets: Sequence[str]) -> Any:
    """A decoded answer without secrets and unreadable characters.

    Args:
        secrets: secrets in use: the webhook's code, the application's tokens.
    """
    if isinstance(value, str):
        return without_addresses(value, secrets)
    if isinstance(value, list):
        return [redacted(item, secrets) for item in value]
    if not isinstance(value, dict):
        return value
    if is_file(value):
        value = {name: item for name, item in value.items() if name.lower() in KEPT_OF_A_FILE}
    return {
        without_addresses(name, secrets): redacted(item, secrets) for name, item in value.items()
    }


def without_addresses(text: str, secrets: Sequence[str] = ()) -> str:
    """A text without webhook codes and tokens in its addresses.

    The result is the same at every call, so that a record does not look changed.
    """
    text = _WEBHOOK.sub(rf"\g<1>{CUT}", _TOKEN.sub(rf"\g<1>{CUT}", readable(text)))
    for secret in _long(secrets):
        text = text.replace(secret, CUT)
    return text


def _long(secrets: Sequence[str]) -> list[str]:
    return [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]

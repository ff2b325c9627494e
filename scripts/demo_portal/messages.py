"""An HTTP request as the portal takes it, and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HttpRequest:
    """What the portal needs of an HTTP request."""

    path: str
    query: str = ""
    content_type: str = ""
    body: bytes = b""
    https: bool = False


@dataclass(frozen=True)
class HttpAnswer:
    """Status and body of an answer, and how the server is to send it.

    Attributes:
        wait: seconds that the server waits before it answers.
        cut_at: the server sends that many bytes of the body and resets the connection; 0 resets
            it before anything is sent, None sends everything.
    """

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut_at: int | None = None

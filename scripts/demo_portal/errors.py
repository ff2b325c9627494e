"""Error answers of the portal and of its authorisation server."""

from __future__ import annotations


class RestError(Exception):
    """An error answer.

    Attributes:
        status: HTTP status of the answer.
        code: ``error`` of the body; older CRM methods leave it empty.
        description: ``error_description`` of the body.
    """

    def __init__(self, status: int, code: str | int, description: str) -> None:
        super().__init__(f"{status} {code} {description}")
        self.status = status
        self.code = code
        self.description = description

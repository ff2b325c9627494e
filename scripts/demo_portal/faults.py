"""Injected faults of a portal: seeded, so that they can be repeated, and counted.

``FaultyPortal.inject`` adds faults; each strikes by chance and at most so many times, and what
struck is in ``FaultyPortal.faults.counts``. Sources: apidocs.bitrix24.com ("System errors", "REST
API limits", "Batch", "Change of the portal's address"); 5xx bodies are the pages of nginx in front
of the portal (github.com/leshchenko1979/fast_bitrix24/issues/216).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.demo_portal.errors import RestError
from scripts.demo_portal.events import EVENTS
from scripts.demo_portal.messages import HttpAnswer, HttpRequest
from scripts.demo_portal.pages import Params, Reply
from scripts.demo_portal.params import as_mapping, php_int
from scripts.demo_portal.portal import Options, Portal

# name → what happens; `value` and `seconds` are those of Fault.
FAULTS = {
    # of a request
    "http_500": "HTTP 500 with an HTML page",
    "http_502": "HTTP 502 with the HTML page of nginx",
    "http_503": "HTTP 503 with the HTML page of nginx",
    "reset": "the connection is reset before the answer",
    "reset_midway": "the connection is reset in the middle of the answer",
    "timeout": "the answer comes after `seconds` (90)",
    "slow": "the answer comes after `seconds` (2)",
    "moved": "HTTP 302 to the portal's new address `value`",
    "broken_json": "HTTP 200 with half of the JSON",
    "request_limit": "HTTP 503 QUERY_LIMIT_EXCEEDED",
    "expired_token": "the application's access tokens expire",
    # of a call, alone or in a batch
    "operating_limit": "429 OPERATION_TIME_LIMIT of the method for `seconds` (180)",
    "failing_command": "a call fails with the code `value` (INTERNAL_SERVER_ERROR)",
    "short_page": "a list method gives a part of its page though more rows exist",
    "high_total": "a list method counts `value` (3) rows more than there are",
    "ignored_time": "a list method passes over the conditions of its filter that name a time",
    "wrong_type": "a field (`value`, else any) of a row holds a value of another type",
    "missing_value": "a field (`value`, else any) of a row is left out",
    # of a batch
    "missing_key": "a command is neither in the results nor in the errors",
    # of the portal, between two requests
    "changes": "records change, appear and vanish, as people work",
    "rights_lost": "the webhook's owner is administrator no longer: a pipeline's deals are hidden",
    "hidden_deals": "deals (`value` of them, 0.03) are hidden from the webhook's owner, who stays"
    " administrator",
    "mass_disappearance": "most leads and deals (`value` of them, 0.6) are gone",
    "another_portal": "another portal answers: other records under the same IDs",
    "new_user_field": "leads and deals get a user field, and some of them its values",
    "vanished_field": "the field `value` of leads and deals (else a user field) is gone",
    "deleted_stages": "stages that records are on disappear from the reference data",
    "renamed_stages": "stages get other names",
    "clock": "the portal's clock jumps by `seconds`",
    "utc_offset": "the portal's offset becomes `value` hours (-5)",
}

_PAGES = {
    500: "<html>\r\n<head><title>500 Internal Server Error</title></head>\r\n<body>\r\n"
    "<center><h1>500 Internal Server Error</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n",
    502: "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n",
    503: "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n"
    "<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx</center>"
    "\r\n</body>\r\n</html>\r\n",
    302: "<html>\r\n<head><title>302 Found</title></head>\r\n<body>\r\n<center><h1>302 Found</h1>"
    "</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
}


@dataclass(frozen=True)
class Fault:
    """A fault and when it strikes.

    Attributes:
        name: one of ``FAULTS``.
        times: how often at most; None: unlimited.
        chance: of each request, call or batch that it could strike.
        after: how many of these pass first.
        every: of those that follow, only every so many-th can fail.
        method: only calls of this method (``batch``: the request of a batch).
        seconds: see ``FAULTS``.
        value: see ``FAULTS``.
    """

    name: str
    times: int | None = 1
    chance: float = 1.0
    after: int = 0
    every: int = 1
    method: str = ""
    seconds: float | None = None
    value: Any = None

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"{self.name!r} is none of the faults {', '.join(FAULTS)}")


class Faults:
    """The faults of one portal.

    Attributes:
        counts: how often each struck.
        random: the draws.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.random = random.Random(0)
        # Until when, by the portal's clock, a method is blocked.
        self.blocked: dict[str, float] = {}
        self._faults: list[Fault] = []
        self._passed: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()

    def add(self, faults: Iterable[Fault], seed: int | None = None) -> None:
        """Add faults; a seed restarts the draws."""
        if seed is not None:
            self.random = random.Random(seed)
        self._faults += faults

    def clear(self) -> None:
        """Remove all faults; changes that they made to records stay."""
        self._faults.clear()
        self._passed.clear()
        self._struck.clear()
        self.blocked.clear()

    def strikes(
        self, names: Iterable[str], method: str, fields: Collection[str] | None = None
    ) -> Iterable[Fault]:
        """The faults among ``names`` that strike now.

        Args:
            fields: existing fields; a fault for another field is skipped.
        """
        for index, fault in enumerate(self._faults):
            if fault.name not in names or fault.method not in ("", method):
                continue
            if fields is not None and fault.value is not None and fault.value not in fields:
                continue
            if fault.times is not None and self._struck[index] >= fault.times:
                continue
            self._passed[index] += 1
            passed = self._passed[index] - fault.after
            if passed <= 0 or passed % fault.every or self.random.random() >= fault.chance:
                continue
            self._struck[index] += 1
            self.counts[fault.name] += 1
            yield fault


class FaultyPortal(Portal):
    """A portal with injected faults.

    Attributes:
        faults: what goes wrong.
    """

    def __init__(self, data_dir: str | Path, options: Options | None = None) -> None:
        super().__init__(data_dir, options)
        self.faults = Faults()

    def inject(self, *faults: Fault, seed: int | None = None) -> None:
        """Let faults happen from now on; a seed restarts their draws."""
        with self._lock:
            self.faults.add(faults, seed)

    def respond(self, request: HttpRequest) -> HttpAnswer:
        """The answer to a request, or the fault instead of it."""
        strikes = self.faults.strikes
        method = request.path.strip("/").rsplit("/", 1)[-1].removesuffix(".json").lower()
        for fault in strikes(EVENTS, method):
            EVENTS[fault.name](self, fault.value, fault.seconds, self.faults.random)
        for _ in strikes(("expired_token",), method):
            if self.application:
                self.application.expire()
        for fault in strikes(("http_500", "http_502", "http_503"), method):
            status = int(fault.name[-3:])
            return HttpAnswer(status, _PAGES[status].encode(), "text/html")
        for fault in strikes(("moved",), method):
            to = str(fault.value or "https://renamed.bitrix24.ru")
            return HttpAnswer(
                302, _PAGES[302].encode(), "text/html", {"Location": f"{to}{request.path}"}
            )
        for _ in strikes(("request_limit",), method):
            body = b'{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}'
            return HttpAnswer(503, body)
        for _ in strikes(("reset",), method):
            return HttpAnswer(200, b"", cut_at=0)
        answered = super().respond(request)
        for _ in strikes(("broken_json",), method):
            return replace(answered, body=answered.body[: len(answered.body) // 2])
        for _ in strikes(("reset_midway",), method):
            return replace(answered, cut_at=len(answered.body) // 2)
        for fault in strikes(("timeout", "slow"), method):
            usual = 90.0 if fault.name == "timeout" else 2.0
            seconds = usual if fault.seconds is None else fault.seconds
            return replace(answered, wait=seconds)
        return answered

    def run(self, method: str, params: Params) -> Reply:
        """Run a method, or refuse it; change the rows of a list method."""
        self._refuse(method)
        if "filter" in params:
            for _ in self.faults.strikes(("ignored_time",), method):
                given = as_mapping(params["filter"]) or {}
                kept = {name: value for name, value in given.items() if str(value)[10:11] != "T"}
                params = {**params, "filter": kept}
        reply = super().run(method, params)
        if reply.total is not None and php_int(params.get("start", 0)) >= 0:
            for fault in self.faults.strikes(("high_total",), method):
                reply.total += 3 if fault.value is None else int(fault.value)
        self._damage(method, _rows_of(reply.result))
        return reply

    def _refuse(self, method: str) -> None:
        now, blocked = self.clock.seconds(), self.faults.blocked
        for fault in self.faults.strikes(("operating_limit",), method):
            blocked[method] = now + (180 if fault.seconds is None else fault.seconds)
        if now < blocked.get(method, now):
            raise RestError(
                429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit."
            )
        for fault in self.faults.strikes(("failing_command",), method):
            code = "INTERNAL_SERVER_ERROR" if fault.value is None else str(fault.value)
            raise RestError(500, code, "Internal server error")

    def _damage(self, method: str, rows: list[dict[str, Any]]) -> None:
        draw = self.faults.random
        if not rows:
            return
        for _ in self.faults.strikes(("short_page",), method):
            del rows[draw.randrange(len(rows)) :]
        if not rows:
            return
        for fault in self.faults.strikes(("wrong_type", "missing_value"), method, rows[0].keys()):
            row = draw.choice(rows)
            name = fault.value or draw.choice(sorted(row))
            if fault.name == "missing_value":
                row.pop(name, None)
            else:
                row[name] = draw.choice(_of_another_type(row.get(name)))

    def batch(self, params: Params) -> dict[str, Any]:
        """Run the commands of a batch; the answer of one may be left out."""
        body = super().batch(params)
        results = body["result"]
        if isinstance(results, dict):
            for _ in self.faults.strikes(("missing_key",), "batch"):
                results.pop(self.faults.random.choice(sorted(results)), None)
        return body


def _of_another_type(value: Any) -> list[Any]:
    """Values of another JSON type than the field's; a text may be a time or a number."""
    others: list[Any] = [["a list"], {"an": "object"}]
    if not isinstance(value, bool):
        others.append(True)
    if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
        others.append(1.5)
    if isinstance(value, str) and value[4:5] == "-" and "T" in value:
        others.append("2026-13-45T99:00:00+03:00")
    if isinstance(value, int | float):
        others.append("не то")
    return others


def _rows_of(result: Any) -> list[dict[str, Any]]:
    if isinstance(result, dict):
        result = next((result[key] for key in ("items", "categories") if key in result), None)
    # The method `scope` gives a list of words.
    is_rows = isinstance(result, list) and all(isinstance(row, dict) for row in result)
    return result if is_rows else []

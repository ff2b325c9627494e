"""What goes wrong with a portal, on purpose: seeded, so that it can be repeated, and counted.

``Portal.inject`` adds faults; each strikes by chance and at most so many times, and what struck is
in ``Portal.faults.counts``. Sources: apidocs.bitrix24.com ("System errors", "REST API limits",
"Batch", "Change of the portal's address"); 5xx bodies are the pages of nginx, which stand before
the portal (github.com/leshchenko1979/fast_bitrix24/issues/216).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from scripts.demo_portal.errors import RestError
from scripts.demo_portal.fields import DEAL, LEAD
from scripts.demo_portal.messages import HttpAnswer, HttpRequest
from scripts.demo_portal.params import as_mapping, php_int

if TYPE_CHECKING:
    from scripts.demo_portal.methods import Reply
    from scripts.demo_portal.portal import Portal

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
    "deleted_stages": "stages on which records stand leave the directory",
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
        times: how often at most; None without end.
        chance: of each request, call or batch that it could strike.
        after: how many of these pass first.
        every: of those that follow it could strike each so many-th alone.
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
    """

    def __init__(self, portal: Portal) -> None:
        self.counts: Counter[str] = Counter()
        self.random = random.Random(0)
        self._portal = portal
        self._faults: list[Fault] = []
        self._passed: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()
        self._blocked: dict[str, float] = {}

    def add(self, faults: Iterable[Fault], seed: int | None = None) -> None:
        """Add faults; a seed begins the draws anew."""
        if seed is not None:
            self.random = random.Random(seed)
        self._faults += faults

    def clear(self) -> None:
        """Nothing goes wrong any longer; what has happened to the records stays."""
        self._faults.clear()
        self._passed.clear()
        self._struck.clear()
        self._blocked.clear()

    def _strikes(
        self, names: Iterable[str], method: str, fields: Collection[str] | None = None
    ) -> Iterable[Fault]:
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

    # Where the portal asks

    def around(
        self, request: HttpRequest, answer: Callable[[HttpRequest], HttpAnswer]
    ) -> HttpAnswer:
        """The answer to a request, or what comes in its place."""
        if not self._faults:
            return answer(request)
        method = request.path.strip("/").rsplit("/", 1)[-1].removesuffix(".json").lower()
        for fault in self._strikes(_EVENTS, method):
            _EVENTS[fault.name](self._portal, fault, self.random)
        for fault in self._strikes(("http_500", "http_502", "http_503"), method):
            status = int(fault.name[-3:])
            return HttpAnswer(status, _PAGES[status].encode(), "text/html")
        for fault in self._strikes(("moved",), method):
            to = str(fault.value or "https://renamed.bitrix24.ru")
            return HttpAnswer(
                302, _PAGES[302].encode(), "text/html", {"Location": f"{to}{request.path}"}
            )
        for _ in self._strikes(("request_limit",), method):
            body = b'{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}'
            return HttpAnswer(503, body)
        for _ in self._strikes(("reset",), method):
            return HttpAnswer(200, b"", cut_at=0)
        answered = answer(request)
        for _ in self._strikes(("broken_json",), method):
            return replace(answered, body=answered.body[: len(answered.body) // 2])
        for _ in self._strikes(("reset_midway",), method):
            return replace(answered, cut_at=len(answered.body) // 2)
        for fault in self._strikes(("timeout", "slow"), method):
            usual = 90.0 if fault.name == "timeout" else 2.0
            seconds = usual if fault.seconds is None else fault.seconds
            return replace(answered, wait=seconds)
        return answered

    def before_call(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """A call begins; returns its parameters as the method is to see them.

        Raises:
            RestError: it is refused.
        """
        now = self._portal.clock.seconds()
        for fault in self._strikes(("operating_limit",), method):
            self._blocked[method] = now + (180 if fault.seconds is None else fault.seconds)
        if now < self._blocked.get(method, now):
            raise RestError(
                429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit."
            )
        for fault in self._strikes(("failing_command",), method):
            code = "INTERNAL_SERVER_ERROR" if fault.value is None else str(fault.value)
            raise RestError(500, code, "Internal server error")
        for _ in self._strikes(("ignored_time",), method) if "filter" in params else ():
            given = as_mapping(params["filter"]) or {}
            kept = {name: value for name, value in given.items() if str(value)[10:11] != "T"}
            params = {**params, "filter": kept}
        return params

    def after_call(self, method: str, params: Mapping[str, Any], reply: Reply) -> None:
        """Changes what a list method gives."""
        if reply.total is not None and php_int(params.get("start", 0)) >= 0:
            for fault in self._strikes(("high_total",), method):
                reply.total += 3 if fault.value is None else int(fault.value)
        rows = _rows_of(reply.result)
        if not rows:
            return
        for _ in self._strikes(("short_page",), method):
            del rows[self.random.randrange(len(rows)) :]
        if not rows:
            return
        for fault in self._strikes(("wrong_type", "missing_value"), method, rows[0].keys()):
            row = self.random.choice(rows)
            name = fault.value or self.random.choice(sorted(row))
            if fault.name == "missing_value":
                row.pop(name, None)
            else:
                row[name] = self.random.choice(_of_another_type(row.get(name)))

    def after_batch(self, body: Mapping[str, Any]) -> None:
        """Takes a command's answer out of a batch."""
        results = body["result"]
        if isinstance(results, dict):
            for _ in self._strikes(("missing_key",), "batch"):
                results.pop(self.random.choice(sorted(results)), None)


def _of_another_type(value: Any) -> list[Any]:
    """Values that JSON tells apart from those of the field; a text may be a time or a number."""
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


# What happens to the portal

_HISTORIES = {"leads": "lead_stage_history", "deals": "deal_stage_history"}


def people_work(portal: Portal, draw: random.Random, edits: int) -> None:
    """Edits of people who work in the portal: leads and deals appear, move, change, vanish."""
    for _ in range(edits):
        name = draw.choice(("leads", "deals"))
        table = portal.data.tables[name]
        ids = table.frame.get_column("id").to_list() if len(table) else []
        edit = draw.choice(
            ("stage", "stage", "amount", "amount", "activity", "city", "create", "delete")
        )
        if edit == "create" or not ids:
            portal.create(name, stage=draw.choice(_stages(portal, name)), amount=_amount(draw))
        elif edit == "stage":
            portal.move(name, draw.choice(ids), draw.choice(_stages(portal, name)))
        elif edit == "amount":
            portal.change(name, draw.choice(ids), {"opportunity": _amount(draw)})
        elif edit == "activity":
            now = portal.clock.iso(portal.clock.seconds())
            portal.upsert(name, {"id": draw.choice(ids), "lastActivityTime": now})
        elif edit == "city":
            lead = draw.choice(portal.data.tables["leads"].plain_rows() or [{}]).get("id")
            if lead:
                city = f"Город {draw.randrange(100)}"
                portal.upsert("lead_addresses", {"ID": lead, "ADDRESS_CITY": city})
                portal.change("leads", lead, {})
        else:
            portal.delete(name, draw.choice(ids))
        portal.data.settle()


def _amount(draw: random.Random) -> float:
    return draw.randrange(1, 10_000_000) / 100


def _stages(portal: Portal, name: str) -> list[str]:
    entity = {"leads": "STATUS", "deals": "DEAL_STAGE"}[name]
    rows = portal.data.tables["statuses"].plain_rows()
    return sorted(row["STATUS_ID"] for row in rows if row["ENTITY_ID"] == entity) or ["NEW"]


def _rights_lost(portal: Portal, fault: Fault, draw: random.Random) -> None:
    pipelines = portal.data.tables["categories"].frame.get_column("id").to_list()
    portal.set_rights(admin=False, hidden_categories=[draw.choice(pipelines or [0])])


def _hidden_deals(portal: Portal, fault: Fault, draw: random.Random) -> None:
    share = 0.03 if fault.value is None else float(fault.value)
    table = portal.data.tables["deals"]
    ids = table.frame.get_column("id").to_list() if len(table) else []
    portal.set_rights(hidden_deals=draw.sample(ids, max(1, round(share * len(ids)))))


def _mass_disappearance(portal: Portal, fault: Fault, draw: random.Random) -> None:
    share = 0.6 if fault.value is None else float(fault.value)
    for name in _HISTORIES:
        table = portal.data.tables[name]
        ids = table.frame.get_column("id").to_list() if len(table) else []
        portal.delete(name, draw.sample(ids, round(share * len(ids))))
    portal.data.settle()


def _another_portal(portal: Portal, fault: Fault, draw: random.Random) -> None:
    """The same records under each other's IDs, created two hundred days before."""
    for name in ("leads", "deals", "contacts", "companies"):
        table = portal.data.tables[name]
        if not len(table):
            continue
        rows = table.plain_rows()
        numbers = [row["id"] for row in rows]
        moved = [
            {**row, "id": number, "createdTime": _earlier(row["createdTime"], 200)}
            for number, row in zip(numbers, reversed(rows), strict=True)
        ]
        portal.replace(name, moved)


def _earlier(moment: str, days: int) -> str:
    return (datetime.fromisoformat(moment) - timedelta(days=days)).isoformat()


def _new_user_field(portal: Portal, fault: Fault, draw: random.Random) -> None:
    name = f"UF_CRM_{draw.randrange(10**9, 10**10)}"
    described = {
        "type": "string",
        "isRequired": False,
        "isReadOnly": False,
        "isImmutable": False,
        "isMultiple": False,
        "isDynamic": True,
        "title": name,
        "listLabel": "Новое поле",
        "formLabel": "Новое поле",
        "filterLabel": "Новое поле",
    }
    for type_id, table_name in ((LEAD, "leads"), (DEAL, "deals")):
        entity = portal.data.entities[type_id]
        entity.described[name] = described
        ids = entity.table.frame.get_column("id").to_list() if len(entity.table) else []
        for number in draw.sample(ids, min(3, len(ids))):
            portal.change(table_name, number, {name: "значение"})


def _vanished_field(portal: Portal, fault: Fault, draw: random.Random) -> None:
    for type_id in (LEAD, DEAL):
        entity = portal.data.entities[type_id]
        name = fault.value or next(iter(sorted(entity.user_fields)), None)
        if name is not None:
            entity.forget(name)


def _deleted_stages(portal: Portal, fault: Fault, draw: random.Random) -> None:
    used = {row["stageId"] for name in _HISTORIES for row in portal.data.tables[name].plain_rows()}
    rows = portal.data.tables["statuses"].plain_rows()
    portal.delete("statuses", [int(row["ID"]) for row in rows if row["STATUS_ID"] in used][:2])


def _renamed_stages(portal: Portal, fault: Fault, draw: random.Random) -> None:
    rows = portal.data.tables["statuses"].plain_rows()
    for row in draw.sample(rows, min(3, len(rows))):
        portal.upsert("statuses", {"ID": row["ID"], "NAME": f"{row['NAME']} (новое имя)"})


def _clock(portal: Portal, fault: Fault, draw: random.Random) -> None:
    portal.clock.move(-3600 if fault.seconds is None else fault.seconds)


def _utc_offset(portal: Portal, fault: Fault, draw: random.Random) -> None:
    hours = -5 if fault.value is None else float(fault.value)
    portal.data.zone = portal.clock.zone = timezone(timedelta(hours=hours))


_EVENTS: dict[str, Callable[[Portal, Fault, random.Random], None]] = {
    "changes": lambda portal, _, draw: people_work(portal, draw, draw.randint(1, 4)),
    "rights_lost": _rights_lost,
    "hidden_deals": _hidden_deals,
    "mass_disappearance": _mass_disappearance,
    "another_portal": _another_portal,
    "new_user_field": _new_user_field,
    "vanished_field": _vanished_field,
    "deleted_stages": _deleted_stages,
    "renamed_stages": _renamed_stages,
    "clock": _clock,
    "utc_offset": _utc_offset,
    "expired_token": lambda portal, *_: portal.application and portal.application.expire(),
}

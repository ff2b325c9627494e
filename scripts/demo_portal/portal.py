"""The portal: a request in, an answer out; limits, batches, errors, the ``time`` block."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from scripts.demo_portal.data import PortalData
from scripts.demo_portal.errors import RestError
from scripts.demo_portal.faults import Fault, Faults
from scripts.demo_portal.limits import OPERATING_FLOOR, Clock, OperatingTime, RequestBucket
from scripts.demo_portal.messages import HttpAnswer, HttpRequest
from scripts.demo_portal.methods import Methods, Reply
from scripts.demo_portal.oauth import Application
from scripts.demo_portal.params import as_mapping, parse_query, php_array, substitute, truthy

BATCH_LIMIT = 50
DEFAULT_TOKEN = "demo-portal-token"
USER_ID = 1
TOKEN_PATH = "/oauth/token"


@dataclass(frozen=True)
class Options:
    """Switches of the portal.

    Attributes:
        token: secret part of the webhook address.
        rate_limit: refuse requests over the leaky bucket (503 QUERY_LIMIT_EXCEEDED).
        bucket_size: requests that the bucket holds (Enterprise: 250).
        bucket_drain: requests that leave it each second (Enterprise: 5).
        operating_limit: refuse methods over their execution time (429 OPERATION_TIME_LIMIT).
        operating_limit_seconds: execution time that a method has in ten minutes.
        operating_fields: whether ``time`` tells ``operating`` and ``operating_reset_at``
            (self-hosted portals with the limiter off and older versions do not).
        operating_seconds: execution time charged for each call; None: the measured one.
        operating_charge: what a batch is charged to: its ``methods`` (the documentation) or
            ``batch`` itself (measured on a self-hosted portal).
        scopes: scopes granted to the webhook or the application.
        require_https: answer webhooks over plain HTTP with 400 INVALID_REQUEST, as the cloud does.
        oauth: an application takes the webhook's place (``Portal.application``).
        commercial: whether the plan has REST; else 403 ACCESS_DENIED.
        present_history: tell of a deal's stage history only the rows of its present pipeline, as
            real portals do (bitrix24/b24restdocs, issue 8, confirmed by the vendor).
        log: keep (method, parameters) of every call in ``Portal.log``.
    """

    token: str = DEFAULT_TOKEN
    rate_limit: bool = True
    bucket_size: int = 50
    bucket_drain: float = 2.0
    operating_limit: bool = True
    operating_limit_seconds: float = 480.0
    operating_fields: bool = True
    operating_seconds: float | None = None
    operating_charge: Literal["methods", "batch"] = "methods"
    scopes: tuple[str, ...] = ("crm", "department", "user")
    require_https: bool = False
    oauth: bool = False
    commercial: bool = True
    present_history: bool = False
    log: bool = False


class Portal:
    """A Bitrix24 portal over a data directory.

    ``answer`` is the one way from HTTP to the methods and back; ``faults`` stand in it.

    Attributes:
        address: scheme, host and port.
        webhook_url: address of the webhook, with a slash at its end.
        application: the application and its tokens, where OAuth is on.
        ca_file: certificate of the test authority that signed the server's, where TLS is on.
        requests: HTTP requests answered.
        calls: REST calls by method; commands of a batch count under their own, and as ``batch``.
        log: (method, parameters) of every call, where the log is on.
        faults: what goes wrong on purpose.
    """

    def __init__(self, data_dir: str | Path, options: Options | None = None) -> None:
        self.options = options or Options()
        self.data = PortalData(Path(data_dir))
        self.data.present_history = self.options.present_history
        self.clock = Clock(self.data.zone)
        if self.data.now is not None:
            self.clock.set(self.data.now)
        token = "access" if self.options.oauth else "webhook"
        self.methods = Methods(
            self.data, self.clock, USER_ID, self.options.scopes, token, self._file_address
        )
        self.address = ""
        self.application = (
            Application(self.options.scopes, USER_ID, self.clock.seconds())
            if self.options.oauth
            else None
        )
        self.ca_file: Path | None = None
        self.requests = 0
        self.calls: Counter[str] = Counter()
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.faults = Faults(self)
        self._bucket = RequestBucket(self.options.bucket_size, self.options.bucket_drain)
        self._operating: dict[str, OperatingTime] = {}
        self._lock = threading.RLock()

    @property
    def webhook_url(self) -> str:
        return f"{self.address}/rest/{USER_ID}/{self.options.token}/"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that let a client in."""
        if self.application is None:
            return {"BITRIX24_WEBHOOK_URL": self.webhook_url}
        return {
            "BITRIX24_PORTAL": self.address,
            "BITRIX24_OAUTH_CLIENT_ID": self.application.client_id,
            "BITRIX24_OAUTH_CLIENT_SECRET": self.application.client_secret,
            "BITRIX24_OAUTH_REFRESH_TOKEN": self.application.refresh_token,
            # The authorisation server is another host in the cloud.
            "BITRIX24_OAUTH_TOKEN_URL": f"{self.address}{TOKEN_PATH}/",
        }

    def _file_address(self, number: Any) -> str:
        """Where a program fetches a file: the way in and a token for this file and call."""
        method = "crm.controller.item.getFile.json"
        query = f"id={number}&token=crm%7C{secrets.token_hex(16)}"
        if self.application is None:
            return f"{self.webhook_url}{method}?{query}"
        return f"{self.address}/rest/{method}?auth={self.application.access_token}&{query}"

    # Changing the data while it is served

    def upsert(self, name: str, rows: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> None:
        """Add rows to a file, or change the named fields of the rows with their IDs."""
        with self._lock:
            self.data.upsert(name, rows)

    def delete(self, name: str, ids: int | Iterable[int]) -> None:
        """Delete rows, and what goes with them (``PortalData.delete``)."""
        with self._lock:
            self.data.delete(name, ids)

    def replace(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put ``rows`` in the place of all rows of a file."""
        with self._lock:
            self.data.replace(name, rows)

    def set_now(self, moment: str | datetime) -> None:
        """Set the portal's clock (ISO 8601 with offset); it ticks on from there."""
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        if moment.tzinfo is None:
            raise ValueError("the portal's time needs an offset: 2026-03-01T09:00:00+03:00")
        with self._lock:
            self.clock.set(moment)

    def set_rights(
        self,
        admin: bool = True,
        hidden_categories: Collection[int] = (),
        hidden_deals: Collection[int] = (),
    ) -> None:
        """Change what the webhook's owner is and sees: hidden deals and pipelines are left out."""
        with self._lock:
            self.data.set_rights(admin, hidden_categories, hidden_deals)

    def inject(self, *faults: Fault, seed: int | None = None) -> None:
        """Let faults happen from now on; a seed begins their draws anew."""
        with self._lock:
            self.faults.add(faults, seed)

    # What people do

    def create(self, name: str, stage: str, amount: float, **values: Any) -> int:
        """A new lead or deal with its first visit of a stage; returns its ID."""
        with self._lock:
            table, now = self.data.tables[name], self._now
            table.settle()
            row = {
                "id": table.last_id + 1,
                "title": f"Запись {table.last_id + 1}",
                "createdTime": now,
                "updatedTime": now,
                "movedTime": now,
                "lastActivityTime": now,
                "stageId": stage,
                "stageSemanticId": self._semantics(name, stage),
                "opportunity": amount,
                "currencyId": "RUB",
                "assignedById": USER_ID,
                "createdBy": USER_ID,
                "updatedBy": USER_ID,
                "movedBy": USER_ID,
                "contactIds": [],
                **({"categoryId": 0, "closed": "N", "isRecurring": "N"} if name == "deals" else {}),
                **values,
            }
            self.data.upsert(name, row)
            self._visit(name, row)
            table.settle()
            return int(row["id"])

    def change(self, name: str, number: int, values: Mapping[str, Any]) -> None:
        """Change fields of a lead, deal, contact or company."""
        with self._lock:
            self.data.upsert(name, {"id": number, **values, "updatedTime": self._now})

    def move(self, name: str, number: int, stage: str) -> None:
        """Move a lead or deal to a stage, where it does not stand there already."""
        with self._lock:
            row = next(row for row in self.data.tables[name].plain_rows() if row["id"] == number)
            if row["stageId"] == stage:
                return
            moved = {"stageId": stage, "stageSemanticId": self._semantics(name, stage)}
            if name == "deals":
                moved["closed"] = "N" if moved["stageSemanticId"] == "P" else "Y"
            self.change(name, number, {**moved, "movedTime": self._now})
            self._visit(name, {**row, **moved})

    def merge(self, name: str, number: int, into: int) -> None:
        """Merge a contact or company into another one, as the list of duplicates does.

        What named the one names the other, without a new time of change; the one is gone.
        """
        with self._lock:
            self.data.rebind(name, [number], into)
            self.change(name, into, {})
            self.data.delete(name, number)

    @property
    def _now(self) -> str:
        return self.clock.iso(self.clock.seconds())

    def _semantics(self, name: str, stage: str) -> str:
        entity = "STATUS" if name == "leads" else "DEAL_STAGE"
        for row in self.data.tables["statuses"].plain_rows():
            if row["ENTITY_ID"].startswith(entity) and row["STATUS_ID"] == stage:
                return str(row.get("SEMANTICS") or "P")
        return "P"

    def _visit(self, name: str, row: Mapping[str, Any]) -> None:
        """A row of stage history; types as in crm.stagehistory.list."""
        history = self.data.tables[f"{name.removesuffix('s')}_stage_history"]
        history.settle()
        is_final = row["stageSemanticId"] != "P"
        first = not history.ids_where("OWNER_ID", [row["id"]])
        self.data.upsert(
            history.name,
            {
                "ID": history.last_id + 1,
                "TYPE_ID": 3 if is_final else 1 if first else 2,
                "OWNER_ID": row["id"],
                "CREATED_TIME": self._now,
                **(
                    {"STATUS_ID": row["stageId"], "STATUS_SEMANTIC_ID": row["stageSemanticId"]}
                    if name == "leads"
                    else {
                        "CATEGORY_ID": row.get("categoryId", 0),
                        "STAGE_ID": row["stageId"],
                        "STAGE_SEMANTIC_ID": row["stageSemanticId"],
                    }
                ),
            },
        )
        history.settle()

    # Answering

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer one HTTP request."""
        with self._lock:
            self.requests += 1
            return self.faults.around(request, self._answer)

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        self.data.settle()
        try:
            if self.application and request.path.rstrip("/") == TOKEN_PATH:
                body = self.application.renew(_params(request), self.address, self.clock.seconds())
            else:
                body = self._run(request)
        except RestError as error:
            return HttpAnswer(error.status, orjson.dumps(_error_body(error)))
        return HttpAnswer(200, orjson.dumps(body))

    def _run(self, request: HttpRequest) -> dict[str, Any]:
        if self.options.rate_limit and not self._bucket.admit(self.clock.seconds()):
            raise RestError(503, "QUERY_LIMIT_EXCEEDED", "Too many requests")
        params = _params(request)
        if self.application:
            method = self._method_of_application(self.application, request.path, params)
        else:
            method = self._method_of_webhook(request)
        if not self.options.commercial:
            raise RestError(403, "ACCESS_DENIED", "REST API is available only on commercial plans")
        began, mark = self.clock.seconds(), time.perf_counter()
        if method == "batch":
            self._check_operating("batch")
            self.calls["batch"] += 1
            reply = Reply(self._batch(params))
            self.faults.after_batch(reply.result)
        else:
            reply = self._call(method, params, charged_to=method)
        body: dict[str, Any] = {"result": reply.result}
        if reply.next is not None:
            body["next"] = reply.next
        if reply.total is not None:
            body["total"] = reply.total
        body["time"] = self._time(method, began, time.perf_counter() - mark)
        return body

    def _method_of_application(
        self, application: Application, path: str, params: dict[str, Any]
    ) -> str:
        parts = path.strip("/").split("/")
        if len(parts) != 2 or parts[0] != "rest":
            raise RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
        application.admit(params.pop("auth", ""), self.clock.seconds())
        return parts[1].removesuffix(".json").lower()

    def _method_of_webhook(self, request: HttpRequest) -> str:
        if self.options.require_https and not request.https:
            raise RestError(400, "INVALID_REQUEST", "Https required.")
        parts = request.path.strip("/").split("/")
        if len(parts) != 4 or parts[0] != "rest":
            raise RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
        if parts[1] != str(USER_ID) or parts[2] != self.options.token:
            raise RestError(401, "INVALID_CREDENTIALS", "Invalid request credentials")
        return parts[3].removesuffix(".json").lower()

    def _call(self, method: str, params: Mapping[str, Any], charged_to: str) -> Reply:
        if method not in self.methods.by_name:
            raise RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
        if charged_to != "batch":  # a batch is checked once, before it begins
            self._check_operating(charged_to)
        self.calls[method] += 1
        if self.options.log:
            self.log.append((method, dict(params)))
        began, mark = self.clock.seconds(), time.perf_counter()
        params = self.faults.before_call(method, params)
        try:
            reply = self.methods.call(method, params)
            self.faults.after_call(method, params, reply)
            return reply
        finally:
            spent = self.options.operating_seconds
            measured = time.perf_counter() - mark
            self._operating_of(charged_to).charge(began, measured if spent is None else spent)

    # batch

    def _batch(self, params: Mapping[str, Any]) -> dict[str, Any]:
        commands = as_mapping(params.get("cmd")) or {}
        halt = truthy(params.get("halt"))
        result: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        totals: dict[str, Any] = {}
        following: dict[str, Any] = {}
        times: dict[str, Any] = {}
        for number, (name, command) in enumerate(commands.items()):
            began, mark = self.clock.seconds(), time.perf_counter()
            try:
                if number >= BATCH_LIMIT:
                    raise RestError(400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
                method, _, query = str(command).partition("?")
                method = method.strip("/ ").removesuffix(".json").lower()
                if method == "batch":
                    raise RestError(
                        405,
                        "ERROR_BATCH_METHOD_NOT_ALLOWED",
                        "Method is not allowed for batch usage",
                    )
                charged_to = "batch" if self.options.operating_charge == "batch" else method
                reply = self._call(method, substitute(parse_query(query), result), charged_to)
            except RestError as error:
                errors[name] = _error_body(error)
                if halt:
                    break
                continue
            result[name] = reply.result
            if reply.total is not None:
                totals[name] = reply.total
            if reply.next is not None:
                following[name] = reply.next
            times[name] = self._time(charged_to, began, time.perf_counter() - mark)
        return {
            "result": php_array(result),
            "result_error": php_array(errors),
            "result_total": php_array(totals),
            "result_next": php_array(following),
            "result_time": php_array(times),
        }

    # Time and limits

    def _operating_of(self, method: str) -> OperatingTime:
        return self._operating.setdefault(method, OperatingTime())

    def _check_operating(self, method: str) -> None:
        if not self.options.operating_limit:
            return
        spent = self._operating_of(method).total(self.clock.seconds())
        if spent > self.options.operating_limit_seconds:
            raise RestError(
                429,
                "OPERATION_TIME_LIMIT",
                "Method is blocked due to operation time limit.",
            )

    def _time(self, method: str, began: float, duration: float) -> dict[str, Any]:
        finished = began + duration
        told: dict[str, Any] = {
            "start": began,
            "finish": finished,
            "duration": duration,
            "processing": duration,
            "date_start": self.clock.iso(began),
            "date_finish": self.clock.iso(finished),
        }
        if self.options.operating_fields:
            operating = self._operating_of(method)
            spent = operating.total(finished)
            told["operating_reset_at"] = operating.reset_at(finished)
            told["operating"] = spent if spent >= OPERATING_FLOOR else 0
        return told


def _error_body(error: RestError) -> dict[str, Any]:
    return {"error": error.code, "error_description": error.description}


def _params(request: HttpRequest) -> dict[str, Any]:
    """Query and body in one, the body winning, as PHP's ``$_REQUEST``."""
    params = parse_query(request.query)
    if not request.body.strip():
        return params
    if "json" in request.content_type:
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return params
        return params | (as_mapping(body) or {})
    return params | parse_query(request.body.decode("utf-8", "replace"))

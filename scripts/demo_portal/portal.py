"""The portal: a request in, an answer out; limits, batches, errors, the ``time`` block."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from scripts.demo_portal.data import PortalData
from scripts.demo_portal.errors import RestError
from scripts.demo_portal.limits import OPERATING_FLOOR, OperatingTime, RequestBucket
from scripts.demo_portal.messages import HttpAnswer, HttpRequest
from scripts.demo_portal.methods import Methods
from scripts.demo_portal.oauth import Application
from scripts.demo_portal.pages import Params, Reply
from scripts.demo_portal.params import as_mapping, parse_query, php_array, substitute, truthy
from scripts.demo_portal.records import USER_ID, Records

BATCH_LIMIT = 50
DEFAULT_TOKEN = "demo-portal-token"
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
        operating_fields: whether ``time`` has ``operating`` and ``operating_reset_at``
            (self-hosted portals with the limiter off and older versions do not).
        operating_seconds: execution time charged for each call; None: the measured one.
        operating_charge: what a batch is charged to: its ``methods`` (the documentation) or
            ``batch`` itself (measured on a self-hosted portal).
        scopes: scopes granted to the webhook or the application.
        require_https: answer webhooks over plain HTTP with 400 INVALID_REQUEST, as the cloud does.
        oauth: an application replaces the webhook (``Portal.application``).
        commercial: whether the plan has REST; else 403 ACCESS_DENIED.
        present_history: return a deal's stage history only for its present pipeline, as
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


class Portal(Records):
    """A Bitrix24 portal over a data directory.

    ``answer`` is the one way from HTTP to the methods and back.

    Attributes:
        address: scheme, host and port.
        webhook_url: address of the webhook, with a slash at its end.
        application: the application and its tokens, where OAuth is on.
        ca_file: certificate of the test authority that signed the server's, where TLS is on.
        requests: HTTP requests answered.
        calls: REST calls by method; commands of a batch count under their own, and as ``batch``.
        log: (method, parameters) of every call, where the log is on.
    """

    def __init__(self, data_dir: str | Path, options: Options | None = None) -> None:
        self.options = options or Options()
        super().__init__(PortalData(Path(data_dir), self.options.present_history))
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
        self._bucket = RequestBucket(self.options.bucket_size, self.options.bucket_drain)
        self._operating: dict[str, OperatingTime] = {}

    @property
    def webhook_url(self) -> str:
        return f"{self.address}/rest/{USER_ID}/{self.options.token}/"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a client with access."""
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

    # Answering

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer one HTTP request."""
        with self._lock:
            self.requests += 1
            return self.respond(request)

    def respond(self, request: HttpRequest) -> HttpAnswer:
        """The answer to one HTTP request, while no other one is answered."""
        try:
            if self.application and request.path.rstrip("/") == TOKEN_PATH:
                body = self.application.renew(_params(request), self.address, self.clock.seconds())
            else:
                body = self._called(request)
        except RestError as error:
            return HttpAnswer(error.status, orjson.dumps(_error_body(error)))
        return HttpAnswer(200, orjson.dumps(body))

    def _called(self, request: HttpRequest) -> dict[str, Any]:
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
            reply = Reply(self.batch(params))
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

    def _call(self, method: str, params: Params, charged_to: str) -> Reply:
        if method not in self.methods.by_name:
            raise RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
        if charged_to != "batch":  # a batch is checked once, before it begins
            self._check_operating(charged_to)
        self.calls[method] += 1
        if self.options.log:
            self.log.append((method, dict(params)))
        began, mark = self.clock.seconds(), time.perf_counter()
        try:
            return self.run(method, params)
        finally:
            spent = self.options.operating_seconds
            measured = time.perf_counter() - mark
            self._operating_of(charged_to).charge(began, measured if spent is None else spent)

    def run(self, method: str, params: Params) -> Reply:
        """Run a method, alone or in a batch.

        Raises:
            RestError: as Bitrix24 would answer.
        """
        return self.methods.call(method, params)

    def batch(self, params: Params) -> dict[str, Any]:
        """Run the commands of a batch."""
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

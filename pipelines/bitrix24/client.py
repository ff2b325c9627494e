"""Bitrix24 REST client: calls, batches, keyset walks, both request limits, errors without secrets.

Facts about the API: https://apidocs.bitrix24.com (general principles, batch, limits, huge data).
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import requests
from dlt.sources.helpers.requests import Client as RetryingClient

from pipelines.bitrix24.access import OAuth, Webhook
from pipelines.bitrix24.redaction import is_suspect, redacted
from pipelines.bitrix24.values import listed, mapping
from pipelines.environment import without
from pipelines.errors import Bitrix24Error

PAGE_SIZE = 50
BATCH_SIZE = 50
# Leaky bucket of the cloud: 50 requests, draining 2 a second; stay below it.
BUCKET_SIZE = 45
BUCKET_DRAIN_PER_SECOND = 2.0
# The cloud blocks a method after 480 seconds of execution in ten minutes.
OPERATING_LIMIT_SECONDS = 480 * 0.9
OPERATING_WINDOW_SECONDS = 600
# The cloud cuts off a request after 60 seconds.
REQUEST_TIMEOUT_SECONDS = (10, 75)
CONNECT_TIMEOUT_SECONDS = 5
SLOW_BATCH_SECONDS = 25

FINAL_5XX_CODES = {"OVERLOAD_LIMIT", "PORTAL_DELETED"}
PASSING_COMMAND_CODES = {"QUERY_LIMIT_EXCEEDED", "INTERNAL_SERVER_ERROR"}
UNKNOWN_ADVICE = "run the refresh again; if it happens again, send this to Bitrix24 support"
BATCH_COMMAND_RETRIES = 5
# How often to ask for a page that has fewer rows than the portal counts.
SHORT_PAGE_TRIES = 3
# How often to ask again after an answer that was cut short.
CUT_ANSWER_RETRIES = 3
EXPIRED = "expired_token"

# Its debug lines contain the whole address of each request with the webhook's secret.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


@dataclass(frozen=True)
class Command:
    """One REST call: a method and its parameters."""

    method: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """The answer to one REST call: decoded `result`, `total` and `next` of list methods.

    `seconds`: the portal's own time for the call, if given. `error`: the code of a refusal that the
    caller accepts as an answer.
    """

    result: Any
    total: int | None
    next: int | None
    seconds: float | None = None
    error: str = ""


def query_string(params: Mapping[str, Any]) -> str:
    """PHP-style query string of nested parameters, as batch commands require."""

    def pairs(prefix: str, value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from pairs(f"{prefix}[{key}]", item)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                yield from pairs(f"{prefix}[{index}]", item)
        else:
            yield f"{quote(prefix, safe='')}={quote(str(value), safe='')}"

    return "&".join(part for key, value in params.items() for part in pairs(str(key), value))


class Client:
    """Reads one portal.

    Args:
        access: a webhook or an application; a string is the address of a webhook.
        retry_seconds: factor of the exponential wait between tries of a failed request.
        sleep: how to wait (tests pass their own).
        verify: TLS verification, as in requests (a path of a certificate for a test portal).

    Attributes:
        accepts_difference: note a count that the rows never match in `differences` and continue.
        differences: method → the largest difference between its counts and lists.
    """

    def __init__(
        self,
        access: str | Webhook | OAuth,
        retry_seconds: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
        verify: bool | str = True,
    ) -> None:
        self.access = Webhook(access) if isinstance(access, str) else access
        self.portal_url = self.access.portal_url
        self._sleep = sleep
        self._http = RetryingClient(
            request_timeout=REQUEST_TIMEOUT_SECONDS,
            raise_for_status=False,
            status_codes=(),
            retry_condition=_is_worth_a_retry,
            request_max_attempts=8,
            request_backoff_factor=retry_seconds,
            request_max_retry_delay=30,
            session_attrs={
                "headers": {"User-Agent": "bitrix24-analytics/0.1", "Accept": "application/json"},
                "verify": verify,
            },
        )
        self.requests = 0
        self.calls: Counter[str] = Counter()
        self._bucket = 0.0
        self._bucket_at = time.monotonic()
        self._operating: dict[str, float] = {}
        self._operating_reset_in: dict[str, float] = {}
        self._operating_at: dict[str, float] = {}
        self._pages_a_batch = BATCH_SIZE
        self.accepts_difference = False
        self.differences: dict[str, int] = {}
        self.watch_clock()

    def watch_clock(self) -> None:
        """From now on `clock_fell` measures by how many seconds the portal's clock fell behind."""
        self.clock_fell, self._clock_lead = 0.0, -math.inf

    def _note_clock(self, spent: Any) -> None:
        try:
            lead = float(spent["finish"]) - time.monotonic()
        except (KeyError, TypeError, ValueError):
            return
        self._clock_lead = max(self._clock_lead, lead)
        self.clock_fell = max(self.clock_fell, self._clock_lead - lead)

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Answer:
        """One call of one method; waits for both limits.

        Raises:
            Bitrix24Error: the portal refused the call or could not be reached.
        """
        self.calls[method] += 1
        body = self._post(method, params or {})
        return Answer(
            body["result"],
            _count(body.get("total"), method),
            _count(body.get("next"), method),
            _seconds(body.get("time")),
        )

    def batch(
        self, commands: Mapping[str, Command], taken: Collection[str] = ()
    ) -> dict[str, Answer]:
        """Up to 50 calls in one request; every command must be answered.

        A batch in which the portal left out a command is sent again, as after a temporary failure.

        Args:
            taken: codes of refusals to accept as answers about a command's record.

        Raises:
            Bitrix24Error: a command failed, or the portal repeatedly left one out.
        """
        renewed, waited, attempt = False, 0.0, 0
        while True:
            methods = {command.method for command in commands.values()}
            for method in methods:
                self._wait_for_operating(method)
            for command in commands.values():
                self.calls[command.method] += 1
            body = self._post(
                "batch",
                {
                    "halt": 0 if taken else 1,
                    "cmd": {
                        name: f"{command.method}?{query_string(command.params)}"
                        for name, command in commands.items()
                    },
                },
            )["result"]
            if not isinstance(body, dict):
                raise Bitrix24Error("the portal answered a batch in an unknown form")
            results, errors, totals, nexts, times = (
                mapping(body.get(key))
                for key in ("result", "result_error", "result_total", "result_next", "result_time")
            )
            for name, spent in times.items():
                if name in commands:
                    self._note_operating(commands[name].method, spent)
            refused = {
                name: error["error"]
                for name, error in errors.items()
                if isinstance(error, dict) and error.get("error") in taken
            }
            failed = next((name for name in commands if name in errors.keys() - refused), None)
            if failed is None:
                answered = results.keys() | refused
                missing = [name for name in commands if name not in answered]
                if not missing:
                    break
                if attempt == BATCH_COMMAND_RETRIES:
                    raise Bitrix24Error(
                        f"the portal left out {len(missing)} of {len(commands)} commands of a batch"
                        f" ({commands[missing[0]].method}) repeatedly:"
                        " nothing was published; run the refresh again"
                    )
                self._sleep(2.0**attempt)
                attempt += 1
                continue
            error = errors[failed]
            code = str(error.get("error", "")) if isinstance(error, dict) else ""
            if code == EXPIRED and not renewed and self.access.renew(self._http):
                renewed = True
                continue
            if code == "OPERATION_TIME_LIMIT" and waited < 2 * OPERATING_WINDOW_SECONDS:
                waited += self._wait_for_reset(commands[failed].method)
                continue
            if code not in PASSING_COMMAND_CODES or attempt == BATCH_COMMAND_RETRIES:
                self._refuse(commands[failed].method, error)
            self._sleep(2.0**attempt)
            attempt += 1
        return {
            name: Answer(
                results.get(name),
                _count(totals.get(name), command.method),
                _count(nexts.get(name), command.method),
                _seconds(times.get(name)),
                refused.get(name, ""),
            )
            for name, command in commands.items()
        }

    def batches(
        self, commands: Mapping[str, Command], taken: Collection[str] = ()
    ) -> dict[str, Answer]:
        """Any number of independent commands, fifty to a request; `taken` as in `batch`."""
        answers: dict[str, Answer] = {}
        names = list(commands)
        for start in range(0, len(names), BATCH_SIZE):
            answers |= self.batch(
                {name: commands[name] for name in names[start : start + BATCH_SIZE]}, taken
            )
        return answers

    def lists(
        self, commands: Mapping[str, Command], items_key: str | None
    ) -> dict[str, list[dict[str, Any]]]:
        """First pages of list methods, each with as many rows as the portal counts.

        Raises:
            Bitrix24Error: a page stays too short, or a command failed.
        """
        pages: dict[str, list[dict[str, Any]]] = {}
        left = dict(commands)
        for _ in range(SHORT_PAGE_TRIES):
            answers = self.batches(
                {
                    name: Command(command.method, {**command.params, "start": 0})
                    for name, command in left.items()
                }
            )
            short = {}
            for name, command in left.items():
                answer = answers[name]
                pages[name] = rows_of(answer.result, items_key, command.method)
                if len(pages[name]) < min(PAGE_SIZE, answer.total or 0):
                    short[name] = command
            if not short:
                return pages
            left = short
        for name, command in left.items():
            self._refuse_difference(command.method, answers[name].total or 0, len(pages[name]))
        return pages

    def walk(
        self,
        method: str,
        params: Mapping[str, Any],
        items_key: str | None,
        id_key: str,
        last_id: int = 0,
        to_id: int | None = None,
    ) -> Iterator[list[dict[str, Any]]]:
        """All rows in the order of their ID, by keyset pages chained within batches.

        After a full page the next one starts after its last ID. A page that is not full does not
        prove the end: rows after it are requested until the portal lists nothing and counts
        nothing. The count of a filter comes with its first page, so a short walk takes one request.
        Answers to the commands after a page that is not full are discarded: their reference points
        to a missing row.

        Args:
            method: a list method with its `params` (entityTypeId, select, filter).
            items_key: the key of the rows within the result; None if the result is the list.
            id_key: name of the ID field ("id" or "ID").
            last_id: rows start after this ID.
            to_id: the last ID to read.

        Yields:
            The rows of one page, never empty.
        """
        path = f"[{items_key}]" if items_key else ""
        pages, is_first, was_short, tries = 1, True, False, 0
        while True:
            commands = {}
            for index in range(pages):
                after: int | str = (
                    last_id
                    if index == 0
                    else f"$result[p{index - 1}]{path}[{PAGE_SIZE - 1}][{id_key}]"
                )
                condition = {**params.get("filter", {}), f">{id_key}": after}
                if to_id is not None:
                    condition[f"<={id_key}"] = to_id
                commands[f"p{index}"] = Command(
                    method,
                    {
                        **params,
                        "order": {id_key: "ASC"},
                        "filter": condition,
                        "start": 0 if was_short else -1,
                    },
                )
            if is_first and params.get("filter"):
                counted = {**commands["p0"].params, "select": [id_key], "start": 0}
                commands["count"] = Command(method, counted)
            started = time.monotonic()
            answers = self.batch(commands)
            total = answers.pop("count").total if "count" in commands else None
            seconds = time.monotonic() - started
            for answer in answers.values():
                rows = rows_of(answer.result, items_key, method)
                if rows:
                    ids = [number_of(row, id_key, method) for row in rows]
                    if ids[0] <= last_id or any(a >= b for a, b in itertools.pairwise(ids)):
                        raise Bitrix24Error(
                            f"{method} did not sort its rows by {id_key}: run the refresh again"
                        )
                    last_id = ids[-1]
                    yield rows
                if len(rows) < PAGE_SIZE:
                    break
            if total is not None and len(rows) == total:
                return
            if was_short and not rows:
                if not answer.total:
                    return
                tries += 1
                if tries == SHORT_PAGE_TRIES:
                    self._refuse_difference(method, answer.total, 0)
                    return
            if seconds > SLOW_BATCH_SECONDS:
                self._pages_a_batch = max(1, self._pages_a_batch // 2)
            is_first, was_short = False, len(rows) < PAGE_SIZE
            pages = 1 if was_short else min(self._pages_a_batch, pages * 7)

    def pages(
        self, method: str, params: Mapping[str, Any], items_key: str | None
    ) -> list[dict[str, Any]]:
        """All rows of a reference table by its own paging (`start`, `next`).

        Starts again if the count differs from the rows: one was lost or shifted.

        Raises:
            Bitrix24Error: the count never matches.
        """
        for _ in range(SHORT_PAGE_TRIES):
            rows: list[dict[str, Any]] = []
            totals: set[int] = set()
            # Methods that return everything at once do not support `start`.
            page: dict[str, int] | None = {}
            while page is not None:
                answer = self.call(method, {**params, **page})
                rows += rows_of(answer.result, items_key, method)
                # crm.currency.list always counts 0.
                totals |= {answer.total} if answer.total else set()
                page = None if answer.next is None else {"start": answer.next}
            if totals <= {len(rows)}:
                return rows
        self._refuse_difference(method, max(totals), len(rows))
        return rows

    def _refuse_difference(self, method: str, counted: int, listed: int) -> None:
        """Handles a count that the rows never matched: notes it if it is accepted.

        Raises:
            Bitrix24Error: it is not accepted.
        """
        if not self.accepts_difference:
            raise Bitrix24Error(
                f"the portal counts {counted} rows of {method} and lists {listed}, in"
                f" {SHORT_PAGE_TRIES} tries: nothing was published; run the refresh again; if the"
                " difference stays and you know why, accept it once with --accept-difference"
            )
        differ = max(self.differences.get(method, 0), abs(counted - listed))
        self.differences[method] = differ

    def _post(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        renewed, waited, cut = False, 0.0, 0
        while True:
            self.access.prepare(self._http)
            self._wait_for_operating(method)
            self._wait_for_bucket()
            self.requests += 1
            response = self._send(method, params)
            body = self._decode(method, response)
            if body is None:
                # A proxy's page instead of the portal's answer starts differently.
                if cut < CUT_ANSWER_RETRIES and response.content.startswith(b"{"):
                    self._sleep(2.0**cut)
                    cut += 1
                    continue
                raise Bitrix24Error(
                    f"the portal answered {method} with HTTP {response.status_code} and no valid"
                    " JSON: try again later; if it happens again, check the address"
                )
            self._note_clock(body.get("time"))
            code = str(body.get("error") or "")
            if code == "OPERATION_TIME_LIMIT" and waited < 2 * OPERATING_WINDOW_SECONDS:
                waited += self._wait_for_reset(method)
                continue
            if code == EXPIRED and not renewed:
                renewed = self.access.renew(self._http)
                if renewed:
                    continue
            if "error" in body or "result" not in body:
                self._refuse(method, body, response.status_code)
            self._note_operating(method, body.get("time"))
            return body

    def _send(self, method: str, params: Mapping[str, Any]) -> requests.Response:
        try:
            response: requests.Response = self._http.post(
                self.access.rest_url + method,
                json={**params, **self.access.parameters},
                allow_redirects=False,
            )
            return response
        except requests.exceptions.SSLError:
            problem = "its TLS certificate was not accepted"
        except requests.exceptions.Timeout:
            problem = "it did not answer in time"
        except requests.exceptions.RequestException as error:
            problem = _why_unreachable(error)
        # The library's exception contains the whole address with its secret.
        raise Bitrix24Error(
            f"cannot reach the portal {self.portal_url}: {problem}; check the address and the"
            " network, then run the refresh again"
        ) from None

    def _decode(self, method: str, response: requests.Response) -> dict[str, Any] | None:
        """The answer without secrets; None if it is not a complete JSON object."""
        if response.is_redirect or response.status_code in (301, 302, 307, 308):
            moved_to = urlsplit(response.headers.get("Location", "")).hostname or "another address"
            raise Bitrix24Error(
                f"the portal {self.portal_url} has moved to {moved_to}:"
                f" put the new address into {self.access.setting}"
            )
        try:
            body = json.loads(response.content, parse_float=Decimal, parse_constant=_no_number)
            secrets = self.access.secrets
            if is_suspect(response.content, secrets):
                body = redacted(body, secrets)
        except (ValueError, RecursionError):
            return None
        return body if isinstance(body, dict) else None

    def _refuse(self, method: str, error: Any, status: int | None = None) -> NoReturn:
        if not isinstance(error, dict):
            error = {"error_description": str(error)}
        code = str(error.get("error") or "")
        described = without(self.access.secrets, str(error.get("error_description") or ""))
        if not code and "ccess denied" in described:
            advice = f"{self.access.owner} may not read this: {self.access.make_administrator}"
        else:
            advice = self.access.advice.get(code, UNKNOWN_ADVICE)
        told = " ".join(part for part in (f"HTTP {status}" if status else "", code) if part)
        raise Bitrix24Error(
            f"the portal refused {method} ({told}): {described}; {advice}",
            code,
        )

    def _wait_for_bucket(self) -> None:
        now = time.monotonic()
        drained = (now - self._bucket_at) * BUCKET_DRAIN_PER_SECOND
        self._bucket = max(0.0, self._bucket - drained) + 1
        self._bucket_at = now
        if self._bucket > BUCKET_SIZE:
            self._sleep((self._bucket - BUCKET_SIZE) / BUCKET_DRAIN_PER_SECOND)

    def _note_operating(self, method: str, spent: Any) -> None:
        """Records a method's used execution seconds; portals may leave them out."""
        if not isinstance(spent, dict) or "operating" not in spent:
            return
        try:
            self._operating[method] = float(spent["operating"])
            reset_in = float(spent["operating_reset_at"]) - float(spent["finish"])
        except (KeyError, TypeError, ValueError):
            reset_in = 60.0
        self._operating_reset_in[method] = min(max(reset_in, 1.0), OPERATING_WINDOW_SECONDS)
        self._operating_at[method] = time.monotonic()

    def _wait_for_operating(self, method: str) -> None:
        if self._operating.get(method, 0.0) >= OPERATING_LIMIT_SECONDS:
            self._wait_for_reset(method)

    def _wait_for_reset(self, method: str) -> float:
        """Waits until the portal allows the method again; returns the seconds."""
        passed = time.monotonic() - self._operating_at.get(method, time.monotonic())
        seconds = max(1.0, self._operating_reset_in.get(method, 60.0) - passed)
        self._sleep(seconds)
        self._operating[method] = 0.0
        # The reset time was for that moment only: if the block stays, wait in steps.
        self._operating_reset_in[method] = 60.0
        self._operating_at[method] = time.monotonic()
        return seconds


def rows_of(result: Any, items_key: str | None, method: str) -> list[dict[str, Any]]:
    """The rows of a list method's result.

    Raises:
        Bitrix24Error: the result is not a list of objects, or one of them is empty.
    """
    if items_key and isinstance(result, dict):
        result = result.get(items_key)
    try:
        if not isinstance(result, list | dict):
            raise TypeError("not a list")
        rows = [mapping(row) for row in listed(result)]
    except TypeError:
        raise Bitrix24Error(f"the portal answered {method} in an unknown form") from None
    if not all(rows):
        raise Bitrix24Error(
            f"the portal answered {method} with empty rows, without the selected fields, as it"
            " does for requests with useOriginalUfNames=Y (ours do not send it:"
            " github.com/bitrix-tools/b24-rest-docs/issues/368): check whether a proxy changes"
            " requests, and report it to Bitrix24"
        )
    return rows


def number_of(row: Mapping[str, Any], key: str, method: str) -> int:
    """The ID of a row.

    Raises:
        Bitrix24Error: it is not a number.
    """
    value = row.get(key)
    try:
        if isinstance(value, bool | Decimal):
            raise TypeError
        return int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise Bitrix24Error(
            f"the portal answered {method} with a row whose {key} is not a number: run the refresh"
            " again; if it happens again, report it as an error"
        ) from None


def _count(value: Any, method: str) -> int | None:
    """The total of a list method; portals may leave it out."""
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, ArithmeticError):
        raise Bitrix24Error(
            f"the portal answered {method} with a count that is not a number: run the refresh again"
        ) from None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _seconds(spent: Any) -> float | None:
    """The duration in a time block; portals may leave it out."""
    try:
        return float(spent["duration"])
    except (KeyError, TypeError, ValueError):
        return None


def _why_unreachable(error: BaseException) -> str:
    """Why a connection could not be made, or broke."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "its host name is unknown"
        if isinstance(cause, ConnectionRefusedError):
            return "nothing listens at that address and port"
        if isinstance(cause, TimeoutError):
            return "it did not answer in time"
        inner = [arg for arg in cause.args if isinstance(arg, BaseException)]
        reason = getattr(cause, "reason", None)
        inner += [reason] if isinstance(reason, BaseException) else []
        cause = inner[0] if inner else cause.__cause__ or cause.__context__
    return "the connection failed"


def refuse_unreachable(portal_url: str) -> None:
    """Tries once to connect, for a quick answer; behind a proxy it does nothing.

    Raises:
        Bitrix24Error: the host or its port does not answer.
    """
    parts = urlsplit(portal_url)
    if requests.utils.get_environ_proxies(portal_url):
        return
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), CONNECT_TIMEOUT_SECONDS).close()
    except OSError as error:
        raise Bitrix24Error(
            f"cannot reach the portal {portal_url}: {_why_unreachable(error)}; check the address"
            " and the network"
        ) from None


def _error_code(response: requests.Response) -> str:
    try:
        return str(response.json().get("error") or "")
    except (ValueError, AttributeError):
        return ""


def _is_worth_a_retry(response: requests.Response | None, exception: BaseException | None) -> bool:
    if response is None or response.status_code < 500:
        return False
    return _error_code(response) not in FINAL_5XX_CODES


def chunked(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Consecutive pieces of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

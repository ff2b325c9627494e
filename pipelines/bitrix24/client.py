"""Bitrix24 REST client: calls, batches, keyset walks, both request limits, errors without secrets.

Facts about the API: https://apidocs.bitrix24.com (general principles, batch, limits, huge data).
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import math
import socket
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import requests
from dlt.sources.helpers.requests import Client as RetryingClient

from pipelines.bitrix24.access import OAuth, Webhook
from pipelines.bitrix24.pace import (
    CLOUD_REQUESTS_PER_SECOND,
    OPERATING_WINDOW_SECONDS,
    Clock,
    Pace,
)
from pipelines.bitrix24.redaction import is_suspect, redacted
from pipelines.bitrix24.values import listed, mapping
from pipelines.environment import without
from pipelines.errors import Bitrix24Error

PAGE_SIZE = 50
BATCH_SIZE = 50
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
# How often to send a request again that the portal refuses as one too many.
REQUEST_TRIES = 8
LONGEST_RETRY_SECONDS = 30.0
EXPIRED, TOO_MANY = "expired_token", "QUERY_LIMIT_EXCEEDED"

# Its debug lines contain the whole address of each request with the webhook's secret.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


@dataclass(frozen=True)
class Command:
    """One REST call: a method and its parameters."""

    method: str
    params: Mapping[str, Any]

    def starting(self, start: int) -> Command:
        """The same with a `start`: 0 counts the rows, -1 does not."""
        return Command(self.method, {**self.params, "start": start})


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


@dataclass(frozen=True)
class Walk:
    """All rows of a list method in the order of their ID.

    Attributes:
        items_key: key of the rows within the result; None if the result is the list.
        id_key: name of the ID field ("id" or "ID").
        after: rows start after this ID.
        to_id: the last ID to read; None: all.
    """

    method: str
    params: Mapping[str, Any]
    items_key: str | None
    id_key: str
    after: int = 0
    to_id: int | None = None

    @property
    def first_page(self) -> Command:
        """The first page with the count of all rows, to be sent together with others."""
        return self.page(self.after, 0)

    def begun(self, answer: Answer) -> Begun:
        """The walk begun with the answer to `first_page`."""
        return Begun(rows_of(answer.result, self.items_key, self.method), answer.total)

    def page(self, after: int | str, start: int) -> Command:
        """The page after an ID; `start` 0 counts, -1 does not."""
        condition = {**self.params.get("filter", {}), f">{self.id_key}": after}
        if self.to_id is not None:
            condition[f"<={self.id_key}"] = self.to_id
        order = {self.id_key: "ASC"}
        return Command(
            self.method, {**self.params, "order": order, "filter": condition, "start": start}
        )

    def pages(self, after: int, count: int) -> dict[str, Command]:
        """Pages that each start after the last row of the one before."""
        path = f"[{self.items_key}]" if self.items_key else ""
        return {
            f"p{index}": self.page(
                f"$result[p{index - 1}]{path}[{PAGE_SIZE - 1}][{self.id_key}]" if index else after,
                -1,
            )
            for index in range(count)
        }


@dataclass(frozen=True)
class Begun:
    """The first page of a walk, and the portal's count of all its rows."""

    rows: Sequence[dict[str, Any]]
    total: int | None


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
            yield f"{_quoted(prefix)}={_quoted(str(value))}"

    return "&".join(part for key, value in params.items() for part in pairs(str(key), value))


@functools.lru_cache(maxsize=1_000)
def _quoted(text: str) -> str:
    """For a query string; the pages of a walk differ in little."""
    return quote(text, safe="")


class Client:
    """Reads one portal.

    Args:
        access: a webhook or an application; a string is the address of a webhook.
        retry_seconds: factor of the exponential wait between tries of a failed request.
        sleep: how to wait (tests pass their own).
        verify: TLS verification, as in requests (a path of a certificate for a test portal).
        per_second: requests a second; 0: as many as the portal takes.
        clock: instead of `sleep`.

    Threads may share a client: it has one pace and counts for all of them.

    Attributes:
        requests: HTTP requests sent.
        calls: method → calls, those in batches included.
        counted: calls for which the portal counted rows.
        accepts_difference: note a count that the rows never match in `differences` and continue.
        differences: method → the largest difference between its counts and lists.
    """

    def __init__(
        self,
        access: str | Webhook | OAuth,
        retry_seconds: float = 1.0,
        sleep: Callable[[float], None] | None = None,
        verify: bool | str = True,
        per_second: float = CLOUD_REQUESTS_PER_SECOND,
        clock: Clock | None = None,
    ) -> None:
        self.access = Webhook(access) if isinstance(access, str) else access
        self.portal_url = self.access.portal_url
        self.clock = clock or Clock(sleep)
        self.pace = Pace(self.clock, per_second)
        self._retry_seconds = retry_seconds
        self._lock = threading.RLock()
        self._local = threading.local()
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
        self.counted = 0
        self._pages_a_batch = BATCH_SIZE
        self.accepts_difference = False
        self.differences: dict[str, int] = {}
        self.watch_clock()

    def watch_clock(self) -> None:
        """From now on `clock_fell` measures by how many seconds the portal's clock fell behind."""
        self.clock_fell, self._clock_lead = 0.0, -math.inf

    def _note_clock(self, spent: Any) -> None:
        try:
            lead = float(spent["finish"]) - self.clock.now()
        except (KeyError, TypeError, ValueError):
            return
        with self._lock:
            self._clock_lead = max(self._clock_lead, lead)
            self.clock_fell = max(self.clock_fell, self._clock_lead - lead)

    @property
    def requests_here(self) -> int:
        """HTTP requests sent by this thread, and by those that read ahead for it."""
        return sum(self._tally.values())

    @property
    def _tally(self) -> Counter[str]:
        if not hasattr(self._local, "tally"):
            self._local.tally = Counter()
        tally: Counter[str] = self._local.tally
        return tally

    def _count_call(self, method: str, params: Mapping[str, Any]) -> None:
        with self._lock:
            self.calls[method] += 1
            self.counted += params.get("start", -1) >= 0

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Answer:
        """One call of one method; waits for both limits.

        Raises:
            Bitrix24Error: the portal refused the call or could not be reached.
        """
        self._count_call(method, params or {})
        body, _ = self._post(method, params or {}, (method,))
        self.pace.note(method, _seconds(body.get("time")) or 0.0, [body.get("time")])
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
        methods = sorted({command.method for command in commands.values()})
        while True:
            for command in commands.values():
                self._count_call(command.method, command.params)
            told, seconds = self._post(
                "batch",
                {
                    "halt": 0 if taken else 1,
                    "cmd": {
                        name: f"{command.method}?{query_string(command.params)}"
                        for name, command in commands.items()
                    },
                },
                ("batch", *methods),
            )
            if seconds > SLOW_BATCH_SECONDS:
                with self._lock:
                    self._pages_a_batch = max(1, min(self._pages_a_batch, len(commands)) // 2)
            body = told["result"]
            if not isinstance(body, dict):
                raise Bitrix24Error("the portal answered a batch in an unknown form")
            results, errors, totals, nexts, times = (
                mapping(body.get(key))
                for key in ("result", "result_error", "result_total", "result_next", "result_time")
            )
            self.pace.note("batch", _seconds(told.get("time")) or 0.0, [told.get("time")])
            for method in methods:
                spent = [times[name] for name in times if self._is_of(commands, name, method)]
                self.pace.note(method, sum(_seconds(one) or 0.0 for one in spent), spent)
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
                self._pause(2.0**attempt)
                attempt += 1
                continue
            error = errors[failed]
            code = str(error.get("error", "")) if isinstance(error, dict) else ""
            if code == EXPIRED and not renewed and self._renew():
                renewed = True
                continue
            if code == "OPERATION_TIME_LIMIT" and waited < 2 * OPERATING_WINDOW_SECONDS:
                waited += self.pace.wait_for_reset(commands[failed].method)
                continue
            if code not in PASSING_COMMAND_CODES or attempt == BATCH_COMMAND_RETRIES:
                self._refuse(commands[failed].method, error)
            self._pause(2.0**attempt)
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

    @staticmethod
    def _is_of(commands: Mapping[str, Command], name: str, method: str) -> bool:
        return name in commands and commands[name].method == method

    def lists(
        self,
        commands: Mapping[str, Command],
        items_key: str | None,
        expected: Mapping[str, int] | None = None,
        answers: Mapping[str, Answer] | None = None,
    ) -> dict[str, list[dict[str, Any]]]:
        """First pages of list methods, each with as many rows as the portal counts.

        Args:
            expected: command → the most rows that it can have; a page with as many is complete
                without a count, which the portal is asked for only where there are fewer.
            answers: answers to the commands without a count, if they have been asked already.

        Raises:
            Bitrix24Error: a page stays too short, or a command failed.
        """
        pages: dict[str, list[dict[str, Any]]] = {}
        left = dict(commands)
        if expected:
            uncounted = {name: command for name, command in commands.items() if name in expected}
            told = answers or self.batches(
                {name: command.starting(-1) for name, command in uncounted.items()}
            )
            for name, command in uncounted.items():
                pages[name] = rows_of(told[name].result, items_key, command.method)
                if len(pages[name]) >= min(PAGE_SIZE, expected[name]):
                    del left[name]
        for _ in range(SHORT_PAGE_TRIES):
            if not left:
                return pages
            counted = self.batches({name: command.starting(0) for name, command in left.items()})
            short = {}
            for name, command in left.items():
                answer = counted[name]
                pages[name] = rows_of(answer.result, items_key, command.method)
                if len(pages[name]) < min(PAGE_SIZE, answer.total or 0):
                    short[name] = command
            if not short:
                return pages
            left = short
        for name, command in left.items():
            self._refuse_difference(command.method, counted[name].total or 0, len(pages[name]))
        return pages

    def walk(self, walk: Walk, begun: Begun | None = None) -> Iterator[list[dict[str, Any]]]:
        """All rows in the order of their ID, by keyset pages chained within batches.

        After a full page the next one starts after its last ID. A page that is not full does not
        prove the end: rows after it are requested until the last ID to read has come, as many rows
        as the portal counted have come, or the portal lists nothing and counts nothing. The count
        of a filter comes with its first page. Answers to the commands after a page that is not full
        are discarded: their reference points to a missing row. The next batch is requested while
        the rows of the last one are used.

        Args:
            begun: the first page and the count, if they were requested together with others.

        Yields:
            The rows of one page, never empty.
        """
        progress = _Progress(walk, self._pages_a_batch)
        if begun is None and walk.params.get("filter"):
            begun = walk.begun(self.batch({"p0": walk.first_page})["p0"])
        if begun is not None:
            progress.total = begun.total
            progress.take(begun.rows)
            if begun.rows:
                yield [*begun.rows]
        waiting = self._read_ahead(progress)
        while waiting is not None:
            answers = waiting.result()
            pages = progress.taken(answers)
            if progress.was_counted and not pages:
                # Rows may be on their way between the portal's tables: it is asked again.
                counted = answers["p0"].total or 0
                progress.is_at_end = not counted
                progress.tries += 1
                if counted and progress.tries == SHORT_PAGE_TRIES:
                    self._refuse_difference(walk.method, counted, 0)
                    progress.is_at_end = True
            progress.pages_a_batch = self._pages_a_batch
            waiting = self._read_ahead(progress)
            yield from pages

    def _read_ahead(self, progress: _Progress) -> _Ahead | None:
        """Begins to request the next pages of a walk; None at its end."""
        commands = progress.next()
        if commands is None:
            return None
        tally, closed = self._tally, self.clock.closed

        def read() -> dict[str, Answer]:
            self._local.tally = tally
            self.clock.bind(closed)
            return self.batch(commands)

        return _Ahead(read, self.clock)

    def pages(
        self,
        tables: Mapping[str, tuple[Command, str | None]],
        first: Mapping[str, Answer] | None = None,
    ) -> dict[str, list[dict[str, Any]]]:
        """All rows of reference tables by their own paging (`start`, `next`), all together.

        A table whose count differs from its rows is read again: one was lost or shifted.

        Args:
            tables: name → (command without `start`, key of the rows within the result).
            first: answers to these commands, if they have been asked already.

        Raises:
            Bitrix24Error: a count never matches.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        left = dict(tables)
        for _ in range(SHORT_PAGE_TRIES):
            # Methods that return everything at once do not support `start`.
            answers = first or self.batches({name: command for name, (command, _) in left.items()})
            first = None
            rows = {
                name: rows_of(answers[name].result, items_key, command.method)
                for name, (command, items_key) in left.items()
            }
            totals = {name: {answers[name].total} - {None, 0} for name in left}
            following = {
                name: [size, *range(2 * size, answers[name].total or 0, size)]
                for name in left
                if (size := answers[name].next)
            }
            while following:
                more = self.batches(
                    {
                        f"{name} {start}": Command(
                            tables[name][0].method, {**tables[name][0].params, "start": start}
                        )
                        for name, starts in following.items()
                        for start in starts
                    }
                )
                goes_on = {}
                for name, starts in following.items():
                    command, items_key = tables[name]
                    for start in starts:
                        answer = more[f"{name} {start}"]
                        rows[name] += rows_of(answer.result, items_key, command.method)
                        totals[name] |= {answer.total} - {None, 0}
                    # Without a total each page names the next one.
                    if answer.next is not None and not totals[name]:
                        goes_on[name] = [answer.next]
                following = goes_on
            found |= rows
            # crm.currency.list always counts 0.
            left = {name: left[name] for name in left if not totals[name] <= {len(rows[name])}}
            if not left:
                return found
        for name, (command, _) in left.items():
            self._refuse_difference(
                command.method, max(total or 0 for total in totals[name]), len(found[name])
            )
        return found

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
        with self._lock:
            differ = max(self.differences.get(method, 0), abs(counted - listed))
            self.differences[method] = differ

    def _pause(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def _renew(self) -> bool:
        with self._lock:
            return self.access.renew(self._http)

    def _post(
        self, method: str, params: Mapping[str, Any], executed: Collection[str]
    ) -> tuple[dict[str, Any], float]:
        """The answer to one request, and the seconds that the portal took for it.

        Args:
            executed: methods whose execution time it uses.
        """
        renewed, waited, cut, refused = False, 0.0, 0, 0
        while True:
            with self._lock:
                self.access.prepare(self._http)
            with self.pace.request(executed):
                self.clock.check()
                with self._lock:
                    self.requests += 1
                    self._tally[method] += 1
                began = self.clock.now()
                response = self._send(method, params)
                seconds = self.clock.now() - began
            self.clock.check()
            body = self._decode(method, response)
            if body is None:
                # A proxy's page instead of the portal's answer starts differently.
                if cut < CUT_ANSWER_RETRIES and response.content.startswith(b"{"):
                    self._pause(2.0**cut)
                    cut += 1
                    continue
                raise Bitrix24Error(
                    f"the portal answered {method} with HTTP {response.status_code} and no valid"
                    " JSON: try again later; if it happens again, check the address"
                )
            self._note_clock(body.get("time"))
            code = str(body.get("error") or "")
            if code == TOO_MANY and refused < REQUEST_TRIES - 1:
                self.pace.hold()
                self._pause(min(self._retry_seconds * 2.0**refused, LONGEST_RETRY_SECONDS))
                refused += 1
                continue
            if code == "OPERATION_TIME_LIMIT" and waited < 2 * OPERATING_WINDOW_SECONDS:
                waited += self.pace.wait_for_reset(method)
                continue
            if code == EXPIRED and not renewed:
                renewed = self._renew()
                if renewed:
                    continue
            if "error" in body or "result" not in body:
                self._refuse(method, body, response.status_code)
            return body, seconds

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


class _Ahead:
    """What a thread of its own requests, until it is asked for.

    Requests of one client wait for their turn in its pace; an answer that nobody takes is dropped.
    """

    def __init__(self, read: Callable[[], dict[str, Answer]], clock: Clock) -> None:
        self._read, self._clock = read, clock
        self._done = threading.Event()
        self._answers: dict[str, Answer] = {}
        self._error: BaseException | None = None
        clock.begin()
        threading.Thread(target=self._run, name="read ahead", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answers = self._read()
        except BaseException as error:
            self._error = error
        finally:
            self._clock.set(self._done)
            self._clock.end()

    def result(self) -> dict[str, Answer]:
        """The answers, or the error that came instead of them."""
        self._clock.wait_for(self._done)
        if self._error is not None:
            raise self._error
        return self._answers


class _Progress:
    """How far a walk is, and what it requests next."""

    def __init__(self, walk: Walk, pages_a_batch: int) -> None:
        self.walk = walk
        self.pages_a_batch = pages_a_batch
        self.total: int | None = None
        self.last_id = walk.after
        self.rows = 0
        self.tries = 0
        self.was_counted = self.was_short = self.is_at_end = False
        self._pages = 0

    def take(self, rows: Sequence[dict[str, Any]]) -> None:
        """Notes the rows of one page.

        Raises:
            Bitrix24Error: they are not in the order of their ID.
        """
        key, method = self.walk.id_key, self.walk.method
        if rows:
            ids = [number_of(row, key, method) for row in rows]
            if ids[0] <= self.last_id or any(a >= b for a, b in itertools.pairwise(ids)):
                raise Bitrix24Error(
                    f"{method} did not sort its rows by {key}: run the refresh again"
                )
            self.last_id = ids[-1]
        self.rows += len(rows)
        self.was_short = len(rows) < PAGE_SIZE
        self.is_at_end = self.rows == self.total or (
            self.walk.to_id is not None and self.last_id >= self.walk.to_id
        )

    def taken(self, answers: Mapping[str, Answer]) -> list[list[dict[str, Any]]]:
        """The pages of a batch up to the first one that is not full, without empty ones."""
        pages = []
        for answer in answers.values():
            rows = rows_of(answer.result, self.walk.items_key, self.walk.method)
            self.take(rows)
            if rows:
                pages.append(rows)
            if self.was_short or self.is_at_end:
                break
        return pages

    def next(self) -> dict[str, Command] | None:
        """The next commands; None at the end."""
        if self.is_at_end:
            return None
        self.was_counted = self.was_short and (self._pages > 0 or self.total is not None)
        if self.was_counted:
            self._pages = 1
            return {"p0": self.walk.page(self.last_id, 0)}
        self._pages = max(1, min(self.pages_a_batch, self._wanted()))
        return self.walk.pages(self.last_id, self._pages)

    def _wanted(self) -> int:
        """Pages that the rest needs; where nothing is known of it, more with every batch."""
        if self.total is not None and self.total > self.rows:
            return -(-(self.total - self.rows) // PAGE_SIZE)
        if self.walk.to_id is None:
            return self._pages * 7 or 1
        ids_read = self.last_id - self.walk.after
        ids_left = self.walk.to_id - self.last_id
        # Hardly denser than so far, and at most a row for each ID.
        rows_left = ids_left * self.rows * 11 // (ids_read * 10) if ids_read else ids_left
        return -(-min(rows_left, ids_left) // PAGE_SIZE)


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
    return _error_code(response) not in {*FINAL_5XX_CODES, TOO_MANY}


def chunked(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Consecutive pieces of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

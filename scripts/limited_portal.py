"""Lists of numbered rows under the documented limits, for a client on a simulated clock.

Two requests a second from a bucket of 50, and 480 seconds of execution of each method in ten
minutes; a batch of 50 pages takes five seconds.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import requests

from scripts.demo_portal.limits import OperatingTime, RequestBucket
from scripts.simulated_clock import SimulatedClock

PAGE_ROWS, PAGES_A_BATCH = 50, 50
BATCH_ROWS = PAGE_ROWS * PAGES_A_BATCH
PAGE_SECONDS = 5.0 / PAGES_A_BATCH
OPERATING_SECONDS, WINDOW_SECONDS = 480.0, 600.0


class LimitedPortal:
    """Answers `post` of a client's session.

    Args:
        rows: (method, entityTypeId) → how many rows its list has; others are endless.

    Attributes:
        arrived: (seconds, method, rows) of each answer.
        refused: error code → how often.
    """

    def __init__(
        self, clock: SimulatedClock, rows: Mapping[tuple[str, str], int] | None = None
    ) -> None:
        self.clock = clock
        self.rows = rows or {}
        self.arrived: list[tuple[float, str, int]] = []
        self.refused: Counter[str] = Counter()
        self._bucket = RequestBucket(50, 2.0)
        self._operating: dict[str, OperatingTime] = defaultdict(OperatingTime)
        self._lock = threading.Lock()

    def post(self, url: str, json: Any, allow_redirects: bool) -> requests.Response:
        """The answer to a batch of chained pages."""
        response = requests.Response()
        response.status_code, body = self._answer(json["cmd"])
        response._content = body.encode()
        return response

    def _answer(self, commands: Mapping[str, str]) -> tuple[int, str]:
        with self._lock:
            if not self._bucket.admit(self.clock.now()):
                self.refused["QUERY_LIMIT_EXCEEDED"] += 1
                return 503, '{"error": "QUERY_LIMIT_EXCEEDED"}'
        method, _, query = commands["p0"].partition("?")
        kind = re.search(r"entityTypeId=(\d+)", query)
        after = re.search(r"filter%5B%3E(?:id|ID)%5D=(\d+)", query)
        last = self.rows.get((method, kind[1] if kind else ""), 2**60)
        first = int(after[1]) if after else 0
        results, times, sent = [], [], 0
        for name in commands:
            with self._lock:
                now, used = self.clock.now(), self._operating[method]
                if used.total(now) > OPERATING_SECONDS:
                    self.refused["OPERATION_TIME_LIMIT"] += 1
                    error = {name: {"error": "OPERATION_TIME_LIMIT", "error_description": ""}}
                    return 200, json.dumps({"result": {"result": {}, "result_error": error}})
                used.charge(now, PAGE_SECONDS)
                time = {
                    "operating": used.total(now),
                    "operating_reset_at": used.reset_at(now),
                    "finish": now,
                    "duration": PAGE_SECONDS,
                }
            until = min(first + PAGE_ROWS, last)
            rows = ",".join(f'{{"id":{n},"ID":{n}}}' for n in range(first + 1, until + 1))
            results.append(f'"{name}":{{"items":[{rows}]}}')
            times.append(f'"{name}":{json.dumps(time)}')
            sent, first = sent + until - first, until
            self.clock.sleep(PAGE_SECONDS)
        with self._lock:
            self.arrived.append((self.clock.now(), method, sent))
        told = f'"result":{{{",".join(results)}}},"result_error":[],"result_total":[]'
        return 200, f'{{"result":{{{told},"result_time":{{{",".join(times)}}}}}}}'


def least_seconds(batches: Mapping[str, int]) -> float:
    """Seconds that these batches of each method take at least, whatever a client does.

    A method has 96 batches of five seconds in ten minutes; requests are two a second after a burst.
    """
    batch = PAGE_SECONDS * PAGES_A_BATCH
    at_once = int(OPERATING_SECONDS // batch)
    slowest = max(
        (count - 1) // at_once * WINDOW_SECONDS + ((count - 1) % at_once + 1) * batch
        for count in batches.values()
    )
    return max(slowest, (sum(batches.values()) - 50) / 2)

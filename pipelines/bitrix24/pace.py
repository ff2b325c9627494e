"""The pace of requests: one budget of requests and execution seconds for all threads of a client.

Limits of the cloud (apidocs.bitrix24.com, "REST API limits"): a leaky bucket of 50 requests that
drains 2 a second (Enterprise: 250 and 5), and for each method 480 seconds of execution in ten
minutes, counted by minutes. Self-hosted portals have neither unless they are switched on.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

CLOUD_REQUESTS_PER_SECOND = 2.0
# A bucket holds what drains from it in 25 seconds; we stay below it.
BURST_SECONDS = 22.5
OPERATING_LIMIT_SECONDS = 480.0
OPERATING_WINDOW_SECONDS = 600.0
# How often a thread that waits for another one looks whether it is to end.
POLL_SECONDS = 0.05
# How long a portal that refused requests is asked at the pace of the cloud.
HELD_SECONDS = 60.0
# A request may take longer than the one before; refused midway, it is executed twice.
COST_MARGIN = 1.2
# An operating time below this share of the limit says nothing about where the limit is.
TELLING_SHARE = 0.5


class Abandoned(BaseException):
    """Ends a thread whose work nobody waits for any more."""


class Clock:
    """The time, and threads that wait for it; tests have a clock that runs by itself.

    Args:
        sleep: how to wait; by default until the time is over or the thread is to end.
    """

    def __init__(self, sleep: Callable[[float], None] | None = None) -> None:
        self._sleep = sleep
        self._local = threading.local()

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits.

        Raises:
            Abandoned: this thread is to end.
        """
        if self._sleep is not None:
            self._sleep(seconds)
        else:
            self.closed.wait(seconds)
        self.check()

    @property
    def closed(self) -> threading.Event:
        """Set when this thread is to end."""
        if not hasattr(self._local, "closed"):
            self._local.closed = threading.Event()
        closed: threading.Event = self._local.closed
        return closed

    def bind(self, closed: threading.Event) -> None:
        """This thread is to end when the event is set."""
        self._local.closed = closed

    def check(self) -> None:
        """Raises `Abandoned` if this thread is to end."""
        if self.closed.is_set():
            raise Abandoned

    def wait_for(self, event: threading.Event) -> None:
        """Waits until another thread calls `set`.

        Raises:
            Abandoned: this thread is to end.
        """
        while not event.wait(POLL_SECONDS):
            self.check()

    def set(self, event: threading.Event) -> None:
        """Lets the threads go on that wait for the event."""
        event.set()

    def begin(self) -> None:
        """A thread is about to start."""

    def end(self) -> None:
        """A thread has ended."""

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Inside, this thread only looks whether others have got something."""
        yield


class Pace:
    """Lets requests through as the limits allow.

    Args:
        per_second: requests a second; 0: as many as the portal takes.
    """

    def __init__(self, clock: Clock, per_second: float = CLOUD_REQUESTS_PER_SECOND) -> None:
        self.per_second = per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._level = 0.0
        self._drained_at = clock.now()
        self._held_until = 0.0
        self._limit = OPERATING_LIMIT_SECONDS
        self._used: dict[str, float] = {}
        self._used_at: dict[str, float] = {}
        self._reset_in: dict[str, float] = {}
        self._cost: dict[str, float] = {}
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def request(self, methods: Collection[str]) -> Iterator[None]:
        """One request, which executes these methods; waits until it is allowed."""
        for method in methods:
            while not self._reserve(method):
                self._wait_for_reset(method)
        try:
            if (seconds := self._enter()) > 0:
                self._clock.sleep(seconds)
            yield
        finally:
            with self._lock:
                for method in methods:
                    self._under_way[method] -= 1

    def note(self, method: str, seconds: float, blocks: Collection[Any]) -> None:
        """Records what one request used of a method's execution seconds.

        Args:
            seconds: execution seconds of its calls.
            blocks: their `time` blocks; portals may leave out the running total.
        """
        told = [block for block in blocks if isinstance(block, dict) and "operating" in block]
        if not told:
            return
        with self._lock:
            before = self._used.get(method)
            try:
                totals = [float(block["operating"]) for block in told]
                reset_in = float(told[-1]["operating_reset_at"]) - float(told[-1]["finish"])
            except (KeyError, TypeError, ValueError):
                totals, reset_in = [_number(block["operating"]) for block in told], 60.0
            if before is not None:
                growth = totals[-1] - before
            else:
                growth = (totals[-1] - totals[0]) * len(totals) / max(len(totals) - 1, 1)
            self._cost[method] = COST_MARGIN * max(seconds, growth, 0.0)
            self._used[method] = totals[-1]
            self._reset_in[method] = min(max(reset_in, 1.0), OPERATING_WINDOW_SECONDS)
            self._used_at[method] = self._clock.now()

    def wait_for_reset(self, method: str) -> float:
        """Waits until the portal allows a refused method again; returns the seconds."""
        with self._lock:
            used = self._used.get(method, 0.0)
            if used >= TELLING_SHARE * OPERATING_LIMIT_SECONDS:
                # A self-hosted portal may have a lower limit.
                self._limit = min(self._limit, used)
        return self._wait_for_reset(method)

    def hold(self) -> None:
        """The portal refused a request: the bucket is full, whoever filled it."""
        with self._lock:
            now = self._clock.now()
            self._held_until = now + HELD_SECONDS
            self._level, self._drained_at = self._burst, now

    @property
    def _rate(self) -> float:
        """Requests a second now; 0: no pace."""
        if self.per_second == 0 and self._clock.now() < self._held_until:
            return CLOUD_REQUESTS_PER_SECOND
        return self.per_second

    @property
    def _burst(self) -> float:
        return BURST_SECONDS * (self._rate or CLOUD_REQUESTS_PER_SECOND)

    def _enter(self) -> float:
        """Counts a request; returns the seconds to wait before it."""
        with self._lock:
            rate, now = self._rate, self._clock.now()
            if rate == 0:
                return 0.0
            self._level = max(0.0, self._level - (now - self._drained_at) * rate) + 1
            self._drained_at = now
            return max(0.0, self._level - self._burst) / rate

    def _reserve(self, method: str) -> bool:
        """Reserves what a request will use of a method, if there is as much."""
        with self._lock:
            used, cost = self._used.get(method, 0.0), self._cost.get(method, 0.0)
            if used and used + cost * (1 + self._under_way[method]) > self._limit:
                return False
            self._under_way[method] += 1
            return True

    def _wait_for_reset(self, method: str) -> float:
        """Waits until the portal frees a part of the method's time; returns the seconds."""
        with self._lock:
            passed = self._clock.now() - self._used_at.get(method, self._clock.now())
            seconds = max(1.0, self._reset_in.get(method, 60.0) - passed)
        self._clock.sleep(seconds)
        with self._lock:
            # What is used now is unknown, and the reset time was for that moment only: if the block
            # stays, wait in steps.
            self._used.pop(method, None)
            self._reset_in[method] = 60.0
            self._used_at[method] = self._clock.now()
        return seconds


def _number(value: Any) -> float:
    with suppress(TypeError, ValueError):
        return float(value)
    return 0.0

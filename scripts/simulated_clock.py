"""A clock for the client that runs only while all its threads wait: hours pass in seconds."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.bitrix24.pace import POLL_SECONDS, Clock


class SimulatedClock(Clock):
    """Work takes no time; whoever sleeps wakes when nobody works any more."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._now = 0.0
        # The thread that made it works.
        self._working = 1
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._waiting: Counter[threading.Event] = Counter()

    def now(self) -> float:
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        self.check()
        woken = threading.Event()
        with self._lock:
            heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), woken))
            self._rest()
        woken.wait()
        self.check()

    def wait_for(self, event: threading.Event) -> None:
        with self._lock:
            if event.is_set():
                return
            self._waiting[event] += 1
            self._rest()
        while not event.wait(POLL_SECONDS):
            if self.closed.is_set():
                with self._lock:
                    # `set` would count this thread as working; it is, but only to end.
                    if not event.is_set():
                        self._waiting[event] -= 1
                        self._working += 1
                self.check()

    def set(self, event: threading.Event) -> None:
        with self._lock:
            event.set()
            self._working += self._waiting.pop(event, 0)

    def begin(self) -> None:
        with self._lock:
            self._working += 1

    def end(self) -> None:
        with self._lock:
            self._rest()

    @contextmanager
    def idle(self) -> Iterator[None]:
        with self._lock:
            self._rest()
        try:
            yield
        finally:
            with self._lock:
                self._working += 1

    def _rest(self) -> None:
        """One thread less works; if it was the last one, time goes on to the next sleeper."""
        self._working -= 1
        if self._working == 0 and self._sleepers:
            self._now = self._sleepers[0][0]
            while self._sleepers and self._sleepers[0][0] <= self._now:
                heapq.heappop(self._sleepers)[2].set()
                self._working += 1

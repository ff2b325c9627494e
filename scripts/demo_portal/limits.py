"""The two limits of the cloud and the portal's clock.

Source: apidocs.bitrix24.com, "REST API limits": a leaky bucket of HTTP requests (503) and the
execution time of a method in ten one-minute baskets (429).
"""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime, timezone

BASKET_SECONDS = 60
WINDOW_SECONDS = 600
# Below a tenth of a second the portal tells 0 (measured: github.com/bitrix24/b24jssdk/pull/539).
OPERATING_FLOOR = 0.1


class Clock:
    """The portal's time: the real one, or one that was set and ticks on from there."""

    def __init__(self, zone: timezone) -> None:
        self.zone = zone
        self._ahead = 0.0

    def set(self, moment: datetime) -> None:
        """Make it ``moment`` (with offset) now."""
        self._ahead = moment.timestamp() - time.time()

    def move(self, seconds: float) -> None:
        """Put it forward, or back."""
        self._ahead += seconds

    def seconds(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._ahead

    def iso(self, seconds: float) -> str:
        """A moment as the portal writes it."""
        return datetime.fromtimestamp(int(seconds), UTC).astimezone(self.zone).isoformat()


class RequestBucket:
    """Leaky bucket of HTTP requests: 50, draining 2 a second (Enterprise: 250 and 5)."""

    def __init__(self, threshold: int, drain: float) -> None:
        self.threshold = threshold
        self.drain = drain
        self._level = 0.0
        self._drained_at: float | None = None

    def admit(self, now: float) -> bool:
        """Count a request; False where the bucket is full (the request is refused)."""
        if self._drained_at is None or now < self._drained_at:
            self._drained_at = now
        whole_seconds = int(now - self._drained_at)
        self._level = max(0.0, self._level - whole_seconds * self.drain)
        self._drained_at += whole_seconds
        if self._level >= self.threshold:
            return False
        self._level += 1
        return True


class OperatingTime:
    """Seconds of execution of one method in the last ten minutes, in one-minute baskets."""

    def __init__(self) -> None:
        self._baskets: deque[list[float]] = deque()

    def _expire(self, now: float) -> None:
        while self._baskets and (
            self._baskets[0][0] + WINDOW_SECONDS <= now or self._baskets[0][0] > now
        ):
            self._baskets.popleft()

    def charge(self, now: float, seconds: float) -> None:
        """Add the execution time of a call that began ``now``."""
        self._expire(now)
        if not self._baskets or now - self._baskets[-1][0] >= BASKET_SECONDS:
            self._baskets.append([float(int(now)), 0.0])
        self._baskets[-1][1] += seconds

    def total(self, now: float) -> float:
        """Seconds that count now."""
        self._expire(now)
        return sum(seconds for _, seconds in self._baskets)

    def reset_at(self, now: float) -> int:
        """Unix time when the oldest basket stops counting."""
        self._expire(now)
        return int((self._baskets[0][0] if self._baskets else now) + WINDOW_SECONDS)

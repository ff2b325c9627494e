"""Tables read side by side: one thread for each method, since the portal limits each by itself."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl

from pipelines.bitrix24.pace import POLL_SECONDS, Abandoned, Clock

# Frames of one table that wait for the loader.
FRAMES_WAITING = 2
# How long to wait for requests under way when the sync ends early.
CLOSE_SECONDS = 10.0

# The rows of one table: its resource's name, and its frames in order.
Reading = tuple[str, Callable[[], Iterator[pl.DataFrame]]]


class Streams:
    """Threads that each read some tables one after the other.

    The rows of a table come in the same order however the threads run. The first error of one ends
    all.

    Args:
        streams: name of the stream → what it reads, in order.
        clock: of the client.
        side_by_side: False: one stream after the other.
    """

    def __init__(
        self, streams: Mapping[str, Sequence[Reading]], clock: Clock, side_by_side: bool = True
    ) -> None:
        self._clock = clock
        self._closed = threading.Event()
        self._news = threading.Event()
        self._frames: dict[str, queue.Queue[pl.DataFrame]] = defaultdict(
            lambda: queue.Queue(FRAMES_WAITING)
        )
        self._error: BaseException | None = None
        # A table may be read in several steps.
        self._left = [name for readings in streams.values() for name, _ in readings]
        self._lock = threading.Lock()
        groups = [[*readings] for readings in streams.values() if readings]
        if not side_by_side:
            groups = [[reading for readings in groups for reading in readings]]
        self._threads = [
            threading.Thread(target=self._run, args=(readings,), name="stream", daemon=True)
            for readings in groups
        ]
        for _ in self._threads:
            clock.begin()

    def start(self) -> None:
        """Starts the threads; again: does nothing."""
        for thread in self._threads:
            if thread.ident is None:
                thread.start()

    @property
    def are_over(self) -> bool:
        """Whether everything is read and taken."""
        self._raise()
        return not self._left and all(waiting.empty() for waiting in self._frames.values())

    def take(self, name: str) -> Iterator[pl.DataFrame | None]:
        """The frames of a table; None where the next one is still to come.

        Raises:
            BaseException: what ended one of the threads.
        """
        waiting = self._frames[name]
        while True:
            self._raise()
            is_last = name not in self._left
            try:
                yield waiting.get_nowait()
            except queue.Empty:
                if is_last:
                    return
                if all(other.empty() for other in list(self._frames.values())):
                    with self._clock.idle():
                        self._news.wait(POLL_SECONDS)
                    self._news.clear()
                yield None

    def close(self) -> None:
        """Ends the threads: at once where they wait, after their request where they have one."""
        self._closed.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(CLOSE_SECONDS)

    def _run(self, readings: Sequence[Reading]) -> None:
        self._clock.bind(self._closed)
        try:
            for name, frames in readings:
                for frame in frames():
                    self._put(name, frame)
                with self._lock:
                    self._left.remove(name)
                self._news.set()
        except Abandoned:
            pass
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
            self._closed.set()
        finally:
            self._news.set()
            self._clock.end()

    def _put(self, name: str, frame: pl.DataFrame) -> None:
        while not self._closed.is_set():
            try:
                self._frames[name].put(frame, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            self._news.set()
            return
        raise Abandoned

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

"""Signals by which a person or the system stops a run, all handled in one way."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: list[str] = []


class Stopped(KeyboardInterrupt):
    """The run was stopped from outside; the text names the signal."""


def stop_on_signals() -> None:
    """From now on each signal stops the run; those that `nohup` ignores stay ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def stop_received() -> Stopped | None:
    """What to raise if a signal arrived and a library swallowed or changed the exception."""
    return Stopped(f"stopped by {_received[0]}") if _received else None


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number).name)
    raise Stopped(f"stopped by {_received[-1]}")

"""The pace of the client: its setting, both limits, streams of several methods side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from json import dumps
from typing import Any

import polars as pl
import pytest
import requests

from pipelines.bitrix24.client import Client, Walk
from pipelines.bitrix24.pace import Abandoned, Clock, Pace
from pipelines.bitrix24.streams import Streams
from pipelines.environment import PortalAccess
from pipelines.errors import Bitrix24Error, SettingsError
from scripts.limited_portal import LimitedPortal, least_seconds
from scripts.simulated_clock import SimulatedClock

URL = "http://127.0.0.1:1/rest/1/code/"
METHODS = ("crm.item.list", "crm.stagehistory.list", "crm.lead.list")
TEN_MINUTES = 600


@pytest.mark.parametrize("side_by_side", [True, False])
def test_streams_bring_nearly_all_rows_that_the_limits_allow(
    monkeypatch: pytest.MonkeyPatch, side_by_side: bool
) -> None:
    """480 seconds of each of three methods in ten minutes: 96 batches of 2,500 rows each.

    The limits are the documented ones, a batch takes five seconds. One after the other, 120 batches
    are all that fits into ten minutes.
    """
    clock = SimulatedClock()
    client = Client(URL, clock=clock)
    portal = LimitedPortal(clock)
    monkeypatch.setattr(client._http, "post", portal.post)

    def frames(method: str) -> Iterator[pl.DataFrame]:
        walk = Walk(method, {}, "items", "id", 0, 1_000_000 if side_by_side else 260_000)
        for _ in client.walk(walk):
            if clock.now() > TEN_MINUTES:
                return
        yield pl.DataFrame()

    reading = {method: [(method, partial(frames, method))] for method in METHODS}
    streams = Streams(reading, clock, side_by_side)
    streams.start()
    while not streams.are_over:
        for method in METHODS:
            next(streams.take(method), None)
    streams.close()
    allowed = len(METHODS) * 96 * 2_500
    reached = sum(rows for at, _, rows in portal.arrived if at <= TEN_MINUTES)
    if side_by_side:
        assert reached >= 0.95 * allowed
    else:
        assert reached <= 300_000
    assert portal.refused == {}


def test_the_least_time_is_that_of_the_slowest_method() -> None:
    """97 batches: 96 in the first ten minutes, which are 480 seconds, and one in the next ten."""
    assert least_seconds({"a": 96, "b": 2}) == 480
    assert least_seconds({"a": 97}) == 605
    # A hundred methods with 96 batches each: two requests a second after the first fifty.
    assert least_seconds({str(n): 96 for n in range(100)}) == (9_600 - 50) / 2


def test_requests_wait_for_the_pace_of_the_setting() -> None:
    """Enterprise: 5 a second after a burst; self-hosted: none."""
    for per_second, seconds in ((2.0, (100 - 45) / 2), (5.0, 0.0), (0.0, 0.0)):
        clock = SimulatedClock()
        pace = Pace(clock, per_second)
        for _ in range(100):
            with pace.request(()):
                pass
        assert clock.now() == pytest.approx(seconds, abs=1), per_second


def test_a_portal_that_refuses_a_request_is_asked_more_slowly() -> None:
    """Another application shares the bucket, or a self-hosted portal has the limit switched on."""
    for per_second in (5.0, 0.0):
        clock = SimulatedClock()
        pace = Pace(clock, per_second)
        pace.hold()
        for _ in range(10):
            with pace.request(()):
                pass
        assert clock.now() == pytest.approx(10 / (per_second or 2), abs=0.6)


def test_a_request_refused_as_one_too_many_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock()
    client = Client(URL, clock=clock, per_second=0)
    answers = [(503, {"error": "QUERY_LIMIT_EXCEEDED"})] * 3 + [(200, {"result": 5})]

    def post(url: str, json: Any, allow_redirects: bool) -> requests.Response:
        response = requests.Response()
        response.status_code, body = answers.pop(0)
        response._content = dumps(body).encode()
        return response

    monkeypatch.setattr(client._http, "post", post)
    assert client.call("profile").result == 5
    assert client.requests == 4
    assert clock.now() >= 1 + 2 + 4

    answers += [(503, {"error": "QUERY_LIMIT_EXCEEDED"})] * 8
    with pytest.raises(Bitrix24Error, match="QUERY_LIMIT_EXCEEDED"):
        client.call("profile")
    assert answers == []


def test_a_lower_limit_of_the_portal_is_learned() -> None:
    """Self-hosted portals have 420 seconds by default, if they have a limit."""
    clock = SimulatedClock()
    pace = Pace(clock, 0)
    time = {"operating": 421.0, "operating_reset_at": 60, "finish": 0.0, "duration": 5.0}
    pace.note("crm.item.list", 5.0, [time])
    pace.wait_for_reset("crm.item.list")
    assert clock.now() == 60
    pace.note("crm.item.list", 5.0, [{**time, "operating": 418.0}])
    with pace.request(["crm.item.list"]):
        assert clock.now() == 120


def test_the_pace_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITRIX24_REQUESTS_PER_SECOND", raising=False)
    assert PortalAccess.read().bitrix24_requests_per_second == 2
    for given in ("5", "0"):
        monkeypatch.setenv("BITRIX24_REQUESTS_PER_SECOND", given)
        assert PortalAccess.read().bitrix24_requests_per_second == float(given)
    for wrong in ("-1", "fast", "nan"):
        monkeypatch.setenv("BITRIX24_REQUESTS_PER_SECOND", wrong)
        with pytest.raises(SettingsError, match="BITRIX24_REQUESTS_PER_SECOND is"):
            PortalAccess.read()


def frames_of(*counts: int) -> Iterator[pl.DataFrame]:
    for count in counts:
        yield pl.DataFrame({"n": [count]})


def taken(streams: Streams, *names: str) -> dict[str, list[int]]:
    """All frames of some tables, taken in turns, as the loader does."""
    streams.start()
    found: dict[str, list[int]] = {name: [] for name in names}
    sources = {name: streams.take(name) for name in names}
    while sources:
        for name, source in list(sources.items()):
            try:
                frame = next(source)
            except StopIteration:
                del sources[name]
                continue
            if frame is not None:
                found[name] += frame["n"].to_list()
    return found


@pytest.mark.parametrize("side_by_side", [True, False])
def test_the_frames_of_a_table_come_in_their_order(side_by_side: bool) -> None:
    """A table may be read in two steps, with another one between them."""
    streams = Streams(
        {
            "one": [("a", lambda: frames_of(1, 2, 3, 4)), ("b", lambda: frames_of())],
            "two": [
                ("c", lambda: frames_of(5)),
                ("d", lambda: frames_of(6)),
                ("c", lambda: frames_of(7, 8)),
            ],
        },
        Clock(),
        side_by_side,
    )
    assert taken(streams, "a", "b", "c", "d") == {
        "a": [1, 2, 3, 4],
        "b": [],
        "c": [5, 7, 8],
        "d": [6],
    }
    assert streams.are_over
    streams.close()


def test_an_error_of_one_stream_ends_all() -> None:
    """Also those that wait for a limit, for another stream or for the loader."""
    clock, never, are_waiting = Clock(), threading.Event(), threading.Barrier(3)
    ended: list[Any] = []

    def failing() -> Iterator[pl.DataFrame]:
        yield from frames_of(1)
        are_waiting.wait(30)
        raise Bitrix24Error("the portal is gone")

    def waiting(how: Any) -> Iterator[pl.DataFrame]:
        try:
            yield from frames_of(1)
            are_waiting.wait(30)
            how()
        except Abandoned:
            ended.append(how)
            raise

    hows: list[Any] = [lambda: clock.sleep(1000), lambda: clock.wait_for(never)]
    streams = Streams(
        {
            "failing": [("a", failing)],
            **{f"w{n}": [(f"w{n}", partial(waiting, how))] for n, how in enumerate(hows)},
            "full": [("f", lambda: frames_of(*range(1000)))],
        },
        clock,
    )
    with pytest.raises(Bitrix24Error, match="the portal is gone"):
        taken(streams, "a", "w0", "w1")
    streams.close()
    assert sorted(map(id, ended)) == sorted(map(id, hows))
    assert not any(thread.is_alive() for thread in streams._threads)

"""The REST client's own rules: queries, batches in full, limits, redirects."""

from __future__ import annotations

from collections.abc import Callable
from json import dumps
from typing import Any

import pytest
import requests

from pipelines.bitrix24.client import Client, Command, query_string
from pipelines.errors import Bitrix24Error

URL = "http://127.0.0.1:1/rest/1/code/"


def test_query_string_is_php_style_and_encoded_once() -> None:
    query = query_string({"filter": {">id": 5, "@id": [1, 2]}, "select": ["id"], "start": -1})
    assert query == (
        "filter%5B%3Eid%5D=5&filter%5B%40id%5D%5B0%5D=1&filter%5B%40id%5D%5B1%5D=2"
        "&select%5B0%5D=id&start=-1"
    )


class Answers:
    """Plays answers of a portal one after the other."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []

    def __call__(self, url: str, json: Any, allow_redirects: bool) -> requests.Response:
        self.sent.append(json)
        status, body = self.answers.pop(0)
        response = requests.Response()
        response.status_code = status
        if isinstance(body, str):
            response.headers["Location"] = body
            body = {}
        response._content = body if isinstance(body, bytes) else dumps(body).encode()
        return response


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Client, Answers, list[float]]]:
    def start(*answers: tuple[int, Any]) -> tuple[Client, Answers, list[float]]:
        slept: list[float] = []
        client = Client(URL, sleep=slept.append)
        played = Answers(*answers)
        monkeypatch.setattr(client._http, "post", played)
        return client, played, slept

    return start


def batch_body(result: Any, errors: Any = ()) -> dict[str, Any]:
    return {"result": {"result": result, "result_error": errors or [], "result_total": []}}


COMMANDS = {"a": Command("crm.item.list", {}), "b": Command("crm.item.list", {})}


def test_a_command_that_the_batch_leaves_out_is_a_failure(play: Any) -> None:
    client, _, _ = play((200, batch_body({"a": {"items": []}})))
    with pytest.raises(Bitrix24Error, match="left out 1 of 2 commands"):
        client.batch(COMMANDS)


def test_an_error_inside_a_batch_is_a_failure(play: Any) -> None:
    error = {"b": {"error": "ACCESS_DENIED", "error_description": "no"}}
    client, _, _ = play((200, batch_body({"a": {"items": []}}, error)))
    with pytest.raises(Bitrix24Error, match=r"crm\.item\.list \(ACCESS_DENIED\): no"):
        client.batch(COMMANDS)


def test_an_operating_limit_inside_a_batch_is_waited_out(play: Any) -> None:
    error = {"b": {"error": "OPERATION_TIME_LIMIT", "error_description": "blocked"}}
    full = batch_body({"a": {"items": []}, "b": {"items": []}})
    client, played, slept = play((200, batch_body({"a": {"items": []}}, error)), (200, full))
    assert set(client.batch(COMMANDS)) == {"a", "b"}
    assert len(played.sent) == 2
    assert slept == [pytest.approx(60, abs=0.1)]


def test_an_operating_limit_waits_until_its_reset(play: Any) -> None:
    time = {"operating": 100.0, "operating_reset_at": 1300, "finish": 1000.0}
    blocked = {"error": "OPERATION_TIME_LIMIT", "error_description": "blocked"}
    client, _, slept = play(
        (200, {"result": 1, "time": time}), (429, blocked), (200, {"result": 2})
    )
    client.call("profile")
    assert client.call("profile").result == 2
    assert slept == [pytest.approx(300, abs=1)]


def test_a_method_near_its_limit_is_not_called_before_the_reset(play: Any) -> None:
    time = {"operating": 450.0, "operating_reset_at": 1100, "finish": 1000.0}
    client, _, slept = play((200, {"result": 1, "time": time}), (200, {"result": 2}))
    client.call("profile")
    client.call("profile")
    assert slept == [pytest.approx(100, abs=1)]


def test_requests_are_spaced_when_the_bucket_is_nearly_full(play: Any) -> None:
    client, _, slept = play(*[(200, {"result": 1})] * 50)
    for _ in range(50):
        client.call("profile")
    # 45 pass at once; the other five wait half a second and more each.
    assert len(slept) >= 5
    assert slept[0] == pytest.approx(0.5, abs=0.1)


def test_a_moved_portal_is_told_with_its_new_host(play: Any) -> None:
    client, _, _ = play((302, "https://new.bitrix24.ru/rest/1/code/profile"))
    with pytest.raises(Bitrix24Error, match=r"has moved to new\.bitrix24\.ru"):
        client.call("profile")


def test_html_in_place_of_json_is_told(play: Any) -> None:
    client, _, _ = play((200, b"<html>"))
    with pytest.raises(Bitrix24Error, match="HTTP 200 and no JSON"):
        client.call("profile")


def test_pages_out_of_order_are_a_failure(play: Any) -> None:
    rows = [{"id": 2}, {"id": 1}]
    client, _, _ = play((200, batch_body({"p0": {"items": rows}})))
    with pytest.raises(Bitrix24Error, match="did not keep the order"):
        list(client.walk("crm.item.list", {}, "items", "id"))


def test_a_walk_ends_at_the_first_page_that_is_not_full(play: Any) -> None:
    """What follows that page in the same batch is an answer to a reference that names no row."""
    first = [{"id": number} for number in range(1, 51)]
    second = [{"id": number} for number in range(51, 101)]
    short = [{"id": 101}]
    client, played, _ = play(
        (200, batch_body({"p0": {"items": first}})),
        (
            200,
            batch_body(
                {"p0": {"items": second}, "p1": {"items": short}}
                | {f"p{n}": {"items": first} for n in range(2, 7)}
            ),
        ),
    )
    pages = list(client.walk("crm.item.list", {}, "items", "id"))
    assert [row["id"] for page in pages for row in page] == list(range(1, 102))
    assert "%24result%5Bp0%5D%5Bitems%5D%5B49%5D%5Bid%5D" in played.sent[1]["cmd"]["p1"]

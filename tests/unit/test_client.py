"""The REST client's own rules: queries, batches in full, limits, redirects."""

from __future__ import annotations

import time
from collections.abc import Callable
from json import dumps
from typing import Any

import pytest
import requests

from pipelines.bitrix24.client import Client, Command, Walk, query_string
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


def batch_body(result: Any, errors: Any = (), totals: Any = ()) -> dict[str, Any]:
    told = {"result_error": errors or [], "result_total": totals or []}
    return {"result": {"result": result, **told}}


WALK = Walk("crm.item.list", {}, "items", "id")
COMMANDS = {"a": Command("crm.item.list", {}), "b": Command("crm.item.list", {})}


def test_a_command_that_the_batch_leaves_out_is_asked_for_again(play: Any) -> None:
    one, both = (batch_body({key: {"items": []} for key in names}) for names in ("a", "ab"))
    client, played, slept = play((200, one), (200, one), (200, both))
    assert set(client.batch(COMMANDS)) == {"a", "b"}
    assert [list(body["cmd"]) for body in played.sent] == [["a", "b"]] * 3
    assert slept == [1, 2]

    client, _, _ = play(*[(200, one)] * 6)
    with pytest.raises(Bitrix24Error, match=r"left out 1 of 2 commands .* repeatedly"):
        client.batch(COMMANDS)


def test_an_error_inside_a_batch_is_a_failure(play: Any) -> None:
    error = {"b": {"error": "ACCESS_DENIED", "error_description": "no"}}
    client, _, _ = play((200, batch_body({"a": {"items": []}}, error)))
    with pytest.raises(Bitrix24Error, match=r"crm\.item\.list \(ACCESS_DENIED\): no"):
        client.batch(COMMANDS)


def test_a_refusal_of_one_record_is_an_answer_where_it_is_taken_for_one(play: Any) -> None:
    """All commands run (no halt); another code fails as ever."""
    gone = {"a": {"error": "NOT_FOUND", "error_description": "Element not found"}}
    client, played, _ = play((200, batch_body({"b": 5}, gone)))
    answers = client.batch(COMMANDS, taken=("NOT_FOUND",))
    assert [(answers[name].result, answers[name].error) for name in "ab"] == [
        (None, "NOT_FOUND"),
        (5, ""),
    ]
    assert played.sent[0]["halt"] == 0

    client, _, _ = play((200, batch_body({"b": 5}, gone)))
    with pytest.raises(Bitrix24Error, match=r"\(NOT_FOUND\)"):
        client.batch(COMMANDS, taken=("ACCESS_DENIED",))


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
    time = {"operating": 480.5, "operating_reset_at": 1100, "finish": 1000.0}
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
    with pytest.raises(Bitrix24Error, match="HTTP 200 and no valid JSON"):
        client.call("profile")


def test_pages_out_of_order_are_a_failure(play: Any) -> None:
    rows = [{"id": 2}, {"id": 1}]
    client, _, _ = play((200, batch_body({"p0": {"items": rows}})))
    with pytest.raises(Bitrix24Error, match="did not sort its rows by id"):
        list(client.walk(WALK))


def test_a_walk_ends_where_nothing_is_behind_the_page_that_is_not_full(play: Any) -> None:
    """Later pages of the same batch answer a reference to a row that does not exist."""
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
        (200, batch_body({"p0": {"items": []}}, totals={"p0": 0})),
    )
    pages = list(client.walk(WALK))
    assert [row["id"] for page in pages for row in page] == list(range(1, 102))
    assert "%24result%5Bp0%5D%5Bitems%5D%5B49%5D%5Bid%5D" in played.sent[1]["cmd"]["p1"]
    assert "filter%5B%3Eid%5D=101&start=0" in played.sent[2]["cmd"]["p0"]


def test_a_short_page_is_no_end_of_a_walk(play: Any) -> None:
    """The portal returns a part of a page, then nothing though it counts more, then the rest."""
    client, _, _ = play(
        (200, batch_body({"p0": {"items": [{"id": 1}]}})),
        (200, batch_body({"p0": {"items": []}}, totals={"p0": 2})),
        (200, batch_body({"p0": {"items": [{"id": 5}, {"id": 9}]}}, totals={"p0": 2})),
        (200, batch_body({"p0": {"items": []}}, totals={"p0": 0})),
    )
    pages = list(client.walk(WALK))
    assert [row["id"] for page in pages for row in page] == [1, 5, 9]


def test_rows_that_are_counted_and_never_listed_are_a_failure(play: Any) -> None:
    nothing = (200, batch_body({"p0": {"items": []}}, totals={"p0": 2}))
    client, _, _ = play((200, batch_body({"p0": {"items": []}})), *[nothing] * 3)
    with pytest.raises(Bitrix24Error, match=r"counts 2 rows of .* and lists 0, in 3"):
        list(client.walk(WALK))


FILTERED = Walk("crm.item.list", {"filter": {">=updatedTime": "2026"}}, "items", "id")


def test_the_count_of_a_filter_spares_the_second_request(play: Any) -> None:
    client, played, _ = play((200, batch_body({"p0": {"items": [{"id": 1}]}}, totals={"p0": 1})))
    assert list(client.walk(FILTERED)) == [[{"id": 1}]]
    assert len(played.sent) == 1
    assert played.sent[0]["cmd"]["p0"].endswith("start=0")


def test_a_count_says_how_many_pages_a_walk_needs(play: Any) -> None:
    """120 rows: the first page, and two in one batch; fewer than counted are asked for again."""
    pages = [[{"id": number} for number in range(first, first + 50)] for first in (1, 51)]
    last = [{"id": number} for number in range(101, 121)]
    client, played, _ = play(
        (200, batch_body({"p0": {"items": pages[0]}}, totals={"p0": 120})),
        (200, batch_body({"p0": {"items": pages[1]}, "p1": {"items": last}})),
    )
    assert sum(map(len, client.walk(FILTERED))) == 120
    assert [len(body["cmd"]) for body in played.sent] == [1, 2]

    client, played, _ = play(
        (200, batch_body({"p0": {"items": pages[0]}}, totals={"p0": 120})),
        (200, batch_body({"p0": {"items": pages[1]}, "p1": {"items": last[:5]}})),
        (200, batch_body({"p0": {"items": last[5:]}}, totals={"p0": 15})),
    )
    assert sum(map(len, client.walk(FILTERED))) == 120
    assert played.sent[2]["cmd"]["p0"].endswith("start=0")


def full_batch(first: int) -> Any:
    """50 pages from an ID on."""
    pages = {
        f"p{page}": {"items": [{"id": first + 50 * page + number} for number in range(50)]}
        for page in range(50)
    }
    return batch_body(pages)


def test_a_walk_to_a_known_id_takes_full_batches_and_ends_there(play: Any) -> None:
    """Two batches of 50 pages for 5,000 IDs; nothing can come behind the last one."""
    client, played, _ = play((200, full_batch(1)), (200, full_batch(2_501)))
    walk = Walk("crm.item.list", {}, "items", "id", 0, 5_000)
    assert sum(map(len, client.walk(walk))) == 5_000
    assert [len(body["cmd"]) for body in played.sent] == [50, 50]


def test_the_pages_of_a_sparse_walk_follow_its_rows(play: Any) -> None:
    """Every tenth ID is there: after 2,500 rows of 30,000 IDs, 5,000 IDs have no more than 550."""
    ids = range(10, 30_001, 10)
    pages = [[{"id": n} for n in ids[start : start + 50]] for start in range(0, 3_000, 50)]
    # The eleventh page of the second batch answers a reference to the last row.
    pages.append(pages[0])
    client, played, _ = play(
        (200, batch_body({f"p{n}": {"items": page} for n, page in enumerate(pages[:50])})),
        (200, batch_body({f"p{n}": {"items": page} for n, page in enumerate(pages[50:])})),
    )
    walk = Walk("crm.item.list", {}, "items", "id", 0, 30_000)
    assert sum(map(len, client.walk(walk))) == 3_000
    assert [len(body["cmd"]) for body in played.sent] == [50, 11]


def test_the_next_batch_is_requested_while_the_last_one_is_used(play: Any) -> None:
    client, played, _ = play((200, full_batch(1)), (200, full_batch(2_501)))
    pages = client.walk(Walk("crm.item.list", {}, "items", "id", 0, 5_000))
    next(pages)
    deadline = time.monotonic() + 10
    while len(played.sent) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(played.sent) == 2


def test_a_full_page_of_known_records_needs_no_count(play: Any) -> None:
    """Two of two records come; of three only two, which a count explains."""
    two = {"items": [{"id": 1}, {"id": 2}]}
    client, played, _ = play(
        (200, batch_body({"a": two, "b": two})), (200, batch_body({"b": two}, totals={"b": 2}))
    )
    assert client.lists(COMMANDS, "items", expected={"a": 2, "b": 3}) == {
        "a": two["items"],
        "b": two["items"],
    }
    assert [sorted(body["cmd"]) for body in played.sent] == [["a", "b"], ["b"]]
    assert "start=-1" in played.sent[0]["cmd"]["a"]


def test_pages_that_are_short_of_their_count_are_asked_for_again(play: Any) -> None:
    commands = {"a": Command("crm.item.list", {}), "b": Command("crm.item.list", {})}
    one, two = {"items": [{"id": 1}]}, {"items": [{"id": 1}, {"id": 2}]}
    client, played, _ = play(
        (200, batch_body({"a": one, "b": one}, totals={"a": 1, "b": 2})),
        (200, batch_body({"b": two}, totals={"b": 2})),
    )
    assert client.lists(commands, "items") == {"a": one["items"], "b": two["items"]}
    assert list(played.sent[1]["cmd"]) == ["b"]

    client, _, _ = play(*[(200, batch_body({"b": one}, totals={"b": 2}))] * 3)
    with pytest.raises(Bitrix24Error, match=r"counts 2 rows of crm\.item\.list and lists 1, in 3"):
        client.lists({"b": commands["b"]}, "items")

    client, _, _ = play(*[(200, batch_body({"b": one}, totals={"b": 2}))] * 3)
    client.accepts_difference = True
    assert client.lists({"b": commands["b"]}, "items") == {"b": one["items"]}
    assert client.differences == {"crm.item.list": 1}


def test_reference_data_that_lost_a_row_between_pages_are_read_again(play: Any) -> None:
    """A row of the first page is deleted meanwhile: the first of the second would be skipped."""
    users = [{"ID": str(number)} for number in range(1, 53)]
    left = users[1:]

    def page(name: str, rows: Any, total: int, following: int | None = None) -> dict[str, Any]:
        body = batch_body({name: rows}, totals={name: total})
        body["result"]["result_next"] = {name: following} if following else []
        return body

    client, played, _ = play(
        (200, page("users", users[:50], 52, 50)),
        (200, page("users 50", left[50:], 51)),
        (200, page("users", left[:50], 51, 50)),
        (200, page("users 50", left[50:], 51)),
    )
    tables = {"users": (Command("user.get", {}), None)}
    assert client.pages(tables) == {"users": left}
    assert played.sent[0]["cmd"] == {"users": "user.get?"}


def test_all_further_pages_of_reference_data_are_one_request(play: Any) -> None:
    rows = [{"ID": str(number)} for number in range(120)]
    first = batch_body({"a": rows[:50], "b": rows[:3]}, totals={"a": 120, "b": 0})
    first["result"]["result_next"] = {"a": 50}
    more = batch_body(
        {"a 50": rows[50:100], "a 100": rows[100:]}, totals={"a 50": 120, "a 100": 120}
    )
    more["result"]["result_next"] = {"a 50": 100}
    client, played, _ = play((200, first), (200, more))
    tables = {name: (Command("user.get", {}), None) for name in "ab"}
    assert client.pages(tables) == {"a": rows, "b": rows[:3]}
    assert len(played.sent) == 2


def test_a_block_that_outlasts_what_the_portal_told_is_waited_for_in_steps(play: Any) -> None:
    time = {"operating": 100.0, "operating_reset_at": 1300, "finish": 1000.0}
    blocked = {"error": "OPERATION_TIME_LIMIT", "error_description": "blocked"}
    client, _, slept = play(
        (200, {"result": 1, "time": time}), *[(429, blocked)] * 3, (200, {"result": 2})
    )
    client.call("profile")
    assert client.call("profile").result == 2
    assert slept == [pytest.approx(300, abs=1), pytest.approx(60, abs=1), pytest.approx(60, abs=1)]

    client, _, _ = play(*[(429, blocked)] * 30)
    with pytest.raises(Bitrix24Error, match="OPERATION_TIME_LIMIT"):
        client.call("profile")


def test_an_answer_that_was_cut_short_is_asked_for_again(play: Any) -> None:
    client, _, slept = play(*[(200, b'{"result": [1, 2')] * 3, (200, {"result": 5}))
    assert client.call("profile").result == 5
    assert slept == [1, 2, 4]


@pytest.mark.parametrize("body", [b'{"result": NaN}', b'{"result": [1, 2', b"[" * 100_000])
def test_broken_json_is_told(play: Any, body: bytes) -> None:
    client, _, _ = play(*[(200, body)] * 4)
    with pytest.raises(Bitrix24Error, match="HTTP 200 and no valid JSON"):
        client.call("profile")


def test_no_secret_comes_through_an_answer(play: Any) -> None:
    """Only the ID of a file stays; addresses in rows, keys and errors lose code and token."""
    address = "http://127.0.0.1:1/rest/1/planted-code/f.json?token=planted-token"
    row = {"id": 1, "title": address, address: 1, "file": {"id": 5, "urlMachine": address}}
    error = {"a": {"error": "", "error_description": address}}
    client, _, _ = play((200, {"result": {"items": [row]}}), (200, batch_body({}, error)))
    (given,) = client.call("crm.item.list").result["items"]
    assert given["file"] == {"id": 5}
    with pytest.raises(Bitrix24Error) as caught:
        client.batch(COMMANDS)
    for text in (str(given), str(caught.value)):
        assert "planted" not in text
        assert "/rest/1/<secret>/f.json?token=<secret>" in text

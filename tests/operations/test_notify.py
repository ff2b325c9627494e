"""Messages about a refresh, sent to a loopback receiver instead of Bitrix24 and Telegram."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipelines import __main__ as command
from pipelines import notify
from pipelines.environment import ROOT
from pipelines.errors import ChecksFailed
from pipelines.refresh import Run
from pipelines.warehouse import Warehouse
from tests.support.commands import Done, run_command

CODE = "planted1webhook2code"
TOKEN = "110201543:planted-telegram-token"


@dataclass
class Receiver:
    """Keeps what was posted; answers as it is told to."""

    port: int = 0
    posts: list[tuple[str, str, Any]] = field(default_factory=list)
    status: int = 200
    answer: bytes = b'{"result": 11}'

    def environment(self) -> dict[str, str]:
        return {
            "BITRIX24_CHAT_WEBHOOK_URL": f"http://127.0.0.1:{self.port}/rest/7/{CODE}/",
            "BITRIX24_CHAT_ID": "chat42",
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_CHAT_ID": "-1001234",
            "TELEGRAM_API_URL": f"http://127.0.0.1:{self.port}",
        }


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(found.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(found.answer)

        def log_message(self, format: str, *values: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def named(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """The receiver, named in this process's environment."""
    for name, value in receiver.environment().items():
        monkeypatch.setenv(name, value)
    return receiver


def told(receiver: Receiver, text: str) -> tuple[int, list[str]]:
    warnings: list[str] = []
    sent = notify.send(notify.channels(warnings.append), text, warnings.append, timeout=5)
    return sent, warnings


def test_requests_are_those_of_the_documentation(named: Receiver) -> None:
    assert told(named, "Готово") == (2, [])
    assert named.posts == [
        (
            f"/rest/7/{CODE}/im.message.add.json",
            "application/json",
            {"DIALOG_ID": "chat42", "MESSAGE": "Готово"},
        ),
        (
            f"/bot{TOKEN}/sendMessage",
            "application/json",
            {"chat_id": "-1001234", "text": "Готово"},
        ),
    ]


def test_secrets_and_what_telegram_would_refuse_are_cut(
    named: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITRIX24_WEBHOOK_URL", "https://acme.bitrix24.ru/rest/1/planted-reader/")
    monkeypatch.setenv("PII_HASH_KEY", "planted-hash-key-of-pii")
    told(named, f"planted-reader {CODE} {TOKEN} planted-hash-key-of-pii " + "я" * 9000)
    for _, _, body in named.posts:
        text = body.get("MESSAGE") or body["text"]
        assert text.startswith("<secret> <secret> <secret> <secret> я")
        assert len(text) <= 4096


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (
            400,
            {"error": "ACCESS_ERROR", "error_description": f"no rights {TOKEN}"},
            "HTTP 400 no rights <secret>",
        ),
        (200, {"error": "INVALID_CREDENTIALS"}, "HTTP 200 INVALID_CREDENTIALS"),
        (
            403,
            {"ok": False, "error_code": 403, "description": "Forbidden: bot was kicked"},
            "HTTP 403 Forbidden: bot was kicked",
        ),
        (302, {}, "HTTP 302"),
        (502, None, "HTTP 502, an answer that is not JSON"),
    ],
)
def test_a_refusal_is_told_and_nothing_more(
    named: Receiver, status: int, answer: Any, reason: str
) -> None:
    named.status = status
    named.answer = b"<html>" if answer is None else json.dumps(answer).encode()
    assert told(named, "text") == (
        0,
        [
            f"no message reached the Bitrix24 chat: {reason}",
            f"no message reached Telegram: {reason}",
        ],
    )
    assert len(named.posts) == 2


def test_an_address_that_is_down_is_told_without_its_secret(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("TELEGRAM_CHAT_ID", "1")
    monkeypatch.setenv("TELEGRAM_API_URL", "http://127.0.0.1:9")
    assert told(receiver, "text") == (0, ["no message reached Telegram: ConnectionError"])


def test_half_a_channel_and_plain_http_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITRIX24_CHAT_WEBHOOK_URL", f"http://acme.bitrix24.ru/rest/7/{CODE}/")
    warnings: list[str] = []
    assert notify.channels(warnings.append) == []
    monkeypatch.setenv("BITRIX24_CHAT_ID", "7")
    monkeypatch.setenv("TELEGRAM_CHAT_ID", "7")
    assert notify.channels(warnings.append) == []
    assert warnings == [
        "no messages: BITRIX24_CHAT_WEBHOOK_URL is set and BITRIX24_CHAT_ID is not",
        "no messages: TELEGRAM_CHAT_ID is set and TELEGRAM_BOT_TOKEN is not",
        "no messages to the Bitrix24 chat: its address must start with https://<host>/",
    ]


def test_an_address_that_is_none_is_warned_of(named: Receiver) -> None:
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("BITRIX24_CHAT_WEBHOOK_URL", f"https://[::1/rest/7/{CODE}/")
        assert told(named, "text") == (
            1,
            ["no messages to the Bitrix24 chat: its address must start with https://<host>/"],
        )


def test_a_missing_certificate_is_told_and_nothing_more(
    named: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh that fails because of it keeps its exit code, that of a wrong setting."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("TELEGRAM_API_URL", "https://127.0.0.1:9")
    assert told(named, "text") == (1, ["no message reached Telegram: OSError"])
    monkeypatch.setenv("WAREHOUSE_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BITRIX24_WEBHOOK_URL", "https://127.0.0.1:9/rest/1/planted-reader/")
    monkeypatch.setattr(sys, "argv", ["pipelines", "refresh"])
    assert command.main() == 2
    assert "REQUESTS_CA_BUNDLE is " in named.posts[-1][2]["MESSAGE"]


def refresh(tmp_path: Path, **environment: str) -> Done:
    return run_command(Warehouse(tmp_path), "refresh", **{"SETTINGS": "", **environment})


def test_a_failed_refresh_tells_the_chats_and_keeps_its_exit_code(
    receiver: Receiver, tmp_path: Path
) -> None:
    """The portal is down, the chat takes the message and Telegram is down too."""
    done = refresh(
        tmp_path,
        **receiver.environment() | {"TELEGRAM_API_URL": "http://127.0.0.1:9"},
        BITRIX24_WEBHOOK_URL="http://127.0.0.1:9/rest/1/planted-reader/",
        BITRIX24_RETRY_SECONDS="0.01",
    )
    assert done.returncode == 1
    ((_, _, body),) = receiver.posts
    first, *said, last = body["MESSAGE"].splitlines()
    assert first == (
        f"Bitrix24 analytics on {socket.gethostname()}, exit code 1: a failure before"
        " publication: nothing new is published."
    )
    assert "cannot reach the portal http://127.0.0.1:9" in "\n".join(said)
    assert last.startswith("What to do: see the message")
    assert "cannot reach the portal" in done.stderr
    assert "no message reached Telegram: ConnectionError" in done.stderr
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert run["failed_step"] == "extract"
    assert run["summary"][:2] == [
        "failed, exit code 1: a failure before publication: nothing new is published",
        "failed step: extract",
    ]
    assert "\n".join(run["summary"]) in done.stdout
    for text in (done.stdout, done.stderr, str(receiver.posts[0][2]), json.dumps(run)):
        for secret in ("planted-reader", CODE, TOKEN):
            assert secret not in text


def test_wrong_settings_are_told_and_a_second_refresh_is_not(
    receiver: Receiver, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yml"
    settings.write_text("forgotten_lead_days: -1", encoding="utf-8")
    done = refresh(tmp_path, **receiver.environment() | {"SETTINGS": str(settings)})
    assert done.returncode == 2
    assert [path for path, _, _ in receiver.posts] == [
        f"/rest/7/{CODE}/im.message.add.json",
        f"/bot{TOKEN}/sendMessage",
    ]
    assert "setting forgotten_lead_days = -1" in receiver.posts[0][2]["MESSAGE"]
    with Warehouse(tmp_path).lock():
        held = os.environ.pop("PIPELINES_LOCK_FD")
        done = refresh(tmp_path, **receiver.environment())
        os.environ["PIPELINES_LOCK_FD"] = held
    assert done.returncode == 4
    assert len(receiver.posts) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_says_so_and_tells_no_chat(
    receiver: Receiver, tmp_path: Path, number: signal.Signals
) -> None:
    """The portal takes the connection and never answers."""
    (tmp_path / "run.json").write_text('{"status": "published"}', encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as portal:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", "refresh"],
            cwd=ROOT,
            env={
                **os.environ,
                **receiver.environment(),
                "WAREHOUSE_DIR": str(tmp_path),
                "BITRIX24_WEBHOOK_URL": f"http://127.0.0.1:{portal.getsockname()[1]}/rest/1/code/",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        portal.accept()
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert (process.returncode, told.split("\n")[-2]) == (1, f"stopped by {number.name}")
    assert len(told.splitlines()) < 4
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (run["status"], run["error"]) == ("stopped", f"stopped by {number.name}")
    assert receiver.posts == []


@pytest.mark.parametrize(
    ("choice", "messages", "warning"),
    [
        ("always", 2, ""),
        ("Always ", 2, ""),
        ("", 0, ""),
        (
            "success",
            0,
            "no messages about successes: NOTIFY is 'success'; use `always` or leave it out\n",
        ),
    ],
)
def test_success_is_told_on_request(
    named: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    choice: str,
    messages: int,
    warning: str,
) -> None:
    run = Run(
        started_at=dt.datetime(2026, 3, 31, 17, tzinfo=dt.UTC),
        status="published",
        exit_code=0,
        as_of=dt.datetime(2026, 3, 31, 17, tzinfo=dt.UTC),
        refresh_no=7,
        kind="incremental",
        seconds={"extract": 2.5},
        requests=19,
        entities={
            "leads": {
                "portal_total": 1200,
                "rows_read": 30,
                "rows_appended": 28,
                "rows_living": 1200,
                "rows_deleted": 1,
                "requests": 4,
            },
        },
        checks_passed=211,
    )
    monkeypatch.setattr("pipelines.refresh.refresh", lambda *values, **options: run)
    monkeypatch.setenv("WAREHOUSE_DIR", str(tmp_path))
    monkeypatch.setenv("NOTIFY", choice)
    monkeypatch.setattr(sys, "argv", ["pipelines", "refresh"])
    assert command.main() == 0
    assert len(named.posts) == messages
    assert capsys.readouterr().err == warning
    for _, _, body in named.posts:
        text = body.get("MESSAGE") or body["text"]
        assert text.splitlines() == [
            f"Bitrix24 analytics on {socket.gethostname()}",
            "published, exit code 0: nothing failed",
            "refresh 7 (incremental) as of 2026-03-31 17:00 UTC, 19 requests",
            "                           read   appended    deleted     living      total",
            "leads                        30         28          1      1,200      1,200",
            "checks: 211 passed, 0 failed",
            "seconds: extract 2.5",
        ]


def test_deletions_are_told_though_nothing_failed(
    named: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(
        started_at=dt.datetime(2026, 3, 31, 17, tzinfo=dt.UTC),
        deleted={
            "deals": {"records": 1200, "amount": Decimal("5400000.5"), "currency": "RUB"},
            "contacts": {"records": 3, "amount": None, "currency": "RUB"},
        },
    )

    def ends(*values: Any, alert: Callable[[str], object], **options: Any) -> Run:
        alert(run.deletions)
        return run

    monkeypatch.setattr("pipelines.refresh.refresh", ends)
    monkeypatch.setenv("WAREHOUSE_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["pipelines", "refresh"])
    assert command.main() == 0
    assert len(named.posts) == 2
    assert named.posts[0][2]["MESSAGE"].splitlines() == [
        f"Bitrix24 analytics on {socket.gethostname()}: deleted on the portal since the last"
        " refresh: 1,200 deals (5,400,000.5 RUB), 3 contacts.",
        "Reports no longer include them. If nobody deleted them, check the rights of the webhook's"
        " owner; fct_item_versions has the leads and deals as they were.",
    ]


def test_a_message_on_trial(
    named: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pipelines", "notify", "Проба"])
    assert command.main() == 0
    assert [body.get("MESSAGE") or body["text"] for _, _, body in named.posts] == ["Проба"] * 2
    assert capsys.readouterr().out == "sent to the Bitrix24 chat, Telegram\n"
    for name in named.environment():
        monkeypatch.delenv(name)
    assert command.main() == 2
    assert "no chat is set" in capsys.readouterr().err


def test_exit_codes_have_a_meaning_and_an_advice() -> None:
    failed = ChecksFailed("dbt tests failed:\nunique_leads: Got 2 results", advice="fix the leads")
    text = notify.failure(failed)
    assert text == (
        f"Bitrix24 analytics on {socket.gethostname()}, exit code 3: raw checks or data tests"
        " failed: nothing new is published.\n"
        "dbt tests failed:\nunique_leads: Got 2 results\n"
        "What to do: fix the leads."
    )

"""OAuth: the rotating pair, where it is kept, each refusal, and that no token leaks."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pipelines.bitrix24.access import OAuth, Webhook, from_environment, without_secrets
from pipelines.bitrix24.client import Client, Command, Walk
from pipelines.bitrix24.extract import extract
from pipelines.environment import ROOT
from pipelines.errors import AnotherRefreshIsRunning, Bitrix24Error, SettingsError
from pipelines.settings import Settings
from pipelines.warehouse import LOCK_FD_VARIABLE, Warehouse
from scripts.demo_portal import Portal, serve
from scripts.demo_portal.oauth import Application
from tests.support.small_portal import deal, lead, write_portal

HOUR_LATER = "2026-03-31T21:00:01+03:00"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_portal(
        tmp_path_factory.mktemp("portal"),
        leads=[lead(number) for number in range(1, 61)],
        deals=[deal(1, leadId=7)],
    )


@pytest.fixture
def portal(folder: Path) -> Iterator[Portal]:
    with serve(folder, oauth=True) as running:
        yield running


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BITRIX24_")]:
        monkeypatch.delenv(name)


def application(portal: Portal) -> Application:
    assert portal.application is not None
    return portal.application


def access(served: Portal, warehouse: Warehouse, **changed: str) -> OAuth:
    """The way in as the environment of the portal names it."""
    told = {
        name.removeprefix("BITRIX24_").removeprefix("OAUTH_").lower(): value
        for name, value in served.environment.items()
    }
    told["first_refresh_token"] = told.pop("refresh_token")
    return OAuth(warehouse, **{**told, **changed})


def client(way_in: OAuth) -> Client:
    return Client(way_in, retry_seconds=0.01, sleep=lambda _: None)


def stored(warehouse: Warehouse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((warehouse.directory / "oauth.json").read_text())
    return found


# The authorisation server of the demo portal


def ask_tokens(portal: Portal, **changed: str) -> tuple[int, dict[str, Any]]:
    told = application(portal)
    query = {
        "grant_type": "refresh_token",
        "client_id": told.client_id,
        "client_secret": told.client_secret,
        "refresh_token": told.refresh_token,
        **changed,
    }
    url = portal.environment["BITRIX24_OAUTH_TOKEN_URL"]
    answer = requests.get(url, params=query, timeout=10)
    return answer.status_code, answer.json()


def test_the_portal_rotates_the_pair(portal: Portal) -> None:
    first = application(portal).refresh_token
    status, pair = ask_tokens(portal)
    assert status == 200
    assert (pair["expires_in"], pair["client_endpoint"]) == (3600, f"{portal.address}/rest/")
    assert pair["refresh_token"] != first
    assert ask_tokens(portal, refresh_token=first) == (
        400,
        {"error": "invalid_grant", "error_description": ""},
    )
    status, _ = ask_tokens(portal, refresh_token=pair["refresh_token"])
    assert status == 200


def test_the_portal_knows_its_access_tokens_for_an_hour(portal: Portal) -> None:
    _, pair = ask_tokens(portal)

    def scope(**params: str) -> tuple[int, Any]:
        answer = requests.post(f"{pair['client_endpoint']}scope", json=params, timeout=10)
        return answer.status_code, answer.json().get("error")

    assert scope(auth=pair["access_token"]) == (200, None)
    assert scope() == (401, "NO_AUTH_FOUND")
    assert scope(auth="nonsense") == (401, "NO_AUTH_FOUND")
    # A refresh token opens nothing.
    assert scope(auth=pair["refresh_token"]) == (401, "NO_AUTH_FOUND")
    portal.set_now(HOUR_LATER)
    assert scope(auth=pair["access_token"]) == (401, "expired_token")


# The pair and its file


def test_the_first_token_becomes_a_stored_pair(portal: Portal, warehouse: Warehouse) -> None:
    way_in = access(portal, warehouse)
    assert client(way_in).call("profile").result["ADMIN"] is True
    file = warehouse.directory / "oauth.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert stored(warehouse)["refresh_token"] == application(portal).refresh_token
    assert sorted(path.name for path in warehouse.directory.iterdir()) == [
        "oauth.json",
        "refresh.lock",
    ]


def test_later_runs_use_the_stored_pair(portal: Portal, warehouse: Warehouse) -> None:
    first = access(portal, warehouse)
    client(first).call("profile")
    again = access(portal, warehouse, first_refresh_token=first._first)
    client(again).call("profile")
    without_first = access(portal, warehouse, first_refresh_token="")
    client(without_first).call("profile")
    assert application(portal).renewals == 1


def test_a_pair_known_to_have_expired_is_renewed_before_a_call(
    portal: Portal, warehouse: Warehouse
) -> None:
    first = access(portal, warehouse)
    client(first).call("profile")
    first._store(dataclasses.replace(first._tokens, expires_at=dt.datetime.now().timestamp() - 1))
    portal.calls.clear()
    client(access(portal, warehouse, first_refresh_token=first._first)).call("profile")
    assert (application(portal).renewals, portal.calls["profile"]) == (2, 1)


def test_the_pair_is_stored_before_its_access_token_is_used(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = client(access(portal, warehouse))
    post = reader._http.post
    used = []

    def watch(url: str, json: dict[str, Any], **options: Any) -> requests.Response:
        used.append((json["auth"], stored(warehouse)["access_token"]))
        return post(url, json=json, **options)

    monkeypatch.setattr(reader._http, "post", watch)
    reader.call("profile")
    portal.set_now(HOUR_LATER)
    reader.call("profile")
    assert len(used) == 3  # the second one was refused as expired
    assert all(sent == kept for sent, kept in used)
    assert used[1][0] != used[2][0]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_pair_that_cannot_be_stored_is_not_used(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before the answer nothing is lost; after it the message says what to do."""
    reader = client(access(portal, warehouse))
    reader.call("profile")
    before, calls = stored(warehouse), portal.calls["profile"]
    portal.set_now(HOUR_LATER)
    rename, renames = Path.replace, []

    def full_disk(self: Path, target: Path) -> Path:
        renames.append(target)
        if len(renames) == (1 if moment == "before" else 2):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(Bitrix24Error, match=r"cannot be stored in .*oauth\.json \(No space left"):
        reader.call("profile")
    assert stored(warehouse) == before
    assert application(portal).renewals == (1 if moment == "before" else 2)
    assert portal.calls["profile"] == calls
    if moment == "before":
        monkeypatch.undo()
        assert reader.call("profile").result["ADMIN"] is True


def test_other_credentials_do_not_take_the_pair(portal: Portal, warehouse: Warehouse) -> None:
    first = access(portal, warehouse)
    client(first).call("profile")
    kept = stored(warehouse)

    # A wrong token in the settings is refused, and leaves the pair to the right one.
    with pytest.raises(Bitrix24Error, match="in the settings is wrong or was used before"):
        client(access(portal, warehouse, first_refresh_token="wrong")).call("profile")
    assert stored(warehouse) == kept
    with pytest.raises(Bitrix24Error, match="check BITRIX24_OAUTH_CLIENT_ID"):
        client(access(portal, warehouse, client_id="local.other")).call("profile")
    assert stored(warehouse) == kept

    # Authorised again: the new token goes before the old pair, and starts another.
    application(portal).refresh_token = "authorised-again"
    client(access(portal, warehouse)).call("profile")
    assert application(portal).renewals == 2
    assert stored(warehouse)["first"] != kept["first"]


def test_tokens_of_another_portal_read_nothing(portal: Portal, warehouse: Warehouse) -> None:
    other = access(portal, warehouse, portal="https://other.bitrix24.ru")
    with pytest.raises(Bitrix24Error, match=r"belong to the portal 127\.0\.0\.1, not to https://o"):
        client(other).call("profile")
    assert portal.calls["profile"] == 0
    # The pair is kept: with the address fixed it works again.
    fixed = access(portal, warehouse, first_refresh_token=other._first)
    assert client(fixed).call("profile").result["ADMIN"] is True


def test_a_token_that_expires_in_a_run_is_renewed_once(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hour ends in the middle of a walk of batches: all 60 leads come, none twice."""
    reader = client(access(portal, warehouse))
    params = {"entityTypeId": 1, "select": ["id"]}
    pages = reader.walk(Walk("crm.item.list", params, "items", "id"))
    found = [row["id"] for row in next(pages)]
    portal.set_now(HOUR_LATER)
    found += [row["id"] for page in pages for row in page]
    assert found == list(range(1, 61))
    assert application(portal).renewals == 2


def test_an_expired_command_of_a_batch_is_asked_again(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = client(access(portal, warehouse))
    decode, expired = reader._decode, []

    def play(method: str, response: requests.Response) -> dict[str, Any]:
        body = decode(method, response)
        if not expired:
            expired.append(True)
            error = {"error": "expired_token", "error_description": "has expired"}
            body["result"] = {"result": [], "result_error": {"a": error}}
        return body

    monkeypatch.setattr(reader, "_decode", play)
    answers = reader.batch({"a": Command("profile", {}), "b": Command("scope", {})})
    assert answers["b"].result == ["crm", "department", "user"]
    assert application(portal).renewals == 2


def test_a_portal_that_refuses_even_fresh_tokens_is_told(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = application(portal)
    monkeypatch.setattr(told, "_access_ends", _NoTime())
    with pytest.raises(Bitrix24Error, match=r"\(HTTP 401 expired_token\).*check its clock"):
        client(access(portal, warehouse)).call("profile")
    assert told.renewals == 2


class _NoTime(dict[str, float]):
    """Every token ended long ago."""

    def __setitem__(self, token: str, _: float) -> None:
        super().__setitem__(token, 0.0)


def test_a_pair_is_renewed_under_the_refresh_lock(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warehouse.lock():
        descriptor = os.environ.pop(LOCK_FD_VARIABLE)  # as another process sees it
        with pytest.raises(AnotherRefreshIsRunning):
            client(access(portal, warehouse)).call("profile")
        os.environ[LOCK_FD_VARIABLE] = descriptor
    assert application(portal).renewals == 0


def test_a_pair_that_another_process_renewed_is_taken_over(
    portal: Portal, warehouse: Warehouse
) -> None:
    here = access(portal, warehouse)
    client(here).call("profile")
    elsewhere = access(portal, warehouse, first_refresh_token=here._first)
    portal.set_now(HOUR_LATER)
    client(elsewhere).call("profile")
    client(here).call("profile")
    assert application(portal).renewals == 2


# Each refusal has its own message


def _renewed(days_ago: int) -> Callable[[Portal, OAuth], None]:
    def change(portal: Portal, way_in: OAuth) -> None:
        moment = dt.datetime.now(dt.UTC) - dt.timedelta(days=days_ago)
        pair = dataclasses.replace(
            way_in._tokens,
            access_token="old-access",
            refresh_token="old-refresh",
            rest_url=f"{portal.address}/rest/",
            renewed_at=moment.timestamp(),
        )
        way_in._store(pair)
        way_in._tokens = pair

    return change


def _switch(**switches: bool) -> Callable[[Portal, OAuth], None]:
    def change(portal: Portal, way_in: OAuth) -> None:
        for name, value in switches.items():
            setattr(application(portal), name, value)

    return change


def _after_the_pair(**switches: bool) -> Callable[[Portal, OAuth], None]:
    def change(portal: Portal, way_in: OAuth) -> None:
        client(way_in).call("scope")
        _switch(**switches)(portal, way_in)

    return change


@pytest.mark.parametrize(
    ("change", "changed", "message"),
    [
        pytest.param(
            None,
            {"first_refresh_token": "planted"},
            "invalid_grant; the refresh token in the settings is wrong or was used before:"
            " authorise the application again",
            id="wrong",
        ),
        pytest.param(
            _renewed(180), {}, "has expired (it is valid for 180 days): auth", id="expired"
        ),
        pytest.param(_renewed(3), {}, "was revoked, or used by another machine", id="revoked"),
        pytest.param(
            None,
            {"client_secret": "planted"},
            "invalid_client; check BITRIX24_OAUTH_CLIENT_ID and BITRIX24_OAUTH_CLIENT_SECRET",
            id="client secret",
        ),
        pytest.param(
            None,
            {"client_id": "local.other"},
            "wrong_client; check BITRIX24_OAUTH_CLIENT_ID",
            id="client id",
        ),
        pytest.param(
            _switch(installed=False),
            {},
            "NOT_INSTALLED Application not installed; install the application",
            id="not installed",
        ),
        pytest.param(
            _switch(paid=False), {}, "PAYMENT_REQUIRED Payment required; the portal's or", id="paid"
        ),
        pytest.param(
            _after_the_pair(paid=False),
            {},
            "profile (HTTP 401 PAYMENT_REQUIRED): Subscription has been ended; the portal's or",
            id="paid till now",
        ),
        pytest.param(
            _after_the_pair(installed=False),
            {},
            "(HTTP 401 ERROR_OAUTH): Application not installed; install the application",
            id="removed",
        ),
        pytest.param(
            _after_the_pair(allowed=False),
            {},
            "(HTTP 403 user_access_error): The user does not have access to the application; the"
            " portal restricts the application to certain users",
            id="not allowed",
        ),
    ],
)
def test_refusals(
    portal: Portal,
    warehouse: Warehouse,
    change: Callable[[Portal, OAuth], None] | None,
    changed: dict[str, str],
    message: str,
) -> None:
    way_in = access(portal, warehouse, **changed)
    if change:
        change(portal, way_in)
    with pytest.raises(Bitrix24Error) as refused:
        client(way_in).call("profile")
    assert message in str(refused.value)
    assert "planted" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scopes": ("crm", "user")},
            "refused department.get (HTTP 403 insufficient_scope): The request requires higher"
            " privileges than provided by the access token; add the permissions crm, user and"
            " department to the application's card",
        ),
        (
            {"commercial": False},
            "ACCESS_DENIED): REST API is available only on commercial plans; the portal refuses"
            " REST: it needs a commercial plan",
        ),
    ],
)
def test_scope_and_plan(
    folder: Path, warehouse: Warehouse, options: dict[str, Any], message: str
) -> None:
    with serve(folder, oauth=True, **options) as portal:
        reader = client(access(portal, warehouse))
        with pytest.raises(Bitrix24Error) as refused:
            reader.call("department.get")
    assert message in str(refused.value)


def test_no_administrator(portal: Portal, warehouse: Warehouse) -> None:
    portal.set_rights(admin=False)
    with pytest.raises(Bitrix24Error) as refused:
        extract(client(access(portal, warehouse)), warehouse, Settings.load())
    told = str(refused.value)
    assert told.startswith("the user who authorised the application is not an administrator")
    assert told.endswith("BITRIX24_OAUTH_REFRESH_TOKEN, as an administrator")


def test_an_unreachable_authorisation_server_names_no_secret(
    portal: Portal, warehouse: Warehouse
) -> None:
    way_in = access(
        portal,
        warehouse,
        token_url="http://127.0.0.1:9/oauth/token/",
        client_secret="planted-secret",
        first_refresh_token="planted-token",
    )
    with pytest.raises(Bitrix24Error, match=r"authorisation server 127\.0\.0\.1:9") as refused:
        client(way_in).call("profile")
    chain: BaseException | None = refused.value
    while chain is not None:
        assert "planted" not in str(chain)
        chain = chain.__context__


# Settings


def environment(**changed: str) -> dict[str, str]:
    told = {
        "BITRIX24_PORTAL": "https://acme.bitrix24.ru",
        "BITRIX24_OAUTH_CLIENT_ID": "local.1",
        "BITRIX24_OAUTH_CLIENT_SECRET": "planted-secret",
        "BITRIX24_OAUTH_REFRESH_TOKEN": "planted-token",
    }
    return told | {f"BITRIX24_{name}": value for name, value in changed.items()}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"WEBHOOK_URL": "https://acme.bitrix24.ru/rest/1/planted/"}, "are both set: keep only"),
        ({"PORTAL": ""}, "^BITRIX24_PORTAL must be set"),
        ({"OAUTH_CLIENT_ID": "", "OAUTH_CLIENT_SECRET": ""}, "_CLIENT_ID, .*_CLIENT_SECRET must"),
        ({"OAUTH_REFRESH_TOKEN": ""}, "BITRIX24_OAUTH_REFRESH_TOKEN is not set, and .*oauth.json"),
        ({"PORTAL": "http://acme.bitrix24.ru"}, "BITRIX24_PORTAL must start with https"),
        ({"PORTAL": "acme.bitrix24.ru"}, "BITRIX24_PORTAL does not have the form"),
        ({"PORTAL": "https://acme.bitrix24.ru/rest/1/planted/"}, "BITRIX24_PORTAL does not have"),
        ({"OAUTH_TOKEN_URL": "http://oauth.example/"}, "OAUTH_TOKEN_URL must start with https"),
        ({"PORTAL": "https://planted:planted@acme.bitrix24.ru"}, "BITRIX24_PORTAL holds a login"),
        ({"PORTAL": "https://[::1"}, "BITRIX24_PORTAL is not a valid address"),
        ({"OAUTH_TOKEN_URL": "https://planted@oauth.example/"}, "OAUTH_TOKEN_URL holds a login"),
    ],
)
def test_wrong_settings(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    for name, value in environment(**changed).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message) as wrong:
        from_environment(warehouse)
    assert "planted" not in str(wrong.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://planted:planted@acme.bitrix24.ru/rest/1/planted/", "holds a login: remove"),
        ("https://[::1/rest/1/planted/", "is not a valid address"),
        ("https://acme.bitrix24.ru/rest/planted/", "does not have the form https://<portal>/rest/"),
    ],
)
def test_a_wrong_webhook(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^BITRIX24_WEBHOOK_URL {message}") as wrong:
        Webhook(url)
    assert "planted" not in str(wrong.value)


def test_the_environment_names_the_way_in(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITRIX24_WEBHOOK_URL", "https://acme.bitrix24.ru/rest/1/code/")
    assert isinstance(from_environment(warehouse), Webhook)
    monkeypatch.delenv("BITRIX24_WEBHOOK_URL")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    way_in = from_environment(warehouse)
    assert isinstance(way_in, OAuth)
    assert way_in._token_url == "https://oauth.bitrix.info/oauth/token/"


def test_a_broken_file_is_told(portal: Portal, warehouse: Warehouse) -> None:
    warehouse.directory.mkdir()
    (warehouse.directory / "oauth.json").write_text("{", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"oauth\.json cannot be read"):
        access(portal, warehouse)


# No token leaks


def test_every_secret_is_taken_out_of_what_is_printed(
    portal: Portal, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    way_in = access(portal, warehouse)
    client(way_in).call("profile")
    monkeypatch.setenv("WAREHOUSE_DIR", str(warehouse.directory))
    monkeypatch.setenv("BITRIX24_WEBHOOK_URL", " https://acme.bitrix24.ru/rest/1/hook-code \n")
    monkeypatch.setenv("BITRIX24_OAUTH_CLIENT_SECRET", "client-secret")
    monkeypatch.setenv("BITRIX24_OAUTH_REFRESH_TOKEN", "first-token")
    monkeypatch.setenv("PII_HASH_KEY", "hash-key-of-16-or-more")
    pair = stored(warehouse)
    secrets = ["hook-code", "client-secret", "first-token", "hash-key-of-16-or-more"]
    secrets += [pair["access_token"], pair["refresh_token"]]
    assert without_secrets(" ".join(secrets)) == " ".join(["<secret>"] * 6)


def test_an_extraction_leaves_the_tokens_in_their_file_alone(
    portal: Portal, warehouse: Warehouse
) -> None:
    """By the command line; the first pair is renewed in the run and looked for too."""
    secrets = [application(portal).client_secret, application(portal).refresh_token]
    told = portal.environment
    give, pairs = application(portal).renew, []

    def keep(*arguments: Any) -> dict[str, Any]:
        pairs.append(give(*arguments))
        return pairs[-1]

    application(portal).renew = keep  # type: ignore[method-assign]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "--verbose", "extract"],
        cwd=ROOT,
        env={**os.environ, **told, "WAREHOUSE_DIR": str(warehouse.directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(pairs) == 1
    secrets += [pairs[0]["access_token"], pairs[0]["refresh_token"]]
    files = [path for path in warehouse.directory.rglob("*") if path.is_file()]
    assert {"warehouse.duckdb", "oauth.json"} <= {path.name for path in files}
    for secret in secrets:
        assert secret not in done.stdout + done.stderr
        found = [path.name for path in files if secret.encode() in path.read_bytes()]
        assert found == (["oauth.json"] if secret in pairs[0].values() else [])

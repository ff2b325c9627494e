"""Access to the portal: an inbound webhook, or the rotating tokens of an application.

Facts: https://apidocs.bitrix24.com, "OAuth 2.0 token automatic renewal" and "Authorization server
error codes"; codes that are not listed there come from b24pysdk, the vendor's own SDK.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from pipelines.environment import ROOT, Folders, PortalAccess, secrets, without
from pipelines.errors import Bitrix24Error, SettingsError
from pipelines.run_file import write_atomically

if TYPE_CHECKING:
    from dlt.sources.helpers.requests import Client as RetryingClient

    from pipelines.warehouse import Warehouse

LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}
TOKEN_URL = "https://oauth.bitrix.info/oauth/token/"
REFRESH_TOKEN_DAYS = 180
NEEDED_SCOPES = ("crm", "user", "department")

AUTHORISE_AGAIN = (
    "authorise the application again and put the new refresh token into"
    " BITRIX24_OAUTH_REFRESH_TOKEN"
)
# What to do about an error of a REST call, for a webhook and an application alike.
ADVICE = {
    "ACCESS_DENIED": "the portal refuses REST: it needs a commercial plan with REST access",
    "OVERLOAD_LIMIT": "Bitrix24 has blocked REST for this portal manually: contact its support",
    "PORTAL_DELETED": "the portal no longer exists: check the address",
    "PAYMENT_REQUIRED": "the portal's or the application's subscription has ended: renew it",
}
WEBHOOK_ADVICE = {
    "INVALID_CREDENTIALS": "the webhook is wrong, expired or was re-created: copy its address from"
    " Bitrix24 (Developer resources > Inbound webhook) into BITRIX24_WEBHOOK_URL",
    "NO_AUTH_FOUND": "the webhook was not accepted: check BITRIX24_WEBHOOK_URL",
    "insufficient_scope": "give the webhook the scopes crm, user and department",
    "ERROR_METHOD_NOT_FOUND": "the address or the method is unknown to the portal:"
    " check BITRIX24_WEBHOOK_URL (https://<portal>/rest/<user>/<code>/)",
    "INVALID_REQUEST": "the portal requires https: check BITRIX24_WEBHOOK_URL",
    "user_access_error": "the webhook's owner may not read this: use an administrator's webhook",
    "allowed_only_intranet_user": "the webhook's owner is not an employee of the portal:"
    " use an administrator's webhook",
    "authorization_error": "the webhook's owner was dismissed: use an administrator's webhook",
}
NOT_INSTALLED = f"install the application on the portal, then {AUTHORISE_AGAIN}"
OAUTH_ADVICE = {
    "NO_AUTH_FOUND": f"the access token was not accepted: {AUTHORISE_AGAIN}",
    "INVALID_CREDENTIALS": f"the access token was not accepted: {AUTHORISE_AGAIN}",
    "invalid_token": f"the access token was not accepted: {AUTHORISE_AGAIN}",
    "expired_token": "the portal refuses even a new access token: check its clock",
    "insufficient_scope": "add the permissions crm, user and department to the application's card,"
    f" then {AUTHORISE_AGAIN}",
    "ERROR_METHOD_NOT_FOUND": "the address or the method is unknown to the portal: check"
    " BITRIX24_PORTAL",
    "INVALID_REQUEST": "the portal requires https: check BITRIX24_PORTAL",
    "user_access_error": "the portal restricts the application to certain users: allow it for the"
    " administrator who authorised it",
    "allowed_only_intranet_user": "the user who authorised the application is not an employee of"
    " the portal: authorise it as an administrator",
    "authorization_error": "the user who authorised the application was dismissed: authorise it as"
    " an administrator",
    "APPLICATION_NOT_FOUND": NOT_INSTALLED,
    "ERROR_OAUTH": NOT_INSTALLED,
    "NOT_INSTALLED": NOT_INSTALLED,
}
# What to do about an error of the authorisation server, apart from invalid_grant.
TOKEN_ADVICE = {
    "invalid_client": "check BITRIX24_OAUTH_CLIENT_ID and BITRIX24_OAUTH_CLIENT_SECRET, and that"
    " the application is installed on the portal",
    "wrong_client": "check BITRIX24_OAUTH_CLIENT_ID",
    "invalid_request": "check the settings BITRIX24_OAUTH_*",
    "invalid_scope": OAUTH_ADVICE["insufficient_scope"],
    "insufficient_scope": OAUTH_ADVICE["insufficient_scope"],
    "payment_required": ADVICE["PAYMENT_REQUIRED"],
    "not_installed": NOT_INSTALLED,
}


class Webhook:
    """An inbound webhook: its address holds the secret.

    Raises:
        SettingsError: the address is missing, has a wrong form, holds a login, or is not https
            (loopback excepted).
    """

    setting = "BITRIX24_WEBHOOK_URL"
    owner = "the webhook's owner"
    make_administrator = "create the webhook as an administrator"
    advice = ADVICE | WEBHOOK_ADVICE

    def __init__(self, url: str) -> None:
        form = "https://<portal>/rest/<user>/<code>/"
        if not url:
            raise SettingsError(
                f"BITRIX24_WEBHOOK_URL is not set: set it to {form}"
                " (for an application, set BITRIX24_PORTAL and BITRIX24_OAUTH_* instead)"
            )
        parts = _address("BITRIX24_WEBHOOK_URL", url.strip())
        path = [part for part in parts.path.split("/") if part]
        if not parts.hostname or len(path) != 3 or path[0] != "rest":
            raise SettingsError(f"BITRIX24_WEBHOOK_URL does not have the form {form}")
        _refuse_plain_http("BITRIX24_WEBHOOK_URL", url.strip())
        self.portal_url = f"{parts.scheme}://{parts.netloc}"
        self.rest_url = f"{self.portal_url}/{'/'.join(path)}/"
        self.parameters: Mapping[str, str] = {}
        self.secrets = [path[2]]

    def prepare(self, http: RetryingClient) -> None:
        """Nothing to prepare."""

    def renew(self, http: RetryingClient) -> bool:
        """A webhook has nothing to renew."""
        return False


@dataclass(frozen=True)
class Tokens:
    """The pair of tokens as stored in `oauth.json`.

    Attributes:
        client_id: the application that owns the pair.
        first: digest of the first refresh token in the settings: a new one starts over.
        access_token: empty before the first renewal.
        refresh_token: valid for one renewal.
        rest_url: address of the portal's REST interface that came with the pair.
        expires_at: when the access token expires: seconds since the epoch by this machine's clock.
        renewed_at: when the pair came, by the same clock.
    """

    client_id: str
    first: str
    access_token: str
    refresh_token: str
    rest_url: str
    expires_at: float
    renewed_at: float


class OAuth:
    """An application's access: an access token for an hour, renewed with a refresh token.

    Every renewal replaces the refresh token. The pair is stored in `oauth.json` of the warehouse
    before its access token is used, and renewed only under the refresh lock, so that two processes
    never spend the same refresh token. If the machine crashes after the authorisation server has
    answered and before the file is written, the pair is lost: authorise the application again.

    Raises:
        SettingsError: a setting is missing or has a wrong form.
    """

    setting = "BITRIX24_PORTAL"
    owner = "the user who authorised the application"
    make_administrator = f"{AUTHORISE_AGAIN}, as an administrator"
    advice = ADVICE | OAUTH_ADVICE

    def __init__(
        self,
        warehouse: Warehouse,
        portal: str,
        client_id: str,
        client_secret: str,
        first_refresh_token: str = "",
        token_url: str = "",
    ) -> None:
        needed = {
            "BITRIX24_PORTAL": portal,
            "BITRIX24_OAUTH_CLIENT_ID": client_id,
            "BITRIX24_OAUTH_CLIENT_SECRET": client_secret,
        }
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise SettingsError(f"{', '.join(missing)} must be set, since BITRIX24_OAUTH_* is used")
        parts = _address("BITRIX24_PORTAL", portal)
        if not parts.hostname or parts.path.strip("/") or parts.query:
            raise SettingsError("BITRIX24_PORTAL does not have the form https://<portal>")
        token_url = token_url or TOKEN_URL
        _refuse_plain_http("BITRIX24_PORTAL", portal)
        _refuse_plain_http("BITRIX24_OAUTH_TOKEN_URL", token_url)
        self.portal_url = f"{parts.scheme}://{parts.netloc}"
        self.file = oauth_file(warehouse.directory)
        self._warehouse = warehouse
        self._client_id, self._client_secret = client_id, client_secret
        self._first = first_refresh_token
        self._token_url = token_url
        self._tokens = self._stored()

    @property
    def rest_url(self) -> str:
        """Address of the REST methods, always on the portal of the settings."""
        return self.portal_url + urlsplit(self._tokens.rest_url).path

    @property
    def parameters(self) -> Mapping[str, str]:
        """Parameters sent in the body of every call."""
        return {"auth": self._tokens.access_token}

    @property
    def secrets(self) -> list[str]:
        """Values that must not appear in any message."""
        return [
            secret
            for secret in (
                self._client_secret,
                self._first,
                self._tokens.access_token,
                self._tokens.refresh_token,
            )
            if secret
        ]

    def prepare(self, http: RetryingClient) -> None:
        """Makes sure that the access token is not expired and belongs to this portal."""
        now = dt.datetime.now(dt.UTC).timestamp()
        if now >= self._tokens.expires_at or not self._is_of_portal(self._tokens):
            self.renew(http)

    def renew(self, http: RetryingClient) -> bool:
        """Gets a new pair, stores and uses it; or uses the one another process has stored.

        Raises:
            Bitrix24Error: the authorisation server refused, or the pair cannot be stored.
            AnotherRefreshIsRunning: another process holds the lock.
        """
        with self._warehouse.lock():
            stored = self._stored()
            if stored.access_token == self._tokens.access_token or not self._is_of_portal(stored):
                # Fail on a folder that cannot be written before spending a refresh token.
                self._store(_read(self.file) or stored)
                stored = self._ask(http, stored)
                self._store(stored)
            self._tokens = stored
        if not self._is_of_portal(stored):
            raise Bitrix24Error(
                f"the tokens belong to the portal {urlsplit(stored.rest_url).hostname}, not to"
                f" {self.portal_url}: fix BITRIX24_PORTAL, or {AUTHORISE_AGAIN}"
            )
        return True

    def _is_of_portal(self, tokens: Tokens) -> bool:
        return urlsplit(tokens.rest_url).netloc.lower() == urlsplit(self.portal_url).netloc.lower()

    def _stored(self) -> Tokens:
        """The stored pair if it comes from these settings; else the first refresh token.

        Raises:
            SettingsError: there is neither, or the file cannot be read.
        """
        first = _digest(self._first) if self._first else ""
        tokens = _read(self.file)
        if tokens and tokens.client_id == self._client_id and first in ("", tokens.first):
            return tokens
        if not first:
            raise SettingsError(
                f"BITRIX24_OAUTH_REFRESH_TOKEN is not set, and {self.file} holds no tokens of this"
                " application: authorise it and set the token"
            )
        return Tokens(self._client_id, first, "", self._first, "", 0, 0)

    def _store(self, tokens: Tokens) -> None:
        try:
            write_atomically(self.file, asdict(tokens), private=True)
        except OSError as error:
            raise Bitrix24Error(
                f"the tokens of the application cannot be stored in {self.file}"
                f" ({error.strerror}): fix the folder; if the next run is refused,"
                f" {AUTHORISE_AGAIN}"
            ) from None

    def _ask(self, http: RetryingClient, tokens: Tokens) -> Tokens:
        body = self._answer(
            http,
            {
                "grant_type": "refresh_token",
                "client_id": self._client_id,
                "client_secret": self._client_secret,
                "refresh_token": tokens.refresh_token,
            },
        )
        if "error" in body:
            self._refuse(body, tokens)
        now = dt.datetime.now(dt.UTC).timestamp()
        try:
            return Tokens(
                client_id=self._client_id,
                first=tokens.first,
                access_token=str(body["access_token"]),
                refresh_token=str(body["refresh_token"]),
                rest_url=str(body["client_endpoint"]),
                expires_at=now + float(body["expires_in"]),
                renewed_at=now,
            )
        except (KeyError, TypeError, ValueError):
            raise Bitrix24Error(
                f"the authorisation server answered without a pair of tokens: {AUTHORISE_AGAIN}"
            ) from None

    def _answer(self, http: RetryingClient, query: Mapping[str, str]) -> dict[str, Any]:
        import requests

        server = urlsplit(self._token_url).netloc
        try:
            response = http.get(self._token_url, params=query, allow_redirects=False)
        except requests.exceptions.SSLError:
            response, problem = None, "its TLS certificate was not accepted"
        except requests.exceptions.RequestException:
            response, problem = None, "it could not be reached"
        # The library's exceptions contain the whole address with its secrets.
        if response is None:
            raise Bitrix24Error(
                f"no answer from the authorisation server {server}: {problem}; check the network"
                " and BITRIX24_OAUTH_TOKEN_URL, then run again"
            )
        if response.is_redirect:
            moved_to = urlsplit(response.headers.get("Location", "")).hostname or "another address"
            raise Bitrix24Error(
                f"the authorisation server {server} has moved to {moved_to}: put its address into"
                " BITRIX24_OAUTH_TOKEN_URL"
            )
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Bitrix24Error(
                f"the authorisation server {server} answered HTTP {response.status_code} and no"
                " valid JSON: try again later; if it happens again, check BITRIX24_OAUTH_TOKEN_URL"
            )
        return body

    def _refuse(self, body: Mapping[str, Any], tokens: Tokens) -> None:
        code = str(body.get("error") or "")
        if code == "invalid_grant":
            advice = f"{_why_refused(tokens)}: {AUTHORISE_AGAIN}"
        else:
            advice = TOKEN_ADVICE.get(code.lower(), "")
        described = without(self.secrets, str(body.get("error_description") or ""))
        raise Bitrix24Error(
            "the authorisation server gave no token: "
            + "; ".join(part for part in (f"{code} {described}".strip(), advice) if part),
            code,
        )


def _why_refused(tokens: Tokens) -> str:
    """invalid_grant does not say why; the age of the pair tells more."""
    if not tokens.access_token:
        return "the refresh token in the settings is wrong or was used before"
    renewed = dt.datetime.fromtimestamp(tokens.renewed_at, dt.UTC)
    age = dt.datetime.now(dt.UTC) - renewed
    if age >= dt.timedelta(days=REFRESH_TOKEN_DAYS):
        return (
            f"the refresh token of {renewed:%Y-%m-%d} has expired"
            f" (it is valid for {REFRESH_TOKEN_DAYS} days)"
        )
    return (
        f"the refresh token of {renewed:%Y-%m-%d} was revoked, or used by another machine or by an"
        " interrupted run"
    )


def _address(setting: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsError(f"{setting} is not a valid address: correct its host") from None
    if "@" in parts.netloc:
        # It would be published in the links to the portal.
        raise SettingsError(f"{setting} holds a login: remove what comes before the host")
    return parts


def _refuse_plain_http(setting: str, url: str) -> None:
    parts = _address(setting, url)
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in LOOPBACK_HOSTS):
        raise SettingsError(f"{setting} must start with https://")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def oauth_file(warehouse_dir: Path) -> Path:
    """The file with an application's pair of tokens."""
    return warehouse_dir / "oauth.json"


def is_open_to_others(path: Path) -> bool:
    """Whether anyone but the owner may read or write the file."""
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _read(path: Path) -> Tokens | None:
    try:
        return Tokens(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        raise SettingsError(
            f"{path} cannot be read: fix its rights, or delete it and {AUTHORISE_AGAIN}"
        ) from None


def from_environment(warehouse: Warehouse) -> Webhook | OAuth:
    """The access that the environment sets.

    Raises:
        SettingsError: no access or two are set, or a part is missing or malformed.
    """
    told = PortalAccess.read()
    webhook = told.bitrix24_webhook_url.get_secret_value()
    client_id = told.bitrix24_oauth_client_id
    client_secret = told.bitrix24_oauth_client_secret.get_secret_value()
    refresh_token = told.bitrix24_oauth_refresh_token.get_secret_value()
    is_application = bool(client_id or client_secret or refresh_token)
    if webhook and is_application:
        raise SettingsError(
            "BITRIX24_WEBHOOK_URL and BITRIX24_OAUTH_* are both set: keep only one of them"
        )
    if is_application:
        return OAuth(
            warehouse,
            told.bitrix24_portal,
            client_id,
            client_secret,
            refresh_token,
            told.bitrix24_oauth_token_url,
        )
    return Webhook(webhook)


def without_secrets(text: str) -> str:
    """The text without secrets of the environment and without the stored tokens."""
    found = secrets()
    try:
        tokens = _read(oauth_file(ROOT / Folders.read().warehouse_dir))
    except SettingsError:
        tokens = None
    if tokens is not None:
        found += [tokens.access_token, tokens.refresh_token]
    return without(found, text)

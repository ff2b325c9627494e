"""An application of the portal and its authorisation server.

Source: apidocs.bitrix24.com, "OAuth 2.0 token automatic renewal" and "Authorization server error
codes"; statuses and the codes that are not there (wrong_client, NOT_INSTALLED, ERROR_OAUTH) as in
github.com/bitrix24/b24pysdk. The documentation does not say whether a refresh token that was used
can be used again: here it cannot.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scripts.demo_portal.errors import RestError

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 180 * 24 * 3600


def _token() -> str:
    return secrets.token_hex(35)


@dataclass
class Application:
    """A local application that an employee has authorised; its switches may be changed at will.

    Attributes:
        refresh_token: valid for the next renewal.
        renewals: how often a pair was given.
        installed: whether the application is on the portal.
        paid: whether its period is paid for.
        allowed: whether the portal lets the employee use it.
    """

    scopes: tuple[str, ...]
    user_id: int
    now: float
    client_id: str = "local.65f0c0ffee0001.10000001"
    client_secret: str = field(default_factory=_token)
    refresh_token: str = field(default_factory=_token)
    renewals: int = 0
    installed: bool = True
    paid: bool = True
    allowed: bool = True
    _refresh_ends: float = 0.0
    _access_ends: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._refresh_ends = self.now + REFRESH_SECONDS

    def renew(self, params: Mapping[str, Any], address: str, now: float) -> dict[str, Any]:
        """Answer of the authorisation server to a request for tokens.

        Raises:
            RestError: as the server would answer.
        """
        for name in ("grant_type", "client_id", "client_secret", "refresh_token"):
            if not params.get(name):
                raise RestError(400, "invalid_request", f'No "{name}" parameter found')
        if params["grant_type"] != "refresh_token":
            raise RestError(400, "invalid_request", "Unsupported grant type")
        if params["client_id"] != self.client_id:
            raise RestError(200, "wrong_client", "")
        if params["client_secret"] != self.client_secret:
            raise RestError(400, "invalid_client", "")
        if params["refresh_token"] != self.refresh_token or now >= self._refresh_ends:
            raise RestError(400, "invalid_grant", "")
        if not self.installed:
            raise RestError(401, "NOT_INSTALLED", "Application not installed")
        if not self.paid:
            raise RestError(401, "PAYMENT_REQUIRED", "Payment required")
        self.renewals += 1
        self.refresh_token, access_token = _token(), _token()
        self.access_token = access_token
        self._refresh_ends = now + REFRESH_SECONDS
        self._access_ends[access_token] = now + ACCESS_SECONDS
        return {
            "access_token": access_token,
            "expires": int(now) + ACCESS_SECONDS,
            "expires_in": ACCESS_SECONDS,
            "scope": ",".join(self.scopes),
            "domain": "oauth.bitrix.info",
            "server_endpoint": "https://oauth.bitrix.info/rest/",
            "status": "L",
            "client_endpoint": f"{address}/rest/",
            "member_id": "a223c6b3710f85df22e9377d6c4f7553",
            "user_id": self.user_id,
            "refresh_token": self.refresh_token,
        }

    def expire(self) -> None:
        """End every access token now."""
        self._access_ends = dict.fromkeys(self._access_ends, 0.0)

    def admit(self, access_token: Any, now: float) -> None:
        """Let a call with this token in.

        Raises:
            RestError: the token is missing, unknown or expired, or the application has no access.
        """
        ends = self._access_ends.get(str(access_token))
        if ends is None:
            raise RestError(401, "NO_AUTH_FOUND", "Wrong authorization data")
        if now >= ends:
            raise RestError(401, "expired_token", "The access token provided has expired.")
        if not self.installed:
            raise RestError(401, "ERROR_OAUTH", "Application not installed")
        if not self.paid:
            raise RestError(401, "PAYMENT_REQUIRED", "Subscription has been ended")
        if not self.allowed:
            raise RestError(
                403, "user_access_error", "The user does not have access to the application"
            )

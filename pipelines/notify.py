"""Messages about a refresh to a Bitrix24 chat and to Telegram.

A message that cannot be sent is reported on stderr; the refresh and its exit code do not change.
Sources: apidocs.bitrix24.ru, im.message.add; core.telegram.org/bots/api, sendMessage.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from pipelines.bitrix24.access import LOOPBACK_HOSTS, without_secrets
from pipelines.environment import Chats
from pipelines.errors import EXIT_CODES, PipelineError, what_to_do

TIMEOUT_SECONDS = 15
LONGEST_MESSAGE = 4000  # Telegram takes 4,096 characters.


@dataclass(frozen=True)
class Channel:
    """Where a message goes; `address` holds a secret and is never shown."""

    name: str
    address: str
    content: Callable[[str], dict[str, Any]]


def channels(warn: Callable[[str], None]) -> list[Channel]:
    """Channels that the environment names; a wrong one is left out with a warning."""
    told = Chats.read()
    webhook, chat = told.bitrix24_chat_webhook_url.get_secret_value(), told.bitrix24_chat_id
    token, telegram_chat = told.telegram_bot_token.get_secret_value(), told.telegram_chat_id
    webhook = _whole("BITRIX24_CHAT_WEBHOOK_URL", webhook, "BITRIX24_CHAT_ID", chat, warn)
    token = _whole("TELEGRAM_BOT_TOKEN", token, "TELEGRAM_CHAT_ID", telegram_chat, warn)
    found = []
    if webhook:
        found.append(
            Channel(
                "the Bitrix24 chat",
                f"{webhook.rstrip('/')}/im.message.add.json",
                lambda text: {"DIALOG_ID": chat, "MESSAGE": text},
            )
        )
    if token:
        found.append(
            Channel(
                "Telegram",
                f"{told.telegram_api_url.rstrip('/')}/bot{token}/sendMessage",
                lambda text: {"chat_id": telegram_chat, "text": text},
            )
        )
    safe = [channel for channel in found if _is_safe(channel.address)]
    for channel in found:
        if channel not in safe:
            warn(f"no messages to {channel.name}: its address must start with https://<host>/")
    return safe


def tells_success(warn: Callable[[str], None]) -> bool:
    """Whether NOTIFY asks for messages about successes too; an unknown value gives a warning."""
    choice = Chats.read().notify
    if choice.lower() not in ("", "always"):
        warn(f"no messages about successes: NOTIFY is {choice!r}; use `always` or leave it out")
    return choice.lower() == "always"


def send(
    to: list[Channel], text: str, warn: Callable[[str], None], timeout: float = TIMEOUT_SECONDS
) -> int:
    """Sends a text without secrets; returns how many channels accepted it, never raises."""
    message = without_secrets(text)
    if len(message) > LONGEST_MESSAGE:
        message = message[:LONGEST_MESSAGE] + " …"
    sent = 0
    for channel in to:
        try:
            answer = requests.post(
                channel.address,
                json=channel.content(message),
                timeout=timeout,
                allow_redirects=False,
            )
            refusal = _refusal(answer)
        # A wrong REQUESTS_CA_BUNDLE raises it too.
        except OSError as error:
            # Its text holds the address.
            refusal = type(error).__name__
        if refusal:
            warn(without_secrets(f"no message reached {channel.name}: {refusal}"))
        else:
            sent += 1
    return sent


def failure(error: BaseException) -> str:
    """The message of a failed refresh: machine, exit code, error, what to do."""
    code = error.exit_code if isinstance(error, PipelineError) else 1
    meaning, _ = EXIT_CODES[code]
    return (
        f"Bitrix24 analytics on {socket.gethostname()}, exit code {code}: {meaning}.\n"
        f"{str(error) or type(error).__name__}\n"
        f"What to do: {what_to_do(error)}."
    )


def deletions(line: str) -> str:
    """The message of a refresh that found many records deleted."""
    return (
        f"Bitrix24 analytics on {socket.gethostname()}: {line}.\n"
        "Reports no longer include them. If nobody deleted them, check the rights of the webhook's"
        " owner; fct_item_versions has the leads and deals as they were."
    )


def success(lines: list[str]) -> str:
    """The message of a successful refresh."""
    return "\n".join([f"Bitrix24 analytics on {socket.gethostname()}", *lines])


def _whole(name: str, secret: str, chat_name: str, chat: str, warn: Callable[[str], None]) -> str:
    """The secret if the chat is set too; if only one of them is set, warns."""
    if bool(secret) == bool(chat):
        return secret
    given, missing = (name, chat_name) if secret else (chat_name, name)
    warn(f"no messages: {given} is set and {missing} is not")
    return ""


def _is_safe(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS)


def _refusal(answer: requests.Response) -> str:
    """Why the message was refused; empty if it was accepted."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return f"HTTP {answer.status_code}, an answer that is not JSON"
    if answer.status_code == 200 and "error" not in body and body.get("ok", True):
        return ""
    said = body.get("error_description") or body.get("description") or body.get("error") or ""
    return f"HTTP {answer.status_code} {said}".strip()

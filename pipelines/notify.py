"""Messages about a refresh to a Bitrix24 chat and to Telegram.

A message that cannot be sent is told on stderr; it changes neither the refresh nor its exit code.
Sources: apidocs.bitrix24.ru, im.message.add; core.telegram.org/bots/api, sendMessage.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from pipelines.bitrix24.access import LOOPBACK_HOSTS, without_secrets
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
    """Channels that the environment names; one that is named wrongly is warned of and left out."""
    webhook, chat = _pair("BITRIX24_CHAT_WEBHOOK_URL", "BITRIX24_CHAT_ID", warn)
    token, telegram_chat = _pair("TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID", warn)
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
        base = os.environ.get("TELEGRAM_API_URL") or "https://api.telegram.org"
        found.append(
            Channel(
                "Telegram",
                f"{base.rstrip('/')}/bot{token}/sendMessage",
                lambda text: {"chat_id": telegram_chat, "text": text},
            )
        )
    safe = [channel for channel in found if _is_safe(channel.address)]
    for channel in found:
        if channel not in safe:
            warn(f"no messages to {channel.name}: its address must begin with https://<host>/")
    return safe


def tells_success(warn: Callable[[str], None]) -> bool:
    """Whether NOTIFY asks for messages about successes too; an unknown value is warned of."""
    choice = os.environ.get("NOTIFY", "").strip()
    if choice.lower() not in ("", "always"):
        warn(f"no messages of successes: NOTIFY is {choice!r}, and `always` or nothing is allowed")
    return choice.lower() == "always"


def send(
    to: list[Channel], text: str, warn: Callable[[str], None], timeout: float = TIMEOUT_SECONDS
) -> int:
    """Sends a text without secrets; returns how many channels took it, never raises."""
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
        # Also what a wrong REQUESTS_CA_BUNDLE raises.
        except OSError as error:
            # Its text holds the address.
            refusal = type(error).__name__
        if refusal:
            warn(without_secrets(f"no message reached {channel.name}: {refusal}"))
        else:
            sent += 1
    return sent


def failure(error: BaseException) -> str:
    """What a failed refresh tells: the machine, the exit code, the message, what to do."""
    code = error.exit_code if isinstance(error, PipelineError) else 1
    meaning, _ = EXIT_CODES[code]
    return (
        f"Bitrix24 analytics on {socket.gethostname()}, exit code {code}: {meaning}.\n"
        f"{str(error) or type(error).__name__}\n"
        f"What to do: {what_to_do(error)}."
    )


def deletions(line: str) -> str:
    """What a refresh tells that found many records deleted."""
    return (
        f"Bitrix24 analytics on {socket.gethostname()}: {line}.\n"
        "They are in no report any longer. If nobody deleted them, look at the rights of the"
        " webhook's owner; fct_item_versions has leads and deals as they were."
    )


def success(lines: list[str]) -> str:
    """What a refresh that succeeded tells."""
    return "\n".join([f"Bitrix24 analytics on {socket.gethostname()}", *lines])


def _pair(secret: str, chat: str, warn: Callable[[str], None]) -> tuple[str, str]:
    code, number = os.environ.get(secret, ""), os.environ.get(chat, "")
    if bool(code) == bool(number):
        return code, number
    given, missing = (secret, chat) if code else (chat, secret)
    warn(f"no messages: {given} is set and {missing} is not")
    return "", ""


def _is_safe(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS)


def _refusal(answer: requests.Response) -> str:
    """Why the message was not taken; empty where it was."""
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

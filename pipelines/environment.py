"""Variables of the environment and of `.env`, typed; business settings are in settings.py."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from dotenv import load_dotenv
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent

Secret = Annotated[SecretStr, AfterValidator(lambda s: SecretStr(s.get_secret_value().strip()))]
NO_SECRET = SecretStr("")


class _Variables(BaseSettings):
    """Each field is the variable with its name in capitals; an empty variable is unset."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, str_strip_whitespace=True
    )

    @classmethod
    def read(cls) -> Self:
        """The current variables.

        Raises:
            SettingsError: a value is not allowed; names the variable.
        """
        try:
            return cls()
        except ValidationError as error:
            lines = [
                f"{str(problem['loc'][0]).upper()} is {problem['input']!r}: {problem['msg']}"
                for problem in error.errors(include_url=False)
            ]
            raise SettingsError("\n".join(lines)) from None

    @classmethod
    def secrets(cls) -> list[str]:
        """Values of the variables that are secrets, even if other variables are invalid."""
        return [
            os.environ.get(name.upper(), "").strip()
            for name, field in cls.model_fields.items()
            if field.annotation is SecretStr
        ]


class Folders(_Variables):
    """The warehouse folder, and the groups that may read what is published."""

    warehouse_dir: Path = Path("data")
    published_group: str = ""
    site_group: str = ""


def _path_of(address: object) -> object:
    """The path that an address names."""
    text = str(address)
    if text.startswith("file://"):
        return unquote(urlsplit(text).path)
    if "://" in text:
        raise ValueError("addresses of object stores are not read: give a path, of a mount")
    return address


class Engine(_Variables):
    """What builds the marts: DuckDB on this machine, or Apache Spark.

    Spark is behind a Spark Connect server: the one at `spark_remote`, or one that the build starts
    on `spark_master`. `spark_folder` is a folder that all its workers see under this path, which
    may be written as a `file://` address.
    """

    engine: Literal["duckdb", "spark"] = "duckdb"
    spark_master: str = "local[*]"
    spark_remote: str = ""
    spark_driver_memory: str = "2g"
    spark_folder: Annotated[Path | None, BeforeValidator(_path_of)] = None


class Overrides(_Variables):
    """What overrides the business settings of dbt_project.yml."""

    settings: Path | None = None
    report_lang: str = ""


class Reports(_Variables):
    """A built shell of the reports, for machines without Node."""

    report_shell: Path | None = None


class PortalAccess(_Variables):
    """Access to the portal: an inbound webhook or a local application."""

    bitrix24_webhook_url: Secret = NO_SECRET
    bitrix24_portal: str = ""
    bitrix24_oauth_client_id: str = ""
    bitrix24_oauth_client_secret: Secret = NO_SECRET
    bitrix24_oauth_refresh_token: Secret = NO_SECRET
    bitrix24_oauth_token_url: str = ""
    bitrix24_retry_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    bitrix24_requests_per_second: Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)] = 2.0
    requests_ca_bundle: Path | None = None


class Chats(_Variables):
    """Chats that get messages about refreshes."""

    bitrix24_chat_webhook_url: Secret = NO_SECRET
    bitrix24_chat_id: str = ""
    telegram_bot_token: Secret = NO_SECRET
    telegram_chat_id: str = ""
    telegram_api_url: str = "https://api.telegram.org"
    notify: str = ""


class HashKey(_Variables):
    """The key of the hashes of personal data."""

    pii_hash_key: SecretStr = NO_SECRET

    @property
    def length(self) -> int:
        """Length of the key in bytes."""
        return len(self._key)

    @property
    def mark(self) -> str:
        """Identifies the key without revealing it."""
        return self.hashed("PII_HASH_KEY")[:8]

    def hashed(self, text: str) -> str:
        """The text's hash under this key, 32 hexadecimal digits."""
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:32]

    @property
    def _key(self) -> bytes:
        return self.pii_hash_key.get_secret_value().encode()


def secrets() -> list[str]:
    """Every secret of the environment; of webhook addresses, the secret parts."""
    found: list[str] = []
    for group in (PortalAccess, Chats, HashKey):
        for value in group.secrets():
            # https://portal/rest/user/code/
            found += value.split("/")[5:] if value.startswith("http") else [value]
    return [value for value in found if value]


def load_environment() -> None:
    """Reads `.env` if it exists; variables that are already set stay.

    Raises:
        SettingsError: the file is not UTF-8, or cannot be read.
    """
    file = ROOT / ".env"
    try:
        load_dotenv(file, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8: save it in UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the secrets that only the extraction may see."""
    secrets = ("BITRIX24_", "PII_", "TELEGRAM_")
    return {name: value for name, value in environment.items() if not name.startswith(secrets)}


def without(secrets: list[str], text: str) -> str:
    """The text with every secret replaced."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "<secret>")
    return text

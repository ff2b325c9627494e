"""Business settings: the vars of dbt_project.yml, overridden by the file named in SETTINGS."""

from __future__ import annotations

import datetime as dt
import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import SettingsError
from pipelines.warehouse import ROOT

DBT_PROJECT = ROOT / "dbt_project"


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a time zone; an example is Europe/Moscow") from None
    return name


class LegacyRule(BaseModel):
    """Conditions that must all hold for a record to be a legacy import."""

    model_config = ConfigDict(extra="forbid")

    entity: Literal["lead", "deal", "both"] = "both"
    stages: list[str] = []
    originator_ids: list[str] = []
    created_before: dt.date | None = None
    created_on: list[dt.date] = []
    first_history_final: bool = False


class Settings(BaseModel):
    """All settings, typed; their defaults and descriptions stand in dbt_project.yml."""

    model_config = ConfigDict(extra="forbid")

    portal_timezone: Annotated[str, AfterValidator(_known_timezone)]
    report_lang: Literal["ru", "en"]
    sales_pipelines: list[int]
    paid_stages: list[str]
    lead_stage_outcomes: dict[str, Literal["quality", "junk", "in_work"]]
    forgotten_lead_days: Annotated[int, Field(ge=0)]
    forgotten_deal_days: Annotated[int, Field(ge=0)]
    planned_is_not_forgotten: bool
    repeat_means: Literal["deal", "sale"]
    attribution: Literal["direct", "customer"]
    legacy_rules: list[LegacyRule]
    include_legacy: bool
    city_field: str | None
    user_fields: list[str]
    refresh_overlap_minutes: Annotated[int, Field(ge=0)]
    full_read_every_days: Annotated[int, Field(ge=0)]
    max_deleted_share: Annotated[float, Field(ge=0, le=1)]
    timestamp_type: Literal["timestamptz", "timestamp"]

    @classmethod
    def load(cls, override: Path | None = None) -> Settings:
        """Defaults of dbt_project.yml, the file in SETTINGS, REPORT_LANG; validated.

        Raises:
            SettingsError: a file cannot be read, a key is unknown, or a value is not allowed.
        """
        values = dict(_read_yaml(DBT_PROJECT / "dbt_project.yml").get("vars") or {})
        named = os.environ.get("SETTINGS")
        source = override or (Path(named) if named else None)
        if source is not None:
            values |= _read_yaml(source if source.is_absolute() else ROOT / source)
        if language := os.environ.get("REPORT_LANG"):
            values["report_lang"] = language
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None

    def dbt_vars(self) -> dict[str, Any]:
        """The values as dbt takes them (`--vars`)."""
        return self.model_dump(mode="json")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise SettingsError(f"the settings file {path} cannot be read") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"the settings file {path} is not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"the settings file {path} must hold `key: value` lines")
    return content


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, Settings.model_fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            lines.append(f"unknown setting {key}{hint}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"setting {key} = {problem['input']!r}: {message}")
    return "\n".join(lines)

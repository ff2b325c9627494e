"""Business settings: the vars of dbt_project.yml, overridden by the file in SETTINGS."""

from __future__ import annotations

import datetime as dt
import difflib
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import available_timezones

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from pipelines.environment import ROOT, HashKey, Overrides
from pipelines.errors import SettingsError

DBT_PROJECT = ROOT / "dbt_project"
# Version of stored values: 2 since addresses of files and tokens in texts are cut, and user fields
# are decoded. Older warehouses do not store it.
VALUES = 2


def _known_timezone(name: str) -> str:
    # DuckDB does not know the system's other names (localtime, posix/…, right/…).
    if name not in available_timezones() or name in ("localtime", "Factory"):
        raise ValueError("is not a time zone; use a name like Europe/Moscow")
    return name


def _relative(path: str) -> str:
    # The path is shown in the reports, which must not tell the folders of a machine.
    if Path(path).is_absolute() or path.startswith("~"):
        raise ValueError("must be as seen from the folder of the settings file, like spend/*.csv")
    return path


Pattern = Annotated[str, Field(min_length=1)]
ColumnName = Annotated[str, Field(min_length=1)]


class Named(NamedTuple):
    """A code that a setting names; `what` is its kind: "deal stage", "pipeline" …"""

    setting: str
    what: str
    code: str


class LegacyRule(BaseModel):
    """Conditions that a record must all meet to be a legacy import."""

    model_config = ConfigDict(extra="forbid")

    entity: Literal["lead", "deal", "both"] = "both"
    stages: list[str] = []
    originator_ids: list[str] = []
    created_before: dt.date | None = None
    created_on: list[dt.date] = []
    first_history_final: bool = False

    @model_validator(mode="after")
    def _has_conditions(self) -> LegacyRule:
        if not self.model_dump(exclude={"entity"}, exclude_defaults=True):
            raise ValueError("a rule without conditions would match every record")
        return self


class SpendColumns(BaseModel):
    """Names of the columns of a plain spend file."""

    model_config = ConfigDict(extra="forbid")

    date: ColumnName
    cost: ColumnName
    utm_source: ColumnName | None = None
    utm_medium: ColumnName | None = None
    utm_campaign: ColumnName | None = None
    utm_content: ColumnName | None = None
    utm_term: ColumnName | None = None
    source: ColumnName | None = None
    currency: ColumnName | None = None
    clicks: ColumnName | None = None


class SpendFiles(BaseModel):
    """Files of one form with the money spent on advertising."""

    model_config = ConfigDict(extra="forbid")

    path: Annotated[str, AfterValidator(_relative)]
    format: Literal["metrica", "plain"]
    columns: SpendColumns | None = None
    vat: Annotated[Decimal, Field(ge=0, le=100, decimal_places=2)] | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None

    @model_validator(mode="after")
    def _has_columns_if_plain(self) -> SpendFiles:
        if (self.format == "plain") != (self.columns is not None):
            raise ValueError("format plain needs `columns`, format metrica has columns of its own")
        return self


class SpendRule(BaseModel):
    """Conditions that a row of a spend file must all meet to be of a source."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    utm_source: Pattern | None = None
    utm_medium: Pattern | None = None
    utm_campaign: Pattern | None = None
    utm_content: Pattern | None = None
    utm_term: Pattern | None = None
    source_code: Pattern | None = None
    source: Pattern

    @model_validator(mode="after")
    def _has_conditions(self) -> SpendRule:
        if not self.model_dump(exclude={"source"}, exclude_none=True):
            raise ValueError("a rule without conditions would match every row")
        return self


# Settings that hold settings of their own, by name.
PARTS: Mapping[str, type[BaseModel]] = {
    "legacy_rules": LegacyRule,
    "spend": SpendFiles,
    "columns": SpendColumns,
    "spend_rules": SpendRule,
}


class Settings(BaseModel):
    """All settings, typed; defaults and descriptions are in dbt_project.yml."""

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
    spend: list[SpendFiles]
    spend_rules: list[SpendRule]
    pii: Literal["none", "hash", "full"]
    keep_titles: bool
    refresh_overlap_minutes: Annotated[int, Field(ge=1)]
    full_read_every_days: Annotated[int, Field(ge=0)]
    max_deleted_share: Annotated[float, Field(ge=0, le=1)]
    notify_deleted_records: Annotated[int, Field(ge=0)]
    max_drop_share: Annotated[float, Field(ge=0, le=1)]
    min_sample: Annotated[int, Field(ge=1)]
    min_sales: Annotated[int, Field(ge=1)]
    stale_after_hours: Annotated[int, Field(gt=0)]
    timestamp_type: Literal["timestamptz", "timestamp"]

    _folder: Path = PrivateAttr(default=ROOT)

    @classmethod
    def load(cls, override: Path | None = None) -> Settings:
        """Loads and validates dbt_project.yml, the file in SETTINGS and REPORT_LANG.

        Raises:
            SettingsError: a file cannot be read, a key is unknown, or a value is not allowed.
        """
        values = dict(_read_yaml(DBT_PROJECT / "dbt_project.yml").get("vars") or {})
        overrides = Overrides.read()
        source = override or overrides.settings
        file = ROOT / source if source is not None else None
        if file is not None:
            values |= _read_yaml(file)
        if overrides.report_lang:
            values["report_lang"] = overrides.report_lang
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None
        if file is not None:
            settings._folder = file.parent
        return settings

    @property
    def folder(self) -> Path:
        """The folder of the settings file, from which the paths of spend files are seen."""
        return self._folder

    @property
    def reads_titles(self) -> bool:
        """Whether titles of leads, deals and companies are read; they may hold names."""
        return self.keep_titles or self.pii == "full"

    @property
    def named_user_fields(self) -> set[str]:
        """User fields that the marts need."""
        return {*self.user_fields, *([self.city_field] if self.city_field else [])}

    @property
    def scope(self) -> str:
        """What the settings allow to read, as JSON; a change of it requires a full sync."""
        scope: dict[str, Any] = {
            "pii": self.pii,
            "titles": self.reads_titles,
            "user_fields": sorted(self.named_user_fields),
            "values": VALUES,
        }
        if self.pii == "hash":
            # With two hash keys one customer would look like two.
            scope["hash_key"] = HashKey.read().mark
        return json.dumps(scope)

    def must_erase(self, scope: str | None) -> bool:
        """Whether the warehouse holds, from an earlier scope, what is no longer allowed.

        That is personal data that these settings do not allow, or values stored by an older
        version, with secrets of the portal in them.
        """
        before = json.loads(scope) if scope else {}
        if before.get("values") != VALUES:
            return True
        levels = ("none", "hash", "full")
        return levels.index(self.pii) < levels.index(before["pii"]) or (
            before["titles"] and not self.reads_titles
        )

    def named(self) -> list[Named]:
        """Stages, pipelines, user fields and sources that the settings name."""
        found = [
            *(Named("paid_stages", "deal stage", stage) for stage in self.paid_stages),
            *(Named("lead_stage_outcomes", "lead stage", key) for key in self.lead_stage_outcomes),
            *(Named("sales_pipelines", "pipeline", str(number)) for number in self.sales_pipelines),
            *(Named("user_fields", "user field", name) for name in self.user_fields),
        ]
        if self.city_field:
            found.append(Named("city_field", "user field", self.city_field))
        for number, rule in enumerate(self.legacy_rules):
            what = "stage" if rule.entity == "both" else f"{rule.entity} stage"
            found += [Named(f"legacy_rules.{number}.stages", what, stage) for stage in rule.stages]
        found += [
            Named(f"spend_rules.{number}.source", "source", rule.source)
            for number, rule in enumerate(self.spend_rules)
        ]
        return found

    def dbt_vars(self) -> dict[str, Any]:
        """The values for dbt (`--vars`)."""
        return self.model_dump(mode="json")


class _UniqueKeys(yaml.SafeLoader):
    """YAML without duplicate keys: one of two values would silently be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"the key {key.value} is there twice, again in line {line}")
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except OSError:
        raise SettingsError(f"the settings file {path} cannot be read") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the settings file {path} is not UTF-8: save it in UTF-8") from None
    # An impossible date, such as 31 February, is a ValueError.
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"the settings file {path} is not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"the settings file {path} must hold `key: value` lines")
    return content


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The closest known name as the end of a message; empty if none is close."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            *outer, name = map(str, problem["loc"])
            known = next((PARTS[part] for part in reversed(outer) if part in PARTS), Settings)
            hint = did_you_mean(name, known.model_fields)
            lines.append(f"unknown setting {key}{hint}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"setting {key} = {problem['input']!r}: {message}")
    return "\n".join(lines)

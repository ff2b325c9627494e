"""Business settings, under the names and with the defaults of the dbt vars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

OUTCOMES = ("quality", "junk", "in_work")
RULE_KEYS = {
    "entity",
    "stages",
    "originator_ids",
    "created_before",
    "created_on",
    "first_history_final",
}


@dataclass(frozen=True)
class LegacyRule:
    """One rule of `legacy_rules`: a record is legacy where every given condition holds."""

    entity: str = "both"
    stages: frozenset[str] | None = None
    originator_ids: frozenset[str] | None = None
    created_before: date | None = None
    created_on: frozenset[date] | None = None
    first_history_final: bool = False

    @classmethod
    def parse(cls, rule: Mapping[str, Any]) -> LegacyRule:
        """Read a rule as the settings file has it; raise ValueError naming the bad key."""
        if unknown := set(rule) - RULE_KEYS:
            raise ValueError(f"legacy_rules: unknown keys {sorted(unknown)}")
        if rule.get("entity", "both") not in ("lead", "deal", "both"):
            raise ValueError(f"legacy_rules: entity is {rule['entity']!r}, not lead, deal or both")
        if not any(rule.get(key) for key in RULE_KEYS - {"entity"}):
            raise ValueError("legacy_rules: a rule without conditions would match every record")
        before = rule.get("created_before")
        days = rule.get("created_on")
        return cls(
            entity=rule.get("entity", "both"),
            stages=frozenset(rule["stages"]) if rule.get("stages") else None,
            originator_ids=(
                frozenset(map(str, rule["originator_ids"])) if rule.get("originator_ids") else None
            ),
            created_before=_day(before) if before else None,
            created_on=frozenset(map(_day, days)) if days else None,
            first_history_final=bool(rule.get("first_history_final")),
        )

    def holds(
        self,
        entity: str,
        stage_id: str,
        originator_id: str | None,
        created_date: date | None,
        first_row_final: bool,
    ) -> bool:
        """True where all conditions of the rule hold for the record."""
        return (
            self.entity in (entity, "both")
            and (self.stages is None or stage_id in self.stages)
            and (self.originator_ids is None or originator_id in self.originator_ids)
            and (
                self.created_before is None
                or (created_date is not None and created_date < self.created_before)
            )
            and (self.created_on is None or created_date in self.created_on)
            and (first_row_final or not self.first_history_final)
        )


@dataclass(frozen=True)
class Settings:
    """All settings that change a figure. Ids of pipelines are ints, of stages and fields text."""

    portal_timezone: str = "Europe/Moscow"
    sales_pipelines: Sequence[int] = ()
    paid_stages: Sequence[str] = ()
    lead_stage_outcomes: Mapping[str, str] = field(default_factory=dict)
    forgotten_lead_days: int = 3
    forgotten_deal_days: int = 14
    planned_is_not_forgotten: bool = False
    repeat_means: str = "deal"
    attribution: str = "direct"
    legacy_rules: Sequence[Mapping[str, Any]] = ()
    include_legacy: bool = False
    spend_rules: Sequence[Mapping[str, str]] = ()
    city_field: str | None = None
    user_fields: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.repeat_means not in ("deal", "sale"):
            raise ValueError(f"repeat_means is {self.repeat_means!r}, not deal or sale")
        if self.attribution not in ("direct", "customer"):
            raise ValueError(f"attribution is {self.attribution!r}, not direct or customer")
        for stage, outcome in self.lead_stage_outcomes.items():
            if outcome not in OUTCOMES:
                raise ValueError(f"lead_stage_outcomes: {stage} is {outcome!r}, not in {OUTCOMES}")
        self.parsed_legacy_rules()

    def parsed_legacy_rules(self) -> list[LegacyRule]:
        """The legacy rules, checked."""
        return [LegacyRule.parse(rule) for rule in self.legacy_rules]


def _day(value: date | str) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)

"""Settings: each is documented, and a wrong one is refused before anything is read or built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.errors import SettingsError
from pipelines.settings import DBT_PROJECT, Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.small_portal import STATUSES, deal, deal_visit, lead, status, write_portal

T0 = "2026-03-01T10:00:00+03:00"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Stage C1:UC_GONE left the directory; a deal once stood on it."""
    folder = write_portal(
        tmp_path_factory.mktemp("portal"),
        statuses=[*STATUSES, status(8, "DEAL_STAGE_1", "C1:UC_PAID")],
        categories=[
            {"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"},
            {"id": 1, "name": "Опт", "sort": 200, "isDefault": "N"},
        ],
        leads=[lead(1, UF_CRM_CITY="Казань")],
        deals=[deal(1)],
        deal_stage_history=[deal_visit(1, 1, "C1:UC_GONE", "P", T0)],
    )
    with serve(folder) as running:
        yield running


def settings(**values: Any) -> Settings:
    return Settings.model_validate({**Settings.load().model_dump(), **values})


def test_every_setting_has_a_default_and_a_description() -> None:
    text = (DBT_PROJECT / "dbt_project.yml").read_text(encoding="utf-8").split("\nvars:\n")[1]
    described = re.findall(r"(?:^  #.*\n)+  (\w+):", text, re.MULTILINE)
    assert described == list(Settings.model_fields)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("paid_stage: [WON]", "unknown setting paid_stage; did you mean paid_stages?"),
        ("portal_timezone: Mars/Base", "setting portal_timezone = 'Mars/Base': is not a time zone"),
        ("forgotten_lead_days: -1", "forgotten_lead_days = -1: Input should be greater than or"),
        ("forgotten_deal_days: two", "setting forgotten_deal_days = 'two'"),
        ("repeat_means: sales", "setting repeat_means = 'sales': Input should be 'deal' or 'sale'"),
        ("pii: some", "setting pii = 'some': Input should be 'none', 'hash' or 'full'"),
        ("lead_stage_outcomes: {NEW: good}", "lead_stage_outcomes.NEW = 'good'"),
        ("sales_pipelines: [sales]", "setting sales_pipelines.0 = 'sales'"),
        ("max_deleted_share: 5", "setting max_deleted_share = 5"),
        ("stale_after_hours: 0", "setting stale_after_hours = 0"),
        ("legacy_rules: [{stage: [NEW]}]", "legacy_rules.0.stage; did you mean stages?"),
        ("legacy_rules: [{entity: deal}]", "a rule without conditions would name every record"),
        ("legacy_rules: [{created_before: soon}]", "legacy_rules.0.created_before = 'soon'"),
        ("- nothing", "must hold `key: value` lines"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "settings.yml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        Settings.load(path)
    assert message in str(caught.value)


def test_the_file_of_the_environment_overrides_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("forgotten_lead_days: 7\n", encoding="utf-8")
    monkeypatch.setenv("SETTINGS", str(path))
    loaded = Settings.load()
    assert (loaded.forgotten_lead_days, loaded.forgotten_deal_days) == (7, 14)
    monkeypatch.setenv("SETTINGS", str(tmp_path / "none.yml"))
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.load()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"paid_stages": ["C1:UC_PAYD"]},
            "setting paid_stages names the deal stage 'C1:UC_PAYD', which the portal has not;"
            " did you mean C1:UC_PAID?",
        ),
        # A stage of leads is no stage of deals.
        ({"paid_stages": ["CONVERTED"]}, "the deal stage 'CONVERTED', which the portal has not"),
        (
            {"lead_stage_outcomes": {"JUNKY": "junk"}},
            "lead_stage_outcomes names the lead stage 'JUNKY', which the portal has not;"
            " did you mean JUNK?\n  it has: NEW «New», JUNK «Junk», CONVERTED «Converted»",
        ),
        (
            {"sales_pipelines": [0, 7]},
            "setting sales_pipelines names the pipeline '7', which the portal has not\n"
            "  it has: 0 «Продажи», 1 «Опт»",
        ),
        (
            {"legacy_rules": [{"entity": "lead", "stages": ["WON"]}]},
            "setting legacy_rules.0.stages names the lead stage 'WON'",
        ),
        ({"city_field": "UF_CRM_CITI"}, "city_field names the user field 'UF_CRM_CITI'"),
        ({"user_fields": ["UF_CRM_CITI"]}, "did you mean UF_CRM_CITY?"),
    ],
)
def test_a_name_that_the_portal_has_not_is_refused_before_anything_is_read(
    portal: Portal, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    warehouse = Warehouse(tmp_path)
    with pytest.raises(SettingsError) as caught:
        extract(Client(portal.webhook_url), warehouse, settings(**values))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert not warehouse.database.exists()


def test_names_of_the_past_are_allowed(portal: Portal, tmp_path: Path) -> None:
    """The deleted stage stands in the history; the pipeline was seen by an earlier refresh."""
    named = settings(
        paid_stages=["C1:UC_GONE", "C1:UC_PAID"],
        sales_pipelines=[0, 1],
        legacy_rules=[{"stages": ["WON", "JUNK"]}],
        user_fields=["UF_CRM_CITY"],
    )
    warehouse = Warehouse(tmp_path)
    extract(Client(portal.webhook_url), warehouse, named)
    rows = [{"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"}]
    portal.replace("categories", rows)
    extract(Client(portal.webhook_url), warehouse, named)
    with pytest.raises(SettingsError, match="the pipeline '1', which the portal has not"):
        extract(Client(portal.webhook_url), Warehouse(tmp_path / "new"), named)

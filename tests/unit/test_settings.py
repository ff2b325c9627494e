"""Settings: each is documented, and a wrong one is refused before anything is read or built."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import notify
from pipelines.bitrix24.access import Webhook, from_environment
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.environment import ROOT
from pipelines.errors import NotEnoughSpace, SettingsError
from pipelines.settings import DBT_PROJECT, VALUES, Settings
from pipelines.warehouse import Warehouse
from scripts import demo
from scripts.demo_portal import Portal, serve
from tests.support.small_portal import STATUSES, deal, deal_visit, lead, status, write_portal

T0 = "2026-03-01T10:00:00+03:00"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Stage C1:UC_GONE is gone from the reference data; a deal was once on it."""
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


def test_project_and_package_have_one_version() -> None:
    project = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["version"] == package["project"]["version"]


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
        ("min_sample: 0", "setting min_sample = 0"),
        ("min_sales: -1", "setting min_sales = -1"),
        ("stale_after_hours: 0", "setting stale_after_hours = 0"),
        (
            "refresh_overlap_minutes: 0",
            "refresh_overlap_minutes = 0: Input should be greater than or equal to 1",
        ),
        ("legacy_rules: [{stage: [NEW]}]", "legacy_rules.0.stage; did you mean stages?"),
        ("legacy_rules: [{entity: deal}]", "a rule without conditions would match every record"),
        ("legacy_rules: [{created_before: soon}]", "legacy_rules.0.created_before = 'soon'"),
        ("spend: [{path: spend/*.csv}]", "setting spend.0.format"),
        ("spend: [{path: spend/*.csv, format: metrica, vat: 122}]", "setting spend.0.vat = 122"),
        (
            "spend: [{path: spend/*.csv, format: metrica, currency: rub}]",
            "setting spend.0.currency = 'rub'",
        ),
        (
            "spend: [{path: /srv/spend/*.csv, format: metrica}]",
            "spend.0.path = '/srv/spend/*.csv': must be as seen from the folder of the settings",
        ),
        ("spend: [{path: ~/spend.csv, format: metrica}]", "must be as seen from the folder of the"),
        ("spend: [{path: a.csv, format: plain}]", "format plain needs `columns`, format metrica"),
        (
            "spend: [{path: a.csv, format: metrica, columns: {date: День, cost: Расход}}]",
            "format plain needs `columns`, format metrica has columns of its own",
        ),
        (
            "spend: [{path: a.csv, format: plain, columns: {date: День, cots: Расход}}]",
            "unknown setting spend.0.columns.cots; did you mean cost?",
        ),
        (
            "spend: [{path: a.csv, format: metrica, currncy: RUB}]",
            "unknown setting spend.0.currncy; did you mean currency?",
        ),
        (
            "spend_rules: [{utm_sorce: vk, source: VK}]",
            "unknown setting spend_rules.0.utm_sorce; did you mean utm_source?",
        ),
        ("spend_rules: [{utm_source: vk}]", "setting spend_rules.0.source"),
        ("spend_rules: [{source: VK}]", "a rule without conditions would match every row"),
        ("portal_timezone: localtime", "portal_timezone = 'localtime': is not a time zone"),
        ("portal_timezone: posix/Europe/Moscow", "'posix/Europe/Moscow': is not a time zone"),
        (
            "pii: none\nkeep_titles: true\npii: full",
            "the key pii is there twice, again in line 3",
        ),
        ("legacy_rules: [{entity: deal, entity: lead}]", "the key entity is there twice"),
        ("- nothing", "must hold `key: value` lines"),
        ("a: [", "is not valid YAML"),
        ("legacy_rules: [{created_before: 2026-02-31}]", "is not valid YAML: day is out of range"),
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


def test_a_file_without_settings_leaves_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    file.write_text("# none yet\n", encoding="utf-8")
    assert Settings.load(file).dbt_vars() == Settings.load().dbt_vars()


def test_a_rule_of_the_past_names_stages_of_its_entity(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    rules = '{stages: [A]}, {entity: lead, stages: [B]}, {entity: deal, stages: ["C1:C"]}'
    file.write_text(f"legacy_rules: [{rules}]\n", encoding="utf-8")
    assert [(one.what, one.code) for one in Settings.load(file).named()] == [
        ("stage", "A"),
        ("lead stage", "B"),
        ("deal stage", "C1:C"),
    ]


def test_a_file_of_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("city_field: Город\n", encoding="cp1251")
    with pytest.raises(SettingsError, match=r"settings\.yml is not UTF-8: save it in UTF-8"):
        Settings.load(path)


@pytest.mark.parametrize(("named", "folder"), [("", "data"), (None, "data"), ("other", "other")])
def test_an_empty_folder_of_the_warehouse_is_the_default(
    monkeypatch: pytest.MonkeyPatch, named: str | None, folder: str
) -> None:
    monkeypatch.delenv("WAREHOUSE_DIR", raising=False)
    if named is not None:
        monkeypatch.setenv("WAREHOUSE_DIR", named)
    assert Warehouse.from_environment().directory == ROOT / folder


def test_a_folder_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "data" / "refresh.lock").mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "file" / "data", tmp_path / "data"):
        lock = re.escape(f"{folder / 'refresh.lock'} cannot be written (")
        with (
            pytest.raises(SettingsError, match=f"^{lock}.*set WAREHOUSE_DIR to another one$"),
            Warehouse(folder).lock(),
        ):
            pass


def test_a_full_disk_is_no_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", full)
    warehouse = Warehouse(tmp_path)
    with pytest.raises(OSError, match="No space left") as caught, warehouse.lock():
        pass
    assert isinstance(warehouse.full_disk(caught.value), NotEnoughSpace)


def test_a_demo_meets_no_portal_and_no_chat_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = [
        *("TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID", "NOTIFY"),
        *(f"BITRIX24_{name}" for name in ("PORTAL", "CHAT_WEBHOOK_URL", "CHAT_ID")),
        *(f"BITRIX24_OAUTH_{name}" for name in ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN")),
    ]
    for name in (*others, "SETTINGS"):
        monkeypatch.setenv(name, "of the company")
    given: list[dict[str, str]] = []

    def keep(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        given.append(env)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", keep)
    assert demo.run_refresh("http://127.0.0.1:1/rest/1/demo/") == 0
    # Empty and not absent: what is absent is taken from `.env`.
    assert {name: given[0][name] for name in others} == dict.fromkeys(others, "")
    assert given[0]["SETTINGS"] == str(demo.DEMO / "portal" / "settings.yml")
    for name, value in given[0].items():
        monkeypatch.setenv(name, value)
    assert isinstance(from_environment(Warehouse.from_environment()), Webhook)
    warnings: list[str] = []
    assert notify.channels(warnings.append) == []
    assert (notify.tells_success(warnings.append), warnings) == (False, [])


def test_the_file_of_the_environment_overrides_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("forgotten_lead_days: 7\n", encoding="utf-8")
    monkeypatch.setenv("SETTINGS", str(path))
    loaded = Settings.load()
    assert (loaded.forgotten_lead_days, loaded.forgotten_deal_days) == (7, 14)
    assert (loaded.folder, loaded.report_lang) == (tmp_path, "ru")
    monkeypatch.setenv("REPORT_LANG", "en")
    assert Settings.load().report_lang == "en"
    monkeypatch.setenv("SETTINGS", str(tmp_path / "none.yml"))
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.load()


def test_columns_are_those_of_a_plain_spend_file() -> None:
    plain = {"path": "a.csv", "format": "plain", "columns": {"date": "День", "cost": "Расход"}}
    given = settings(spend=[plain, {"path": "b.csv", "format": "metrica"}]).spend
    assert [files.columns is None for files in given] == [False, True]


@pytest.mark.parametrize(
    ("values", "reads"),
    [({}, False), ({"keep_titles": True}, True), ({"pii": "full"}, True), ({"pii": "hash"}, False)],
)
def test_titles_are_read_where_they_or_all_data_are_allowed(
    values: dict[str, Any], reads: bool
) -> None:
    assert settings(**values).reads_titles == reads


def test_what_is_read_is_the_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PII_HASH_KEY", "first-key-of-many-bytes")
    allowed = {"pii": "none", "titles": False, "user_fields": [], "values": VALUES}
    assert json.loads(settings().scope) == allowed
    named = settings(user_fields=["UF_CRM_B", "UF_CRM_A"], city_field="UF_CRM_C")
    assert json.loads(named.scope)["user_fields"] == ["UF_CRM_A", "UF_CRM_B", "UF_CRM_C"]
    first = settings(pii="hash").scope
    monkeypatch.setenv("PII_HASH_KEY", "second-key-of-many-bytes")
    assert json.loads(first)["hash_key"] != json.loads(settings(pii="hash").scope)["hash_key"]


@pytest.mark.parametrize(
    ("before", "now", "erases"),
    [
        ({"pii": "none"}, {"pii": "full"}, False),
        ({"pii": "hash"}, {"pii": "hash"}, False),
        ({"pii": "hash"}, {"pii": "none"}, True),
        ({"pii": "full"}, {"pii": "hash", "keep_titles": True}, True),
        ({"keep_titles": True}, {}, True),
        ({"keep_titles": True}, {"keep_titles": True}, False),
        ({}, {"keep_titles": True}, False),
    ],
)
def test_what_is_no_longer_allowed_is_erased(
    before: dict[str, Any], now: dict[str, Any], erases: bool
) -> None:
    assert settings(**now).must_erase(settings(**before).scope) == erases


def test_what_an_older_version_stored_is_erased() -> None:
    older = json.loads(settings().scope) | {"values": 0}
    assert settings().must_erase(json.dumps(older))
    assert settings().must_erase(None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"paid_stages": ["C1:UC_PAYD"]},
            "setting paid_stages names the deal stage 'C1:UC_PAYD', which the portal does not have;"
            " did you mean C1:UC_PAID?",
        ),
        # A lead stage is not a deal stage.
        (
            {"paid_stages": ["CONVERTED"]},
            "the deal stage 'CONVERTED', which the portal does not have",
        ),
        (
            {"lead_stage_outcomes": {"JUNKY": "junk"}},
            "lead_stage_outcomes names the lead stage 'JUNKY', which the portal does not have;"
            " did you mean JUNK?\n  it has: NEW «New», JUNK «Junk», CONVERTED «Converted»",
        ),
        (
            {"sales_pipelines": [0, 7]},
            "setting sales_pipelines names the pipeline '7', which the portal does not have\n"
            "  it has: 0 «Продажи», 1 «Опт»",
        ),
        (
            {"legacy_rules": [{"entity": "lead", "stages": ["WON"]}]},
            "setting legacy_rules.0.stages names the lead stage 'WON'",
        ),
        # A lead stage is no source.
        (
            {"spend_rules": [{"utm_source": "vk", "source": "NEW"}]},
            "setting spend_rules.0.source names the source 'NEW', which the portal does not have\n"
            "  it has: WEB «Web»",
        ),
        ({"city_field": "UF_CRM_CITI"}, "city_field names the user field 'UF_CRM_CITI'"),
        ({"user_fields": ["UF_CRM_CITI"]}, "did you mean UF_CRM_CITY?"),
    ],
)
def test_a_name_that_the_portal_does_not_have_is_refused_before_anything_is_read(
    portal: Portal, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    warehouse = Warehouse(tmp_path)
    with pytest.raises(SettingsError) as caught:
        extract(Client(portal.webhook_url), warehouse, settings(**values))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert not warehouse.database.exists()


def test_names_of_the_past_are_allowed(portal: Portal, tmp_path: Path) -> None:
    """The deleted stage is in the history; an earlier refresh saw the pipeline and the source."""
    named = settings(
        paid_stages=["C1:UC_GONE", "C1:UC_PAID"],
        sales_pipelines=[0, 1],
        legacy_rules=[{"stages": ["WON", "JUNK"]}],
        user_fields=["UF_CRM_CITY"],
        spend_rules=[{"utm_source": "vk", "source": "WEB"}],
    )
    warehouse = Warehouse(tmp_path)
    extract(Client(portal.webhook_url), warehouse, named)
    rows = [{"id": 0, "name": "Продажи", "sort": 100, "isDefault": "Y"}]
    portal.replace("categories", rows)
    stages = [row for row in STATUSES if row["ENTITY_ID"] != "SOURCE"]
    portal.replace("statuses", [*stages, status(8, "DEAL_STAGE_1", "C1:UC_PAID")])
    extract(Client(portal.webhook_url), warehouse, named)
    with pytest.raises(SettingsError) as caught:
        extract(Client(portal.webhook_url), Warehouse(tmp_path / "new"), named)
    assert "the pipeline '1', which the portal does not have" in str(caught.value)
    assert "the source 'WEB', which the portal does not have" in str(caught.value)

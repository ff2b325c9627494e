"""Personal data of customers: what `pii` none, hash and full let into the files of a refresh."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.bitrix24 import extract as extraction
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.build import build
from pipelines.check import check, complete
from pipelines.errors import Bitrix24Error, SettingsError
from pipelines.excel.workbooks import excel
from pipelines.options import Options
from pipelines.publish import publish
from pipelines.report import report
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.plain_refresh import plain_checks
from tests.support.small_portal import (
    STATUSES,
    deal,
    deal_visit,
    lead,
    lead_visit,
    status,
    write_portal,
)

T0 = "2026-03-01T10:00:00+03:00"
KEY = "a secret of the company"
# Each stands in one field of a lead, deal, contact or company.
PLANTED = [
    "Заявка Пелагеи Ивановны",
    "Поставка Евстигнееву",
    "Пелагея",
    "Евстигнеев",
    "Рога и Копыта",
    "900 000-11-22",
    "pelageya@private.example",
    "zakaz@private.example",
    "просила не звонить",
    "паспорт 4510",
]
# Stand in the environment of a refresh.
SECRETS = {
    "BITRIX24_OAUTH_CLIENT_SECRET": "planted-client-secret",
    "BITRIX24_OAUTH_REFRESH_TOKEN": "planted-refresh-token",
    "BITRIX24_CHAT_WEBHOOK_URL": "https://chat.example/rest/1/planted-chat-code/",
    "TELEGRAM_BOT_TOKEN": "12345:planted-bot-token",
    "PII_HASH_KEY": "planted-hash-key-of-theirs",
}


# A webhook's code and tokens stand in addresses that people paste, and in those of files.
CODE = "planted-code-of-a-webhook"
PASTED = f"см. https://crm.example/rest/1/{CODE}/profile.json?auth=planted-token-of-a-text"
KEPT = "см. https://crm.example/rest/1/<secret>/profile.json?auth=<secret>"
LINKED_FIELDS = ["UF_CRM_CONTRACT", "UF_CRM_SCANS", "UF_CRM_SITE"]


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    phone = {"id": 1, "typeId": "PHONE", "valueType": "WORK", "value": "+7 900 000-11-22"}
    email = {"id": 2, "typeId": "EMAIL", "valueType": "WORK", "value": "Pelageya@Private.example"}
    same = {"id": 3, "typeId": "PHONE", "valueType": "WORK", "value": "8 (900) 000-11-22"}
    office = {"id": 4, "typeId": "EMAIL", "valueType": "WORK", "value": "zakaz@private.example"}
    times = {"createdTime": T0, "updatedTime": T0}
    comments = "просила не звонить"
    folder = write_portal(
        tmp_path_factory.mktemp("portal"),
        leads=[
            lead(1, name="Пелагея", fm=[phone, email], UF_CRM_CITY="Казань")
            | {"title": "Заявка Пелагеи Ивановны", "comments": comments}
            | {"UF_CRM_NOTE": "паспорт 4510"}
        ],
        deals=[
            deal(1, leadId=1, contactIds=[1], contactId=1, UF_CRM_NOTE="паспорт 4510")
            | {"title": "Поставка Евстигнееву", "comments": comments, "utmTerm": PASTED}
            | {"UF_CRM_CONTRACT": file(5), "UF_CRM_SCANS": {"0": file(6), "2": file(7)}}
            | {"UF_CRM_SITE": PASTED}
        ],
        statuses=[*STATUSES, {**status(8, "SOURCE", "PASTED"), "NAME": PASTED}],
        fields=[
            {
                "entityTypeId": 2,
                "fields": {
                    name: {"type": kind, "isMultiple": many, "isDynamic": True, "title": name}
                    for name, kind, many in zip(
                        LINKED_FIELDS, ("file", "file", "url"), (False, True, False), strict=True
                    )
                },
            }
        ],
        contacts=[
            {
                "id": 1,
                "name": "Пелагея",
                "lastName": "Евстигнеев",
                "comments": comments,
                "fm": [same],
                "UF_CRM_NOTE": "паспорт 4510",
                **times,
            }
        ],
        companies=[{"id": 1, "title": "Рога и Копыта", "fm": [office], **times}],
        lead_stage_history=[lead_visit(1, 1, "NEW", "P", T0)],
        deal_stage_history=[deal_visit(1, 1, "NEW", "P", T0)],
    )
    with serve(folder, token=CODE) as running:
        yield running


def file(number: int) -> dict[str, Any]:
    """A file as crm.item.list gives it; the portal makes another address at every call."""
    return {"id": number, "url": f"/file?id={number}&auth=planted-token", "urlMachine": ""}


def settings(**values: Any) -> Settings:
    return Settings.model_validate({**Settings.load().model_dump(), **values})


def read(
    portal: Portal, warehouse: Warehouse, chosen: Settings, with_great_expectations: bool = False
) -> None:
    extract(Client(portal.webhook_url, retry_seconds=0.01), warehouse, chosen)
    with nullcontext() if with_great_expectations else plain_checks():
        check(warehouse)


def contents(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file below a folder as text; tables of databases and Parquet with all their values."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        yield path, path.read_bytes().decode("utf-8", errors="ignore")
        if path.suffix == ".xlsx":
            with zipfile.ZipFile(path) as book:
                for name in book.namelist():
                    yield path, book.read(name).decode("utf-8", errors="ignore")
        if path.suffix == ".parquet":
            with duckdb.connect() as connection:
                yield path, str(connection.execute(f"from '{path}'").fetchall())
        elif path.suffix == ".duckdb":
            with duckdb.connect(str(path), read_only=True) as connection:
                tables = connection.execute(
                    "select table_schema, table_name from information_schema.tables"
                ).fetchall()
                for schema, table in tables:
                    rows = connection.execute(f'from "{schema}"."{table}"').fetchall()
                    yield path, str(rows)


def found(folder: Path) -> set[str]:
    """Planted values that stand anywhere below a folder."""
    planted = {value.casefold(): value for value in PLANTED}
    texts = (text.casefold() for _, text in contents(folder))
    return {value for text in texts for folded, value in planted.items() if folded in text}


def rows(warehouse: Warehouse, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(warehouse.published / "crm.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


DETAILS = "select entity, name, phones, emails, comments from marts.dim_contact_details order by 1"
FIELD_VALUES = "select field_name, field_value from marts.fct_user_field_values order by all"
TITLES = "select title from marts.fct_leads union all select title from marts.fct_deals"


@pytest.mark.site
@pytest.mark.usefixtures("without_dbt")
def test_by_default_nothing_personal_is_asked_for_or_written(
    portal: Portal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """All of them stand in the portal; in warehouse, Parquet, workbooks, site and logs stands none.

    No secret of the environment either.
    """
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    asked: list[str] = []
    real = Client.batch

    def noted(client: Client, commands: Any, *taken: Any) -> Any:
        asked.append(str(commands))
        return real(client, commands, *taken)

    monkeypatch.setattr(Client, "batch", noted)
    caplog.set_level("DEBUG", logger="pipelines")
    chosen = settings(city_field="UF_CRM_CITY", user_fields=LINKED_FIELDS)
    warehouse = Warehouse(tmp_path)
    read(portal, warehouse, chosen, with_great_expectations=True)
    build(warehouse, chosen)
    publish(warehouse)
    excel(warehouse, chosen)
    report(warehouse, chosen)

    assert rows(warehouse, "select title, city from marts.fct_leads") == [("Лид №1", "Казань")]
    assert rows(warehouse, "select title from marts.fct_deals") == [("Сделка №1",)]
    assert rows(warehouse, DETAILS) == []
    assert rows(warehouse, FIELD_VALUES) == [
        ("UF_CRM_CONTRACT", "файл 5"),
        ("UF_CRM_SCANS", "файл 6"),
        ("UF_CRM_SCANS", "файл 7"),
        ("UF_CRM_SITE", KEPT),
    ]
    assert rows(warehouse, "select utm_term from marts.fct_deals") == [(KEPT,)]
    assert len(list(tmp_path.rglob("index.html"))) >= 1
    assert len(list(tmp_path.rglob("*.xlsx"))) >= 2
    secrets = {CODE, "planted-token", "crm%7C", "getFile.json", *SECRETS.values()}
    said = caplog.text + str(capfd.readouterr())
    assert found(tmp_path) == set()
    assert [value for value in PLANTED if value in said] == []
    assert [value for value in secrets if value in said] == []
    assert [
        (path.name, value)
        for path, text in contents(tmp_path)
        for value in secrets
        if value in text
    ] == []
    for name in ("NAME'", "PHONE", "EMAIL", "COMMENTS", "'title'", "UF_CRM_NOTE", "ufCrmNote"):
        assert not any(name in commands for commands in asked), name


@pytest.mark.usefixtures("without_dbt")
def test_hashes_find_the_same_phone_and_hide_it(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(tmp_path)
    hashed = settings(pii="hash")
    monkeypatch.delenv("PII_HASH_KEY", raising=False)
    with pytest.raises(SettingsError, match="PII_HASH_KEY"):
        read(portal, warehouse, hashed)
    monkeypatch.setenv("PII_HASH_KEY", KEY)
    read(portal, warehouse, hashed)
    build(warehouse, hashed)
    publish(warehouse)

    details = {row[0]: row[1:] for row in rows(warehouse, DETAILS)}
    assert set(details) == {"lead", "contact", "company"}
    # +7 900 … of the lead and 8 (900) … of the contact are one phone.
    assert details["lead"][1] == details["contact"][1] != "[]"
    (phone,) = json.loads(details["lead"][1])
    assert len(phone) == 32
    assert {row[3] for row in details.values()} == {None}
    assert found(tmp_path) == set()
    assert not any(KEY in text for _, text in contents(tmp_path))


@pytest.mark.usefixtures("without_dbt")
def test_another_key_hashes_everything_anew(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record changed, and no customer is left with the hashes of the key before."""
    warehouse = Warehouse(tmp_path)
    hashed = settings(pii="hash")
    monkeypatch.setenv("PII_HASH_KEY", KEY)
    read(portal, warehouse, hashed)
    build(warehouse, hashed)
    publish(warehouse)
    before = rows(warehouse, DETAILS)

    another = "another secret of theirs"
    monkeypatch.setenv("PII_HASH_KEY", another)
    read(portal, warehouse, hashed)
    build(warehouse, hashed)
    publish(warehouse)
    after = rows(warehouse, DETAILS)
    assert [kind for kind, *_ in after] == ["company", "contact", "lead"]
    # The phone is the same for two of them, the e-mail for none, and none is as it was.
    assert after[1][2] == after[2][2]
    old, new = ({value for row in some for value in row[1:]} for some in (before, after))
    assert old & new <= {None, "[]"}
    assert not any(another in text or KEY in text for _, text in contents(tmp_path))


@pytest.mark.usefixtures("without_dbt")
def test_full_has_all_and_none_after_it_forgets_it(portal: Portal, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    full = settings(pii="full")
    read(portal, warehouse, full)
    build(warehouse, full)
    publish(warehouse)
    assert rows(warehouse, DETAILS) == [
        ("company", "Рога и Копыта", "[]", '["zakaz@private.example"]', None),
        ("contact", "Пелагея Евстигнеев", '["8 (900) 000-11-22"]', "[]", "просила не звонить"),
        (
            "lead",
            "Пелагея",
            '["+7 900 000-11-22"]',
            '["Pelageya@Private.example"]',
            "просила не звонить",
        ),
    ]
    assert set(rows(warehouse, TITLES)) == {
        ("Заявка Пелагеи Ивановны",),
        ("Поставка Евстигнееву",),
    }
    site = warehouse.published / ".sites" / "000001"
    for folder in (site, warehouse.published / "current" / "excel"):
        folder.mkdir(parents=True)
        (folder / "page").write_text(next(iter(PLANTED)), encoding="utf-8")
    (warehouse.published / "site").symlink_to(".sites/000001")
    assert found(warehouse.database.parent) == set(PLANTED)

    none = settings(city_field="UF_CRM_CITY")
    with pytest.raises(SettingsError, match="run a refresh, which erases them"):
        build(warehouse, none)
    read(portal, warehouse, none)
    build(warehouse, none)
    publish(warehouse)
    assert rows(warehouse, "select title, city from marts.fct_leads") == [("Лид №1", "Казань")]
    assert rows(warehouse, DETAILS) == []
    # Earlier publications, their workbooks and sites too.
    assert found(tmp_path) == set()
    assert not (warehouse.published / "site").exists()


def test_what_a_stopped_sync_has_erased_comes_back_with_the_setting(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """full, then none, which erases and fails; then full again: no title is missing."""
    warehouse = Warehouse(tmp_path)
    full = settings(pii="full")
    read(portal, warehouse, full)
    with monkeypatch.context() as patched:
        patched.setattr(extraction, "bitrix24", fails)
        with pytest.raises(Bitrix24Error, match="the portal went"):
            read(portal, warehouse, settings())
    read(portal, warehouse, full)
    titles = warehouse.latest_versions("leads", ["id", "title"], ["id"])
    assert titles is not None
    assert titles["title"].to_list() == ["Заявка Пелагеи Ивановны"]


def fails(*_: Any) -> Any:
    raise Bitrix24Error("the portal went")


def test_titles_can_be_kept_alone(portal: Portal, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    read(portal, warehouse, settings(keep_titles=True))
    assert found(tmp_path) >= {"Заявка Пелагеи Ивановны", "Поставка Евстигнееву"}
    assert not found(tmp_path) & {"900 000-11-22", "паспорт 4510", "Рога и Копыта"}


def test_files_whose_addresses_change_append_nothing(portal: Portal, tmp_path: Path) -> None:
    """Twice everything of an unchanged portal, with all its user fields, titles and contacts."""
    warehouse = Warehouse(tmp_path)
    chosen = settings(pii="full", full_read_every_days=0)
    appended = []
    for _ in range(2):
        summary = extract(Client(portal.webhook_url, retry_seconds=0.01), warehouse, chosen)
        complete(warehouse, summary.refresh_no)
        appended.append(sum(counts.rows_appended for counts in summary.counts.values()))
    assert appended[0] > 0
    assert appended[1] == 0
    files = warehouse.latest_versions("deals", ["id", "user_fields"], ["id"])
    assert files is not None
    assert json.loads(files["user_fields"][0])["UF_CRM_SCANS"] == [6, 7]


@pytest.mark.parametrize("scope", [None, '{"pii": "none", "titles": true, "user_fields": []}'])
def test_what_was_stored_before_secrets_were_cut_is_erased(
    portal: Portal, tmp_path: Path, scope: str | None
) -> None:
    """A warehouse of an earlier version, with titles, rows of long ago and a dlt state."""
    warehouse = Warehouse(tmp_path)
    chosen = settings(keep_titles=True, user_fields=LINKED_FIELDS)
    read(portal, warehouse, chosen)
    address = f"https://crm.example/rest/1/{CODE}/f.json?token=planted-token-of-before"
    (tmp_path / ".dlt" / "left").write_text(address, encoding="utf-8")
    with warehouse.connect(read_only=False) as connection:
        stored = json.dumps({"UF_CRM_CONTRACT": {"id": 5, "urlMachine": address}})
        connection.execute("update raw.deals set user_fields = $stored", {"stored": stored})
        connection.execute("update raw.leads set title = $text", {"text": f"тут {address}"})
        connection.execute("update raw.statuses set name = $text", {"text": address})
        connection.execute("update raw.refreshes set scope = $scope", {"scope": scope})
        connection.execute("create schema marts")
        connection.execute("create table marts.old as select user_fields from raw.deals")
    assert CODE in "".join(text for _, text in contents(tmp_path))

    with pytest.raises(SettingsError, match="run a refresh, which erases them"):
        build(warehouse, chosen)
    read(portal, warehouse, chosen)
    left = {
        (path.name, value)
        for path, text in contents(tmp_path)
        for value in (CODE, "planted-token")
        if value in text
    }
    assert left == set()
    titles = warehouse.latest_versions("leads", ["id", "title"], ["id"])
    assert titles is not None
    assert titles["title"].to_list() == ["Заявка Пелагеи Ивановны"]
    again = extract(
        Client(portal.webhook_url, retry_seconds=0.01), warehouse, chosen, Options(full=True)
    )
    assert sum(counts.rows_appended for counts in again.counts.values()) == 0

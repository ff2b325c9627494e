"""The raw contract: each broken rule stops the refresh and names the records, with links."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import pipelines.check
import pipelines.contract
from pipelines.__main__ import main
from pipelines.bitrix24 import items
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.entities import TABLES
from pipelines.bitrix24.extract import extract
from pipelines.check import CheckResult, check
from pipelines.contract import CHECKS, DIFFERENCE, DROP, LOSS
from pipelines.environment import ROOT
from pipelines.errors import CheckEngineError, ChecksFailed
from pipelines.options import Options
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.plain_refresh import plain_loading, plain_refresh
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
PORTAL = "https://acme.bitrix24.ru"


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with one extracted refresh of five leads and a deal, not yet checked."""
    folder = tmp_path_factory.mktemp("check")
    data = write_portal(
        folder / "portal",
        leads=[lead(number) for number in range(1, 6)],
        deals=[deal(7, leadId=1)],
        lead_stage_history=[lead_visit(11, 1, "NEW", "P", T0)],
        deal_stage_history=[deal_visit(12, 7, "NEW", "P", T0)],
    )
    with serve(data) as portal:
        read(portal, Warehouse(folder / "data"))
    return folder / "data"


@pytest.fixture
def warehouse(extracted: Path, tmp_path: Path) -> Warehouse:
    shutil.copy(extracted / "warehouse.duckdb", tmp_path)
    found = Warehouse(tmp_path)
    change(found, f"update raw.refreshes set portal_url = '{PORTAL}'")
    return found


def change(warehouse: Warehouse, *statements: str) -> None:
    with warehouse.connect(read_only=False) as connection:
        for statement in statements:
            connection.execute(statement)


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query).fetchall()


def failed(results: Sequence[CheckResult]) -> list[tuple[str, str, int, bool]]:
    return [
        (result.entity, result.check_name, result.failures, result.accepted)
        for result in results
        if not result.passed
    ]


def test_sound_rows_complete_the_refresh(warehouse: Warehouse) -> None:
    assert warehouse.last_refreshes() == []
    results = check(warehouse)
    assert failed(results) == []
    assert {result.entity for result in results} == {*(t.name for t in TABLES), "refreshes"}
    assert {result.check_name for result in results} == CHECKS.keys()
    assert rows(warehouse, "from quality.check_failures") == []
    assert [refresh.refresh_no for refresh in warehouse.last_refreshes()] == [1]


LEAD, DEAL = f"{PORTAL}/crm/lead/details", f"{PORTAL}/crm/deal/details"
HASHED = 'update raw.refreshes set scope = \'{"pii": "hash", "titles": false, "user_fields": []}\''
DETAILS = (
    "insert into raw.lead_details by name select 1 as id, '{name}' as name, '{phones}' as phones,"
    " '[]' as emails, {comments} as comments, 'x' as row_hash, false as is_deleted,"
    " 1 as refresh_no, '1' as _dlt_load_id"
)
DETAILS_LOADED = (
    "update raw.load_completeness set rows_appended = 1, rows_read = 5"
    " where entity = 'lead_details'"
)
HASH = "0123456789abcdef" * 2
TOMBSTONE = (
    "update raw.leads set is_deleted = true, title = null where id = 3",
    "update raw.load_completeness set portal_total = 4, rows_living = 4 where entity = 'leads'",
)


@pytest.mark.parametrize(
    ("damage", "lines"),
    [
        (["update raw.leads set id = null where id = 1"], ["leads: 1 rows without a key"]),
        (
            ["update raw.leads set id = 2 where id = 4"],
            [
                "leads: 2 rows with a key that came more than once in one refresh",
                f"  2 {LEAD}/2/",
                f"  2 {LEAD}/2/",
            ],
        ),
        (
            ["update raw.deals set stage_semantic_id = 'X'"],
            [
                "deals: 1 rows whose stage semantics is not P, S or F",
                f"  7 stage_semantic_id = X {DEAL}/7/",
            ],
        ),
        (
            ["update raw.leads set contact_id = -5 where id = 2"],
            [
                "leads: 1 links to a record with an ID below 1",
                f"  2 contact_id = -5 {LEAD}/2/",
            ],
        ),
        (
            ["update raw.leads set title = 'Планов Секретий' where id = 2"],
            [
                "leads: 1 rows with personal data that the settings do not allow",
                f"  2 title {LEAD}/2/",
            ],
        ),
        (
            ["""update raw.deals set user_fields = '{"UF_CRM_A": "Планов Секретий"}'"""],
            [
                "deals: 1 rows with personal data that the settings do not allow",
                f"  7 UF_CRM_A {DEAL}/7/",
            ],
        ),
        (
            [DETAILS.format(name="Планов", phones="[]", comments="null"), DETAILS_LOADED],
            [
                "lead_details: 1 rows with personal data that the settings do not allow",
                f"  1 read at all {LEAD}/1/",
            ],
        ),
        (
            [
                DETAILS.format(name="Планов", phones='["+79160000000"]', comments="'Планов'"),
                DETAILS_LOADED,
                HASHED,
            ],
            [
                "lead_details: 1 rows with personal data that the settings do not allow",
                f"  1 name, phones, comments {LEAD}/1/",
            ],
        ),
        (
            [*TOMBSTONE, "update raw.leads set utm_source = 'x' where id = 3"],
            [
                "leads: 1 deleted rows that hold more than their key",
                "  3 stage_id, stage_semantic_id, assigned_by_id, created_by, moved_by,"
                " contact_ids, opportunity, currency_id, is_return_customer, utm_source,"
                " created_time, updated_time, moved_time, last_activity_time, user_fields,"
                f" row_hash, state_hash {LEAD}/3/",
            ],
        ),
        (
            ["alter table raw.leads add column name varchar"],
            ["leads: 1 columns that are missing or not declared", "  name not declared"],
        ),
        (
            ["alter table raw.contacts drop column lead_id", "drop table raw.activities"],
            ["contacts: 1 columns that are missing or not declared", "  lead_id missing"],
        ),
        (
            ["alter table raw.leads alter column opportunity type double"],
            [
                "leads: 1 columns of another type than declared",
                "  opportunity DOUBLE, declared DECIMAL(20,2)",
            ],
        ),
        (
            ["update raw.load_completeness set rows_appended = 6 where entity = 'leads'"],
            ["leads: 1 rows that were read but are not in the raw log (or are there twice)"],
        ),
        (
            ["update raw.refreshes set as_of = now() + interval 30 hour"],
            ["refreshes: 30 hours by which the portal's clock is ahead of this machine's"],
        ),
        (
            [
                "insert into raw.refreshes by name select * replace (0 as refresh_no, true as"
                " completed, as_of + interval 90 minute as as_of) from raw.refreshes"
            ],
            ["refreshes: 2 hours by which the portal's clock is behind that of the last refresh"],
        ),
    ],
)
def test_damage_stops_the_refresh(
    warehouse: Warehouse, damage: list[str], lines: list[str]
) -> None:
    change(warehouse, *damage)
    with pytest.raises(ChecksFailed) as caught:
        check(warehouse)
    text = str(caught.value).splitlines()
    start = text.index(lines[0])
    assert text[start : start + len(lines)] == lines
    assert "Планов" not in str(caught.value)
    entity, _ = lines[0].split(":")
    stored = rows(
        warehouse,
        "select record_id, value, crm_url from quality.check_failures"
        f" where entity = '{entity}' order by all",
    )
    assert [f"  {' '.join(filter(None, row))}" for row in stored if row[0]] == lines[1:]
    assert 1 not in [refresh.refresh_no for refresh in warehouse.last_refreshes()]
    with plain_refresh(), pytest.raises(ChecksFailed) as plain:
        check(warehouse)
    assert str(plain.value) == str(caught.value)


def test_a_clock_that_was_set_back_a_little_is_none_of_our_business(warehouse: Warehouse) -> None:
    change(
        warehouse,
        "insert into raw.refreshes by name select * replace (0 as refresh_no, true as"
        " completed, as_of + interval 59 minute as as_of) from raw.refreshes",
    )
    assert failed(check(warehouse)) == []


def test_times_that_cannot_be_and_huge_amounts_stop_nothing(warehouse: Warehouse) -> None:
    """The marts leave such a time out and name the record."""
    change(
        warehouse,
        "update raw.leads set moved_time = '1970-01-01', created_time = '2062-03-01',"
        " opportunity = 999999999999999999.99 where id = 1",
        "update raw.lead_stage_history set created_time = '0206-03-01'",
    )
    assert failed(check(warehouse)) == []


def test_hashed_data_are_allowed_where_the_settings_say_so(warehouse: Warehouse) -> None:
    change(
        warehouse,
        DETAILS.format(name=HASH, phones=f'["{HASH}", "{HASH}"]', comments="null"),
        DETAILS_LOADED,
        HASHED,
    )
    assert failed(check(warehouse)) == []


def test_keys_are_unique_across_chunks(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of two: the rows of lead 2, first and last of the table, come into one."""
    monkeypatch.setattr(pipelines.contract, "ROWS_A_CHUNK", 2)
    change(warehouse, "update raw.leads set id = 2 where id = 5")
    with pytest.raises(ChecksFailed) as caught:
        check(warehouse)
    assert failed(caught.value.results) == [
        ("leads", "keys_repeated", 2, False),
        ("leads", DIFFERENCE, 1, False),
    ]


def test_a_hundred_records_of_a_check_are_kept_and_ten_shown(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """150 deals of an unknown semantics, in chunks of 40."""
    monkeypatch.setattr(pipelines.contract, "ROWS_A_CHUNK", 40)
    change(
        warehouse,
        "insert into raw.deals select * exclude (n) replace (100 + n as id)"
        " from raw.deals, range(149) as r(n)",
        "update raw.deals set stage_semantic_id = '?'",
        "update raw.load_completeness set rows_appended = 150, rows_living = 150,"
        " portal_total = 150 where entity = 'deals'",
    )
    with pytest.raises(ChecksFailed) as caught:
        check(warehouse)
    assert failed(caught.value.results) == [("deals", "semantics_unknown", 150, False)]
    text = str(caught.value).splitlines()
    assert text[2] == f"  7 stage_semantic_id = ? {DEAL}/7/"
    assert text[11:] == [
        f"  108 stage_semantic_id = ? {DEAL}/108/",
        "  … the first 100 are in quality.check_failures of the warehouse",
    ]
    assert rows(warehouse, "select count(*) from quality.check_failures") == [(100,)]


def test_a_broken_engine_is_no_bad_data(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("Планов Секретий")

    unique = "great_expectations.expectations.core.ExpectColumnValuesToBeUnique"
    monkeypatch.setattr(f"{unique}._validate", breaks)
    with pytest.raises(CheckEngineError) as caught:
        check(warehouse)
    assert "keys_repeated of the rows could not be run (ZeroDivisionError)" in str(caught.value)
    assert "Планов" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert warehouse.last_refreshes() == []


# A second refresh which found nothing.
NOTHING_NEW = (
    "insert into raw.refreshes select distinct * replace (2 as refresh_no, false as completed)"
    " from raw.refreshes where not completed",
    "insert into raw.load_completeness select * replace (2 as refresh_no, 0 as rows_appended)"
    " from raw.load_completeness",
)


def test_a_refresh_that_found_nothing_is_checked_without_the_engine(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds to load. The results are of the same checks."""
    first = check(warehouse)
    change(warehouse, *NOTHING_NEW)
    monkeypatch.delattr(pipelines.check, "Engine")
    second = check(warehouse)
    assert [(one.entity, one.check_name, one.passed) for one in second] == [
        (one.entity, one.check_name, one.passed) for one in first
    ]
    assert [refresh.refresh_no for refresh in warehouse.last_refreshes()] == [2, 1]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            "update raw.load_completeness set portal_total = 6 where entity = 'leads'",
            ("leads", DIFFERENCE, 1, False),
        ),
        (
            "insert into raw.leads select * replace (2 as refresh_no, '?' as stage_semantic_id)"
            " from raw.leads where id = 1",
            ("leads", "semantics_unknown", 1, False),
        ),
        (
            "update raw.refreshes set as_of = as_of - interval 5 hours where refresh_no = 2",
            ("refreshes", "clock_went_back", 5, False),
        ),
        (
            "alter table raw.deals add column more varchar",
            ("deals", "columns_unexpected", 1, False),
        ),
    ],
    ids=["counts", "a row", "clock", "columns"],
)
def test_what_else_is_wrong_is_found_though_nothing_was(
    warehouse: Warehouse, statement: str, found: tuple[str, str, int, bool]
) -> None:
    check(warehouse)
    change(warehouse, *NOTHING_NEW, statement)
    with pytest.raises(ChecksFailed) as caught:
        check(warehouse)
    assert found in failed(caught.value.results)
    assert [refresh.refresh_no for refresh in warehouse.last_refreshes()] == [1]


def test_nothing_is_told_to_the_makers_of_the_engine(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: reached.append(address))
    check(warehouse)
    assert reached == []
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_each_check_has_a_name_in_both_languages() -> None:
    for language in ("ru", "en"):
        file = ROOT / "reports" / "shell" / "texts" / language / "quality.js"
        words = file.read_text(encoding="utf-8")
        (block,) = re.findall(r"checkNames: \{(.*?)\n\t\}", words, re.DOTALL)
        assert set(re.findall(r"^\t\t(\w+): ", block, re.MULTILINE)) == CHECKS.keys()


# -- completeness, and what can be accepted


def test_a_difference_from_the_portal_is_accepted_once(warehouse: Warehouse) -> None:
    """The portal counts 6 leads, the warehouse has 5."""
    change(warehouse, "update raw.load_completeness set portal_total = 6 where entity = 'leads'")
    with pytest.raises(ChecksFailed, match=r"counts 6, the warehouse has 5 .*--accept-difference"):
        check(warehouse)
    with pytest.raises(ChecksFailed, match="--accept-difference"):
        check(warehouse, accept=[DROP])
    results = check(warehouse, accept=[DIFFERENCE])
    assert failed(results) == [("leads", DIFFERENCE, 1, True)]
    assert rows(
        warehouse, "select entity, accepted from quality.check_results where not passed"
    ) == [("leads", True)]
    assert [refresh.refresh_no for refresh in warehouse.last_refreshes()] == [1]

    change(
        warehouse,
        "insert into raw.refreshes select * replace (2 as refresh_no, false as completed)"
        " from raw.refreshes where completed",
        "insert into raw.load_completeness select * replace (2 as refresh_no, 0 as rows_appended)"
        " from raw.load_completeness",
    )
    with pytest.raises(ChecksFailed, match="--accept-difference"):
        check(warehouse)


def test_rows_that_the_log_has_not_are_a_difference(warehouse: Warehouse) -> None:
    """The sync says it has all five, and one of them is not in the log."""
    change(
        warehouse,
        "delete from raw.leads where id = 5",
        "update raw.load_completeness set rows_appended = 4 where entity = 'leads'",
    )
    with pytest.raises(ChecksFailed, match="leads: the portal counts 5, the warehouse has 4"):
        check(warehouse)


def test_a_record_that_the_portal_lists_and_does_not_give_is_a_difference(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lead 50 is shown again and counted; requested by its ID, it does not come."""
    warehouse = Warehouse(tmp_path / "data")
    portal.delete("leads", 50)
    read(portal, warehouse)
    check(warehouse)
    portal.upsert("leads", lead(50))
    monkeypatch.setattr(items, "rows_by_id", lambda *_: iter(()))
    read(portal, warehouse)
    with pytest.raises(ChecksFailed, match="leads: the portal counts 100, the warehouse has 99"):
        check(warehouse)


def test_a_list_that_lacks_its_leads_is_a_drop(warehouse: Warehouse) -> None:
    """A full sync of 50 leads, and 20 rows of their cities."""
    change(
        warehouse,
        "insert into raw.leads select * exclude (n) replace (100 + n as id)"
        " from raw.leads, range(45) as r(n) where id = 1",
        "update raw.load_completeness set rows_appended = 50, rows_living = 50, portal_total = 50"
        " where entity = 'leads'",
        "update raw.load_completeness set rows_read = 20 where entity = 'lead_addresses'",
    )
    with pytest.raises(ChecksFailed, match="lead_addresses: 20 rows were read, 50 before"):
        check(warehouse)


MANY = [*STATUSES, *(status(100 + n, "SOURCE", f"S{n}") for n in range(60))]


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    """67 statuses, and a hundred leads."""
    leads = [lead(number) for number in range(1, 101)]
    with serve(write_portal(tmp_path / "portal", leads=leads, statuses=MANY)) as running:
        yield running


def read(portal: Portal, warehouse: Warehouse, **options: Any) -> None:
    with plain_loading():
        extract(Client(portal.webhook_url), warehouse, Settings.load(), Options(**options))


def test_a_sudden_drop_is_accepted_once(portal: Portal, tmp_path: Path) -> None:
    """Of 67 statuses 34 go, more than a half and than 20; then nothing more."""
    warehouse = Warehouse(tmp_path / "data")
    read(portal, warehouse)
    check(warehouse)
    portal.replace("statuses", MANY[:34])
    read(portal, warehouse)
    assert failed(check(warehouse)) == []  # 33 of 67: not a half

    portal.replace("statuses", MANY[:16])
    read(portal, warehouse)
    assert failed(check(warehouse)) == []  # 18 of 34: not 20

    portal.replace("statuses", MANY)
    read(portal, warehouse)
    check(warehouse)
    portal.replace("statuses", MANY[:33])
    read(portal, warehouse)
    with pytest.raises(ChecksFailed) as caught:
        check(warehouse, accept=[DIFFERENCE])
    text = str(caught.value).splitlines()
    assert text[1].startswith("statuses: 33 rows were read, 67 before: a drop of more than max_dr")
    assert text[1].endswith("accept it once with --accept-drop")
    assert text[2:4] == ["  126", "  127"]
    assert failed(check(warehouse, accept=[DROP])) == [("statuses", DROP, 34, True)]

    read(portal, warehouse)
    assert failed(check(warehouse)) == []


def test_an_accepted_loss_is_shown(portal: Portal, tmp_path: Path) -> None:
    """The extraction refuses a loss (test_extract.py); the check shows that it was accepted."""
    warehouse = Warehouse(tmp_path / "data")
    read(portal, warehouse)
    check(warehouse)
    for number in range(1, 31):
        portal.delete("leads", number)
    read(portal, warehouse, accept_loss=True)
    assert failed(check(warehouse)) == [("leads", LOSS, 30, True)]
    listed = rows(
        warehouse, "select record_id, crm_url from quality.check_failures order by all limit 1"
    )
    assert listed == [("1", f"{portal.webhook_url.split('/rest/')[0]}/crm/lead/details/1/")]
    read(portal, warehouse)
    assert failed(check(warehouse)) == []


def test_the_command_accepts(
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(warehouse, "update raw.load_completeness set portal_total = 6 where entity = 'leads'")
    monkeypatch.setenv("WAREHOUSE_DIR", str(warehouse.directory))

    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["pipelines", *arguments])
        return main()

    assert run("check") == 3
    assert run("check", "--accept-drop") == 3
    assert run("check", "--accept-difference") == 0
    assert "1 accepted" in capsys.readouterr().out

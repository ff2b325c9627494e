"""`python -m pipelines doctor`: what it finds, what it says to fix, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.bitrix24.access import OAuth
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.doctor import Estimate, Finding, Load, estimate, examine
from pipelines.bitrix24.entities import ENTITIES
from pipelines.bitrix24.extract import Summary, extract
from pipelines.check import complete
from pipelines.environment import ROOT
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from scripts.demo_portal.methods import Reply
from tests.support.plain_refresh import plain_loading
from tests.support.small_portal import deal, lead, lead_visit, status, write_portal

FIELD, SHOWN = "UF_CRM_1720019876534", "ufCrm_1720019876534"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lead n came on the n-th of March at 9:00, was changed at 10:00, and spoken to a day later."""
    return write_portal(
        tmp_path_factory.mktemp("portal"),
        leads=[
            lead(
                day,
                createdTime=f"2026-03-{day:02}T09:00:00+03:00",
                updatedTime=f"2026-03-{day:02}T10:00:00+03:00",
                lastActivityTime=f"2026-03-{day + 1:02}T10:00:00+03:00",
            )
            for day in range(1, 11)
        ],
        deals=[deal(1), deal(2)],
        lead_stage_history=[
            lead_visit(number, 1 + number % 10, "NEW", "P", "2026-03-01T10:00:00+03:00")
            for number in range(1, 61)
        ],
    )


@pytest.fixture
def portal(folder: Path) -> Iterator[Portal]:
    with serve(folder, rate_limit=False) as running:
        yield running


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


def settings(**values: Any) -> Settings:
    return Settings.model_validate(Settings.load().model_dump() | values)


def doctor(portal: Portal, warehouse: Warehouse, **values: Any) -> list[Finding]:
    client = Client(portal.webhook_url, retry_seconds=0.01, sleep=lambda _: None)
    return list(examine(client, warehouse, settings(**values)))


def told(findings: list[Finding], level: str) -> list[str]:
    return [finding.text for finding in findings if finding.level == level]


def with_text(findings: list[Finding], text: str) -> Finding:
    (found,) = [finding for finding in findings if text in finding.text]
    return found


def run(warehouse: Warehouse, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BITRIX24_")}
    return subprocess.run(
        [sys.executable, "-m", "pipelines", "doctor"],
        cwd=ROOT,
        env={
            **kept,
            "WAREHOUSE_DIR": str(warehouse.directory),
            "BITRIX24_RETRY_SECONDS": "0.01",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sound_portal(portal: Portal, warehouse: Warehouse) -> None:
    findings = doctor(portal, warehouse)
    assert told(findings, "problem") == []
    # The demo portal lives in March 2026.
    (warning,) = told(findings, "warning")
    assert "ahead of the portal's: synchronise it with a time server" in warning
    fine = told(findings, "ok")
    assert fine[0] == f"{portal.address}, by an inbound webhook"
    assert "its clock shows 2026-03-31 20:0" in fine[1]
    assert fine[2:][:4] == [
        "the webhook's owner is an administrator",
        "scopes crm, user, department are granted",
        "classic CRM: leads and deals",
        "the portal has 3 lead stages, 3 deal stages, 1 pipelines and 0 user fields of leads and"
        " deals",
    ]
    assert "lead_stage_history: start=-1 works (50 rows checked)" in fine
    # Ten times, the sixth of which is the middle one: 10:00 +03:00 is 07:00 UTC.
    form = "works with 2026-03-06T07:00:00+00:00"
    assert f"leads: the filter by updatedTime {form}" in fine
    assert f"lead_addresses: the filter by DATE_MODIFY {form}" in fine
    form = "works with 2026-03-07T07:00:00+00:00"
    assert f"leads: the filter by lastActivityTime {form}" in fine
    assert "leads: the filter by createdTime works with 2026-03-06T06:00:00+00:00" in fine
    untried = told(findings, "not tried")
    for name in ("deals", "contacts", "companies"):
        assert f"{name}: the filter by createdTime: too few rows" in untried
    assert "deals: the filter by updatedTime: too few rows" in untried
    assert fine[-3] == (
        "on the portal: leads 10, deals 2, contacts 0, companies 0, lead_addresses 10,"
        " lead_stage_history 60, deal_stage_history 0, activities 0"
    )
    # 8 tables of a page each, lead_stage_history of two; 30 + 8 requests.
    assert ": 9 pages of 50 rows take the portal 0 s" in fine[-2]
    assert fine[-2].endswith("38 requests at BITRIX24_REQUESTS_PER_SECOND=2 19 s")
    assert fine[-1] == "nothing is loaded yet: the first refresh reads everything"


def test_another_offset_than_that_of_the_timezone_is_never_fine(
    portal: Portal, warehouse: Warehouse
) -> None:
    findings = doctor(portal, warehouse, portal_timezone="Asia/Yekaterinburg")
    found = with_text(findings, "its clock shows")
    assert found.level == "warning"
    assert "+03:00 where Asia/Yekaterinburg (portal_timezone) has +05:00, in 1 of 1" in found.text
    assert len(told(findings, "warning")) == 2


def test_an_offset_that_only_now_is_that_of_the_timezone(
    portal: Portal, warehouse: Warehouse
) -> None:
    """Kyiv has +02:00 until 29 March 2026; leads came on 1–10 March, "now" is 31 March."""
    findings = doctor(portal, warehouse, portal_timezone="Europe/Kyiv")
    assert with_text(findings, "its clock shows").level == "ok"
    found = with_text(findings, "where Europe/Kyiv (portal_timezone) has +02:00")
    assert (found.level, "the first in 2026-03" in found.text) == ("warning", True)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("http://127.0.0.1:9", "nothing listens at that address and port"),
        ("https://no-such-portal.invalid", "its host name is unknown"),
    ],
)
def test_a_wrong_address_is_told_at_once(warehouse: Warehouse, host: str, reason: str) -> None:
    began = time.monotonic()
    found = list(examine(Client(f"{host}/rest/1/planted/"), warehouse, settings()))
    assert time.monotonic() - began < 10
    assert [finding.level for finding in found] == ["ok", "problem"]
    assert found[-1].text == (
        f"cannot reach the portal {host}: {reason}; check the address and the network"
    )


def test_it_only_reads(portal: Portal, warehouse: Warehouse) -> None:
    doctor(portal, warehouse)
    assert {name for name in portal.calls if name.split(".")[-1] not in ("list", "fields")} == {
        "batch",
        "server.time",
        "profile",
        "scope",
        "crm.settings.mode.get",
        "crm.currency.base.get",
        "user.get",
        "department.get",
    }
    assert not warehouse.directory.exists()


def test_the_time_of_a_first_load() -> None:
    found = estimate(
        [
            Load("leads", "crm.item.list", rows=1_000_000, page_seconds=0.05),
            Load("deals", "crm.item.list", rows=99_999, page_seconds=0.1),
            Load("lead_stage_history", "crm.stagehistory.list", rows=49, page_seconds=2.0),
        ],
        per_second=2,
    )
    # Pages: 20,001 (the last one is empty), 2,000 and 1. crm.item.list: 20,001 * 0.05 + 200 s,
    # of which it gets 480 s in every 600, while the history is read. Requests: 30 + 401 + 40 + 1.
    assert found == Estimate(
        pages=22_002,
        executing=pytest.approx(1200.05 + 2),
        requests=472,
        limited={"crm.item.list": pytest.approx(1200.05)},
        seconds=pytest.approx(1200.05 * 600 / 480),
    )
    # A quick portal is held back by the requests alone.
    quick = [Load("leads", "crm.item.list", rows=99_999, page_seconds=0.001)]
    for per_second, seconds in ((2, 35), (5, 14), (0, 2)):
        found = estimate(quick, per_second)
        assert (found.requests, found.seconds, found.limited) == (70, pytest.approx(seconds), {})


def test_no_administrator(portal: Portal, warehouse: Warehouse) -> None:
    portal.set_rights(admin=False)
    findings = doctor(portal, warehouse)
    (problem,) = told(findings, "problem")
    assert "the webhook's owner is an administrator" not in told(findings, "ok")
    assert problem.startswith("the webhook's owner is not an administrator")


@pytest.mark.parametrize(
    ("scopes", "message", "counted"),
    [
        (("crm", "user"), "no scope department: give the webhook the scopes crm, user", True),
        (("crm", "user_basic", "department"), "", True),
        (("user", "department"), "no scope crm: give the webhook the scopes", False),
    ],
)
def test_scopes(
    folder: Path, warehouse: Warehouse, scopes: tuple[str, ...], message: str, counted: bool
) -> None:
    with serve(folder, scopes=scopes) as portal:
        findings = doctor(portal, warehouse)
    scope_problems = [text for text in told(findings, "problem") if "no scope" in text]
    assert [text[: len(message)] for text in scope_problems] == ([message] if message else [])
    assert any("on the portal: leads 10" in text for text in told(findings, "ok")) == counted


def test_simple_mode(tmp_path: Path, warehouse: Warehouse) -> None:
    with serve(write_portal(tmp_path / "simple", mode=2, deals=[deal(1)])) as portal:
        assert with_text(doctor(portal, warehouse), "simple CRM").level == "ok"


def test_a_stage_that_is_not_there_is_told_as_the_extraction_does(
    portal: Portal, warehouse: Warehouse
) -> None:
    (problem,) = [
        finding
        for finding in doctor(portal, warehouse, paid_stages=["WONN"])
        if finding.level == "problem"
    ]
    assert problem.exit_code == 2
    assert problem.text == (
        "setting paid_stages names the deal stage 'WONN', which the portal does not have; did you"
        " mean WON?\n  it has: NEW «New», WON «Won», LOSE «Lose»"
    )


def test_user_fields_that_the_settings_name(tmp_path: Path, warehouse: Warehouse) -> None:
    folder = write_portal(tmp_path / "fields", leads=[lead(1, **{FIELD: "Казань"})])
    with serve(folder) as portal:
        findings = doctor(portal, warehouse, city_field=FIELD)
        assert f"leads: {FIELD} can be read" in told(findings, "ok")
        leave_out(portal, SHOWN)
        findings = doctor(portal, warehouse, city_field=FIELD)
        assert told(findings, "problem") == [
            f"leads: the portal does not return {FIELD}: allow the webhook's owner to see these"
            " fields"
        ]
        # All user fields are requested, though no setting names one.
        findings = doctor(portal, warehouse, pii="full")
        assert with_text(findings, f"leads: the portal does not return {FIELD}").level == "problem"


def leave_out(portal: Portal, *names: str) -> None:
    """Rows of crm.item.list come without the fields; what is left of none is PHP's empty list."""
    listed = portal.methods.by_name["crm.item.list"][1]

    def answer(params: Mapping[str, Any]) -> Reply:
        reply = listed(params)
        rows = [{k: v for k, v in row.items() if k not in names} for row in reply.result["items"]]
        return Reply({"items": [row or [] for row in rows]}, reply.total, reply.next)

    portal.methods.by_name["crm.item.list"] = ("crm", answer)


def test_rows_without_the_fields_that_were_asked_for(portal: Portal, warehouse: Warehouse) -> None:
    leave_out(portal, "opportunity", "stageId")
    findings = doctor(portal, warehouse)
    for name in ("leads", "deals"):
        found = with_text(findings, f"{name}: rows come without stageId, opportunity: the portal")
        assert (found.level, "ignores the `select`" in found.text) == ("problem", True)
    assert len(told(findings, "problem")) == 2


def load(portal: Portal, warehouse: Warehouse) -> Summary:
    with plain_loading():
        summary = extract(Client(portal.webhook_url), warehouse, settings())
    complete(warehouse, summary.refresh_no)
    return summary


@pytest.mark.parametrize("loaded", [False, True])
def test_empty_rows_are_one_problem_with_its_cause(
    portal: Portal, warehouse: Warehouse, loaded: bool
) -> None:
    """As github.com/bitrix-tools/b24-rest-docs/issues/368 shows: `[]` in the place of each row."""
    if loaded:
        load(portal, warehouse)
    asked = {source for table in ENTITIES for source, _ in table.columns.values()}
    leave_out(portal, *asked)
    (problem,) = told(doctor(portal, warehouse), "problem")
    assert problem.startswith("the portal answered crm.item.list with empty rows, without the")
    assert "useOriginalUfNames=Y" in problem


# Portals whose time filters or start=-1 go wrong


def change(portal: Portal, method: str, params_of: Any) -> None:
    """Lets a method answer to other parameters than those it got."""
    scope, answer = portal.methods.by_name[method]
    portal.methods.by_name[method] = (scope, lambda params: answer(params_of(dict(params))))


def without_filter(params: dict[str, Any], name: str) -> dict[str, Any]:
    kept = {key: value for key, value in params.get("filter", {}).items() if name not in key}
    return {**params, "filter": kept}


def test_a_filter_that_is_ignored_makes_refreshes_slow(
    portal: Portal, warehouse: Warehouse
) -> None:
    change(portal, "crm.item.list", lambda params: without_filter(params, "lastActivityTime"))
    found = with_text(doctor(portal, warehouse), "leads: the filter by lastActivityTime")
    assert (found.level, "is ignored" in found.text) == ("warning", True)


def test_a_filter_that_wants_another_form_of_time(portal: Portal, warehouse: Warehouse) -> None:
    """As github.com/bitrix-tools/b24-rest-docs/issues/215 tells: ISO 8601 finds nothing."""

    def only_spaces(params: dict[str, Any]) -> dict[str, Any]:
        wrong = any("T" in str(v) for k, v in params.get("filter", {}).items() if "updated" in k)
        return {**params, "filter": {"id": -1}} if wrong else params

    change(portal, "crm.item.list", only_spaces)
    found = with_text(doctor(portal, warehouse), "leads: the filter by updatedTime")
    assert found.level == "problem"
    assert found.text == (
        "leads: the filter by updatedTime differs (2026-03-06T07:00:00+00:00 finds 0 of 5 rows;"
        " 2026-03-06 10:00:00 works: report this): set full_read_every_days: 0 to run a full sync"
        " every time (now missed changes wait for the full sync every 7 days)"
    )
    findings = doctor(portal, warehouse, full_read_every_days=0)
    found = with_text(findings, "leads: the filter by updatedTime")
    assert (found.level, "every refresh is a full sync" in found.text) == ("warning", True)


def test_a_time_field_that_the_portal_does_not_have(portal: Portal, warehouse: Warehouse) -> None:
    def renamed(params: dict[str, Any]) -> dict[str, Any]:
        conditions = params.get("filter", {}).items()
        return {
            **params,
            "filter": {k.replace("lastActivityTime", "unknown"): v for k, v in conditions},
        }

    change(portal, "crm.item.list", renamed)
    found = with_text(doctor(portal, warehouse), "leads: the filter by lastActivityTime")
    assert found.level == "problem"
    assert "lastActivityTime refused (" in found.text
    assert found.text.count("set full_read_every_days: 0") == 1


def test_a_filter_by_creation_that_a_first_load_goes_by(
    portal: Portal, warehouse: Warehouse
) -> None:
    def finds_none(params: dict[str, Any]) -> dict[str, Any]:
        asked = any("createdTime" in key for key in params.get("filter", {}))
        return {**params, "filter": {"id": -1}} if asked else params

    change(portal, "crm.item.list", finds_none)
    found = with_text(doctor(portal, warehouse), "leads: the filter by createdTime")
    assert found.level == "problem"
    assert found.text == (
        "leads: the filter by createdTime differs (2026-03-06T06:00:00+00:00 finds 0 of 5 rows):"
        " load without --history-from, and report this"
    )
    change(portal, "crm.item.list", lambda params: without_filter(params, "createdTime"))
    found = with_text(doctor(portal, warehouse), "leads: the filter by createdTime")
    assert found.level == "warning"
    assert found.text.endswith("a first load is read in one piece, even with --history-from")
    load(portal, warehouse)
    assert not [finding for finding in doctor(portal, warehouse) if "createdTime" in finding.text]


def test_start_minus_one_that_loses_history(portal: Portal, warehouse: Warehouse) -> None:
    scope, answer = portal.methods.by_name["crm.stagehistory.list"]

    def empty(params: Mapping[str, Any]) -> Reply:
        return Reply({"items": []}, total=0) if params.get("start") == -1 else answer(params)

    portal.methods.by_name["crm.stagehistory.list"] = (scope, empty)
    found = with_text(doctor(portal, warehouse), "lead_stage_history: crm.stagehistory.list")
    assert found.level == "problem"
    assert "returns 0 rows with start=-1 and 50 with start=0" in found.text


# What the warehouse knows


def test_the_next_full_sync(portal: Portal, warehouse: Warehouse) -> None:
    summary = load(portal, warehouse)
    last = told(doctor(portal, warehouse), "ok")[-1]
    assert last.startswith("the next full sync is due on 2026-04-07 17:0")
    assert "changed since 2026-03-31 17:0" in last
    last = told(doctor(portal, warehouse, full_read_every_days=0), "ok")[-1]
    assert last == "every refresh reads everything (full_read_every_days: 0)"
    warehouse.require_full_sync(summary.refresh_no + 1)
    last = told(doctor(portal, warehouse), "ok")[-1]
    assert last == "the next refresh reads everything: an earlier one requires it"
    last = told(doctor(portal, warehouse, keep_titles=True), "ok")[-1]
    assert last.startswith("the next refresh reads everything: pii, its key, titles or user fields")


def test_an_open_token_file_is_a_problem(folder: Path, warehouse: Warehouse) -> None:
    with serve(folder, oauth=True) as portal:
        told_by = portal.environment
        assert run(warehouse, told_by).returncode == 0
        file = warehouse.directory / "oauth.json"
        file.chmod(0o644)
        way_in = OAuth(
            warehouse,
            portal.address,
            told_by["BITRIX24_OAUTH_CLIENT_ID"],
            told_by["BITRIX24_OAUTH_CLIENT_SECRET"],
            told_by["BITRIX24_OAUTH_REFRESH_TOKEN"],
            told_by["BITRIX24_OAUTH_TOKEN_URL"],
        )
        findings = list(examine(Client(way_in), warehouse, settings()))
    assert findings[0].text == f"{portal.address}, by an application; tokens in {file}"
    assert with_text(findings, "chmod 600").level == "problem"


# The command


def test_exit_codes(folder: Path, portal: Portal, warehouse: Warehouse, tmp_path: Path) -> None:
    fine = run(warehouse, portal.environment)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert "ok        the webhook's owner is an administrator\n" in fine.stdout

    named = tmp_path / "settings.yml"
    named.write_text(json.dumps({"paid_stages": ["WONN"]}), encoding="utf-8")
    wrong = run(warehouse, {**portal.environment, "SETTINGS": str(named)})
    assert (wrong.returncode, wrong.stderr) == (2, "problems to fix: 1\n")
    assert "did you mean WON?\n            it has: NEW" in wrong.stdout

    both = run(warehouse, {**portal.environment, "BITRIX24_OAUTH_CLIENT_ID": "local.1"})
    assert (both.returncode, "are both set" in both.stderr) == (2, True)

    planted = {"BITRIX24_WEBHOOK_URL": f"{portal.address}/rest/1/planted-secret/"}
    refused = run(warehouse, planted)
    assert refused.returncode == 1
    assert "INVALID_CREDENTIALS" in refused.stdout
    assert refused.stdout.count("problem") == 1
    dead = run(warehouse, {"BITRIX24_WEBHOOK_URL": "http://127.0.0.1:9/rest/1/planted-secret/"})
    assert dead.returncode == 1
    assert "problem   cannot reach the portal http://127.0.0.1:9" in dead.stdout
    for done in (refused, dead):
        assert "planted-secret" not in done.stdout + done.stderr

    with warehouse.lock():
        os.environ.pop("PIPELINES_LOCK_FD")
        busy = run(warehouse, portal.environment)
    assert (busy.returncode, "another refresh is running" in busy.stderr) == (4, True)


def paid_portal(folder: Path) -> Path:
    """Deals 1 and 2 are on a stage after the paid one, deal 3 before it."""
    stages = [("UC_DEAL", "Договор"), ("UC_PAID", "Оплачено"), ("UC_SHIP", "Отгрузка")]
    statuses = [
        status(10 + number, "DEAL_STAGE", code) | {"NAME": name}
        for number, (code, name) in enumerate(stages)
    ]
    return write_portal(
        folder,
        deals=[deal(1, stageId="UC_SHIP"), deal(2, stageId="UC_SHIP"), deal(3, stageId="UC_DEAL")],
        statuses=[*statuses, status(20, "DEAL_STAGE", "WON", "S")],
    )


def test_open_stages_behind_a_paid_one_are_told(tmp_path: Path, warehouse: Warehouse) -> None:
    with serve(paid_portal(tmp_path / "portal")) as portal:
        found = doctor(portal, warehouse, paid_stages=["UC_PAID"])
        (line,) = [text for text in told(found, "warning") if "not sold" in text]
        assert line == (
            '2 deals on "Отгрузка", after "Оплачено", count as not sold: add UC_SHIP to'
            " paid_stages if they are paid"
        )
        named = doctor(portal, warehouse, paid_stages=["UC_PAID", "UC_SHIP"])
        assert not [text for text in told(named, "warning") if "not sold" in text]


def test_what_was_published_is_told_with_amounts(tmp_path: Path, warehouse: Warehouse) -> None:
    warehouse.published.mkdir(parents=True)
    won = 'Deals won in "Квалификация" stand open in "Продажи": 2, amount: 15.50'
    with duckdb.connect(str(warehouse.published / "crm.duckdb")) as connection:
        connection.execute("create schema quality")
        connection.execute(
            "create table quality.issues as select * from (values"
            f" ('open_after_hand_over', '2 → 0', '{won}'),"
            " ('open_behind_paid_stage', 'UC_SHIP', 'Deals on it: 2, amount: 300.00'),"
            " ('open_behind_paid_stage', 'UC_GONE', 'of settings that were changed since'),"
            " ('sale_without_lead', '7', 'told in the reports alone')"
            ") as issues (kind, record_key, explanation_en)"
        )
    with serve(paid_portal(tmp_path / "portal")) as portal:
        found = told(doctor(portal, warehouse, paid_stages=["UC_PAID"]), "warning")
        assert [text for text in found if "amount" in text or "not sold" in text] == [
            won,
            "Deals on it: 2, amount: 300.00",
        ]
        named = told(
            doctor(portal, warehouse, paid_stages=["UC_PAID"], sales_pipelines=[0]), "warning"
        )
        assert won not in named

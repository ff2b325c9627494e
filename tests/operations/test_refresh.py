"""A whole refresh by the command line: exit codes, run.json, and what stays published."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines.bitrix24 import source
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.environment import ROOT
from pipelines.errors import BuildFailed
from pipelines.metric_sql import MetricQuery, SemanticLayer, filled
from pipelines.mf import run_mf
from pipelines.publish import prune
from pipelines.run_file import write_atomically
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.commands import Done, run_command
from tests.support.compiled_models import compiled_models
from tests.support.small_portal import (
    STATUSES,
    deal,
    deal_visit,
    lead,
    lead_visit,
    status,
    write_portal,
)

# Variables set in this process by importing the pipeline must not reach its commands.
TOLD_NOT_TO_TELL = {
    "RUNTIME__DLTHUB_TELEMETRY",
    "DBT_SEND_ANONYMOUS_USAGE_STATS",
    "GX_ANALYTICS_ENABLED",
    "DO_NOT_TRACK",
}
T0 = "2026-03-01T10:00:00+03:00"
LATER = "2026-04-02T12:00:00+03:00"
KEY = "planted-hash-key-of-theirs"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    folder = write_portal(
        tmp_path_factory.mktemp("portal"),
        leads=[lead(1), lead(2)],
        deals=[
            deal(1, leadId=1, stageId="WON", stageSemanticId="S", closed="Y", opportunity=10),
            deal(2, opportunity=1234.5),
        ],
        lead_stage_history=[lead_visit(1, 1, "NEW", "P", T0), lead_visit(2, 2, "NEW", "P", T0)],
        deal_stage_history=[deal_visit(1, 1, "WON", "S", T0)],
    )
    with serve(folder) as running:
        yield running


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("data") / "warehouse"
    (folder.parent / "listening").mkdir()
    (folder.parent / "listening" / "sitecustomize.py").write_text(LISTENER, encoding="utf-8")
    return Warehouse(folder)


# Each Python process of a command, dbt's too, notes every address that it asks for.
LISTENER = """
import os, sys

def listen(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        asked = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        with open(os.environ["HEARD"], "a") as heard:
            heard.write(f"{asked[0] if isinstance(asked, tuple) else asked}\\n")

sys.addaudithook(listen)
"""


def pipelines(warehouse: Warehouse, *arguments: str, **environment: str) -> Done:
    """Runs a command in this process, with compiled models where it builds."""
    with compiled_models():
        return run_command(warehouse, *arguments, **environment)


def process(
    warehouse: Warehouse, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m pipelines` as a scheduler does, and listens to the addresses it asks for."""
    listening = warehouse.directory.parent / "listening"
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *arguments],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if name not in TOLD_NOT_TO_TELL},
            "WAREHOUSE_DIR": str(warehouse.directory),
            "PYTHONPATH": str(listening),
            "HEARD": str(listening / "heard"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def leads(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        (count,) = connection.execute("select count(*) from marts.fct_leads").fetchone() or (0,)
    return int(count)


def publication(warehouse: Warehouse) -> Path | None:
    """What is published now."""
    link = warehouse.published / "current"
    return link.readlink() if link.is_symlink() else None


def run_file(warehouse: Warehouse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(warehouse.run_file.read_text(encoding="utf-8"))
    return found


def test_a_refresh_publishes_and_tells_what_it_did(portal: Portal, warehouse: Warehouse) -> None:
    secrets = {"BITRIX24_WEBHOOK_URL": portal.webhook_url, "PII_HASH_KEY": KEY}
    done = process(warehouse, "refresh", "--no-report", **secrets)
    assert done.returncode == 0, done.stderr
    run = run_file(warehouse)
    assert (run["status"], run["exit_code"], run["refresh_no"]) == ("published", 0, 1)
    assert run["as_of"].startswith("2026-03-31T17:00")
    assert run["entities"]["leads"]["portal_total"] == 2
    assert run["entities"]["leads"]["rows_living"] == 2
    assert (run["checks_failed"], run["warnings"]) == (0, [])
    assert run["checks_passed"] > 50
    assert set(run["seconds"]) == {"extract", "check", "build", "publish"}
    assert done.stdout.endswith("\n".join(run["summary"]) + "\n")
    assert (
        "leads                         2          2          0          2          2"
        in run["summary"]
    )
    assert str(warehouse.published / "crm.duckdb") in run["summary"]
    assert leads(warehouse.published / "crm.duckdb") == 2
    published = {path.name for path in (warehouse.published / "parquet").iterdir()}
    assert {"fct_leads.parquet", "fct_deals.parquet", "refreshes.parquet"} <= published


def test_published_files_hold_no_raw_data_and_open_in_older_engines(
    portal: Portal, warehouse: Warehouse
) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"attach '{warehouse.published / 'crm.duckdb'}' as published (read_only)"
        )
        (tags,) = connection.execute(
            "select tags from duckdb_databases() where database_name = 'published'"
        ).fetchone() or ({},)
        schemas = connection.execute(
            "select distinct schema_name from duckdb_tables() where database_name = 'published'"
        ).fetchall()
    assert tags["storage_version"].startswith("v1.4.0")
    assert {name for (name,) in schemas} <= {"marts", "metrics", "quality"}
    secrets = [portal.webhook_url.rstrip("/").split("/")[-1], KEY]
    for path in warehouse.directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path


def test_every_published_table_view_and_column_is_described(warehouse: Warehouse) -> None:
    with duckdb.connect(str(warehouse.published / "crm.duckdb"), read_only=True) as connection:
        found = {
            kind: connection.execute(
                f"select count(*), count(*) filter (coalesce(trim(comment), '') = '')"
                f" from duckdb_{kind}() where schema_name in ('marts', 'quality', 'metrics')"
                " and not internal"
            ).fetchone()
            for kind in ("tables", "views", "columns")
        }
        told = connection.execute(
            "select comment from duckdb_columns() where schema_name = 'metrics'"
            " and column_name in ('leads_received', 'lead__source_name') order by all limit 2"
        ).fetchall()
    assert all(described and not bare for described, bare in found.values() if described), found
    assert min(described for described, _ in found.values()) > 5, found
    assert "Source" in str(told), told


def test_definitions_of_the_metrics_are_published_with_the_marts(warehouse: Warehouse) -> None:
    """A pipeline, a page or an analyst compiles each metric from the two files alone."""
    folder = warehouse.published / "current"
    layer = SemanticLayer.load(folder / "semantic_manifest.json")
    sql = filled(layer.sql(MetricQuery(tuple(layer.metrics), totals=True)))
    with duckdb.connect(str(folder / "crm.duckdb"), read_only=True) as connection:
        answer = connection.execute(sql)
        columns = [column[0] for column in answer.description]
        (row,) = answer.fetchall()
    told = (folder / "semantic_manifest.json").read_text(encoding="utf-8")
    assert dict(zip(columns, row, strict=True))["leads_received"] == 2
    assert str(warehouse.directory) not in told
    assert set(json.loads(told)) == {"semantic_models", "metrics"}


def test_files_are_their_owners_and_what_is_published_is_read_only(warehouse: Warehouse) -> None:
    assert modes(warehouse.directory) == {
        "": 0o700,
        "warehouse.duckdb": 0o600,
        "run.json": 0o600,
        "published": 0o700,
    }
    folder = (warehouse.published / "current").resolve()
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o444}


def modes(folder: Path) -> dict[str, int]:
    names = ("", "warehouse.duckdb", "run.json", "published")
    return {name: (folder / name).stat().st_mode & 0o777 for name in names}


def test_a_failed_data_test_leaves_the_publication(portal: Portal, warehouse: Warehouse) -> None:
    """Two reference rows for one stage would count its items twice: exit code 3."""
    before = publication(warehouse)
    portal.set_now(LATER)
    portal.upsert("leads", lead(3, createdTime=LATER, updatedTime=LATER))
    portal.replace("statuses", [*STATUSES, status(90, "DEAL_STAGE", "WON", "S")])
    done = pipelines(warehouse, "refresh", "--no-report", BITRIX24_WEBHOOK_URL=portal.webhook_url)
    portal.replace("statuses", STATUSES)
    assert done.returncode == 3, done.stderr
    assert "dbt tests failed" in done.stderr
    assert "unique_combination_int_stages__unioned" in done.stderr
    assert publication(warehouse) == before
    assert leads(warehouse.published / "crm.duckdb") == 2
    run = run_file(warehouse)
    assert (run["status"], run["exit_code"], run["failed_step"]) == ("failed", 3, "build")
    _, listed = done.stderr.split("dbt tests failed:\n")
    assert run["checks_failed"] == len(listed.splitlines())
    assert f"{warehouse.published / 'crm.duckdb'} (as it was)" in run["summary"]
    done = pipelines(warehouse, "publish")
    assert (done.returncode, "the last build failed or was stopped" in done.stderr) == (1, True)
    assert publication(warehouse) == before


def test_a_reader_keeps_the_old_file_while_a_new_one_is_published(
    portal: Portal, warehouse: Warehouse
) -> None:
    path = warehouse.published / "crm.duckdb"
    reader = duckdb.connect(str(path), read_only=True)
    portal.delete("deals", 2)
    settings = warehouse.directory.parent / "settings.yml"
    settings.write_text("notify_deleted_records: 0", encoding="utf-8")
    parquet = (warehouse.published / "parquet" / "fct_leads.parquet").resolve()
    done = pipelines(
        warehouse,
        "refresh",
        "--no-report",
        BITRIX24_WEBHOOK_URL=portal.webhook_url,
        SETTINGS=str(settings),
        TELEGRAM_API_URL="http://127.0.0.1:9",
        TELEGRAM_BOT_TOKEN="1:code",
        TELEGRAM_CHAT_ID="1",
    )
    assert done.returncode == 0, done.stderr
    # Deletions are reported in run.json, the summary, the issues and the chat.
    assert run_file(warehouse)["deleted"] == {
        "deals": {"records": 1, "amount": "1234.50", "currency": "RUB"}
    }
    assert (
        "deleted on the portal since the last refresh: 1 deals (1,234.50 RUB)"
        in run_file(warehouse)["summary"]
    )
    assert "no message reached Telegram: ConnectionError" in done.stderr
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute(
            "select entity, records_count, base_amount from quality.issues"
            " where kind = 'deleted_since_refresh'"
        ).fetchall() == [("deals", 1, Decimal("1234.50"))]
    assert reader.execute("select count(*) from marts.fct_leads").fetchone() == (2,)
    reader.close()
    assert parquet.exists()
    assert leads(path) == 3
    fresh = (warehouse.published / "parquet").resolve()
    linked = {file.stem for file in fresh.iterdir() if file.samefile(parquet.with_name(file.name))}
    # What holds the same rows as before is not written again.
    assert {"dim_metrics", "dim_pipelines"} <= linked
    assert not linked & {"fct_leads", "fct_deals", "refreshes", "check_results"}


def test_a_mart_that_no_model_makes_any_more_leaves_the_publication(
    warehouse: Warehouse,
) -> None:
    """An upgrade renamed fct_leads: the old table would stay as it was, and be read as fresh."""
    with warehouse.connect(read_only=False) as connection:
        connection.execute("create table marts.fct_requests as from marts.fct_leads")
    assert pipelines(warehouse, "publish").returncode == 0
    with duckdb.connect(str(warehouse.published / "crm.duckdb"), read_only=True) as connection:
        found = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
    assert ("marts", "fct_leads") in found
    assert ("marts", "fct_requests") not in found
    assert ("quality", "check_results") in found
    assert not (warehouse.published / "parquet" / "fct_requests.parquet").exists()


def test_a_portal_that_is_down_publishes_nothing(warehouse: Warehouse) -> None:
    before = publication(warehouse)
    done = pipelines(
        warehouse,
        "refresh",
        "--no-report",
        BITRIX24_WEBHOOK_URL="http://127.0.0.1:9/rest/1/planted-secret/",
        BITRIX24_RETRY_SECONDS="0.01",
    )
    assert done.returncode == 1
    assert "cannot reach the portal http://127.0.0.1:9" in done.stderr
    assert "planted-secret" not in done.stderr + done.stdout
    assert "planted-secret" not in warehouse.run_file.read_text(encoding="utf-8")
    assert publication(warehouse) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("paid_stage: [WON]", "unknown setting paid_stage; did you mean paid_stages?"),
        ("portal_timezone: Mars/Base", "setting portal_timezone = 'Mars/Base'"),
        ("forgotten_lead_days: -1", "setting forgotten_lead_days = -1"),
        ("- nothing", "must hold `key: value` lines"),
    ],
)
def test_wrong_settings_exit_2(
    warehouse: Warehouse, tmp_path: Path, content: str, message: str
) -> None:
    settings = tmp_path / "settings.yml"
    settings.write_text(content, encoding="utf-8")
    done = pipelines(warehouse, "refresh", SETTINGS=str(settings))
    assert done.returncode == 2
    assert message in done.stderr


def test_a_wrong_spend_file_exits_2_before_the_first_request(
    portal: Portal, warehouse: Warehouse, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yml"
    settings.write_text("spend: [{path: spend.csv, format: metrica}]", encoding="utf-8")
    text = "Date,UTMSource,Expenses\n2026-03-01,vk,ten\n"
    (tmp_path / "spend.csv").write_text(text, encoding="utf-8")
    before, requests = publication(warehouse), portal.requests
    done = pipelines(
        warehouse, "refresh", SETTINGS=str(settings), BITRIX24_WEBHOOK_URL=portal.webhook_url
    )
    assert done.returncode == 2
    assert "spend.csv, line 2: Expenses is 'ten': write an amount as 1234.50" in done.stderr
    assert (publication(warehouse), portal.requests) == (before, requests)
    run = run_file(warehouse)
    assert (run["status"], run["exit_code"], run["failed_step"]) == ("failed", 2, "extract")
    assert run["what_to_do"].startswith("correct the spend files that the message names")
    assert str(tmp_path) not in done.stderr + done.stdout + run["error"]


def test_a_missing_webhook_and_wrong_usage_exit_2(warehouse: Warehouse) -> None:
    done = pipelines(warehouse, "extract", BITRIX24_WEBHOOK_URL="")
    assert (done.returncode, "BITRIX24_WEBHOOK_URL is not set" in done.stderr) == (2, True)
    for wait in ("soon", "-1", "nan"):
        done = pipelines(warehouse, "extract", BITRIX24_RETRY_SECONDS=wait)
        assert (done.returncode, f"BITRIX24_RETRY_SECONDS is '{wait}'" in done.stderr) == (2, True)
    assert pipelines(warehouse, "refresh", "--nonsense").returncode == 2


def test_a_second_refresh_exits_4_at_once(portal: Portal, warehouse: Warehouse) -> None:
    run = warehouse.run_file.read_text(encoding="utf-8")
    with warehouse.lock():
        environment = {"PIPELINES_LOCK_FD": "", "BITRIX24_WEBHOOK_URL": portal.webhook_url}
        held = os.environ.pop("PIPELINES_LOCK_FD")
        environment.pop("PIPELINES_LOCK_FD")
        done = pipelines(warehouse, "refresh", **environment)
        os.environ["PIPELINES_LOCK_FD"] = held
    assert done.returncode == 4
    assert "another refresh is running" in done.stderr
    assert warehouse.run_file.read_text(encoding="utf-8") == run


def test_a_broken_report_exits_5_and_the_data_stand(
    portal: Portal, warehouse: Warehouse, tmp_path: Path
) -> None:
    """The shell is no shell: the marts are published, the site is not and says so."""
    site = warehouse.published / "site"
    if not site.exists():
        (warehouse.published / ".sites" / "old").mkdir(parents=True)
        site.symlink_to(".sites/old")
    built = {"as_of": "2026-03-31T17:00:00+00:00", "as_of_text": "31.03.2026 20:00"}
    (site / "status.json").write_text(json.dumps({"status": "published", **built}))
    portal.set_now(LATER)
    portal.upsert("leads", lead(4, createdTime=LATER, updatedTime=LATER))
    shell = tmp_path / "shell.tar.gz"
    shell.write_text("no archive")
    done = pipelines(
        warehouse,
        "refresh",
        BITRIX24_WEBHOOK_URL=portal.webhook_url,
        REPORT_SHELL=str(shell),
    )
    assert done.returncode == 5, done.stderr
    assert f"REPORT_SHELL names {shell}, which is no shell" in done.stderr
    assert leads(warehouse.published / "crm.duckdb") == 4
    assert (run_file(warehouse)["status"], run_file(warehouse)["exit_code"]) == ("published", 5)
    status = json.loads((site / "status.json").read_text(encoding="utf-8"))
    assert status["status"] == "failed"
    assert {name: status[name] for name in built} == built


def test_mf_answers_from_the_published_file_in_plain_numbers(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    """The deal of 10 roubles is the only sale; nothing is written into the clone."""
    asked = ("mf", "query", "--metrics", "sales_amount_cohort", "--quiet")
    written = {path: path.stat().st_mtime_ns for path in (ROOT / "dbt_project").rglob("*")}
    done = process(warehouse, *asked, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["sales_amount_cohort", "---------------------", "10.0000"]
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "dbt_project").rglob("*")} == written


def test_mf_says_why_the_project_does_not_parse(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("profiles.yml", "dbt_project.yml"):
        shutil.copy(ROOT / "dbt_project" / name, project)
    (project / "models").mkdir()
    (project / "models" / "own.sql").write_text("select * from {{ ref('no_such_model') }}")
    monkeypatch.setattr("pipelines.mf.DBT_PROJECT", project)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("WAREHOUSE_DIR", "DBT_TARGET", "DBT_PROFILES_DIR", "DBT_PROJECT_DIR"):
        monkeypatch.setenv(name, "")
    with pytest.raises(BuildFailed, match=r"does not parse: (?s:.*)no_such_model"):
        run_mf(warehouse, ["query"])


def test_no_command_asks_for_another_address_than_the_portals(warehouse: Warehouse) -> None:
    heard = (warehouse.directory.parent / "listening" / "heard").read_text(encoding="utf-8")
    assert "127.0.0.1" in heard
    assert set(heard.split()) == {"127.0.0.1"}, set(heard.split())


def test_an_extraction_that_stops_half_way_is_invisible_to_build(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal dies in the stage history: nothing is loaded, and `build` says so."""
    warehouse = Warehouse(tmp_path)
    real = source.history_rest

    def dies(*_: Any) -> Any:
        raise RuntimeError("the power is cut")

    monkeypatch.setattr(source, "history_rest", dies)
    with pytest.raises(PipelineStepFailed, match="the power is cut"):
        extract(Client(portal.webhook_url), warehouse, Settings.load())
    assert warehouse.last_refreshes() == []
    assert warehouse.last_refreshes(completed=False) == []
    done = pipelines(warehouse, "build")
    assert done.returncode == 1
    assert "no refresh is completed yet" in done.stderr

    monkeypatch.setattr(source, "history_rest", real)
    summary = extract(Client(portal.webhook_url), warehouse, Settings.load())
    leads_read = summary.counts["leads"]
    assert leads_read.rows_living == leads_read.portal_total > 0


def test_the_oldest_publications_go_first_whatever_their_numbers(tmp_path: Path) -> None:
    """A restored warehouse starts again at 41; readers hold the newest of the old ones."""
    for age, name in enumerate(["000040", "000050", "000051", "000041", "000042"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (age, age))
    prune(tmp_path, "000042")
    assert {path.name for path in tmp_path.iterdir()} == {"000051", "000041", "000042"}


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "run.json", {"a": 1})
    write_atomically(tmp_path / "run.json", {"a": 2})
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {"a": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]

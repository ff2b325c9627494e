"""The same dbt project on Apache Spark makes the same marts, row for row and type for type.

The cluster is a real one: a master and two workers on loopback. `make test-spark` runs these.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.build import build
from pipelines.environment import ROOT, Engine
from pipelines.errors import AnotherRefreshIsRunning, PublishFailed
from pipelines.publish import publish
from pipelines.raw_files import settle
from pipelines.settings import Settings
from pipelines.spark import LOADED_SCHEMAS, SERVER
from pipelines.statements import begin_statement
from pipelines.warehouse import Warehouse
from scripts.demo_company import generate
from scripts.demo_portal import serve
from tests.support.compiled_models import run_models
from tests.support.equal_tables import differing_tables
from tests.support.hostile_portal import SETTINGS as WORD_SETTINGS
from tests.support.hostile_portal import lay_out_words
from tests.support.one_refresh import read_once
from tests.support.random_warehouse import SETTINGS, Companies, read_companies
from tests.support.report_portals import lay_out_empty
from tests.support.restated_march import publish_march_twice
from tests.support.spark_cluster import Cluster, executors, skip_without_spark, standalone_cluster

pytestmark = [pytest.mark.spark, pytest.mark.timeout(3600)]

COMPANIES = int(os.environ.get("RANDOM_COMPANIES", "100"))
SEED = int(os.environ.get("RANDOM_SEED", "1"))
DEMO_LEADS = 1_500
# Seconds: three refused connections in a row, and what Python needs to end.
DBT_ENDS_WITHIN = 30


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    skip_without_spark()
    with standalone_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def on_spark(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment in which the pipeline builds on the cluster; this process has it too."""
    environment = {
        **cluster.environment,
        "ENGINE": "spark",
        "SPARK_MASTER": cluster.master,
        "SPARK_DRIVER_MEMORY": "1g",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Companies:
    return read_companies(tmp_path_factory.mktemp("random"), range(SEED, SEED + COMPANIES))


def with_titles(**values: Any) -> Settings:
    """Settings under which the random companies were read."""
    return Settings.model_validate({**Settings.load().model_dump(), "keep_titles": True, **values})


def copied(warehouse: Warehouse, folder: Path) -> Warehouse:
    """A copy of the raw log of a warehouse."""
    folder.mkdir(parents=True)
    shutil.copy(warehouse.database, folder / "warehouse.duckdb")
    return Warehouse(folder)


def built_on_duckdb(warehouse: Warehouse, folder: Path, settings: Settings) -> Warehouse:
    copy = copied(warehouse, folder)
    begin_statement(copy, settings)
    run_models(folder, settings.dbt_vars())
    return copy


def same_on_both(read: Warehouse, settings: Settings, folder: Path) -> list[str]:
    """Builds the raw log of a warehouse on both engines; what differs."""
    on_duckdb = built_on_duckdb(read, folder / "duckdb", settings)
    on_spark = copied(read, folder / "spark")
    build(on_spark, settings)
    return differing_tables(on_duckdb.database, on_spark.database, LOADED_SCHEMAS)


def written_by_an_earlier_version(files: Path, column: str) -> None:
    """Makes two files of a table's one, the first without a column that is null there."""
    with duckdb.connect() as connection:
        rows = f"from '{files}/0.parquet' where refresh_no"
        assert connection.execute(f"select count({column}) {rows} = 1").fetchall() == [(0,)]
        for part, condition in ((f"* exclude ({column})", "= 1"), ("*", "> 1")):
            name = f"{files}/1{condition[0]}.parquet"
            connection.execute(f"copy (select {part} {rows} {condition}) to '{name}'")
    (files / "0.parquet").unlink()


def wait_for_table(folder: Path, table: str, process: Any) -> None:
    """Until the build has written a table."""
    while not (folder / "spark" / table / "_SUCCESS").exists():
        assert process.is_alive(), f"the build ended before {table} was there"
        time.sleep(0.1)


def test_the_demo_company(tmp_path: Path, on_spark: Mapping[str, str]) -> None:
    """A whole refresh, up to pages, workbooks and MetricFlow on the published file."""
    generate(tmp_path / "portal", leads=DEMO_LEADS, reference_month=False)
    data, answer = tmp_path / "data", tmp_path / "answer.csv"
    asked = ["mf", "query", "--quiet", "--metrics", "leads_received", "--csv", str(answer)]
    with serve(tmp_path / "portal") as portal:
        environment = {
            **os.environ,
            "BITRIX24_WEBHOOK_URL": portal.webhook_url,
            "BITRIX24_REQUESTS_PER_SECOND": "0",
            "WAREHOUSE_DIR": str(data),
            "SETTINGS": str(tmp_path / "portal" / "settings.yml"),
        }
        for command in (["refresh"], asked):
            done = subprocess.run(
                [sys.executable, "-m", "pipelines", *command],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
    # Where dlt has put it, and nothing of the build.
    assert [one.name for one in (data / "spark").iterdir()] == ["raw_1"]
    with duckdb.connect(str(data / "warehouse.duckdb"), read_only=True) as connection:
        tables = "select count(*) from duckdb_tables() where schema_name = 'raw'"
        assert connection.execute(tables).fetchall() == [(0,)]
    assert (data / "published" / "excel" / "sales_dynamics.xlsx").exists()
    assert (data / "published" / "site" / "marketing" / "index.html").exists()
    settings = Settings.load(tmp_path / "portal" / "settings.yml")
    on_duckdb = built_on_duckdb(Warehouse(data), tmp_path / "duckdb", settings)
    published = data / "published" / "crm.duckdb"
    assert not differing_tables(on_duckdb.database, published, LOADED_SCHEMAS)
    with duckdb.connect(str(published), read_only=True) as connection:
        views = connection.execute(
            "select view_name from duckdb_views() where schema_name = 'metrics' and not internal"
        ).fetchall()
        assert len(views) > 5
        counted = connection.execute("select count(*) from marts.fct_leads where is_counted")
        ((leads,),) = counted.fetchall()
        assert answer.read_text(encoding="utf-8").split() == ["leads_received", str(leads)]
        for (view,) in views:
            connection.execute(f"select * from metrics.{view}").fetchall()
        tests = connection.execute(
            "select count(*) from quality.check_results where layer = 'dbt' and passed"
        ).fetchall()
    assert tests[0][0] > 100


@pytest.mark.parametrize("name", SETTINGS)
def test_random_companies(
    tmp_path: Path, on_spark: Mapping[str, str], companies: Companies, name: str
) -> None:
    """IDs far apart, all that a portal may hold, spend; each set of settings."""
    settings = with_titles(**SETTINGS[name](companies.portal))
    assert not same_on_both(companies.warehouse, settings, tmp_path)


def test_a_restated_past(tmp_path: Path, on_spark: Mapping[str, str]) -> None:
    """Statements of two publications, a record for each reason why a month changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ENGINE")
        published = publish_march_twice(tmp_path)
    settings = Settings.load()
    on_duckdb = built_on_duckdb(published, tmp_path / "duckdb", settings)
    warehouse = copied(published, tmp_path / "spark")
    raw_log = settle(warehouse, Engine.read())
    assert raw_log
    written_by_an_earlier_version(raw_log / "refreshes", "history_from")
    build(warehouse, settings)
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:
        restated = connection.execute("select count(*) from quality.restatements").fetchall()
    assert restated[0][0] > 5
    assert not differing_tables(on_duckdb.database, warehouse.database, LOADED_SCHEMAS)


def test_olist(tmp_path: Path, on_spark: Mapping[str, str], olist_dir: Path) -> None:
    settings = Settings.load()
    read = read_once(olist_dir / "portal", tmp_path / "read", settings)
    assert not same_on_both(read, settings, tmp_path)


@pytest.mark.parametrize(
    ("lay_out", "values"),
    [(lay_out_words, WORD_SETTINGS), (lay_out_empty, {})],
    ids=["words", "no"],
)
def test_hostile_words_and_no_records(
    tmp_path: Path, on_spark: Mapping[str, str], lay_out: Callable[[Path], None], values: Any
) -> None:
    """Quotes, backslashes and the like in every text; and nothing at all."""
    settings = Settings.model_validate({**Settings.load().model_dump(), **values})
    lay_out(tmp_path / "portal")
    read = read_once(tmp_path / "portal", tmp_path / "read", settings)
    assert not same_on_both(read, settings, tmp_path)


def test_a_worker_is_killed(
    tmp_path: Path, cluster: Cluster, on_spark: Mapping[str, str], companies: Companies
) -> None:
    settings = with_titles()
    on_duckdb = built_on_duckdb(companies.warehouse, tmp_path / "duckdb", settings)
    warehouse = copied(companies.warehouse, tmp_path / "spark")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            build(warehouse, settings)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for_table(warehouse.directory, "intermediate/int_stages__unioned", thread)
    cluster.kill_worker()
    thread.join()
    cluster.add_worker()
    assert not failures
    assert not differing_tables(on_duckdb.database, warehouse.database, LOADED_SCHEMAS)


def wait_for_lock(warehouse: Warehouse) -> None:
    """Until dbt, which has the lock too, has seen that Spark is gone."""
    until = time.monotonic() + DBT_ENDS_WITHIN
    while True:
        try:
            with warehouse.lock():
                return
        except AnotherRefreshIsRunning:
            assert time.monotonic() < until, "something runs on"
            time.sleep(0.1)


class _Pipeline:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def is_alive(self) -> bool:
        return self.process.poll() is None


@pytest.mark.parametrize("killed", ["driver", "pipeline"])
def test_the_driver_is_killed(
    tmp_path: Path, on_spark: Mapping[str, str], companies: Companies, killed: str
) -> None:
    """Nothing is published, nothing runs on, and the next build is as if nothing had been."""
    settings = with_titles()
    warehouse = copied(companies.warehouse, tmp_path / "spark")
    (tmp_path / "settings.yml").write_text("keep_titles: true\n", encoding="utf-8")
    told = {"WAREHOUSE_DIR": warehouse.directory, "SETTINGS": tmp_path / "settings.yml"}
    running = subprocess.Popen(
        [sys.executable, "-m", "pipelines", "build"],
        cwd=ROOT,
        env={**os.environ, **{name: str(path) for name, path in told.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for_table(warehouse.directory, "intermediate/int_stages__unioned", _Pipeline(running))
    # The first: of programs that Java starts it may have copies.
    driver = next(
        pid
        for pid in executors(running.pid)
        if SERVER in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    )
    os.kill(driver if killed == "driver" else running.pid, signal.SIGKILL)
    said, _ = running.communicate(timeout=300)
    assert running.returncode == (1 if killed == "driver" else -signal.SIGKILL), said
    while Path(f"/proc/{driver}").exists():
        time.sleep(0.1)
    wait_for_lock(warehouse)
    with pytest.raises(PublishFailed, match="run build again"):
        publish(warehouse)
    assert not (warehouse.published / "crm.duckdb").exists()
    with warehouse.lock():
        build(warehouse, settings)
    publish(warehouse)
    on_duckdb = built_on_duckdb(companies.warehouse, tmp_path / "duckdb", settings)
    assert not differing_tables(
        on_duckdb.database, warehouse.published / "crm.duckdb", LOADED_SCHEMAS
    )

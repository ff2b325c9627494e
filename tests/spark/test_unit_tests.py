"""Unit tests of dbt on Spark: the rules of the models, one by one, by the other engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.environment import Engine
from pipelines.raw_files import settle
from pipelines.settings import DBT_PROJECT, Settings
from pipelines.spark import TIMESTAMP_TYPE, connect_server, place_of_build
from pipelines.statements import begin_statement
from tests.support.one_refresh import read_once
from tests.support.report_portals import lay_out_empty
from tests.support.spark_cluster import skip_without_spark

pytestmark = [pytest.mark.spark, pytest.mark.timeout(3600)]

# A handful of rows each: compiling and tasks are what takes time.
CONF = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.shuffle.partitions": "1",
    "spark.default.parallelism": "1",
}


def test_unit_tests_of_dbt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixtures take their types from empty tables."""
    skip_without_spark()
    lines = "\n".join(f"{key} {value}" for key, value in CONF.items())
    (tmp_path / "spark-defaults.conf").write_text(lines, encoding="utf-8")
    machine = {"SPARK_MASTER": "local[2]", "SPARK_DRIVER_MEMORY": "4g"}
    for name, value in {**machine, "ENGINE": "spark", "SPARK_CONF_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    lay_out_empty(tmp_path / "portal")
    warehouse = read_once(tmp_path / "portal", tmp_path / "data", settings)
    begin_statement(warehouse, settings)
    engine, target = Engine.read(), tmp_path / "target"
    raw_log = settle(warehouse, engine)
    assert raw_log
    variables = json.dumps({**settings.dbt_vars(), "timestamp_type": TIMESTAMP_TYPE})
    given = ["--vars", variables, "--target-path", str(target), "--log-path", str(target)]
    log = tmp_path / "server.log"
    with (
        place_of_build(warehouse, engine, raw_log) as found,
        connect_server(engine, Path(found["SPARK_FOLDER"]), log) as remote,
    ):
        for command in (["run", "--empty"], ["test", "--select", "test_type:unit"]):
            done = subprocess.run(
                [sys.executable, "-m", "pipelines.spark_dbt", *command, *given],
                cwd=DBT_PROJECT,
                env={**os.environ, **found, **remote, "DBT_PROFILES_DIR": str(DBT_PROJECT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert command[0] == "test" or done.returncode == 0, done.stdout
    told = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    results = [one for one in told if one["unique_id"].startswith("unit_test.")]
    assert len(results) > 140
    failed = {one["unique_id"]: one["message"] for one in results if one["status"] != "pass"}
    assert not failed

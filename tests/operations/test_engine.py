"""ENGINE: what is refused before Spark is started, and what Spark wrote before it is taken over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines import spark
from pipelines.environment import Engine
from pipelines.errors import BuildFailed, SettingsError
from pipelines.warehouse import Warehouse

MODEL: dict[str, Any] = {
    "name": "fct_leads",
    "schema": "marts",
    "alias": "fct_leads",
    "config": {"materialized": "table"},
    "contract": {"enforced": True},
    "columns": {
        "lead_id": {"name": "lead_id", "data_type": "bigint"},
        "created_at": {"name": "created_at", "data_type": "timestamptz"},
    },
}
ROW = "select 7::bigint as lead_id, timestamptz '2026-03-31 20:00+03' as created_at"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse with a mart of an earlier build, and the manifest of one model."""
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("create schema raw; create schema marts")
        connection.execute(f"create table marts.fct_leads as {ROW.replace('7', '1')}")
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": {"model": MODEL}}))
    return Warehouse(tmp_path)


def written(warehouse: Warehouse, sql: str, whole: bool = True) -> None:
    """A table as Spark leaves it in its folder."""
    files = warehouse.directory / "spark" / "marts" / "fct_leads"
    files.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"copy ({sql}) to '{files}/part-0.parquet' (format parquet)")
    if whole:
        (files / "_SUCCESS").touch()


def loaded(warehouse: Warehouse) -> list[Any]:
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:
        return connection.execute("select lead_id from marts.fct_leads").fetchall()


def test_marts_of_spark_replace_those_before(warehouse: Warehouse) -> None:
    written(warehouse, ROW)
    spark.load(warehouse, Engine(), warehouse.directory / "manifest.json")
    assert loaded(warehouse) == [(7,)]


@pytest.mark.parametrize(
    "sql", [ROW.replace("::bigint", "::integer"), ROW + ", 1 as more", ROW.replace("tz '", " '")]
)
def test_other_types_than_the_contract_says_are_refused(warehouse: Warehouse, sql: str) -> None:
    written(warehouse, sql)
    with pytest.raises(BuildFailed, match=r"marts\.fct_leads breaks its contract"):
        spark.load(warehouse, Engine(), warehouse.directory / "manifest.json")
    assert loaded(warehouse) == [(1,)]


def test_a_table_that_is_not_whole_is_refused(warehouse: Warehouse) -> None:
    written(warehouse, ROW, whole=False)
    with pytest.raises(BuildFailed, match="whole"):
        spark.load(warehouse, Engine(), warehouse.directory / "manifest.json")
    assert loaded(warehouse) == [(1,)]


def test_an_unknown_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "sqlite")
    with pytest.raises(SettingsError, match=r"ENGINE is 'sqlite'"):
        Engine.read()


def test_a_folder_may_be_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_FOLDER", "file:///shared/with%20blank")
    assert Engine.read().spark_folder == Path("/shared/with blank")
    monkeypatch.setenv("SPARK_FOLDER", "s3://bucket/raw")
    with pytest.raises(SettingsError, match=r"SPARK_FOLDER is 's3://bucket/raw': .*give a path"):
        Engine.read()


@pytest.mark.parametrize("missing", ["packages", "java"])
def test_what_spark_needs_is_named(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(spark, "_is_there", lambda package: missing != "packages")
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    wanted = "make spark" if missing == "packages" else "default-jre-headless"
    with (
        pytest.raises(SettingsError, match=wanted),
        spark.place_of_build(warehouse, Engine(), warehouse.directory),
    ):
        pass
    assert not (warehouse.directory / "spark").exists()

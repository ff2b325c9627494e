"""MetricFlow's own command on the published file."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dbt.cli.main import dbtRunner
from dbt_metricflow.cli.main import cli as mf

from pipelines.errors import BuildFailed, PublishFailed
from pipelines.settings import DBT_PROJECT
from pipelines.warehouse import Warehouse, connect_published


def run_mf(warehouse: Warehouse, arguments: Sequence[str]) -> None:
    """Runs MetricFlow's own command on the published file, on a manifest parsed just before.

    `mf` reads `target/semantic_manifest.json` as it finds it: after a parse that failed it would
    answer from the last one that did not.

    Raises:
        PublishFailed: nothing is published yet.
        DatabaseUnreadable: the published file is damaged.
        BuildFailed: the project does not parse; dbt has printed why.
        SystemExit: `mf` ended; with its exit code.
    """
    published = warehouse.published / "crm.duckdb"
    if not published.exists():
        raise PublishFailed(f"nothing is published in {warehouse.published}: run a refresh first")
    connect_published(published).close()
    os.environ |= {
        "WAREHOUSE_DIR": str(warehouse.directory),
        "DBT_TARGET": "published",
        "DBT_PROFILES_DIR": str(DBT_PROJECT),
        "DBT_PROJECT_DIR": str(DBT_PROJECT),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
    if not dbtRunner().invoke(["--quiet", "parse"]).success:
        raise BuildFailed("the dbt project does not parse: see above")
    mf.main(list(arguments), prog_name="mf")

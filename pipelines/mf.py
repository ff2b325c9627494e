"""MetricFlow's own command on the published file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from dbt.cli.main import dbtRunner
from dbt_metricflow.cli.main import cli as mf
from update_checker import UpdateChecker

from pipelines.errors import BuildFailed, PublishFailed
from pipelines.settings import DBT_PROJECT
from pipelines.user_fields import add_dimensions
from pipelines.warehouse import Warehouse, connect_published

WRITTEN = ("target", "logs")
# Without it sums are shown as 2.02887e+06; four decimals of a rate are hundredths of a percent.
DECIMALS = 4


def run_mf(warehouse: Warehouse, arguments: Sequence[str]) -> None:
    """Runs MetricFlow's own command on the published file with a freshly parsed manifest.

    `mf` reads `target/semantic_manifest.json` as it is: after a failed parse it would answer from
    the last successful one.

    Raises:
        PublishFailed: nothing is published yet.
        DatabaseUnreadable: the published file is damaged.
        BuildFailed: the dbt project does not parse; says why.
        SystemExit: `mf` ended, with its exit code.
    """
    published = warehouse.published / "crm.duckdb"
    if not published.exists():
        raise PublishFailed(f"nothing is published in {warehouse.published}: run a refresh first")
    connect_published(published).close()
    with _project() as project:
        os.environ |= {
            "WAREHOUSE_DIR": str(warehouse.directory),
            "DBT_TARGET": "published",
            "DBT_PROFILES_DIR": str(project),
            "DBT_PROJECT_DIR": str(project),
        }
        parsed = dbtRunner().invoke(["--quiet", "parse"])
        if not parsed.success:
            raise BuildFailed(f"the dbt project does not parse: {parsed.exception}")
        _add_user_fields(project / "target" / "semantic_manifest.json", warehouse)
        # It asks pypi.org for a newer version of itself; no option turns that off.
        with patch.object(UpdateChecker, "check", return_value=None):
            mf.main(list(arguments), prog_name="mf", default_map={"query": {"decimals": DECIMALS}})


def _add_user_fields(semantic_manifest: Path, warehouse: Warehouse) -> None:
    content = json.loads(semantic_manifest.read_text(encoding="utf-8"))
    with connect_published(warehouse.published / "crm.duckdb") as connection:
        add_dimensions(content, connection)
    semantic_manifest.write_text(json.dumps(content), encoding="utf-8")


@contextmanager
def _project() -> Iterator[Path]:
    """The dbt project in a folder that this account may write: readers may not write the clone.

    `mf` always writes its target and logs next to the models. In the user's cache, the parsed
    project stays for the next run.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        folder = cache / "bitrix24-analytics" / str(DBT_PROJECT).strip("/").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        _link(folder)
    except (OSError, RuntimeError):
        with tempfile.TemporaryDirectory(prefix="mf-") as temporary:
            _link(Path(temporary))
            yield Path(temporary)
    else:
        yield folder


def _link(folder: Path) -> None:
    """Links to everything in the project except what dbt writes."""
    wanted = {path.name: path for path in DBT_PROJECT.iterdir() if path.name not in WRITTEN}
    for path in folder.iterdir():
        if path.is_symlink() and wanted.get(path.name) != path.readlink():
            path.unlink()
    for name, path in wanted.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(path)

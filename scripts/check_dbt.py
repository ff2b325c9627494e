"""`make lint`: parses the dbt project, and takes what dbt calls deprecated for an error.

What dbt 1.11 warns of, its successor refuses.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from dbt.cli.main import dbtRunner
from dbt.jsonschemas import jsonschemas

from pipelines.settings import DBT_PROJECT


def deprecated(project: Path) -> BaseException | None:
    """What is deprecated in the project, or wrong with it; None where nothing is."""
    # dbt holds the YAML of four adapters to its schemas, and leaves this one out.
    jsonschemas._JSONSCHEMA_SUPPORTED_ADAPTERS.add("duckdb")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WAREHOUSE_DIR"] = folder
        done = dbtRunner().invoke(
            [
                *("--quiet", "--log-path", folder, "--no-send-anonymous-usage-stats"),
                *("--warn-error-options", '{"error": ["Deprecations"]}'),
                *("parse", "--no-partial-parse", "--target-path", folder),
                *("--project-dir", str(project), "--profiles-dir", str(project)),
            ]
        )
    return done.exception


if __name__ == "__main__":
    sys.exit(deprecated(DBT_PROJECT) is not None)

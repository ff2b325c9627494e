"""dbt on Spark: `dbt` with the raw log as tables, which ends when the Spark Connect server does."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from dbt.cli.main import cli
from pyspark.sql import SparkSession

from pipelines.raw_files import tables

PORT = 15002
POLL_SECONDS = 2
REFUSALS = 3


def find_sources(folders: Mapping[str, Path]) -> None:
    """Makes tables of the Parquet files in folders, in place of earlier ones.

    Args:
        folders: Schema → folder with a folder for each table.
    """
    session = SparkSession.builder.getOrCreate()
    for schema, folder in folders.items():
        session.sql(f"create schema if not exists {schema}")
        for files in tables(folder):
            table = f"{schema}.{files.name}"
            session.sql(f"drop table if exists {table}")
            # Files of later versions may have more columns.
            session.sql(
                f"create table {table} using parquet options (mergeSchema 'true')"
                f" location '{files}'"
            )


def watch(remote: str) -> None:
    """Ends this process when the server has refused connections a few times in a row.

    PySpark would ask a server that is gone for ten minutes, and each statement anew.
    """
    address = urlsplit(remote)
    refused = 0
    while refused < REFUSALS:
        time.sleep(POLL_SECONDS)
        try:
            socket.create_connection((address.hostname, address.port or PORT), 30).close()
            refused = 0
        except OSError as error:
            refused += 1
            print(f"{address.hostname}:{address.port or PORT} does not answer: {error}", flush=True)
    print("Spark ended during the build", flush=True)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(os.environ["SPARK_REMOTE"],), daemon=True).start()
    statements = Path(os.environ["SPARK_FOLDER"]) / "statements"
    find_sources({"raw": Path(os.environ["RAW_LOG"]), "statements": statements})
    cli()

"""dbt against a Spark Connect server: ends when the server does.

PySpark would ask a server that is gone again for ten minutes, each statement anew.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from urllib.parse import urlsplit

from dbt.cli.main import cli

PORT = 15002
POLL_SECONDS = 2
REFUSALS = 3


def watch(remote: str) -> None:
    """Ends this process when the server has refused connections a few times in a row."""
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
    cli()

"""A warehouse that has read a portal once."""

from __future__ import annotations

from pathlib import Path

from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import complete
from pipelines.options import Options
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from scripts.demo_portal import serve


def read_once(portal_folder: Path, folder: Path, settings: Settings) -> Warehouse:
    """A warehouse with one completed refresh."""
    warehouse = Warehouse(folder)
    with serve(portal_folder) as portal:
        client = Client(portal.webhook_url, retry_seconds=0.01)
        complete(warehouse, extract(client, warehouse, settings, Options()).refresh_no)
    return warehouse

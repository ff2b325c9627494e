"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.reports_fixtures"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def olist_dir() -> Path:
    """Real leads and sales as a portal data directory with expected figures."""
    folder = Path(os.environ.get("OLIST_DIR", ROOT / ".." / "shared" / "data" / "olist"))
    if not (folder / "portal" / "leads.jsonl").exists():
        pytest.skip(f"the Olist set is not in {folder}: set OLIST_DIR to run this test")
    return folder.resolve()

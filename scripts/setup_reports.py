"""Installs the Node packages of the reports when their lock file changed."""

from __future__ import annotations

import shutil
import sys

from pipelines.site.shell import install_packages
from pipelines.warehouse import Warehouse

if __name__ == "__main__":
    if shutil.which("npm") is None:
        sys.exit("npm is missing: install Node.js 20")
    install_packages(Warehouse.from_environment().directory / "logs")

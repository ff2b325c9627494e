"""Serves the built site on loopback, compressed and with HTTP Range."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import uvicorn
from dotenv import load_dotenv
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from pipelines.environment import ROOT
from pipelines.warehouse import Warehouse

# As in the nginx block of docs/operations.md: no foreign scripts, whatever texts are in the CRM.
POLICY = "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'"


async def with_policy(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Adds the content security policy to an answer."""
    response = await call_next(request)
    response.headers["Content-Security-Policy"] = POLICY
    return response


def site_folder() -> Path:
    """The site of WAREHOUSE_DIR, or the demo's."""
    folders = [
        Warehouse.from_environment().published / "site",
        ROOT / "data" / "demo" / "published" / "site",
    ]
    for folder in folders:
        if folder.exists():
            return folder
    sys.exit("there is no site yet: run `make demo` or `make refresh` first")


def application(folder: Path) -> Starlette:
    """Static files of the folder; links of the published site are followed."""
    files = StaticFiles(directory=folder.resolve(), html=True)
    return Starlette(
        routes=[Mount("/", files)],
        middleware=[
            Middleware(GZipMiddleware, minimum_size=1024),
            Middleware(BaseHTTPMiddleware, dispatch=with_policy),
        ],
    )


@click.command()
@click.option("--port", default=3000, show_default=True)
def main(port: int) -> None:
    """Show the reports at http://127.0.0.1:PORT."""
    load_dotenv(ROOT / ".env")
    folder = site_folder()
    click.echo(f"http://127.0.0.1:{port}/  (Ctrl+C stops)")
    uvicorn.run(application(folder), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()

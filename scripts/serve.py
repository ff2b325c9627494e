"""Serves the built site on loopback, compressed and with HTTP Range."""

from __future__ import annotations

import mimetypes
import os
import sys
from pathlib import Path

import click
import uvicorn
from dotenv import load_dotenv
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pipelines.environment import ROOT
from pipelines.warehouse import Warehouse

# As in the nginx block of docs/operations.md: no foreign scripts, whatever texts are in the CRM.
POLICY = "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'"


# The engine of the pages reads the database by Range: a compressed answer has no ranges.
UNCOMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream")
mimetypes.add_type("application/octet-stream", ".duckdb")
mimetypes.add_type("application/wasm", ".wasm")
# Files under the hash of their content, or under the name of their publication, never change.
IMMUTABLE = ("assets", "data")


class SiteFiles(StaticFiles):
    """Static files, of which the shell brings compressed copies (`.br`, `.gz`) beside them."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """The compressed copy where there is one and the reader takes it."""
        accepted = Headers(scope=scope).get("accept-encoding", "")
        path, encoding = Path(full_path), None
        for name, suffix in (("br", ".br"), ("gzip", ".gz")):
            copy = Path(f"{full_path}{suffix}")
            if name in accepted and copy.exists():
                path, encoding, stat_result = copy, name, copy.stat()
                break
        response = super().file_response(path, stat_result, scope, status_code)
        if encoding and "content-type" in response.headers:
            kind, _ = mimetypes.guess_type(str(full_path))
            response.headers["Content-Type"] = kind or "application/octet-stream"
            response.headers["Content-Encoding"] = encoding
        response.headers["Vary"] = "Accept-Encoding"
        kept = scope["path"].lstrip("/").split("/")[0] in IMMUTABLE
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if kept else "no-cache"
        )
        return response


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
    files = SiteFiles(directory=folder.resolve(), html=True)
    return Starlette(
        routes=[Mount("/", files)],
        middleware=[
            Middleware(GZipMiddleware, minimum_size=1024, exclude_content_types=UNCOMPRESSED),
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

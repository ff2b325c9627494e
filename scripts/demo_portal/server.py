"""Serving a portal over HTTP or HTTPS on the loopback address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trustme
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from scripts.demo_portal.faults import FaultyPortal
from scripts.demo_portal.messages import HttpAnswer, HttpRequest
from scripts.demo_portal.portal import Options, Portal

HOST = "127.0.0.1"
_START_SECONDS = 30


def application(portal: Portal) -> Any:
    """The portal as an ASGI application."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = portal.answer(
            HttpRequest(
                path=request.url.path,
                query=request.url.query,
                content_type=request.headers.get("content-type", ""),
                body=await request.body(),
                https=request.url.scheme == "https",
            )
        )
        await asyncio.sleep(answer.wait)
        if answer.cut_at is not None:
            await _cut(answer, send)
            return
        response = Response(
            answer.body, answer.status, answer.headers, media_type=answer.content_type
        )
        await response(scope, receive, send)

    return app


async def _cut(answer: HttpAnswer, send: Send) -> None:
    """Sends a part of the answer, or nothing, and resets the connection."""
    if answer.cut_at:
        length = str(len(answer.body)).encode()
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(b"content-length", length)],
            }
        )
        part = answer.body[: answer.cut_at]
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0.01)
    # ASGI does not support a reset: this is uvicorn's own request object.
    cycle: Any = send.__self__  # type: ignore[attr-defined]
    connection = cycle.transport.get_extra_info("socket")
    # Closed without lingering, a socket resets.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cycle.transport.abort()
    cycle.disconnected = True


@contextlib.contextmanager
def serve(
    data_dir: str | Path,
    port: int = 0,
    tls: bool = False,
    rate_limit: bool = False,
    operating_limit: bool = False,
    **options: Any,
) -> Iterator[FaultyPortal]:
    """Serve a data directory from a background thread while the ``with`` block runs.

    Args:
        data_dir: the data directory.
        port: port on 127.0.0.1; 0 picks a free one.
        tls: serve HTTPS with the certificate of a test authority (``Portal.ca_file``).
        rate_limit: refuse requests over the bucket; off here, on from the command line.
        operating_limit: refuse methods over their operating time; off here, too.
        **options: the other fields of ``Options``.

    Raises:
        DataError: the directory cannot be served; the message names the file and the value.
        OSError: the port is taken.
    """
    switches = Options(rate_limit=rate_limit, operating_limit=operating_limit, **options)
    portal = FaultyPortal(data_dir, switches)
    with (
        contextlib.closing(_listener(port)) as listener,
        tempfile.TemporaryDirectory() as certificates,
    ):
        config = uvicorn.Config(
            application(portal),
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
            **(_certificates(portal, Path(certificates)) if tls else {}),
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="demo-portal", daemon=True
        )
        portal.address = f"{'https' if tls else 'http'}://{HOST}:{listener.getsockname()[1]}"
        thread.start()
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("the portal did not start")
                time.sleep(0.01)
            yield portal
        finally:
            server.should_exit = True
            thread.join()


def _listener(port: int) -> socket.socket:
    # asyncio turns Nagle's delay off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    return listener


def _certificates(portal: Portal, directory: Path) -> dict[str, Any]:
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "localhost")
    portal.ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(portal.ca_file))
    key, chain = directory / "key.pem", directory / "chain.pem"
    certificate.private_key_pem.write_to_path(str(key))
    with chain.open("wb") as file:
        for pem in certificate.cert_chain_pems:
            file.write(pem.bytes())
    return {"ssl_keyfile": str(key), "ssl_certfile": str(chain)}

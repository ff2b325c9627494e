"""``python -m scripts.demo_portal DATA_DIR``: serve a data directory until stopped."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from scripts.demo_portal.faults import FAULTS, Fault
from scripts.demo_portal.portal import DEFAULT_TOKEN
from scripts.demo_portal.server import HOST, serve
from scripts.demo_portal.values import DataError


@click.command(context_settings={"show_default": True})
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--port", default=8024, help="Port on 127.0.0.1; 0 picks a free one.")
@click.option("--tls", is_flag=True, help="HTTPS with the certificate of a test authority.")
@click.option("--token", default=DEFAULT_TOKEN, help="Secret part of the webhook address.")
@click.option("--rate-limit/--no-rate-limit", default=True, help="503 over the request bucket.")
@click.option("--enterprise", is_flag=True, help="Bucket of 250 draining 5 a second, not 50 and 2.")
@click.option(
    "--operating-limit/--no-operating-limit", default=True, help="429 over the operating time."
)
@click.option(
    "--operating-limit-seconds", default=480.0, help="Operating time of a method in 10 minutes."
)
@click.option(
    "--operating-seconds", type=float, help="Seconds charged for a call.  [default: measured]"
)
@click.option(
    "--operating-charge",
    type=click.Choice(["methods", "batch"]),
    default="methods",
    help="What a batch is charged to: its methods, or batch itself.",
)
@click.option(
    "--operating-fields/--no-operating-fields",
    default=True,
    help="operating and operating_reset_at in the time block.",
)
@click.option(
    "--present-history", is_flag=True, help="Return a deal's history for its present pipeline only."
)
@click.option("--require-https", is_flag=True, help="Answer plain HTTP with 400, as the cloud.")
@click.option(
    "--fault",
    "names",
    multiple=True,
    type=click.Choice(list(FAULTS)),
    metavar="NAME",
    help="A fault in one of ten requests; may be repeated. " + ", ".join(FAULTS) + ".",
)
@click.option("--seed", default=0, help="Seed of the faults.")
@click.option("--oauth", is_flag=True, help="An application's tokens instead of the webhook.")
def main(
    data_dir: Path,
    port: int,
    tls: bool,
    enterprise: bool,
    names: tuple[str, ...],
    seed: int,
    **options: Any,
) -> None:
    """Serve DATA_DIR as a Bitrix24 portal and print the webhook URL."""
    if enterprise:
        options |= {"bucket_size": 250, "bucket_drain": 5.0}
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        with serve(data_dir, port, tls, **options) as portal:
            portal.inject(*(Fault(name, times=None, chance=0.1) for name in names), seed=seed)
            if portal.application is None:
                click.echo(portal.webhook_url)
            else:
                for name, value in portal.environment.items():
                    click.echo(f"{name}={value}")
            if portal.ca_file:
                click.echo(f"certificate authority: {portal.ca_file}", err=True)
            stopped.wait()
            for name, count in sorted(portal.faults.counts.items()):
                click.echo(f"{name}: {count}", err=True)
    except DataError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{HOST}:{port} cannot be used: {error.strerror}") from error


if __name__ == "__main__":
    main(prog_name="python -m scripts.demo_portal")

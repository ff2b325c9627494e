"""``python -m scripts.benchmark_extraction``: requests, pace and speed of reading a portal.

The times of one run are to be read as ratios; they depend on the machine. Each client, and the
portal, is a process of its own.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import click
import orjson
import polars as pl

from pipelines.environment import ROOT
from scripts.demo_portal.benchmark import make_leads

CLIENTS = ("fast_bitrix24", "b24pysdk", "pipelines")
REFERENCE = {
    "statuses": {"ID": "1", "ENTITY_ID": "STATUS", "STATUS_ID": "NEW", "NAME": "New", "SORT": "10"},
    "categories": {"id": 0, "name": "Sales", "sort": 100, "isDefault": "Y"},
    "users": {"ID": "1", "ACTIVE": True, "NAME": "Anna", "LAST_NAME": "Orlova"},
    "currencies": {"CURRENCY": "RUB", "AMOUNT_CNT": "1", "AMOUNT": "1.0", "BASE": "Y"},
}
# Leads and what comes with a million of them.
COMPANY = {
    ("crm.item.list", "1"): 1_000_000,
    ("crm.item.list", "2"): 300_000,
    ("crm.item.list", "3"): 700_000,
    ("crm.item.list", "4"): 100_000,
    ("crm.stagehistory.list", "1"): 4_000_000,
    ("crm.stagehistory.list", "2"): 1_500_000,
    ("crm.lead.list", ""): 1_000_000,
}


class PortalProcess:
    """A portal in a process of its own; ``ask`` calls one of ``_COMMANDS`` in it.

    Attributes:
        webhook_url: address of the webhook.
        ca_file: certificate of its authority, where it speaks TLS.
    """

    def __init__(self, folder: Path, tls: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(folder, tls, theirs), daemon=True)
        self._process.start()
        self.webhook_url, self.ca_file = self._pipe.recv()

    def ask(self, command: str, *arguments: Any) -> Any:
        """What a command gives."""
        self._pipe.send((command, arguments))
        return self._pipe.recv()

    def close(self) -> None:
        """Ends the process."""
        self._pipe.send(("", ()))
        self._process.join()


def _serve(folder: Path, tls: bool, pipe: Any) -> None:
    from scripts.demo_portal.server import serve

    with serve(folder, tls=tls) as portal:
        pipe.send((portal.webhook_url, str(portal.ca_file or "")))
        while True:
            command, arguments = pipe.recv()
            if not command:
                return
            pipe.send(_COMMANDS[command](portal, *arguments))


def _change(portal: Any, first: int, count: int, moment: str) -> None:
    """Some leads change, at a moment that is now."""
    portal.set_now(moment)
    changes = {"updatedTime": moment, "sourceId": f"S{count}"}
    portal.upsert("leads", [{"id": first + number, **changes} for number in range(count)])


def _change_share(portal: Any, every: int) -> None:
    """A day later one lead and deal in so many has another amount."""
    day = dt.timedelta(days=1).total_seconds()
    portal.clock.move(day)
    moment = portal.clock.iso(portal.clock.seconds() - day / 24)
    changes = {"opportunity": 77, "updatedTime": moment}
    for name in ("leads", "deals"):
        numbers = portal.data.tables[name].ids()[::every]
        portal.upsert(name, [{"id": number, **changes} for number in numbers])


_COMMANDS: dict[str, Callable[..., Any]] = {
    "cpu": lambda portal: time.process_time(),
    "requests": lambda portal: portal.requests,
    "change": _change,
    "change_share": _change_share,
}


@contextlib.contextmanager
def portal_of(folder: Path, tls: bool = False) -> Iterator[PortalProcess]:
    """The portal of a data directory while the block runs."""
    portal = PortalProcess(folder, tls)
    try:
        yield portal
    finally:
        portal.close()


def write_company(folder: Path, **frames: pl.DataFrame) -> None:
    """A data directory with some tables, a row of each reference table, and a fixed clock."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"now": "2026-03-31T20:00:00+03:00", "utc_offset": "+03:00", "admin": True, "mode": 1}
    (folder / "portal.json").write_text(json.dumps({**told, "name": "bench"}), encoding="utf-8")
    for name, row in REFERENCE.items():
        (folder / f"{name}.jsonl").write_bytes(orjson.dumps(row) + b"\n")
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")


def deals(count: int) -> pl.DataFrame:
    """Deals with all fields that a refresh reads."""
    empty = pl.lit(None, dtype=pl.Int64)
    return make_leads(count).with_columns(
        stageId=pl.lit("NEW"),
        categoryId=pl.lit(0),
        closed=pl.lit("N"),
        isRecurring=pl.lit("N"),
        isRepeatedApproach=pl.lit("N"),
        originatorId=pl.lit(None, dtype=pl.String),
        originId=pl.lit(None, dtype=pl.String),
        typeId=pl.lit("SALE"),
        leadId=empty,
        companyId=empty,
        closedate=pl.lit("2026-03-31T03:00:00+03:00"),
    )


def history(items: pl.DataFrame, rows: int, **columns: Any) -> pl.DataFrame:
    """So many rows of stage history for each item, one item's rows apart from one another."""
    parts = [
        items.select(
            OWNER_ID=pl.col("id"), CREATED_TIME=pl.col("createdTime"), at=pl.col("id") + 500 * part
        )
        for part in range(rows)
    ]
    frame = pl.concat(parts).sort("at", "OWNER_ID").drop("at")
    values = {name: pl.lit(value) for name, value in columns.items()}
    return frame.with_columns(ID=pl.int_range(1, frame.height + 1), TYPE_ID=pl.lit(2), **values)


# -- against the public clients


def _fields() -> list[str]:
    from pipelines.bitrix24.entities import DEALS

    return [source for source, _ in DEALS.columns.values() if source != "title"]


def read_fast_bitrix24(url: str, ca_file: str, folder: Path) -> int:
    """All deals in memory: the client has no other way."""
    from fast_bitrix24 import Bitrix

    # Without its pace (`respect_velocity_policy`) this version fails with a KeyError.
    client = Bitrix(
        url,
        verbose=False,
        request_pool_size=10**6,
        requests_per_second=1e6,
        operating_time_limit=10**6,
    )
    return len(client.get_all("crm.item.list", {"entityTypeId": 2, "select": _fields()}))


def read_b24pysdk(url: str, ca_file: str, folder: Path) -> int:
    """All deals, one by one, none kept."""
    from b24pysdk import BitrixWebhook, Client

    parts = url.split("/")
    client = Client(BitrixWebhook(domain=parts[2], webhook_token=f"{parts[4]}/{parts[5]}"))
    request = client.crm.item.list(entity_type_id=2, select=_fields())
    return sum(1 for _ in request.as_list_fast().result)


def read_pipelines(url: str, ca_file: str, folder: Path) -> int:
    """All deals in the raw log, with counts by window and all checks of a sync."""
    from pipelines.bitrix24.client import Client
    from pipelines.bitrix24.extract import extract
    from pipelines.settings import Settings
    from pipelines.warehouse import Warehouse

    warehouse = Warehouse(folder / "warehouse")
    client = Client(url, verify=ca_file or True, per_second=0)
    extract(client, warehouse, Settings.load(), part_rows=10**9)
    with warehouse.connect() as connection:
        return int(connection.execute("select count(distinct id) from raw.deals").fetchall()[0][0])


def load_deals(frames: Callable[[], Iterator[Any]], folder: Path) -> int:
    """Typed frames of deals into the raw log; how many rows it has then."""
    import dlt

    from pipelines.bitrix24.extract import rare_collection, raw_pipeline
    from pipelines.warehouse import Warehouse

    warehouse = Warehouse(folder / "warehouse")
    resource_of = dlt.resource(frames, name="deals", write_disposition="append")
    with rare_collection():
        raw_pipeline(warehouse).run(resource_of, loader_file_format="parquet")
    with warehouse.connect() as connection:
        return int(connection.execute("select count(*) from raw.deals").fetchall()[0][0])


def load_arrow(rows: int, folder: Path) -> int:
    """Frames of deals into the raw log; the portal has no part in it."""
    from pipelines.bitrix24.entities import DEALS

    size = 20_000
    sample = DEALS.typed(deals(size).drop("contactIds").to_dicts(), 1)

    def frames() -> Iterator[Any]:
        for first in range(0, rows, size):
            yield sample.with_columns(pl.col("id") + first).to_arrow()

    return load_deals(frames, folder)


def bodies_of(rows: int) -> list[bytes]:
    """Answers to batches of 50 pages, as the portal writes them."""
    frame = deals(rows).select(*_fields())
    bodies = []
    for batch in frame.iter_slices(2_500):
        pages = [page.to_dicts() for page in batch.iter_slices(50)]
        told = {
            "result": {f"p{number}": {"items": page} for number, page in enumerate(pages)},
            "result_error": [],
            "result_total": {f"p{number}": 0 for number in range(len(pages))},
        }
        bodies.append(orjson.dumps({"result": told}))
    return bodies


def load_bytes(rows: int, folder: Path, bodies: Sequence[bytes]) -> int:
    """Answers of the portal into the raw log: decoded, typed, hashed, loaded."""
    import requests

    from pipelines.bitrix24.client import Client, Walk
    from pipelines.bitrix24.entities import DEALS

    answers = iter(bodies)

    def post(*_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response._content = 200, next(answers)
        return response

    client = Client("http://127.0.0.1:1/rest/1/code/", per_second=0)
    client._http.post = post
    walk = Walk(DEALS.method, DEALS.params, DEALS.items_key, DEALS.id_key, 0, rows)

    names = _fields()
    of_row = itemgetter(*names)

    def typed(chunk: Sequence[Any]) -> Any:
        given = dict(zip(names, zip(*map(of_row, chunk), strict=True), strict=True))
        return DEALS.versions(given, 1).to_arrow()

    def frames() -> Iterator[Any]:
        chunk: list[dict[str, Any]] = []
        for page in client.walk(walk):
            chunk += page
            if len(chunk) >= 20_000:
                yield typed(chunk)
                chunk = []
        if chunk:
            yield typed(chunk)

    return load_deals(frames, folder)


def peak_megabytes() -> float:
    """The most memory that this program has held. (`ru_maxrss` counts the one that started it.)"""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(peak) / 1024


def child(*arguments: str, **environment: str) -> dict[str, Any]:
    """Runs ``measure`` in a process of its own: rows, seconds, CPU seconds, peak memory in MB."""
    command = [sys.executable, "-m", "scripts.benchmark_extraction", "measure", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Without a command: all of them."""
    if context.invoked_subcommand is None:
        for command in (limits, requests, clients, load):
            context.invoke(command)


@main.command(hidden=True)
@click.argument("what")
@click.argument("argument")
@click.argument("ca_file", default="")
def measure(what: str, argument: str, ca_file: str) -> None:
    """One measurement in this process; prints it as JSON."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if what in CLIENTS:
            run = partial(globals()[f"read_{what}"], argument, ca_file, folder)
        elif what == "arrow":
            run = partial(load_arrow, int(argument), folder)
        else:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            run = partial(load_bytes, int(argument), folder, bodies_of(int(argument)))
        import dlt  # noqa: F401 its import is no part of the measurement

        began, cpu = time.perf_counter(), time.process_time()
        rows = run()
        figures = {
            "rows": rows,
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - cpu,
            "peak": peak_megabytes(),
        }
    print(json.dumps(figures))


@main.command()
@click.option("--rows", default=200_000, show_default=True)
def clients(rows: int) -> None:
    """The same deals by two public clients, which only read, and by us, into the raw log."""
    click.echo(f"{rows:,} deals, limits off: seconds / portal busy, CPU and peak of the client")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        write_company(Path(name), deals=deals(rows))
        with portal_of(Path(name), tls=True) as portal:
            for client in CLIENTS:
                busy = portal.ask("cpu")
                asked = portal.ask("requests")
                certificate = {
                    "SSL_CERT_FILE": portal.ca_file,
                    "REQUESTS_CA_BUNDLE": portal.ca_file,
                }
                told = child(client, portal.webhook_url, portal.ca_file, **certificate)
                busy = portal.ask("cpu") - busy
                asked = portal.ask("requests") - asked
                if told["rows"] != rows:
                    click.echo(f"{client}: {told['rows']:,} of {rows:,} rows")
                click.echo(
                    f"{client:14} {told['seconds']:6.1f} s / {busy:5.1f} s ="
                    f" {told['seconds'] / busy:.2f}, {told['cpu']:5.1f} s CPU,"
                    f" {told['peak']:,.0f} MB, {asked:,} requests"
                )


@main.command()
@click.option("--rows", default=10_000_000, show_default=True)
def load(rows: int) -> None:
    """Rows a second into the raw log: typed frames, and answers of the portal on one core."""
    for what, count in (("arrow", rows // 10), ("arrow", rows), ("bytes", min(rows, 200_000))):
        told = child(what, str(count))
        click.echo(
            f"{what} → raw: {told['rows']:,} rows, {told['rows'] / told['seconds']:,.0f} a second"
            f" ({told['rows'] / told['cpu']:,.0f} a CPU second), peak {told['peak']:,.0f} MB"
        )


@main.command()
@click.option("--share", default=1.0, show_default=True, help="Of a million leads.")
def limits(share: float) -> None:
    """A million leads with history under the documented limits, five seconds a batch: simulated."""
    from pipelines.bitrix24.client import Client, Walk
    from pipelines.bitrix24.streams import Streams
    from scripts.limited_portal import BATCH_ROWS, LimitedPortal, least_seconds
    from scripts.simulated_clock import SimulatedClock

    sizes = {table: int(share * rows) for table, rows in COMPANY.items()}
    clock = SimulatedClock()
    client = Client("http://127.0.0.1:1/rest/1/code/", clock=clock)
    portal = LimitedPortal(clock, sizes)
    setattr(client._http, "post", portal.post)  # noqa: B010
    batches: Counter[str] = Counter()
    streams: dict[str, list[Any]] = {}

    def frames(walk: Walk) -> Iterator[pl.DataFrame]:
        for _ in client.walk(walk):
            pass
        yield from ()

    for (method, kind), count in sizes.items():
        batches[method] += -(-count // BATCH_ROWS)
        params = {"entityTypeId": kind} if kind else {}
        key = "id" if method == "crm.item.list" else "ID"
        walk = Walk(method, params, "items", key, 0, count)
        streams.setdefault(method, []).append((f"{method} {kind}", partial(frames, walk)))
    running = Streams(streams, clock)
    running.start()
    takers = [running.take(name) for readings in streams.values() for name, _ in readings]
    while not running.are_over:
        for taker in takers:
            next(taker, None)
    running.close()
    least, reached = least_seconds(batches), clock.now()
    arrived = sum(rows for _, _, rows in portal.arrived)
    click.echo(
        f"{arrived:,} rows under the limits of the cloud: at least {least:,.0f} s, reached"
        f" {reached:,.0f} s ({least / reached:.1%}), {sum(batches.values()):,} full batches,"
        f" {client.requests:,} requests, refused {dict(portal.refused)}"
    )


@main.command()
@click.option("--leads", default=1_000_000, show_default=True)
def requests(leads: int) -> None:
    """Requests of a first load in parts, and of refreshes after 0, 0.1, 1 and 10 % changed."""
    from pipelines import refresh
    from pipelines.bitrix24.client import Client
    from pipelines.bitrix24.extract import extract
    from pipelines.check import complete
    from pipelines.settings import Settings
    from pipelines.warehouse import Warehouse

    stage = {"STAGE_ID": "NEW", "STAGE_SEMANTIC_ID": "P", "CATEGORY_ID": 0}
    status = {"STATUS_ID": "NEW", "STATUS_SEMANTIC_ID": "P"}
    some = deals(leads // 4)
    first = make_leads(leads).with_columns(companyId=None)
    tables = {
        "leads": first,
        "deals": some,
        "lead_addresses": first.select(ID="id", ADDRESS_CITY=pl.lit("Казань")),
        "lead_stage_history": history(first, 4, **status),
        "deal_stage_history": history(some, 5, **stage),
    }
    rows = sum(frame.height for frame in tables.values())
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        warehouse = Warehouse(Path(name) / "data")
        write_company(Path(name) / "portal", **tables)
        del first, some, tables

        def completed(*_: Any) -> list[Any]:
            complete(warehouse, warehouse.last_refreshes(completed=False)[0].refresh_no)
            return []

        with portal_of(Path(name) / "portal") as portal:
            client = Client(portal.webhook_url, per_second=0)
            usual = refresh.check
            setattr(refresh, "check", completed)  # noqa: B010
            began = time.perf_counter()
            summary = refresh.extract_in_parts(client, warehouse, Settings.load())
            completed()
            setattr(refresh, "check", usual)  # noqa: B010
            most = 1.05 * rows / 2_500 + 30
            click.echo(
                f"first load of {rows:,} rows in {summary.refresh_no} parts: {client.requests:,}"
                f" requests (1.05 × rows / 2,500 + 30 = {most:,.0f}),"
                f" {client.counted / client.calls.total():.2%} of {client.calls.total():,} calls"
                f" counted, {time.perf_counter() - began:,.0f} s"
            )
            for number, share in enumerate((0, 0.001, 0.01, 0.1)):
                changed = int(share * leads)
                portal.ask("change", 1, changed, f"2026-04-0{number + 1}T12:00:00+03:00")
                client = Client(portal.webhook_url, per_second=0)
                began = time.perf_counter()
                extract(client, warehouse, Settings.load())
                completed()
                click.echo(
                    f"{share:.1%} of the leads changed ({changed:,}): {client.requests:,} requests,"
                    f" {client.counted:,} calls counted, {time.perf_counter() - began:,.1f} s"
                )


if __name__ == "__main__":
    main(prog_name="python -m scripts.benchmark_extraction")

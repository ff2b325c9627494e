"""``python -m scripts.demo_portal.benchmark``: memory and speed of the portal at a million leads.

Writes the leads as a Parquet data directory in a temporary folder, serves them and sends the
requests of an extraction over HTTP.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import click
import numpy as np
import orjson
import polars as pl
import requests

from scripts.demo_portal.server import serve

SELECT = [
    "id",
    "title",
    "createdTime",
    "updatedTime",
    "createdBy",
    "updatedBy",
    "assignedById",
    "opened",
    "sourceId",
    "stageId",
    "stageSemanticId",
    "movedTime",
    "movedBy",
    "dateClosed",
    "currencyId",
    "opportunity",
    "isManualOpportunity",
    "isReturnCustomer",
    "companyId",
    "contactId",
    "contactIds",
    "lastActivityTime",
    "lastActivityBy",
    "utmSource",
    "utmMedium",
    "utmCampaign",
    "utmContent",
    "utmTerm",
    "sourceDescription",
    "ufCrmCity",
    "ufCrmBudget",
]
STARTED = datetime(2020, 1, 1, tzinfo=UTC)


def make_leads(count: int, seed: int = 1) -> pl.DataFrame:
    """``count`` leads with every field of ``SELECT``, one a minute or so."""
    chance = np.random.default_rng(seed)

    def instants(lag_days: int) -> pl.Series:
        seconds = np.arange(count) * 120 + chance.integers(0, lag_days * 86_400, count)
        local = pl.from_epoch(pl.Series(seconds + int(STARTED.timestamp()) + 10_800))
        return local.dt.strftime("%Y-%m-%dT%H:%M:%S+03:00")

    def pick(*values: str | None) -> pl.Series:
        return pl.Series(values)[chance.integers(0, len(values), count)]

    ids = np.arange(1, count + 1)
    users = chance.integers(1, 60, count)
    return pl.DataFrame(
        {
            "id": ids,
            "title": pl.Series(ids).cast(pl.String).str.pad_start(9, "0") + " website request",
            "createdTime": instants(1),
            "updatedTime": instants(90),
            "movedTime": instants(60),
            "dateClosed": instants(60),
            "lastActivityTime": instants(90),
            "createdBy": users,
            "updatedBy": users,
            "assignedById": users,
            "movedBy": users,
            "lastActivityBy": users,
            "opened": pick("Y"),
            "sourceId": pick("WEB", "CALL", "ADVERTISING", "EMAIL", None),
            "sourceDescription": pick("landing page of the spring campaign", None),
            "stageId": pick("NEW", "IN_PROCESS", "PROCESSED", "JUNK", "CONVERTED"),
            "stageSemanticId": pick("P", "F", "S"),
            "currencyId": pick("RUB", "USD"),
            "opportunity": chance.integers(0, 5_000_000, count) / 100,
            "isManualOpportunity": pick("Y", "N"),
            "isReturnCustomer": pick("Y", "N"),
            "companyId": chance.integers(0, count, count),
            "contactId": users,
            "contactIds": [[int(user)] for user in users],
            "utmSource": pick("google", "yandex", None),
            "utmMedium": pick("cpc", "organic", None),
            "utmCampaign": pick("spring-2024-brand", "autumn-2024-generic", None),
            "utmContent": pick("banner-1", None),
            "utmTerm": pick("crm analytics", None),
            "UF_CRM_CITY": pick("Москва", "Санкт-Петербург", "Казань", None),
            "UF_CRM_BUDGET": chance.integers(0, 100, count),
        }
    )


def chained_pages(after: int, select: list[str], extra: Mapping[str, Any]) -> dict[str, str]:
    """50 pages of 50 leads in one batch, each beginning where the one before it ends."""
    commands = {}
    for number in range(50):
        last = f"$result[page{number - 1}][items][49][id]" if number else str(after)
        query = {
            "entityTypeId": 1,
            "start": -1,
            "order[id]": "ASC",
            "filter[>id]": last,
            **{f"filter[{key}]": value for key, value in extra.items()},
            **{f"select[{index}]": name for index, name in enumerate(select)},
        }
        commands[f"page{number}"] = f"crm.item.list?{urlencode(query)}"
    return commands


def resident_megabytes() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@click.command()
@click.option("--leads", default=1_000_000, show_default=True, help="How many leads.")
@click.option("--jsonl", is_flag=True, help="As JSON Lines, not as Parquet.")
def main(leads: int, jsonl: bool) -> None:
    """Print the memory and the times of the portal at many leads."""
    with tempfile.TemporaryDirectory() as folder:
        frame = make_leads(leads)
        if jsonl:
            frame.write_ndjson(Path(folder) / "leads.jsonl")
        else:
            frame.write_parquet(Path(folder) / "leads.parquet")
        del frame
        before = resident_megabytes()
        began = time.perf_counter()
        with serve(folder) as portal, requests.Session() as session:
            loaded = time.perf_counter() - began
            after = resident_megabytes()
            click.echo(f"load {leads:,} leads: {loaded:.1f} s, {after - before:,.0f} MB")

            def ask(method: str, params: Mapping[str, Any]) -> tuple[float, Any]:
                mark = time.perf_counter()
                body = session.post(portal.webhook_url + method, json=params).content
                seconds = time.perf_counter() - mark
                return seconds, orjson.loads(body)

            def report(what: str, times: list[float]) -> None:
                click.echo(
                    f"{what}: median {median(times) * 1000:,.0f} ms, worst"
                    f" {max(times) * 1000:,.0f} ms"
                )

            times = []
            for step in range(20):
                commands = chained_pages(step * leads // 20, SELECT, {})
                seconds, body = ask("batch", {"halt": 1, "cmd": commands})
                times.append(seconds)
                rows = sum(len(page["items"]) for page in body["result"]["result"].values())
                if leads >= 50_000 and rows != 2_500:
                    raise click.ClickException(f"a batch brought {rows} rows, not 2,500")
            report(f"batch of 50 chained pages, {len(SELECT)} fields", times)

            times, last = [], 0
            since = {">=updatedTime": "2023-06-01T00:00:00+03:00"}
            for _ in range(5):
                seconds, body = ask("batch", {"halt": 1, "cmd": chained_pages(last, SELECT, since)})
                pages = list(body["result"]["result"].values())
                last = pages[-1]["items"][-1]["id"] if pages[-1]["items"] else leads
                times.append(seconds)
            click.echo(f"the same with >=updatedTime, first: {times[0] * 1000:,.0f} ms")
            report("the same with >=updatedTime, next", times[1:])

            times = []
            for step in range(20):
                low = step * leads // 20
                window = {">id": low, "<=id": low + leads // 20}
                params = {"entityTypeId": 1, "filter": window, "select": ["id"]}
                seconds, body = ask("crm.item.list", params)
                if body["total"] != leads // 20:
                    raise click.ClickException(f"a window counts {body['total']} leads")
                times.append(seconds)
            report("count of an ID window", times)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(f"peak memory of the whole benchmark: {peak:,.0f} MB")


if __name__ == "__main__":
    main(prog_name="python -m scripts.demo_portal.benchmark")

"""How fast the published file answers the pages: `python -m scripts.benchmark_queries [SITE]`.

Each metric block of the report pages is asked by each of its breakdowns, over periods from a month
to all time, without a filter and for one manager or source; the file is warm, one question at a
time. 95 of 100 answers of a page come within its p95.
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import duckdb

from pipelines.metric_sql import filled
from pipelines.site.choice import Choice
from scripts.serve import site_folder

PAGES = ("sales", "marketing")
FILTERS = ("manager", "source")
TIMES = 3


def periods(today: dt.date) -> dict[str, tuple[dt.date, dt.date]]:
    """First and last days of what readers choose."""
    last_month = today.replace(day=1) - dt.timedelta(days=1)
    return {
        "month": (today.replace(day=1), today),
        "month before": (last_month.replace(day=1), last_month),
        "year": (today.replace(month=1, day=1), today),
        "all time": (dt.date(2000, 1, 1), today),
    }


def conditions(meta: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Filter → condition by target: the first option of each filter, and none."""
    found: dict[str, dict[str, str]] = {"": {}}
    for one in meta["filters"]:
        if one["name"] in FILTERS and one["options"]:
            value = one["options"][0]["value"].replace("'", "''")
            found[one["name"]] = {
                target: f"{column} = '{value}'" if column else "false"
                for target, column in one["columns"].items()
                if column is None or isinstance(column, str)
            }
    return found


def queries(data: Path, page: str, blocks: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Block and SQL of each breakdown of its metrics."""
    told = json.loads((data / "pages" / f"{page}.json").read_text(encoding="utf-8"))
    metrics = {one["id"] for one in blocks if one["kind"] == "metrics"}
    for block in told["blocks"]:
        for variant in block["variants"].values() if block["id"] in metrics else ():
            for part in (variant, variant.get("total"), variant.get("line")):
                if part and "sql" in part:
                    yield block["id"], part["sql"]


def p95(seconds: list[float]) -> float:
    """Within which 95 of 100 lie."""
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1]


@click.command()
@click.argument("site", required=False, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--published",
    type=click.Path(path_type=Path, exists=True),
    help="The published file; by default that beside the site.",
)
def main(site: Path | None, published: Path | None) -> None:
    """Print the milliseconds of the queries of the report pages."""
    folder = site or site_folder()
    published = published or folder.parent / "crm.duckdb"
    folder = folder.resolve()
    told = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    data = folder / "data" / told["publication"]
    blocks = json.loads((folder / "blocks.json").read_text(encoding="utf-8"))["blocks"]
    meta = json.loads((data / "meta.json").read_text(encoding="utf-8"))
    choice = Choice(
        dt.datetime.fromisoformat(meta["as_of"]), dt.date.fromisoformat(meta["first_date"])
    )
    chosen = periods(choice.as_of.date())
    click.echo(f"{'page':<12}{'block':<20}{'queries':>9}{'median, ms':>12}{'p95, ms':>9}")
    with duckdb.connect(str(published), read_only=True) as connection:
        for page in PAGES:
            taken: dict[str, list[float]] = {}
            for block, sql in queries(
                data, page, [one for one in blocks if one["page"] == f"pages/{page}.md"]
            ):
                for period in chosen.values():
                    for where in conditions(meta).values():
                        text = filled(sql, period=period, window=choice.axis("month"), where=where)
                        connection.execute(text).fetchall()
                        for _ in range(TIMES):
                            begun = time.perf_counter()
                            connection.execute(text).fetchall()
                            taken.setdefault(block, []).append(time.perf_counter() - begun)
            taken["all"] = [one for found in taken.values() for one in found]
            for block, seconds in taken.items():
                median = statistics.median(seconds)
                click.echo(
                    f"{page:<12}{block:<20}{len(seconds):>9}"
                    f"{1000 * median:>12.0f}{1000 * p95(seconds):>9.0f}"
                )


if __name__ == "__main__":
    main()

"""A believable Russian company that sells through Bitrix24, as a portal data directory.

What it spends on advertising lies beside, with the settings that name it (`spend.py`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow.parquet as pq

from scripts.demo_company import reference_data
from scripts.demo_company import reference_month as march
from scripts.demo_company.deals import plan_deals
from scripts.demo_company.leads import plan_leads
from scripts.demo_company.plan import Plan
from scripts.demo_company.rows import Rows
from scripts.demo_company.spend import write_spend
from scripts.demo_company.timeline import Clock

FileFormat = Literal["jsonl", "parquet"]

DEFAULT_LEADS = 5_000
LEAST_LEADS = 100
MONTHS = 15
BIG = (
    "leads",
    "lead_addresses",
    "deals",
    "contacts",
    "companies",
    "lead_stage_history",
    "deal_stage_history",
    "activities",
)
SMALL = ("statuses", "categories", "users", "departments", "currencies", "fields")


def generate(
    out_dir: str | Path,
    leads: int | None = None,
    seed: int = 7,
    until: dt.datetime = march.UNTIL,
    months: int = MONTHS,
    reference_month: bool = False,
    file_format: FileFormat = "jsonl",
) -> None:
    """Write a portal data directory and the spend files; the same arguments write the same bytes.

    Args:
        out_dir: folder, created if missing; files of an earlier company are replaced.
        leads: number of leads; by default 5000, with `reference_month` 18 000.
        seed: of all random draws.
        until: the portal's now, with an offset; nothing was created or changed later.
        months: length of the company's history, the month of `until` included.
        reference_month: March 2026 gets the figures of the reference month.
        file_format: of the big files; reference data are always JSON Lines.

    Raises:
        ValueError: arguments that do not fit; the text says what to do.
    """
    if leads is None:
        leads = march.DEFAULT_LEADS if reference_month else DEFAULT_LEADS
    _check(leads, until, months, reference_month)
    plan = Plan(Clock.of(until, months), seed, reference_month)
    plan_leads(plan, leads)
    plan_deals(plan)
    rows = Rows(plan)

    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*BIG, *SMALL):
        for suffix in ("jsonl", "parquet"):
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    for name in BIG:
        frames: Iterable[pl.DataFrame] = getattr(rows, name)()
        if file_format == "parquet":
            _write_parquet(folder / f"{name}.parquet", frames)
        else:
            _write_lines(
                folder / f"{name}.jsonl",
                (row for frame in frames for row in frame.iter_rows(named=True)),
            )
    for name in SMALL:
        _write_lines(folder / f"{name}.jsonl", getattr(reference_data, name)(), keep_null=True)
    portal = {
        "now": until.isoformat(timespec="seconds"),
        "utc_offset": plan.clock.offset,
        "admin": True,
        "mode": 1,
        "name": "Тёплый дом",
    }
    text = json.dumps(portal, ensure_ascii=False, indent=1)
    (folder / "portal.json").write_text(text + "\n", encoding="utf-8")
    write_spend(folder, plan)


def _check(leads: int, until: dt.datetime, months: int, reference_month: bool) -> None:
    if until.utcoffset() is None:
        raise ValueError("until needs an offset, e.g. 2026-03-31T20:00:00+03:00")
    if months < 2:
        raise ValueError("months must be at least 2: a company needs a past")
    if leads < LEAST_LEADS:
        raise ValueError(f"leads must be at least {LEAST_LEADS}")
    if not reference_month:
        return
    if until != march.UNTIL or until.isoformat()[-6:] != march.UNTIL.isoformat()[-6:]:
        raise ValueError(f"the reference month ends at {march.UNTIL.isoformat()}: leave out until")
    if months < 4:
        raise ValueError("the reference month needs sales of earlier leads: months at least 4")
    if leads < march.LEAST_LEADS:
        raise ValueError(
            f"the reference month alone has {march.LEADS_RECEIVED} leads:"
            f" leads must be at least {march.LEAST_LEADS}"
        )


def _write_parquet(path: Path, frames: Iterable[pl.DataFrame]) -> None:
    writer: pq.ParquetWriter | None = None
    for frame in frames:
        table = frame.to_arrow()
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _write_lines(path: Path, rows: Iterable[dict[str, Any]], keep_null: bool = False) -> None:
    """JSON Lines; a null of a big file is left out, a whole amount has no decimals, as in PHP."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            written = {
                name: int(value) if isinstance(value, float) and value.is_integer() else value
                for name, value in row.items()
                if keep_null or value is not None
            }
            file.write(json.dumps(written, ensure_ascii=False, separators=(",", ":")) + "\n")

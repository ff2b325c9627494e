"""`python -m scripts.demo_company OUT_DIR`: writes the demo company's data directory."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import cast

import click

from scripts.demo_company import MONTHS, FileFormat, generate
from scripts.demo_company.reference_month import UNTIL


class Instant(click.ParamType):
    """An ISO 8601 time with an offset."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime:
        if isinstance(value, dt.datetime):
            return value
        try:
            return dt.datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value} is not a time such as {UNTIL.isoformat()}", param, ctx)


@click.command()
@click.argument("out_dir", type=click.Path(file_okay=False, path_type=Path))
@click.option("--leads", type=int, help="Number of leads [default: 5000; reference month: 18000].")
@click.option("--seed", type=int, default=7, show_default=True, help="Of all random draws.")
@click.option(
    "--until",
    type=Instant(),
    default=UNTIL.isoformat(),
    show_default=True,
    help="The portal's now, with an offset.",
)
@click.option(
    "--months",
    type=int,
    default=MONTHS,
    show_default=True,
    help="Months of history, the month of --until included.",
)
@click.option(
    "--reference-month", is_flag=True, help="March 2026 gets the figures of the reference month."
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="Format of the big files.",
)
def main(
    out_dir: Path,
    leads: int | None,
    seed: int,
    until: dt.datetime,
    months: int,
    reference_month: bool,
    file_format: str,
) -> None:
    """Write a believable company as a portal data directory to OUT_DIR."""
    try:
        generate(
            out_dir, leads, seed, until, months, reference_month, cast(FileFormat, file_format)
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"wrote {out_dir}")


if __name__ == "__main__":
    main()

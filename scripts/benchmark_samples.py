"""How often equal managers are called different: `python -m scripts.benchmark_samples`.

Months of managers whose leads all convert at one rate are shown to the pages' own test
(`different` of `reports/shell/statistics.js`). A month in which it names anybody is wrong; at its
level of 95 % that may be one month in twenty.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator

import click

from pipelines.environment import ROOT
from pipelines.settings import Settings

RATES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.18, 0.5, 0.8, 0.98)
# Fewest and most leads of a manager in a month.
LEADS = ((30, 30), (10, 60), (30, 150), (100, 300))
COUNT = """
import { readFileSync } from 'node:fs';
import { different } from './shell/statistics.js';
const { months, least } = JSON.parse(readFileSync(0, 'utf8'));
const wrong = months.filter((month) => {
    const rows = month.map(([part, whole]) => ({ part, whole }));
    const sum = (name) => rows.reduce((all, row) => all + row[name], 0);
    const total = { part: sum('part'), whole: sum('whole') };
    return different(rows, total, 'part', 'whole', least).length;
});
console.log(wrong.length);
"""
Month = list[tuple[int, int]]


def equal_months(
    count: int, rate: float, leads: tuple[int, int], seed: int, managers: int = 20
) -> Iterator[Month]:
    """Months of managers: of each how many leads converted, and how many there were."""
    drawn = random.Random(seed)
    for _ in range(count):
        month = []
        for _ in range(managers):
            whole = drawn.randint(*leads)
            month.append((sum(drawn.random() < rate for _ in range(whole)), whole))
        yield month


def wrong_months(months: list[Month], least: int) -> int:
    """Months in which the pages would name somebody.

    Args:
        least: Leads, managers of fewer are not compared.
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", COUNT],
        cwd=ROOT / "reports",
        input=json.dumps({"months": months, "least": least}),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@click.command()
@click.option("--months", default=1000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(months: int, seed: int) -> None:
    """Print the share of wrong months by the rate and the leads of a manager."""
    least = Settings.load().min_sample
    for rate in RATES:
        shares = []
        for leads in LEADS:
            wrong = wrong_months(list(equal_months(months, rate, leads, seed)), least)
            shares.append(f"{leads[0]}-{leads[1]} leads {wrong / months:.1%}")
        click.echo(f"rate {rate:.1%}: {', '.join(shares)}")


if __name__ == "__main__":
    main()

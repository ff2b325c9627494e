"""What few records allow to say: of equals nobody is called better; intervals are the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import duckdb
import pytest

from pipelines.metrics import MACROS, SCHEMA
from pipelines.site import shell
from scripts.benchmark_samples import Month, equal_months, wrong_months

pytestmark = pytest.mark.unit

PAIRS = [(0, 1), (1, 1), (0, 20), (81, 263), (5, 30), (29, 30), (1, 1398), (700_000, 1_000_000)]


@pytest.mark.parametrize("rate", [0.01, 0.04, 0.5])
def test_equal_managers_are_called_different_in_at_most_one_month_of_twenty(rate: float) -> None:
    """Newcombe's interval alone would name somebody in 17, 12 and 4 months of a hundred."""
    months = list(equal_months(400, rate, (30, 60), seed=3))
    assert wrong_months(months, 30) <= 20


def test_a_manager_who_is_better_is_found() -> None:
    """18 of 60 beside nineteen with 3 of 60: never by chance."""
    better: Month = [(18, 60), *[(3, 60)] * 19]
    few: Month = [(18, 29), *[(3, 60)] * 19]
    assert wrong_months([better, few], 30) == 1


def test_the_interval_of_views_and_workbooks_is_that_of_the_pages() -> None:
    """By Newcombe's paper of 1998, 81 of 263 are 25.53 to 36.62 %."""
    with duckdb.connect() as connection:
        connection.execute(f"create schema {SCHEMA}")
        connection.execute(MACROS)
        in_sql = [
            connection.execute(
                f"select {SCHEMA}.wilson_low({pair}), {SCHEMA}.wilson_high({pair})"
            ).fetchall()[0]
            for pair in (f"{part}, {whole}" for part, whole in PAIRS)
        ]
        nothing = f"select {SCHEMA}.wilson_low(0, 0), {SCHEMA}.wilson_high(0, 0)"
        assert connection.execute(nothing).fetchall() == [(None, None)]
    script = (
        "import { wilson } from './shell/statistics.js';"
        f"console.log(JSON.stringify({json.dumps(PAIRS)}.map(([k, n]) => wilson(k, n))));"
    )
    answer = _node(script, shell.REPORTS)
    for (part, whole), ours, theirs in zip(PAIRS, in_sql, json.loads(answer), strict=True):
        assert ours == pytest.approx(tuple(theirs), abs=1e-12), (part, whole)
    assert in_sql[3] == pytest.approx((0.2553, 0.3662), abs=5e-5)


def _node(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout

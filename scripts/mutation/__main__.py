"""`make mutants`: all mutants, or a sample of them; fails where no test notices one."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import click
from tqdm import tqdm

from scripts.mutation.pins import ERROR, GREEN, load_pins, survivors
from scripts.mutation.unit_tests import UnitTests, models, unnoticed


@click.command()
@click.option("-k", "--only", default="", help="Only models, rules, files and tests with this.")
@click.option("--sample", type=int, help="So many mutants made by rule, and a tenth of the pins.")
@click.option("--seed", default=1, show_default=True, help="Draws the sample.")
@click.option("--listed", is_flag=True, help="Try those of unnoticed.txt, and print it anew.")
def main(only: str, sample: int | None, seed: int, listed: bool) -> None:
    """Break each rule once; fail where no test notices."""
    started = time.monotonic()
    drawn = random.Random(seed)
    pins = [] if listed else [p for p in load_pins() if only in f"{p.rule} {p.file} {p.test}"]
    chosen = [model for model in models() if only in model]
    if sample:
        pins = drawn.sample(pins, min(len(pins), sample // 10))
    made, survived = by_rule(chosen, sample, drawn, listed) if chosen else (0, 0)
    if pins:
        survived += survivors(pins)
    minutes = (time.monotonic() - started) / 60
    click.echo(f"{made + len(pins)} mutants, {survived} survived, {minutes:.1f} minutes")
    sys.exit(bool(survived))


def by_rule(
    chosen: list[str], sample: int | None, drawn: random.Random, listed: bool = False
) -> tuple[int, int]:
    """Tries the mutants of models that are made by rule.

    Returns:
        How many were tried, and how many no unit test noticed. With `listed` those are what
        unnoticed.txt should hold.
    """
    known = unnoticed()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        unit_tests = UnitTests(Path(folder), chosen)
        names = unit_tests.names()
        lines = {f"{model} · {name}" for model, name in names}
        gone = {line for line in known - lines if line.split(" · ")[0] in chosen}
        for line in sorted(gone):
            tqdm.write(f"unnoticed.txt: no such mutant any more: {line}")
        if not listed:
            names = [one for one in names if " · ".join(one) not in known]
        if sample:
            names = drawn.sample(names, min(len(names), sample))
        survived = 0
        for model, name in tqdm(names, unit="mutant", disable=None):
            found = unit_tests.verdict(model, name)
            if found == GREEN:
                survived += 1
                tqdm.write(f"{model} · {name}" if listed else f"SURVIVED {model} · {name}")
            elif found == ERROR:
                tqdm.write(f"no SQL: {model} · {name}")
    return len(names), survived + len(gone)


if __name__ == "__main__":
    main()

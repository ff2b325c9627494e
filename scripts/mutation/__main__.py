"""`make mutants`: all mutants, or a sample of them; fails where no test notices one."""

from __future__ import annotations

import random
import sys
import time

import click
from tqdm import tqdm

from scripts.mutation.pins import ERROR, GREEN, load_pins, survivors
from scripts.mutation.python_tests import TESTS, PythonTests
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
    if sample:
        pins = drawn.sample(pins, min(len(pins), sample // 10))
    made = survived = 0
    # Python first: its forks must not copy the threads of a database.
    for subjects, tests, share in ((list(TESTS), PythonTests, 5), (models(), UnitTests, 1)):
        if chosen := [subject for subject in subjects if only in subject]:
            size = sample and sample // share
            tried, unseen = by_rule(tests(chosen), chosen, size, drawn, listed)
            made, survived = made + tried, survived + unseen
    if pins:
        survived += survivors(pins)
    minutes = (time.monotonic() - started) / 60
    click.echo(f"{made + len(pins)} mutants, {survived} survived, {minutes:.1f} minutes")
    sys.exit(bool(survived))


def by_rule(
    tests: UnitTests | PythonTests,
    chosen: list[str],
    sample: int | None,
    drawn: random.Random,
    listed: bool = False,
) -> tuple[int, int]:
    """Tries the mutants of models or modules that are made by rule.

    Returns:
        How many were tried, and how many no test noticed. With `listed` those are what
        unnoticed.txt should hold.
    """
    known = unnoticed()
    names = tests.names()
    lines = {" · ".join(one) for one in names}
    gone = {line for line in known - lines if line.split(" · ")[0] in chosen}
    for line in sorted(gone):
        tqdm.write(f"unnoticed.txt: no such mutant any more: {line}")
    if not listed:
        names = [one for one in names if " · ".join(one) not in known]
    if sample:
        names = drawn.sample(names, min(len(names), sample))
    survived = 0
    for subject, name in tqdm(names, unit="mutant", disable=None):
        found = tests.verdict(subject, name)
        if found == GREEN:
            survived += 1
            tqdm.write(f"{subject} · {name}" if listed else f"SURVIVED {subject} · {name}")
        elif found == ERROR:
            tqdm.write(f"cannot run: {subject} · {name}")
    return len(names), survived + len(gone)


if __name__ == "__main__":
    main()

"""A share of `make mutants`: rules of a few models, each broken once, make a unit test go red."""

from __future__ import annotations

import random

from scripts.mutation.pins import GREEN
from scripts.mutation.unit_tests import UnitTests, models, unnoticed

MODELS = 3
MUTANTS = 40


def test_unit_tests_notice_broken_rules() -> None:
    drawn = random.Random(3)
    unit_tests = UnitTests(drawn.sample(models(), MODELS))
    known = unnoticed()
    names = [one for one in unit_tests.names() if " · ".join(one) not in known]
    assert len(names) >= MUTANTS
    survived = [one for one in drawn.sample(names, MUTANTS) if unit_tests.verdict(*one) == GREEN]
    assert survived == []

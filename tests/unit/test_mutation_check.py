"""The mutants of `make mutants` still fit the code that they break."""

from __future__ import annotations

import re

from pipelines.environment import ROOT
from scripts.mutation_check import ERROR, GREEN, RED, load_mutants, verdict


def test_every_mutant_breaks_one_place_and_names_tests_that_exist() -> None:
    mutants = load_mutants()
    assert len(mutants) >= 30
    names: dict[str, set[str]] = {"unit": set(), "data": set()}
    for file in (ROOT / "dbt_project" / "models").rglob("*.yml"):
        _, _, unit_tests = file.read_text(encoding="utf-8").partition("\nunit_tests:")
        names["unit"] |= set(re.findall(r"^  - name: (\w+)", unit_tests, flags=re.MULTILINE))
    for file in (ROOT / "dbt_project").rglob("*.sql"):
        names["data"] |= {file.stem}
    wrong = []
    for mutant in mutants:
        if mutant.kind in names:
            exists = set(mutant.test.split()) <= names[mutant.kind]
        else:
            path, _, name = mutant.test.rpartition("::")
            tests = ROOT / (path or "tests/marts/test_semantic_layer.py")
            exists = name.split(" and ")[0] in tests.read_text(encoding="utf-8")
        if not exists or mutant.old == mutant.new:
            wrong.append((mutant.rule, mutant.kind, mutant.test))
    assert wrong == []


def test_only_a_failed_test_kills_a_mutant() -> None:
    assert verdict({"pass", "fail"}) == RED
    assert verdict({"passed", "failed"}) == RED
    assert verdict({"success"}) == GREEN
    assert verdict({"fail", "error"}) == ERROR
    assert verdict({"success", "skipped"}) == ERROR
    assert verdict(set()) == ERROR

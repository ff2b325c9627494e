"""The mutants of `make mutants`: pins fit the code, those made by rule are what they say."""

from __future__ import annotations

import ast
import re

import sqlglot

from pipelines.environment import ROOT
from scripts.mutation.pins import ERROR, GREEN, RED, load_pins, verdict
from scripts.mutation.python_rules import mutants as python_mutants
from scripts.mutation.python_tests import TESTS
from scripts.mutation.sql_rules import HOMES, broken, folded, mutants, to_sql
from scripts.mutation.unit_tests import UNNOTICED, models, unnoticed


def test_every_pin_breaks_one_place_and_names_tests_that_exist() -> None:
    pins = load_pins()
    assert len(pins) >= 30
    names: dict[str, set[str]] = {"unit": set(), "data": set()}
    for file in (ROOT / "dbt_project" / "models").rglob("*.yml"):
        _, _, unit_tests = file.read_text(encoding="utf-8").partition("\nunit_tests:")
        names["unit"] |= set(re.findall(r"^  - name: (\w+)", unit_tests, flags=re.MULTILINE))
    for file in (ROOT / "dbt_project").rglob("*.sql"):
        names["data"] |= {file.stem}
    wrong = []
    for pin in pins:
        if pin.kind in names:
            exists = set(pin.test.split()) <= names[pin.kind]
        else:
            path, _, name = pin.test.rpartition("::")
            tests = ROOT / (path or "tests/marts/test_semantic_layer.py")
            exists = name.split(" and ")[0] in tests.read_text(encoding="utf-8")
        if not exists or pin.old == pin.new:
            wrong.append((pin.rule, pin.kind, pin.test))
    assert wrong == []


def test_only_a_failed_test_kills_a_mutant() -> None:
    assert verdict({"pass", "fail"}) == RED
    assert verdict({"passed", "failed"}) == RED
    assert verdict({"success"}) == GREEN
    assert verdict({"fail", "error"}) == ERROR
    assert verdict({"success", "skipped"}) == ERROR
    assert verdict(set()) == ERROR


QUERY = """
with sales as (
    select deal_id, coalesce(own_name, name, 'none') as name -- of the deal
    from deals
    left join names on deals.id = names.id and names.kind = 'deal'
    where days >= 3 and not is_legacy
)
select name, count(distinct deal_id) filter (where days > 0) as deals,
    row_number() over (partition by name, kind order by day desc, id) as number
from sales group by name
"""


def changed(query: str, model: str = "any") -> dict[str, str]:
    tree = sqlglot.parse_one(query, read="duckdb")
    as_it_is = to_sql(tree)
    found = {name: broken(tree, mutant) for name, mutant in mutants(tree, model).items()}
    assert to_sql(tree) == as_it_is
    assert as_it_is not in found.values()
    return found


def test_each_rule_breaks_what_it_names() -> None:
    found = changed(QUERY)
    for name, piece in (
        ("sales · without condition · days >= 3", "WHERE NOT is_legacy"),
        ("sales · without condition · names.kind = 'deal'", "ON deals.id = names.id WHERE"),
        ("sales · other side of limit · days >= 3", "days > 3"),
        ("sales · one more · days >= 3", "days >= 4"),
        ("sales · without not · NOT is_legacy", "AND is_legacy"),
        ("sales · without argument · name", "COALESCE(own_name, 'none')"),
        ("sales · argument before · name", "COALESCE(name, own_name, 'none')"),
        ("sales · inner join · names", "INNER JOIN names"),
        ("query · without distinct · DISTINCT deal_id", "COUNT(deal_id)"),
        ("query · without partition · kind", "(PARTITION BY name ORDER BY"),
        ("query · other order · id", "id DESC)"),
        ("query · without order · id", "ORDER BY day DESC)"),
    ):
        assert piece in found[name], (name, found[name])


def test_names_outlive_layout_comments_and_new_columns() -> None:
    other = QUERY.replace("\n", "  ").replace("-- of the deal", ",\n1 as added")
    assert set(changed(QUERY)) <= set(changed(other))


def test_what_jinja_decided_is_no_rule() -> None:
    tree = sqlglot.parse_one(
        "select case 'sale' when 'sale' then a else b end, case when 'x' = '' then a else c end,"
        " not (false and p) from t where (true or q) and (false or r)",
        read="duckdb",
    )
    assert to_sql(folded(tree)) == "SELECT a, c, TRUE FROM t WHERE (r)"


def test_a_rule_of_a_macro_is_broken_in_its_home() -> None:
    query = "select case when is_lead then case /* lead_state */ when s = 'S' then 1 end end from t"
    assert set(changed(query)) == {"query · without branch · CASE WHEN is_lead THEN lead_state END"}
    assert len(changed(query, HOMES["lead_state"])) > 1
    once = "select (/* folded */ coalesce(b, c)) as b from t"
    query = f"with stated as ({once}), leads as ({once}) select * from stated cross join leads"
    parts = {name.split(" · ")[0] for name in changed(query, "int_ad_labels__matched")}
    assert parts == {"stated"}
    assert {home.partition(".")[0] for home in HOMES.values()} <= {*models(), *TESTS}
    macros = "".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "dbt_project/macros").glob("*.sql")
    )
    assert all(macros.count(f"/* {macro} */") == 1 for macro in HOMES)


def test_mutants_that_nothing_notices_have_a_reason_and_are_of_what_is_broken() -> None:
    assert UNNOTICED.read_text(encoding="utf-8").startswith("# ")
    lines = unnoticed()
    assert {line.split(" · ")[0] for line in lines} <= {*models(), *TESTS}
    assert all(line.count(" · ") >= 3 for line in lines)


SOURCE = """
def days(rows: list[int] | None, most: int = 3) -> int:
    if not rows or len(rows) > most:
        raise ValueError(f"{len(rows) + 1} rows")
    log.info("%s", most + 1)
    return max(row for row in rows if row)
"""


def test_mutants_of_python_by_rule() -> None:
    """Texts, what is logged and annotations are left as they are."""
    made = {mutant.name: mutant for mutant in python_mutants(SOURCE)}
    condition = "not rows or len(rows) > most"
    assert sorted(made) == sorted(
        [
            f"days · always · {condition}",
            f"days · never · {condition}",
            f"days · without not rows in · {condition}",
            f"days · without len(rows) > most in · {condition}",
            "days · without not · not rows",
            "days · other limit · len(rows) > most",
            "days · without · raise ValueError(f'{len(rows) + 1} rows')",
            "days · twin · max((row for row in rows if row))",
            "days · always · row",
            "days · one more · 3",
        ]
    )
    broken_source = ast.unparse(made["days · other limit · len(rows) > most"].tree)
    assert "if not rows or len(rows) >= most:" in broken_source
    assert ast.unparse(ast.parse(SOURCE)) == broken_source.replace(">=", ">")

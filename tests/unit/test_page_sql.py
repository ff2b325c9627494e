"""No SQL of the pages says again what a metric is: metrics come from `<Metrics>` by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.settings import DBT_PROJECT
from pipelines.site.shell import REPORTS
from tests.unit.test_workbook_sql import columns_of_measures, restated

# Block → why it adds up or looks at a column that a measure also reads.
ALLOWED = {
    "pages/bridge.md success": "amounts of the bridge, by record and sign",
    "queries/bridge_lines.sql": "amounts of the bridge, by record and sign",
    "pages/bridge.md outside": "amounts of records that no metric counts",
    "pages/money.md flow": "what became of each lead, one word per lead, not how many",
    "pages/quality.md verdict": "amounts of quality.issues",
    "pages/quality.md kinds": "amounts of quality.issues",
    "pages/quality.md reversal_kinds": "amounts of fct_reversals",
}


def text_of(page: Path) -> str:
    """The page with its partials in their places."""

    def part(found: re.Match[str]) -> str:
        return (REPORTS / "partials" / found[1]).read_text(encoding="utf-8")

    return re.sub(r"\{@partial \"([^\"]+)\"\}", part, page.read_text(encoding="utf-8"))


def written() -> Iterator[tuple[str, str]]:
    """Name and SQL of each block that is no metric block."""
    for page in sorted((REPORTS / "pages").glob("*.md")):
        text = text_of(page)
        for name, sql in re.findall(r"```sql (\w+)\n(.*?)```", text, re.DOTALL):
            yield f"pages/{page.name} {name}", sql
    for query in sorted((REPORTS / "queries").glob("*.sql")):
        yield f"queries/{query.name}", query.read_text(encoding="utf-8")


def plain(sql: str) -> str:
    """The SQL with something in its places that parses."""
    sql = re.sub(r"\[\[(where|of|period|window|set)\b[^\]]*\]\]", "true", sql)
    sql = re.sub(r"\[\[grain ([^\]|]*)[^\]]*\]\]", r"\1", sql)
    sql = re.sub(r"\[\[user_fields \w+\]\]", "", sql)
    sql = re.sub(r"\[\[(as_of_date|period_start|period_end)\]\]", "date '2026-01-01'", sql)
    sql = re.sub(r"'\$\{inputs[^}]*\}'|\$\{inputs[^}]*\}", "'x'", sql)
    return re.sub(r"\$\{\s*(\w+)\s*\}", r"(select * from \1)", sql)


def test_blocks_of_pages_add_up_nothing_that_a_metric_does() -> None:
    measured = columns_of_measures()
    blocks = dict(written())
    assert len(blocks) > 20
    found = {
        name: wrong for name, sql in blocks.items() if (wrong := restated(plain(sql), measured))
    }
    assert set(found) == set(ALLOWED), found


@pytest.mark.parametrize("page", sorted((REPORTS / "pages").glob("*.md")), ids=lambda one: one.stem)
def test_every_fence_of_sql_has_a_name(page: Path) -> None:
    """One without would not be looked at here."""
    text = text_of(page)
    assert len(re.findall(r"^```sql", text, re.MULTILINE)) == len(
        re.findall(r"^```sql \w+$", text, re.MULTILINE)
    )


def test_exposures_of_dbt_name_each_page_and_workbook() -> None:
    """And each table of the marts that the SQL of a page names."""
    file = DBT_PROJECT / "models" / "exposures.yml"
    exposures = yaml.safe_load(file.read_text(encoding="utf-8"))["exposures"]
    refs = {
        one["url"]: set(re.findall(r"ref\('(\w+)'\)", str(one["depends_on"]))) for one in exposures
    }
    pages = {path.stem for path in (REPORTS / "pages").glob("*.md")}
    routes = {name: "/" if name == "index" else f"/{name}/" for name in pages}
    workbooks = {f"/excel/{name}.xlsx" for name in ("sales_dynamics", "marketing")}
    assert set(refs) == set(routes.values()) | workbooks
    for name, sql in written():
        if name.startswith("pages/"):
            route = routes[name.split("/")[1].split(".")[0]]
            named = set(re.findall(r"\bmarts\.(\w+)", sql))
            assert named <= refs[route], name

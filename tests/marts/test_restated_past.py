"""What publications said of finished months, and what a later one says otherwise, with the reasons.

A portal is published four times: in April, when something of each kind has happened to the records
of March, with another setting, and by another version of the program. Then random companies, whose
publications the independent calculation follows.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import openpyxl
import pytest

from pipelines import statements
from pipelines.build import build
from pipelines.compact import compact
from pipelines.errors import ChecksFailed
from pipelines.excel.workbooks import excel
from pipelines.metric_sql import MetricQuery, SemanticLayer, filled
from pipelines.publish import publish
from pipelines.settings import Settings
from pipelines.site.shell import REPORTS
from pipelines.warehouse import Warehouse
from scripts.demo_portal import serve
from tests.marts.test_incremental_equals_full import FIRST_DAY, SEED, Company, read
from tests.support import calculation
from tests.support.compiled_models import compiled_models
from tests.support.plain_refresh import plain_refresh
from tests.support.raw_tables import query
from tests.support.restated_march import PIPELINES, build_and_publish, publish_march_twice
from tests.support.small_portal import STATUSES, USERS, lead, status, write_portal

PAID = {"paid_stages": ["UC_PAID"]}
TOTAL = "all_sources"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """Four publications of March."""
    warehouse = publish_march_twice(tmp_path_factory.mktemp("restated"))
    # Nothing that it takes away is needed for what follows.
    compact(warehouse)
    settings = Settings.load().model_copy(update=PAID)
    build_and_publish(warehouse, settings)
    with warehouse.connect(read_only=False) as connection:
        # As if the program had rounded otherwise.
        connection.execute(
            "update statements.changes set after_amount = 99.99"
            " where record_id = 11 and metric_name = 'sales_period'"
        )
    with mock.patch.object(statements, "_code", lambda: "of a later version"):
        build_and_publish(warehouse, settings)
    yield warehouse


def published(warehouse: Warehouse, sql: str) -> list[tuple[Any, ...]]:
    path = warehouse.published / "crm.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_each_record_has_its_reason(warehouse: Warehouse) -> None:
    rows = published(
        warehouse,
        "select publication_no, metric_name, record_id, reason from quality.restated_records"
        " order by all",
    )
    leads, became, sales = "leads_received", "leads_quality_period", "sales_period"
    assert rows == [
        (2, became, 1, "reopened"),
        (2, became, 6, "failed"),
        (2, leads, 2, "deleted"),
        (2, leads, 3, "source_changed"),
        (2, leads, 4, "deleted"),
        (2, leads, 50, "late_import"),
        (2, sales, 12, "deleted"),
        (2, sales, 13, "reopened"),
        # Its lead.
        (2, sales, 14, "deleted"),
        (2, sales, 15, "moved"),
        (2, sales, 16, "handed_over"),
        (2, sales, 17, "new_rate"),
        (2, sales, 18, "amount_changed"),
        (2, sales, 19, "late_import"),
        (2, sales, 20, "failed"),
        (2, sales, 21, "closed_late"),
        (3, sales, 22, "changed_setting"),
        (4, sales, 11, "upgrade"),
    ]


def test_figures_stand_before_and_after(warehouse: Warehouse) -> None:
    rows = published(
        warehouse,
        "select publication_no, metric_name, source_kind, source_id, before_value, after_value,"
        " before_unknown_count, after_unknown_count, records_count from quality.restatements"
        " where statement_month = date '2026-03-01' order by all",
    )
    # A kopeck less by the program that rounded otherwise.
    found = {row[:4]: tuple(map(round, row[4:])) for row in rows if row[0] < 4}
    leads, became, sales = "leads_received", "leads_quality_period", "sales_period"
    amount, none = "sales_amount_period", "no_source"
    assert found == {
        # Leads 2 and 4 left, 50 came, 3 took a source.
        (2, leads, TOTAL, None): (6, 5, 0, 0, 3),
        (2, leads, "source", "WEB"): (4, 5, 0, 0, 3),
        (2, leads, "source", "ADS"): (1, 0, 0, 0, 1),
        (2, leads, none, None): (1, 0, 0, 0, 1),
        (2, became, TOTAL, None): (3, 1, 0, 0, 2),
        (2, became, "source", "WEB"): (3, 1, 0, 0, 2),
        # 12, 13, 15 and 20 left, 16, 19 and 21 came.
        (2, sales, TOTAL, None): (8, 7, 0, 0, 7),
        (2, sales, "no_lead", None): (6, 5, 0, 0, 7),
        (2, sales, "source", "ADS"): (1, 0, 0, 0, 1),
        (2, sales, "lead_deleted", None): (0, 1, 0, 0, 1),
        # And 17 has a rate, 18 another amount.
        (2, amount, TOTAL, None): (3300, 3900, 1, 0, 9),
        (2, amount, "no_lead", None): (2800, 3400, 1, 0, 9),
        (2, amount, "source", "ADS"): (400, 0, 0, 0, 1),
        (2, amount, "lead_deleted", None): (0, 400, 0, 0, 1),
        (3, sales, TOTAL, None): (7, 8, 0, 0, 1),
        (3, sales, "no_lead", None): (5, 6, 0, 0, 1),
        (3, amount, TOTAL, None): (3900, 3970, 0, 0, 1),
        (3, amount, "no_lead", None): (3400, 3470, 0, 0, 1),
    }
    assert [row[1:6] for row in rows if row[0] == 4] == [
        (amount, TOTAL, None, Decimal("3969.99"), Decimal("3970.00")),
        (amount, "source", "WEB", Decimal("99.99"), Decimal("100.00")),
    ]


def test_the_page_names_what_changed_and_why(warehouse: Warehouse) -> None:
    page = (REPORTS / "pages" / "quality.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```sql (\w+)\n(.*?)```", page, re.DOTALL))
    told = published(
        warehouse,
        "select as_of_text, before_as_of_text, label_ru, source_name, before_value, after_value,"
        f" explanation_ru from ({blocks['restatements']}) where source_name = 'все источники'"
        " order by place",
    )
    as_of, before = "05.04.2026 12:00", "02.04.2026 12:00"
    assert [(row[0], row[2], *map(str, row[4:6])) for row in told[:3]] == [
        (as_of, "Сумма продаж за период", "3969.99", "3970.00"),
        (as_of, "Сумма продаж за период", "3899.99", "3969.99"),
        (as_of, "Продажи за период", "7.00", "8.00"),
    ]
    assert told[2][6] == "изменены настройки (paid_stages): 1"
    assert [row[1] for row in told] == [as_of, as_of, as_of, *[before] * 4]
    ((why,),) = {(row[6],) for row in told if row[2] == "Поступило лидов" and row[1] == before}
    assert why == "удалено: 2, появилось позже: 1"
    records = published(
        warehouse,
        "select record_id, explanation_ru, before_source_name, after_source_name, crm_url"
        f" from ({blocks['restated_records']}) where entity = 'deal' and record_id in (14, 17)"
        " order by record_id",
    )
    assert [row[:4] for row in records] == [
        (14, "удалено", "Ads", "лид удалён"),
        (17, "новый курс", "без лида", "без лида"),
    ]
    assert records[0][4].endswith("/crm/deal/details/14/")


def test_the_workbooks_name_what_changed(warehouse: Warehouse, tmp_path: Path) -> None:
    copy = copy_of(warehouse, tmp_path)
    excel(copy, Settings.load())
    for name in ("sales_dynamics", "marketing"):
        book = openpyxl.load_workbook(copy.published / "excel" / f"{name}.xlsx")
        rows = book["Качество данных"].iter_rows(values_only=True)
        told = {row[1:5] for row in rows if str(row[1]).endswith(": все источники")}
        as_of = "(данные на 05.04.2026 12:00)"
        leads, sales = "Поступило лидов: все источники", "Продажи за период: все источники"
        assert len(told) == 7
        assert told >= {
            (leads, f"удалено: 2, появилось позже: 1 {as_of}", 6, 5),
            (sales, f"изменены настройки (paid_stages): 1 {as_of}", 7, 8),
        }


def test_what_is_kept_is_what_the_metrics_say(warehouse: Warehouse) -> None:
    """Of all months up to the last finished one, in total and by source."""
    layer = SemanticLayer.load(warehouse.published / "current" / "semantic_manifest.json")
    path = str(warehouse.database)
    with duckdb.connect(path, read_only=True) as connection:
        for metric, source in (
            ("leads_received", "lead__source_id"),
            ("leads_quality_period", "lead__source_id"),
            ("sales_period", "deal__lead_source_id"),
        ):
            sql = layer.sql(MetricQuery((metric,), ("metric_time__month", source), in_period=False))
            kept = connection.execute(
                f"""
                with latest as (
                    select *
                    from statements.changes
                    where metric_name = '{metric}'
                    qualify row_number() over (
                        partition by record_id order by publication_no desc
                    ) = 1
                )
                select after_month, after_source_id, count(*)
                from latest where after_month is not null group by all order by all
                """
            ).fetchall()
            of_past = f"from ({filled(sql)}) where metric_time < date '2026-04-01' order by all"
            assert kept == connection.execute(f"select * {of_past}").fetchall()
            assert kept


def state(warehouse: Warehouse) -> list[Any]:
    return [
        query(warehouse.directory, f"select * from statements.{table} order by all")
        for table in ("changes", "publications")
    ]


def copy_of(warehouse: Warehouse, folder: Path) -> Warehouse:
    shutil.copytree(warehouse.directory, folder / "copy", symlinks=True)
    return Warehouse(folder / "copy")


def test_a_publication_is_noted_once(warehouse: Warehouse, tmp_path: Path) -> None:
    copy = copy_of(warehouse, tmp_path)
    noted = state(copy)
    statements.note_statement(copy)
    publish(copy)
    assert state(copy) == noted
    # Another build of the same rows has nothing to add, nor to restate.
    build_and_publish(copy, Settings.load().model_copy(update=PAID))
    changes, publications = state(copy)
    assert changes == noted[0]
    assert len(publications) == len(noted[1]) + 1


def test_a_stop_between_the_switch_and_the_note_is_made_good(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    copy = copy_of(warehouse, tmp_path)
    settings = Settings.load()
    with (
        mock.patch("pipelines.publish.note_published", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        build_and_publish(copy, settings)
    unpaid = "select reason from statements.changes where record_id = 22 and publication_no = 5"
    assert query(copy.directory, unpaid) == []
    build_and_publish(copy, settings)
    assert query(copy.directory, unpaid) == [("changed_setting",)]
    sales = "metric_name = 'sales_period' and source_kind = 'all_sources'"
    rows = published(
        copy,
        f"select publication_no, after_value from quality.restatements where {sales} order by 1",
    )
    assert [(number, int(value)) for number, value in rows] == [(2, 7), (3, 8), (5, 7)]


def test_what_is_never_published_leaves_no_trace(warehouse: Warehouse, tmp_path: Path) -> None:
    """A build whose data tests fail, and one that is published by nobody."""
    copy = copy_of(warehouse, tmp_path)
    changes, _ = state(copy)
    settings = Settings.load()
    with compiled_models():
        build(copy, settings)
        with copy.connect(read_only=False) as connection:
            connection.execute(
                "insert into raw.statuses by name select * replace (900 as id)"
                " from raw.statuses where status_id = 'WON'"
            )
        with pytest.raises(ChecksFailed):
            build(copy, settings)
    with copy.connect(read_only=False) as connection:
        connection.execute("delete from raw.statuses where id = 900")
    assert state(copy)[0] == changes
    build_and_publish(copy, settings.model_copy(update=PAID))
    assert state(copy)[0] == changes
    assert published(copy, "select max(publication_no) from quality.restatements") == [(4,)]


def test_a_warehouse_of_an_earlier_version_begins_without_a_word(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    """Also one that was lost but for its raw rows."""
    copy = copy_of(warehouse, tmp_path)
    with copy.connect(read_only=False) as connection:
        connection.execute("drop schema statements cascade")
    build_and_publish(copy, Settings.load())
    assert published(copy, "select count(*) from quality.restated_records") == [(0,)]
    assert query(copy.directory, "select count(*) from statements.changes") == [(13,)]


def test_a_part_of_the_history_is_no_statement(warehouse: Warehouse, tmp_path: Path) -> None:
    copy = copy_of(warehouse, tmp_path)
    with copy.connect(read_only=False) as connection:
        connection.execute("drop schema statements cascade")
        connection.execute("update raw.refreshes set history_from = as_of - interval 20 day")
    build_and_publish(copy, Settings.load())
    assert query(copy.directory, "select count(*) from statements.changes") == [(0,)]


FIGURES = {
    "leads_received": ("source_id", "source_name"),
    "leads_quality_period": ("source_id", "source_name"),
    "sales_period": ("lead_source_id", "lead_source_name"),
    "sales_amount_period": ("lead_source_id", "lead_source_name"),
}
Said = dict[tuple[str, dt.date, str], Any]


def said(facts: calculation.Facts, as_of: dt.datetime) -> Said:
    """What the calculation says of the months before as_of's: by figure, month and source."""
    found: Said = {}
    last = as_of.astimezone(dt.timezone(dt.timedelta(hours=3))).date().replace(day=1)
    period = (dt.date(2000, 1, 1), last - dt.timedelta(days=1))
    for metric, source in FIGURES.items():
        for keys in (("month",), ("month", *source)):
            for row in facts.metric(metric, period, keys).iter_rows(named=True):
                place = row.get(source[0]) or row.get(source[1]) or TOTAL
                value = row["value"]
                found[metric, row["month"], place] = None if value is None else Decimal(value)
    return found


def test_the_calculation_says_the_same_of_each_publication(tmp_path: Path) -> None:
    """Eight publications of a changing company, from March to May."""
    times = dict.fromkeys(("createdTime", "updatedTime"), FIRST_DAY.isoformat())
    data = write_portal(
        tmp_path / "portal",
        leads=[lead(1), lead(2)],
        contacts=[{"id": number, **times} for number in range(1, 9)],
        companies=[{"id": number, **times} for number in range(1, 9)],
        statuses=[*STATUSES, status(8, "DEAL_STAGE_3", "C3:NEW") | {"CATEGORY_ID": "3"}],
        categories=PIPELINES,
        users=[*USERS, {"ID": "2", "ACTIVE": True, "NAME": "Борис", "UF_DEPARTMENT": [1]}],
    )
    warehouse, settings = Warehouse(tmp_path / "data"), Settings.load()
    rates: list[tuple[dt.datetime, Any]] = []
    versions: list[tuple[str, Any]] = []
    before: Said = {}
    until = dt.date(1900, 1, 1)
    expected: dict[int, Said] = defaultdict(dict)
    with serve(data, rate_limit=False) as portal, plain_refresh():
        company = Company(portal, SEED, erases_history=False)
        for number in range(8):
            company.day(9 * number)
            now = FIRST_DAY + dt.timedelta(days=9 * number, hours=5)
            portal.set_now(now)
            read(portal, warehouse)
            build_and_publish(warehouse, settings)
            as_of = warehouse.last_refreshes()[0].as_of
            rows = {
                name: [dict(row) for row in table.plain_rows()]
                for name, table in portal.data.tables.items()
                if name in calculation.Portal.__dataclass_fields__
            }
            logs = {"rate_log": list(rates), "version_log": list(versions)}
            facts = calculation.calculate(
                calculation.Portal.from_rows({**rows, **logs}), calculation.Settings(), as_of
            )
            rates.append((as_of, rows["currencies"]))
            versions += [(entity, row) for entity in ("lead", "deal") for row in rows[f"{entity}s"]]
            after = said(facts, as_of)
            for key in before.keys() | after.keys():
                zero = Decimal(0)
                pair = before.get(key, zero), after.get(key, zero)
                if key[1] < until and pair[0] != pair[1]:
                    expected[number + 1][key] = pair
            before, until = after, now.date().replace(day=1)
    rows = published(
        warehouse,
        "select publication_no, metric_name, statement_month, source_kind, source_id, source_name,"
        " before_value, after_value from quality.restatements"
        " where before_value is distinct from after_value",
    )
    found: dict[int, Said] = defaultdict(dict)
    for publication, metric, month, kind, source_id, name, was, became in rows:
        found[publication][metric, month, TOTAL if kind == TOTAL else source_id or name] = (
            was,
            became,
        )
    assert found == expected
    # These days undo no lead that became quality in a month before.
    moved = {key[0] for one in expected.values() for key in one}
    assert moved >= set(FIGURES) - {"leads_quality_period"}, f"seed {SEED}"

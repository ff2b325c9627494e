"""The workbooks: hand-worked figures, every table against the marts, limits, injection, words."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet
from pytest import approx

from pipelines import refresh as refresh_module
from pipelines import report as report_module
from pipelines.__main__ import main
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.extract import extract
from pipelines.check import complete
from pipelines.errors import ExcelFailed, ReportFailed, SettingsError
from pipelines.excel import sheets, workbooks
from pipelines.excel.period import Period, period_of
from pipelines.excel.words import EN, RU
from pipelines.excel.workbooks import excel
from pipelines.publish import publish
from pipelines.settings import Settings
from pipelines.site.shell import Shell
from pipelines.warehouse import Warehouse
from scripts.demo_company import generate
from scripts.demo_portal import serve
from tests.support.compiled_models import run_models
from tests.support.semantic_fixtures import company as company

SOFFICE = shutil.which("soffice")
FILES = ("sales_dynamics", "marketing")
DASH = "—"
UNKNOWN_KINDS = (
    "sales_amount_period_unknown",
    "deals_created_amount_unknown",
    "potential_amount_unknown",
)
DAYS = ": на этапе сейчас, дней, в среднем"
SALES_FUNNEL = "Воронка лидов: поступило → качественные → с продажей"
MARKETING_FUNNEL = "Воронка лидов: поступило → качественные → со сделкой → с продажей"


def cell(value: Any) -> Any:
    """A value as it is compared: nothing and dashes alike, days without time."""
    if value is None or value in ("", DASH):
        return None
    if isinstance(value, dt.datetime):
        return value.date()
    return float(value) if isinstance(value, int | float | Decimal) else value


def rows_of(sheet: Worksheet) -> list[list[Any]]:
    return [[cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]


class Workbook:
    """The sheets of a file as lists of rows, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        file = openpyxl.load_workbook(path, data_only=True)
        self.sheets = {sheet.title: rows_of(sheet) for sheet in file.worksheets}

    def table(self, sheet: str, first_heading: str, after: str = "") -> list[dict[Any, Any]]:
        """Rows by heading of the table that begins with a heading (below a title), to its end.

        The row of totals, which stands apart, is the last.
        """
        rows = iter(self.sheets[sheet])
        if after:
            next(row for row in rows if row[0] == after)
        heading = next(row for row in rows if row[0] == first_heading)
        found = []
        for row in rows:
            if row[0] is None or row[0] == RU["empty"]:
                following = next(rows, [None])
                if following[0] == RU["total"]:
                    found.append(following)
                break
            found.append(row)
        return [
            {name: value for name, value in zip(heading, row, strict=True) if name is not None}
            for row in found
        ]

    def line(self, sheet: str, label: str, after: str = "") -> list[Any]:
        """The cells of the row with a label, without empty ones at the end."""
        rows = iter(self.sheets[sheet])
        if after:
            next(row for row in rows if row[0] == after)
        row = next(row for row in rows if row[0] == label)
        while row and row[-1] is None:
            row = row[:-1]
        return row


def read(folder: Path) -> dict[str, Workbook]:
    return {name: Workbook(folder / f"{name}.xlsx") for name in FILES}


def edited(company: Warehouse, folder: Path, *statements: str) -> Warehouse:
    """A publication of its own whose marts are changed."""
    warehouse = Warehouse(folder / "data")
    publication = warehouse.published / ".refreshes" / "000001"
    publication.mkdir(parents=True)
    for name in ("crm.duckdb", "semantic_manifest.json"):
        shutil.copy(company.published / "current" / name, publication / name)
    (warehouse.published / "current").symlink_to(".refreshes/000001")
    with duckdb.connect(str(publication / "crm.duckdb")) as connection:
        for statement in statements:
            connection.execute(statement)
    return warehouse


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings.load()


@pytest.fixture(scope="module")
def written(
    company: Warehouse, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Workbook]:
    """The workbooks of the small company, March 2026."""
    return read(excel(edited(company, tmp_path_factory.mktemp("written")), settings))


# The small company, worked out by hand from tests/support/semantic_fixtures.py.


def test_figures_stand_beside_those_of_february(written: dict[str, Workbook]) -> None:
    book = written["sales_dynamics"]
    leads, deals = RU["leads_of_period"], RU["deals_of_period"]
    line = book.line
    assert line("Показатели", "Поступило лидов", leads)[1:] == [3, None, 2, None, 1, 0.5]
    # What became of the leads and deals of March is not compared with those of February, which had
    # a month more; but where it is known when: February at the end of its last day. Lead 4 became
    # quality on 1 March.
    assert line("Показатели", "Некачественные", leads)[1:] == [1, approx(1 / 3), 0, 0, 1]
    quality = line("Показатели", "Качественные, от созданных в периоде", leads)
    assert quality[1:] == [1, approx(1 / 3), 0, 0, 1]
    assert line("Показатели", "Лиды в работе", leads)[1:] == [1, approx(1 / 3)]
    assert line("Показатели", "Время обработки, дней, в среднем", leads)[1:] == [3]
    assert line("Показатели", "Первичные лиды", leads)[1:] == [3, 1, 1, 0.5, 2, 2]
    assert line("Показатели", "Создано сделок", deals)[1:4] == [7, None, 1]
    assert line("Показатели", "Забытые сделки", deals)[1:] == [1, approx(1 / 7)]
    assert line("Показатели", "Просроченные сделки", deals)[1:] == [1, approx(1 / 7)]
    potential = line("Показатели", "Потенциальная сумма, ₽", deals)
    assert potential[1:] == [2000, *[None] * 5, 0]
    assert line("Показатели", "Сумма продаж, от созданных в периоде, ₽", deals)[1] == 1611.5
    # Deals 1 and 2; deal 4 of February. The only repeat one, deal 6, has no rate.
    sold_new = "Сумма продаж новым клиентам, от созданных в периоде, ₽"
    assert line("Показатели", sold_new, deals)[1:] == [1500.5, *[None] * 5, 0]
    sold_again = "Сумма продаж повторным клиентам, от созданных в периоде, ₽"
    assert line("Показатели", sold_again, deals)[1:] == [*[None] * 6, 1]
    assert line("Показатели", "Продажи за период")[1:] == [5, None, 0, None, 5]
    amount = line("Показатели", "Сумма продаж за период, ₽")
    assert amount[1:] == [1911.5, None, 0, None, 1911.5, None, 1, 0]
    assert line("Показатели", "Сумма продаж новым клиентам за период, ₽")[1] == 1800.5
    assert line("Показатели", "Продажи повторным клиентам за период")[1] == 1
    assert line("Показатели", "Клиент не указан, продажи за период")[1] == 1
    assert line("Показатели", "Клиент не указан, сумма продаж за период, ₽")[1] == 111


def test_the_amount_of_no_sales_is_0_and_that_without_a_rate_unknown(
    written: dict[str, Workbook], company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    """Nothing was sold in February; of sales to repeat customers, deal 6, no amount is known."""
    line = written["sales_dynamics"].line
    names = ("Сумма продаж", "Сумма продаж новым клиентам", "Сумма продаж повторным клиентам")
    sold = [f"{name} за период, ₽" for name in names]
    assert [line("Показатели", name)[3] for name in sold] == [0, 0, 0]
    assert line("Показатели", sold[0])[5] == 1911.5
    assert line("Показатели", sold[2])[1] is None
    average = line("Показатели", "Средний чек за период, ₽")
    assert average[1:] == [approx(1911.5 / 4), *[None] * 5, 1, 0]
    february, march, total = written["sales_dynamics"].table("По месяцам", "Месяц")
    assert [february[name] for name in sold] == [0, 0, 0]
    assert [march[name] for name in sold] == [1911.5, 1800.5, None]
    assert [total[name] for name in sold] == [1911.5, 1800.5, None]
    assert (february["Потенциальная сумма, ₽"], march["Потенциальная сумма, ₽"]) == (0, 2000)
    february, *_ = written["marketing"].table("По месяцам", "Месяц")
    assert february["Сумма продаж с лидом за период, ₽"] == 0
    # Deal 6 has its rate, nothing is in work, February has neither leads nor sales.
    books = read(
        excel(
            edited(
                company,
                tmp_path,
                "update marts.fct_deals set base_amount = 70, is_amount_unknown = false"
                " where deal_id = 6",
                "update marts.fct_deals set is_in_work = false, is_forgotten = false",
                "delete from marts.fct_leads where lead_id in (4, 5)",
                "update marts.fct_deals set is_sale = false where deal_id = 4",
                "update marts.fct_leads set source_name = 'Новый' where lead_id = 3",
            ),
            settings,
        )
    )
    line = books["sales_dynamics"].line
    created = [f"{name}, от созданных в периоде, ₽" for name in names]
    assert [line("Показатели", name)[1] for name in created] == [1681.5, 1500.5, 70]
    assert line("Показатели", "Потенциальная сумма, ₽", RU["stock"])[1] == 0
    assert line("Показатели", "Сумма продаж повторным клиентам за период, ₽")[1] == 70
    amount = "Сумма продаж лидов, от созданных в периоде, ₽"
    assert books["marketing"].line("Показатели", amount)[1] == 1000
    february, *_ = books["marketing"].table("По месяцам", "Месяц")
    assert (february["Поступило лидов"], february[amount]) == (0, 0)
    (new,) = (
        row
        for row in books["marketing"].table("Источники", "Источник")
        if row["Источник"] == "Новый"
    )
    assert new["Сумма продаж с лидом за период, ₽"] == 0


def test_what_has_no_rate_is_left_out_of_sums_and_averages_and_said(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    """Sold: 100,000, -30,000 and two in GEL, which has no rate. Deal 3 is open, in GEL too."""
    warehouse = edited(
        company,
        tmp_path,
        "update marts.fct_deals set is_counted = false where deal_id = 6",
        "update marts.fct_deals set base_amount = 100000 where deal_id = 1",
        "update marts.fct_deals set base_amount = -30000 where deal_id = 9",
        "update marts.fct_deals set base_amount = null, is_amount_unknown = true,"
        " currency_code = 'GEL' where deal_id in (2, 3, 4)",
    )
    book = read(excel(warehouse, settings))["sales_dynamics"]
    sold, left_out = "Сумма продаж за период, ₽", "Сумма продаж за период: не вошло"
    assert book.line("Показатели", sold)[1] == 70_000
    assert book.line("Показатели", sold)[7] == 2
    assert book.line("Показатели", "Средний чек за период, ₽")[1] == 35_000
    potential = book.line("Показатели", "Потенциальная сумма, ₽", RU["stock"])
    assert potential[1:] == [None, 1]
    (march,) = (
        row for row in book.table("По месяцам", "Месяц") if row["Месяц"] == dt.date(2026, 3, 1)
    )
    assert (march[sold], march[left_out], march["Средний чек за период, ₽"]) == (70_000, 2, 35_000)
    # By months of creation: of March deals 2 and 3, of February deal 4.
    assert (march["Потенциальная сумма, ₽"], march["Потенциальная сумма: не вошло"]) == (None, 1)
    told = [book.line("Описание", RU[f"unknown.{kind}"])[1] for kind in UNKNOWN_KINDS]
    assert told == ["2 (GEL)", "2 (GEL)", "1 (GEL)"]
    # The list shows a dash, not nothing.
    file = openpyxl.load_workbook(warehouse.published / "excel" / "sales_dynamics.xlsx")
    deals = list(file["Сделки"].iter_rows(min_row=5, values_only=True))
    at = deals[0].index("Сумма, ₽")
    assert [row[at] for row in deals[1:] if "/3/" in str(row[0])] == [DASH]
    titles = [row[0] for row in book.sheets["Менеджеры"]]
    assert "Сделки: создано сделок, сумма: не вошло" in titles


def test_the_period_before_ends_at_the_time_of_day_of_the_data(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    """10 to 31 March, 20:00, against 16 February to 9 March, 20:00: deal 1 in it, deal 2 after."""
    warehouse = edited(
        company,
        tmp_path,
        "update marts.fct_deals set sold_at = '2026-03-09 20:00:00+03', sold_date = '2026-03-09'"
        " where deal_id = 1",
        "update marts.fct_deals set sold_at = '2026-03-09 20:00:01+03', sold_date = '2026-03-09'"
        " where deal_id = 2",
        # The portal's clock had run on for as long as the first request took.
        "update quality.refreshes set as_of = '2026-03-31 20:00:00+03'",
    )
    book = read(excel(warehouse, settings, dt.date(2026, 3, 10)))["sales_dynamics"]
    assert book.line("Показатели", "Продажи за период")[1:4] == [3, None, 1]
    assert book.line("Показатели", "Сумма продаж за период, ₽")[3] == 1000
    assert book.line("Описание", "Прошлый период")[1] == "16.02.2026 – 09.03.2026 до 20:00"


def test_new_repeat_and_unnamed_customers_add_up_in_columns_and_charts(
    written: dict[str, Workbook],
) -> None:
    for row in written["sales_dynamics"].table("По месяцам", "Месяц"):
        kinds = (
            "Продажи новым клиентам",
            "Продажи повторным клиентам",
            "Клиент не указан, продажи",
        )
        assert row["Продажи за период"] == sum(row[f"{kind} за период"] for kind in kinds)
    file = openpyxl.load_workbook(written["sales_dynamics"].path)
    series = {len(chart.series) for chart in file["По месяцам"]._charts}
    assert series == {4, 3}


def test_pipelines_without_sales_have_an_amount_of_0(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    warehouse = edited(company, tmp_path, "update marts.fct_deals set is_sale = false")
    book = read(excel(warehouse, settings))["sales_dynamics"]
    pipelines_ = book.table("Показатели", "Воронка", RU["by_pipeline"])
    amounts = [row["Сумма продаж, от созданных в периоде, ₽"] for row in pipelines_]
    assert amounts == [0, 0]


def test_funnel_has_both_shares_and_both_views(written: dict[str, Workbook]) -> None:
    book, funnel = written["sales_dynamics"], SALES_FUNNEL
    line = book.line
    assert line("Показатели", "Поступило", funnel)[1:] == [3, None, None, 3]
    third = approx(1 / 3)
    assert line("Показатели", "Качественные", funnel)[1:] == [
        *(1, third, third),
        *(2, approx(2 / 3), approx(2 / 3)),
    ]
    assert line("Показатели", "С продажей", funnel)[1:] == [1, third, 1, 3, 1, 1.5]
    # Wilson's interval of 2 of 3.
    interval = [approx(0.2077, abs=1e-4), approx(0.9385, abs=1e-4)]
    assert line("Показатели", "В сделку")[1:] == [approx(2 / 3), *interval, approx(4 / 3)]
    per_lead = [approx(1000 / 3), None, None, approx(1500.5 / 3)]
    assert line("Показатели", "Выручка с лида, ₽")[1:] == per_lead


def test_marketing_has_its_figures_and_a_step_for_deals(written: dict[str, Workbook]) -> None:
    """Of March's leads 1 to 3, lead 1 went all the way; leads 4 and 5 came in February."""
    line = written["marketing"].line
    assert line("Показатели", "Лиды со сделкой, от созданных в периоде")[1] == 2
    amount = "Сумма продаж лидов, от созданных в периоде, ₽"
    assert line("Показатели", amount)[1] == 1000
    third = approx(1 / 3)
    assert line("Показатели", "Поступило", MARKETING_FUNNEL)[1:] == [3, None, None, 3]
    assert line("Показатели", "Качественные", MARKETING_FUNNEL)[1:] == [
        *(1, third, third),
        *(2, approx(2 / 3), approx(2 / 3)),
    ]
    with_deal = line("Показатели", "Со сделкой", MARKETING_FUNNEL)
    assert with_deal[1:] == [1, third, 1, 4, approx(4 / 3), 2]
    assert line("Показатели", "С продажей", MARKETING_FUNNEL)[1:] == [1, third, 1, 3, 1, 0.75]
    assert line("Показатели", "В продажу")[1:] == [
        *(third, approx(1 - 0.9385, abs=1e-4), approx(1 - 0.2077, abs=1e-4)),
        1,
    ]


def test_cohorts_by_age_have_no_row_of_an_age_not_reached(written: dict[str, Workbook]) -> None:
    """The leads of February are 48 days old, those of March 26. Lead 1 was sold after 8 days for
    1,000; lead 5 after 29, for nobody knows how much."""
    rows = written["marketing"].table("Когорты по возрасту", "Месяц")
    sold = "Конверсия в продажу к возрасту"
    shown = ("Месяц", "Возраст, дней", "Лиды этого возраста", sold, "Сумма продаж к возрасту, ₽")
    february, march = dt.date(2026, 2, 1), dt.date(2026, 3, 1)
    assert [[row[name] for name in shown] for row in rows] == [
        [february, 7, 2, 0, 0],
        [february, 14, 2, 0, 0],
        [february, 30, 2, 1 / 2, None],
        [march, 7, 3, 0, 0],
        [march, 14, 3, approx(1 / 3), 1000],
    ]
    # Wilson's intervals of 1 of 2 and of 1 of 3.
    ends = [(row[f"{sold}: {RU['low']}"], row[f"{sold}: {RU['high']}"]) for row in rows]
    assert ends[2] == approx((0.0945, 0.9055), abs=1e-4)
    assert ends[4] == approx((0.0615, 0.7923), abs=1e-4)


def test_transitions_with_those_back(written: dict[str, Workbook]) -> None:
    """Deal 6 was won, reopened and won again."""
    rows = written["sales_dynamics"].table("Переходы", "Что")
    assert [tuple(row.values()) for row in rows] == [
        ("Лиды", None, "New", "Converted", None, 1, "нет"),
        ("Лиды", None, "New", "Junk", None, 1, "нет"),
        ("Сделки", "Продажи", "Prep", "Won", "Продажи", 3, "нет"),
        ("Сделки", "Продажи", "New", "Prep", "Продажи", 2, "нет"),
        ("Сделки", "Продажи", "New", "Won", "Продажи", 2, "нет"),
        ("Сделки", "Продажи", "New", "Lose", "Продажи", 1, "нет"),
        ("Сделки", "Продажи", "Won", "Prep", "Продажи", 1, "да"),
    ]


def test_what_shares_a_name_has_rows_of_its_own(
    company: Warehouse, settings: Settings, tmp_path: Path, written: dict[str, Workbook]
) -> None:
    """Two stages are called Won, a manager like a column, a field of deals like another column."""
    warehouse = edited(
        company,
        tmp_path,
        "update marts.fct_deals set stage_name = 'Won' where stage_id = 'LOSE'",
        "update marts.fct_deals set manager_name = 'stage_name' where manager_name = 'Иван Котов'",
        "update marts.fct_stage_reach set next_stage_name = 'Won' where next_stage_name = 'Lose'",
        "insert into marts.fct_user_field_values (entity, item_id, deal_id, field_name,"
        " field_label, value_number, field_value)"
        " values ('deal', 3, 3, 'UF_CRM_A', 'Название', 1, 'Уфа')",
    )
    book = read(excel(warehouse, settings))["sales_dynamics"]
    after = "Сделки: создано сделок"
    usual = written["sales_dynamics"].table("Менеджеры", "Воронка", after=after)
    expected = [
        ("Won" if row["Этап"] == "Lose" else row["Этап"], row["Всего"], row["Иван Котов"])
        for row in usual
    ]
    rows = book.table("Менеджеры", "Воронка", after=after)
    assert [(row["Этап"], row["Всего"], row["stage_name"]) for row in rows] == expected
    moves = book.table("Переходы", "Что")
    assert [(row["Этап"], row["Переходы"]) for row in moves if row["Следующий этап"] == "Won"] == [
        ("Prep", 3),
        ("New", 2),
        ("New", 1),
    ]
    deals = {row["№"]: row for row in book.table("Сделки", "№")}
    assert deals[3]["Название (ID UF_CRM_A)"] == "Уфа"


def test_what_is_forgotten_or_without_a_plan_by_manager(written: dict[str, Workbook]) -> None:
    rows = written["sales_dynamics"].table("Забытые и без дел", "Менеджер")
    assert list(rows[0])[1:] == [
        *("Лиды в работе", "Забытые лиды", "Лиды без активности", "Лиды без дел"),
        *("Просроченные лиды", "Просроченные лиды, сумма, ₽"),
        "Просроченные лиды, сумма: не вошло",
        *("Сделки в работе", "Потенциальная сумма, ₽", "Потенциальная сумма: не вошло"),
        *("Забытые сделки", "Забытые сделки, сумма, ₽", "Забытые сделки, сумма: не вошло"),
        "Сделки без активности",
        *("Сделки без дел", "Сделки без дел, сумма, ₽", "Сделки без дел, сумма: не вошло"),
        *("Просроченные сделки", "Просроченные сделки, сумма, ₽"),
        "Просроченные сделки, сумма: не вошло",
    ]
    sum_of_deal_3 = (1, 2000, 0)
    assert [tuple(row.values()) for row in rows] == [
        (
            *("Иван Котов", *(1, 1, 1, 1), *(0, 0, 0), *sum_of_deal_3),
            *(*sum_of_deal_3, 1, *(0, 0, 0), *sum_of_deal_3),
        ),
        ("Анна Орлова", *(1, 1, 1, 0), *(1, 0, 0), *[0] * 13),
        (
            *("Всего", *(2, 2, 2, 1), *(1, 0, 0), *sum_of_deal_3),
            *(*sum_of_deal_3, 1, *(0, 0, 0), *sum_of_deal_3),
        ),
    ]


def test_those_with_a_plan_stand_beside_the_forgotten(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    """Lead 5 and deal 3 have one: with planned_is_not_forgotten they are idle, not forgotten."""
    warehouse = edited(
        company,
        tmp_path,
        "update marts.fct_leads set is_forgotten = false where lead_id = 5",
        "update marts.fct_deals set is_forgotten = false where deal_id = 3",
    )
    rows = read(excel(warehouse, settings))["sales_dynamics"].table("Забытые и без дел", "Менеджер")
    columns = ("Менеджер", "Забытые лиды", "Лиды без активности")
    columns += ("Забытые сделки", "Забытые сделки, сумма, ₽", "Сделки без активности")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("Иван Котов", 1, 1, 0, 0, 1),
        ("Анна Орлова", 0, 1, 0, 0, 0),
        ("Всего", 1, 2, 0, 0, 1),
    ]


def test_managers_of_leads_in_both_workbooks(written: dict[str, Workbook]) -> None:
    """Lead 3 has stood for 26 days and ten hours."""
    standing = approx(26 + 10 / 24)
    for name, first in (("marketing", "Этап"), ("sales_dynamics", "Воронка")):
        leads = written[name].sheets["Менеджеры"]
        at = next(n for n, row in enumerate(leads) if row[0] == RU["entity.lead"] + DAYS)
        assert leads[at + 1][0] == first
        heading = leads[at + 1].index("Этап")
        shown = [row[heading:] for row in leads[at + 1 : at + 5]]
        assert [[*row[:2], *row[2:4]] for row in shown] == [
            ["Этап", "Всего", "Анна Орлова", "Иван Котов"],
            ["New", standing, None, standing],
            ["Junk", None, None, None],
            ["Converted", None, None, None],
        ]
    titles = {row[0] for row in written["marketing"].sheets["Менеджеры"]}
    assert "Лиды: поступило лидов" in titles
    assert not any(str(title).startswith("Сделки") for title in titles)


def test_titles_keep_the_code_of_the_currency(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    warehouse = edited(company, tmp_path, "update quality.refreshes set base_currency = 'GEL'")
    titles = {
        row[0] for row in read(excel(warehouse, settings))["sales_dynamics"].sheets["Менеджеры"]
    }
    assert "Сделки: создано сделок, сумма, GEL" in titles


def test_sources_and_labels_tell_what_is_in_work(
    written: dict[str, Workbook], company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    """Of March lead 3 is new; of February lead 5 is in progress. Both are in work."""
    february = read(
        excel(edited(company, tmp_path), settings, dt.date(2026, 2, 1), dt.date(2026, 2, 28))
    )
    for sheet, first in (("Источники", "Источник"), ("UTM", "Метка")):
        for books, expected in (
            (written, [3, 1, 1, 0, 1, 1]),
            (february, [2, 0, 0, 1, 1, 1]),
        ):
            total = books["marketing"].table(sheet, first)[-1]
            at = list(total).index("Поступило лидов")
            assert list(total.items())[at : at + 6] == list(
                zip(
                    (
                        *("Поступило лидов", "Некачественные", "Новые лиды", "Взяты в работу"),
                        *("Лиды в работе", "Качественные, от созданных в периоде"),
                    ),
                    expected,
                    strict=True,
                )
            )


def test_sources_in_both_views_and_their_total(written: dict[str, Workbook]) -> None:
    rows = written["marketing"].table("Источники", "Источник")
    cells = [
        [
            row[name]
            for name in (
                "Источник",
                "Поступило лидов",
                "Лиды с продажей, от созданных в периоде",
                "Сумма продаж лидов, от созданных в периоде, ₽",
                "Лиды с продажей за период",
                "Конверсия в продажу, общая",
                "Сумма продаж с лидом за период, ₽",
                "Выручка с лида за период, ₽",
            )
        ]
        for row in rows
    ]
    assert cells == [
        ["Web", 2, 1, 1000, 2, 1, 1000, 500],
        ["Ads", 1, 0, 0, 1, 1, 500.5, 500.5],
        ["Всего", 3, 1, 1000, 3, 1, 1500.5, approx(1500.5 / 3)],
    ]


def test_sources_and_managers_beside_the_period_before(written: dict[str, Workbook]) -> None:
    """In February came leads 4 (Ads, Котов) and 5 (Web, Орлова), and nothing was sold."""
    received, sold = "Поступило лидов", "Сумма продаж с лидом за период, ₽"
    beside = ("", ": прошлый период", ": изменение")
    rows = written["marketing"].table("Источники, сравнение", "Источник")
    columns = ["Источник", *(f"{name}{one}" for name in (received, sold) for one in beside)]
    assert [[row[name] for name in columns] for row in rows] == [
        ["Web", *(2, 1, 1), *(1000, 0, 1000)],
        ["Ads", *(1, 1, 0), *(500.5, 0, 500.5)],
        ["Всего", *(3, 2, 1), *(1500.5, 0, 1500.5)],
    ]
    sold = "Сумма продаж за период, ₽"
    rows = written["sales_dynamics"].table("Итоги по менеджерам", "Менеджер")
    columns = ["Менеджер", *(f"{name}{one}" for name in (received, sold) for one in beside)]
    columns += ["Сумма продаж за период: не вошло", "Сделки в работе: сейчас"]
    columns += ["Потенциальная сумма, ₽: сейчас", "Забытые лиды: сейчас"]
    # Orlova sold deals 1, 4 and 9, and 6 without a rate; Kotov deal 2.
    assert [[row[name] for name in columns] for row in rows] == [
        ["Анна Орлова", *(2, 1, 1), *(1411, 0, 1411), 1, 0, 0, 1],
        ["Иван Котов", *(1, 1, 0), *(500.5, 0, 500.5), 0, 1, 2000, 1],
        ["Всего", *(3, 2, 1), *(1911.5, 0, 1911.5), 1, 1, 2000, 2],
    ]


def test_deals_and_leads_by_stage_and_what_to_mend(
    written: dict[str, Workbook], company: Warehouse
) -> None:
    """Created in March: deal 3 in work, 1, 2, 6 and 9 sold, 5 and 8 failed."""
    rows = written["sales_dynamics"].table("Сделки по этапам", "Состояние")
    columns = ("Состояние", "Этап", "Создано сделок", "Создано сделок, сумма, ₽")
    assert [[row[name] for name in columns] for row in rows] == [
        ["в работе", "Prep", 1, 2000],
        ["продажа", "Won", 4, 1611.5],
        ["провалена", "Lose", 2, 740],
        ["Всего", None, 7, 4351.5],
    ]
    rows = written["marketing"].table("Лиды по этапам", "Исход")
    assert [(row["Исход"], row["Этап"], row["Поступило лидов"]) for row in rows] == [
        ("в работе", "New", 1),
        ("качественный", "Converted", 1),
        ("некачественный", "Junk", 1),
        ("Всего", None, 3),
    ]
    with duckdb.connect(str(company.published / "crm.duckdb"), read_only=True) as connection:
        expected = connection.execute(
            "select label_ru, sum(records_count) from quality.issues"
            " inner join quality.issue_kinds using (kind) group by all"
        ).fetchall()
    rows = written["sales_dynamics"].table("Качество данных", "Важность")
    assert {(row["Что найдено"], row["Записей"]) for row in rows} == set(expected)


def test_pages_are_set_up_for_print(written: dict[str, Workbook]) -> None:
    for book in written.values():
        for sheet in openpyxl.load_workbook(book.path).worksheets:
            assert sheet.page_setup.orientation == "landscape"
            assert sheet.page_setup.fitToWidth in (None, 1)
            assert sheet.sheet_properties.pageSetUpPr.fitToPage
            assert "стр. &P из &N" in sheet.oddFooter.right.text
            assert "31.03.2026 20:00" in sheet.oddFooter.left.text
    deals = openpyxl.load_workbook(written["sales_dynamics"].path)["Сделки"]
    assert deals.print_title_rows == "$5:$5"


def test_money_by_first_source_and_without_a_lead(written: dict[str, Workbook]) -> None:
    rows = written["marketing"].table("Деньги по источнику", "Источник лида")
    columns = ("Источник лида", "Создано сделок", "Продажи за период", "Сумма продаж за период, ₽")
    assert [[row[name] for name in columns] for row in rows] == [
        ["Web", 2, 2, 1000],
        ["Ads", 3, 1, 500.5],
        ["лид удалён", 0, 1, 300],
        ["лид импортирован", 1, 1, 111],
        ["без лида", 1, 0, 0],
        ["Всего", 7, 5, 1911.5],
    ]


def test_closing_stages_and_managers(written: dict[str, Workbook]) -> None:
    book = written["sales_dynamics"]
    rows = book.table("Закрытие", "Дней до закрытия")
    columns = ("Дней до закрытия", "Продажи, от созданных в периоде", "Закрытые сделки за период")
    assert [[row[name] for name in columns] for row in rows] == [
        ["0–7", 3, 5],
        ["8–30", 1, 1],
        ["31–90", 0, 1],
        ["Всего", 4, 7],
    ]
    (new,) = (
        row
        for row in book.table("Этапы", "Что")
        if (row["Воронка"], row["Этап"]) == ("Продажи", "New")
    )
    assert new["Прошло через этап"] == 5
    assert new["Конверсия на этапе"] == approx(5 / 7)
    assert (new["Отвал"], new["Отвал, сумма, ₽"], new["Отвал, доля"]) == (1, 700, 0.2)
    deals = book.table("Менеджеры", "Воронка", after="Сделки: создано сделок")
    assert deals[-1] == {
        **{"Воронка": "Всего", "Этап": None, "Всего": 7},
        **{"Анна Орлова": 4, "Иван Котов": 3},
    }
    won = next(row for row in deals if row["Этап"] == "Won")
    assert (won["Всего"], won["Анна Орлова"], won["Иван Котов"]) == (4, 3, 1)


def test_lists_hold_what_is_open_and_what_moved_in_the_period(
    written: dict[str, Workbook], company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    """February: lead 1 came later and is closed, lead 3 came later and is in work."""
    rows = written["sales_dynamics"].table("Сделки", "№")
    assert [row["№"] for row in rows] == [3, 4, 2, 9, 1, 6, 5, 8]
    assert rows[0]["Забытые"] == "да"
    assert rows[0]["Сумма, ₽"] == 2000
    assert rows[0]["Создание"] == dt.date(2026, 3, 5)
    assert rows[1]["Продажа"] == dt.date(2026, 3, 15)
    february = read(
        excel(edited(company, tmp_path), settings, dt.date(2026, 2, 1), dt.date(2026, 2, 28))
    )
    assert [row["№"] for row in february["marketing"].table("Лиды", "№")] == [5, 3, 4]
    assert [row["№"] for row in february["sales_dynamics"].table("Сделки", "№")] == [3, 4]


def test_lists_have_the_user_fields_of_their_entity(
    written: dict[str, Workbook], company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    """In the order of the labels, several values in their own; texts stay texts."""
    values = [
        "('deal', 3, null, 3, 'UF_CRM_A', 'Регион', 2, 'Тула')",
        "('deal', 3, null, 3, 'UF_CRM_A', 'Регион', 1, 'Уфа')",
        "('deal', 9, null, 9, 'UF_CRM_A', 'Регион', 1, '=1+1')",
        "('deal', 9, null, 9, 'UF_CRM_AMOUNT', '=2+2', 1, '0042')",
        "('lead', 3, 3, null, 'UF_CRM_B', 'Край', 1, 'да')",
    ]
    warehouse = edited(
        company,
        tmp_path,
        "insert into marts.fct_user_field_values (entity, item_id, lead_id, deal_id, field_name,"
        f" field_label, value_number, field_value) values {', '.join(values)}",
    )
    folder = excel(warehouse, settings)
    books = read(folder)
    for name, sheet, own, expected in (
        (
            *("sales_dynamics", "Сделки", ["=2+2", "Регион"]),
            {3: (None, "Уфа, Тула"), 9: ("0042", "=1+1")},
        ),
        ("marketing", "Лиды", ["Край"], {3: ("да",)}),
    ):
        without = written[name].table(sheet, "№")
        rows = books[name].table(sheet, "№")
        assert list(rows[0]) == [*without[0], *own]
        assert {row["№"]: tuple(row[label] for label in own) for row in rows} == {
            row["№"]: expected.get(row["№"], (None,) * len(own)) for row in without
        }
        assert [{label: row[label] for label in without[0]} for row in rows] == without
    deals = openpyxl.load_workbook(folder / "sales_dynamics.xlsx")["Сделки"]
    assert deals.auto_filter.ref == "A5:T13"
    assert deals["T9"].number_format == "General"
    assert (deals["S5"].data_type, deals["T9"].value, deals["T9"].data_type) == ("s", "=1+1", "s")


def test_first_sheet_tells_data_period_settings_and_definitions(
    written: dict[str, Workbook], company: Warehouse
) -> None:
    book = written["sales_dynamics"]
    line = book.line
    assert line("Описание", "Данные на")[1].startswith("31.03.2026 20:00")
    assert line("Описание", "Период")[1] == "01.03.2026 – 31.03.2026"
    assert line("Описание", "Прошлый период")[1] == "01.02.2026 – 28.02.2026"
    assert line("Описание", RU["forgotten_deal_days"])[1] == "14"
    assert line("Описание", RU["sales_pipelines"])[1] == "Продажи"
    assert line("Описание", RU["legacy_leads"])[1] == "1"
    assert line("Описание", "Сделки", RU["sheets"])[2] == 8
    told = {row[2]: row[1] for row in book.sheets["Описание"] if row[2] not in (None, "Строк")}
    with duckdb.connect(str(company.published / "crm.duckdb"), read_only=True) as connection:
        definitions = dict(
            connection.execute(
                "select metric_name, definition_ru from marts.dim_metrics"
            ).fetchall()
        )
    assert told["deals_forgotten"] == definitions["deals_forgotten"]
    # A metric that only the other workbook shows.
    assert "sales_amount_of_leads_cohort" not in told


def test_what_was_spent_stands_beside_what_it_brought(
    written: dict[str, Workbook], company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    """March: 1 and 2 March of 30 with VAT for the site, 45.50 for ads and 10 for nobody; a row in
    gold has no rate. Deal 1 of 1,000 is of the site, deal 2 of 500.50 of ads."""
    book = written["marketing"]
    names = ("Расход на рекламу, ₽", "Цена лида (CPL), ₽", "Возврат расходов (ROMI), за период")
    cost, price = names[:2]
    rows = book.table("Расходы", "Источник")
    assert [[row["Источник"], *(row[name] for name in names)] for row in rows] == [
        ["Web", 60, 30, approx(940 / 60)],
        ["Ads", 45.5, 45.5, 10],
        ["не сопоставлено", 10, None, -1],
        ["Всего", 115.5, 38.5, approx(1385 / 115.5)],
    ]
    assert [row["Расход на рекламу: не вошло"] for row in rows] == [0, 1, 0, 1]
    months = book.table("Расходы по месяцам", "Месяц")
    assert [(row["Месяц"], row[cost], row[price]) for row in months] == [
        (dt.date(2026, 2, 1), 60, 30),
        (dt.date(2026, 3, 1), 115.5, 38.5),
        ("Всего", 175.5, approx(35.1)),
    ]
    labels = {
        row["Значение"]: row[cost]
        for row in book.table("Расходы по меткам", "Метка")
        if row["Метка"] == "Источник"
    }
    assert labels == {"yandex": 60, "VK": 45.5, "nobody": 10, "без метки": None}
    (nobody, total) = book.table("Расходы без источника", RU["match_kind"])
    assert list(nobody.values())[:6] == [
        *(RU["match_kind.unknown_utm_source"], "nobody", "не сопоставлено", None, "ads.csv", 10),
    ]
    assert total[cost] == 10
    # Where nothing is told of money spent, nothing of it is shown.
    free = read(excel(edited(company, tmp_path, "delete from marts.fct_ad_costs"), settings))
    assert [name for name in book.sheets if name not in free["marketing"].sheets] == [
        *("Расходы", "Расходы по месяцам", "Расходы по меткам", "Расходы без источника"),
    ]


def test_lists_have_frozen_headings_filters_links_and_colours(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    folder = excel(edited(company, tmp_path), settings)
    file = openpyxl.load_workbook(folder / "sales_dynamics.xlsx")
    deals = file["Сделки"]
    assert (deals["A5"].value, deals.freeze_panes, deals.auto_filter.ref) == ("№", "C6", "A5:R13")
    assert re.fullmatch(r'=HYPERLINK\("http://[^"]+/crm/deal/details/3/",3\)', deals["A6"].value)
    (rule,) = (rule for found in deals.conditional_formatting for rule in found.rules)
    assert rule.formula == ['$L6="да"']
    assert deals["L5"].value == "Забытые"
    assert deals["N6"].number_format == "#,##0"
    assert deals["P6"].number_format == "dd.mm.yyyy"
    charts = {sheet.title: len(sheet._charts) for sheet in file.worksheets}
    assert charts == {
        **dict.fromkeys(file.sheetnames, 0),
        **{"Показатели": 4, "По месяцам": 3, "Закрытие": 2, "Итоги по менеджерам": 1},
        **{"Сделки по этапам": 1, "Забытые и без дел": 1},
    }
    sources = openpyxl.load_workbook(folder / "marketing.xlsx")["Источники"]
    scales = {
        str(found.sqref)
        for found in sources.conditional_formatting
        for rule in found.rules
        if rule.type == "colorScale"
    }
    # Conversions of the two sources, not of the total.
    assert {"H6:H7", "L6:L7", "P6:P7"} <= scales
    # Rows of fewer leads stand before the scales, and end there.
    few = [
        rule
        for found in sources.conditional_formatting
        for rule in found.rules
        if rule.type == "expression"
    ]
    assert {tuple(rule.formula) for rule in few} == {("$B6<30",)}
    assert all(rule.stopIfTrue for rule in few)
    assert len(sources._charts) == 1


@pytest.mark.parametrize(
    ("start", "end", "as_of", "expected"),
    [
        # This month up to the day of the data; February is shorter.
        (None, None, "2026-03-31", "2026-03-01 2026-03-31 2026-02-01 2026-02-28"),
        (None, None, "2026-03-10", "2026-03-01 2026-03-10 2026-02-01 2026-02-10 20:00"),
        # A whole month and a whole quarter that are over.
        ("2026-01-01", "2026-01-31", "2026-03-10", "2026-01-01 2026-01-31 2025-12-01 2025-12-31"),
        ("2026-01-01", "2026-03-31", "2026-05-10", "2026-01-01 2026-03-31 2025-10-01 2025-12-31"),
        # Quarter and year to date; 29 February.
        ("2026-04-01", "2026-05-31", "2026-05-31", "2026-04-01 2026-05-31 2026-01-01 2026-02-28"),
        (
            "2024-01-01",
            "2024-02-29",
            "2024-02-29",
            "2024-01-01 2024-02-29 2023-10-01 2023-11-29 20:00",
        ),
        (
            "2024-01-01",
            "2024-05-29",
            "2024-05-29",
            "2024-01-01 2024-05-29 2023-01-01 2023-05-29 20:00",
        ),
        # Any other range: as many days before.
        ("2026-03-01", "2026-03-15", "2026-03-31", "2026-03-01 2026-03-15 2026-02-14 2026-02-28"),
        (
            *("2026-03-05", "2026-03-05", "2026-03-05"),
            "2026-03-05 2026-03-05 2026-03-04 2026-03-04 20:00",
        ),
        (
            *("2026-03-10", "2026-03-15", "2026-03-15"),
            "2026-03-10 2026-03-15 2026-03-04 2026-03-09 20:00",
        ),
        # The first day of the month of the last one.
        (None, "2026-02-28", "2026-03-31", "2026-02-01 2026-02-28 2026-01-01 2026-01-31"),
        # The last finished month in the first days of one.
        (None, None, "2026-03-07", "2026-02-01 2026-02-28 2026-01-01 2026-01-31"),
        (None, None, "2026-03-08", "2026-03-01 2026-03-08 2026-02-01 2026-02-08 20:00"),
        # Second quarter against the first, February against January, and July typed to its end.
        ("2026-04-01", "2026-06-30", "2026-07-15", "2026-04-01 2026-06-30 2026-01-01 2026-03-31"),
        ("2026-02-01", "2026-02-28", "2026-07-15", "2026-02-01 2026-02-28 2026-01-01 2026-01-31"),
        (
            *("2026-07-01", "2026-07-31", "2026-07-15"),
            "2026-07-01 2026-07-15 2026-06-01 2026-06-15 20:00",
        ),
        # A month is running to the end of its last day.
        (
            "2026-04-01",
            "2026-04-30",
            "2026-04-30",
            "2026-04-01 2026-04-30 2026-03-01 2026-03-30 20:00",
        ),
    ],
)
def test_period_and_the_one_before(
    start: str | None, end: str | None, as_of: str, expected: str
) -> None:
    """It is 20:00 in Moscow; a time at the end says that the period before ends then."""
    moscow = ZoneInfo("Europe/Moscow")
    now = dt.datetime.fromisoformat(f"{as_of}T20:00:00").replace(tzinfo=moscow)
    first, last = (dt.date.fromisoformat(value) if value else None for value in (start, end))
    *days, until = expected.split() if expected.endswith(":00") else (*expected.split(), None)
    found = period_of(first, last, now)
    moment = dt.datetime.fromisoformat(f"{days[3]}T{until}:00+03:00") if until else None
    assert found == Period(*map(dt.date.fromisoformat, days), moment, found.previous_as_of)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # February is over for 30 days and 20 hours; January was so on 3 March.
        ("2026-02-01", "2026-02-28", "2026-03-03T20:00"),
        # The running month is not over, and February has no 31st: when February was over.
        ("2026-03-01", "2026-03-31", "2026-03-01T00:00"),
        # The days before end at the same time of day.
        ("2026-03-29", "2026-03-31", "2026-03-28T20:00"),
    ],
)
def test_cohorts_of_the_period_before_are_as_old(start: str, end: str, expected: str) -> None:
    """It is 31 March, 20:00; the same in reports/tests/period.test.mjs."""
    now = dt.datetime(2026, 3, 31, 20, tzinfo=ZoneInfo("Europe/Moscow"))
    found = period_of(dt.date.fromisoformat(start), dt.date.fromisoformat(end), now)
    assert found.previous_as_of == dt.datetime.fromisoformat(f"{expected}:00+03:00")


def test_a_longer_list_than_a_sheet_ends_and_says_so(
    company: Warehouse, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten rows: title, two notes, a free one, headings, four deals of eight, and the message."""
    monkeypatch.setattr(sheets, "ROW_LIMIT", 10)
    book = read(excel(edited(company, tmp_path), settings))["sales_dynamics"]
    rows = book.sheets["Сделки"]
    assert [row[0] for row in rows[5:]] == [
        *(3, 4, 2, 9),
        "Показано строк: 4; не поместилось: 4 (предел листа)",
    ]
    assert book.line("Описание", "Сделки", RU["sheets"])[2:] == [4, 4]


ATTACKS = (
    '=HYPERLINK("http://evil.example","click")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "http://evil.example",
    "{=1+1}",
    "tab\there\x0b\x00_x0041_",
    "0042",
)


def test_texts_of_the_crm_are_never_formulas(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    shown = [*ATTACKS[:6], "tab\there\x0b_x0041_", "0042"]
    values = ", ".join(
        f"({number}, {quoted(text)})" for number, text in enumerate(ATTACKS, start=1)
    )
    warehouse = edited(
        company,
        tmp_path,
        f"update marts.fct_deals set title = text from (values {values}) as attacks (id, text)"
        " where deal_id = id",
        "update marts.fct_deals set manager_name = '=1+1', stage_name = '@x', title ="
        " repeat('я', 40000) where deal_id = 9",
        "update marts.fct_leads set source_name = '=cmd()', utm_campaign = '+7', city = '-1'",
        "update marts.dim_pipelines set pipeline_name = '=2'",
    )
    folder = excel(warehouse, settings)
    for name in FILES:
        for sheet in openpyxl.load_workbook(folder / f"{name}.xlsx").worksheets:
            formulas = [
                found.value for row in sheet.iter_rows() for found in row if found.data_type == "f"
            ]
            pattern = r'=HYPERLINK\("http://127\.0\.0\.1:\d+/crm/(deal|lead)/details/\d+/",\d+\)'
            assert [text for text in formulas if not re.fullmatch(pattern, text)] == []
            links = [link.target for link in sheet._hyperlinks if link.target]
            assert links == []
    book = read(folder)
    deals = {row["№"]: row for row in book["sales_dynamics"].table("Сделки", "№")}
    titles = {number: row["Название"] for number, row in deals.items()}
    for number in (1, 2, 3, 4, 5, 6, 8):
        assert titles[number] == shown[number - 1]
    assert titles[9] == "я" * 32_766 + "…"
    assert deals[9]["Менеджер"] == "=1+1"
    assert book["marketing"].table("Источники", "Источник")[0]["Источник"] == "=cmd()"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''").replace("\x00", "") + "'"


def test_nothing_in_the_portal_gives_headings_and_says_so(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    tables = ("fct_leads", "fct_deals", "fct_stage_reach", "fct_stage_visits", "fct_ad_costs")
    emptied = [*(f"delete from marts.{table}" for table in tables), "delete from quality.issues"]
    warehouse = edited(company, tmp_path, *emptied)
    for name, book in read(excel(warehouse, settings)).items():
        for sheet, rows in book.sheets.items():
            if sheet not in ("Описание", "Показатели"):
                assert RU["empty"] in {row[0] for row in rows}, (name, sheet)
                assert RU["total"] not in {row[0] for row in rows}, (name, sheet)
    figures = Workbook(warehouse.published / "excel" / "sales_dynamics.xlsx")
    assert figures.line("Показатели", "Поступило лидов")[1:] == [0, None, 0, None, 0]
    assert figures.line("Показатели", "В сделку") == ["В сделку"]


def test_a_portal_without_leads_has_its_deals(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    warehouse = edited(
        company,
        tmp_path,
        "delete from marts.fct_leads",
        "delete from marts.fct_stage_reach where entity = 'lead'",
        "delete from marts.fct_stage_visits where entity = 'lead'",
        "update quality.refreshes set crm_mode = 'simple'",
    )
    books = read(excel(warehouse, settings))
    for book in books.values():
        assert RU["no_leads"] in {row[0] for row in book.sheets["Описание"]}
    assert books["sales_dynamics"].line("Показатели", "Создано сделок")[1] == 7
    for sheet in ("Этапы", "Переходы"):
        assert {row["Что"] for row in books["sales_dynamics"].table(sheet, "Что")} == {"Сделки"}
    assert books["marketing"].table("Лиды", "№") == []
    money = books["marketing"].table("Деньги по источнику", "Источник лида")
    assert money[-1]["Создано сделок"] == 7


def test_words_are_of_one_language(company: Warehouse, settings: Settings, tmp_path: Path) -> None:
    """The names that the company's marts hold are left out; they are what the CRM calls things."""
    assert set(RU) == set(EN)
    with duckdb.connect(str(company.published / "crm.duckdb"), read_only=True) as connection:
        names = {
            text
            for table, column in (
                ("fct_leads", "source_name"),
                ("fct_leads", "title"),
                ("fct_leads", "city"),
                ("fct_leads", "utm_source"),
                *(
                    ("fct_ad_costs", name)
                    for name in ("file", "source_code", "source_name", "utm_source", "utm_campaign")
                ),
                ("fct_deals", "title"),
                ("fct_deals", "lead_source_name"),
                ("fct_deals", "source_name"),
                ("fct_deals", "pipeline_name"),
                ("dim_stages", "stage_name"),
                ("fct_stage_reach", "stage_name"),
                ("dim_managers", "manager_name"),
                ("dim_metrics", "metric_name"),
                ("refreshes", "portal_url"),
            )
            for (text,) in connection.execute(
                f"select distinct {column} from"
                f" {'quality' if table == 'refreshes' else 'marts'}.{table}"
            ).fetchall()
        }
    for language, foreign in (("en", "[А-яЁё]"), ("ru", "[A-Za-z]{2,}")):
        folder = tmp_path / language
        warehouse = edited(company, folder)
        chosen = settings.model_copy(update={"report_lang": language})
        for book in read(excel(warehouse, chosen)).values():
            texts = {
                value
                for rows in [*book.sheets.values(), [list(book.sheets)]]
                for row in rows
                for value in row
                if isinstance(value, str) and value not in names
            }
            assert len(texts) > 100
            allowed = (
                r"CPL|CPQL|CAC|ROMI|UTM|CRM|RUB|XAU|Europe/Moscow|forgotten_\w+_days|spend(_rules)?"
                r"|repeat_means|lead_stage_\w+"
            )
            wrong = {text for text in texts if re.search(foreign, re.sub(allowed, "", text))}
            assert wrong == set()


# Publication


def test_a_failure_leaves_the_previous_workbooks(
    company: Warehouse, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = edited(company, tmp_path)
    folder = excel(warehouse, settings)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"sales_dynamics.xlsx", "marketing.xlsx"}

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(workbooks, "marketing", fail)
    with pytest.raises(ExcelFailed, match="no space left") as failure:
        excel(warehouse, settings)
    assert failure.value.exit_code == 5
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in folder.parent.iterdir()} == {
        *("crm.duckdb", "semantic_manifest.json", "excel")
    }


def test_a_new_publication_keeps_the_workbooks_until_new_ones_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`published/excel` never points to nothing, and what old readers hold is not written to."""
    warehouse = Warehouse(tmp_path / "data")
    old = warehouse.published / ".refreshes" / "000001" / "excel"
    old.mkdir(parents=True)
    (old / "marketing.xlsx").write_text("old", encoding="utf-8")
    (warehouse.published / "current").symlink_to(".refreshes/000001")
    (warehouse.published / "excel").symlink_to("current/excel")
    monkeypatch.setattr(Warehouse, "last_refreshes", lambda self: [FakeRefresh()])
    monkeypatch.setattr("pipelines.publish._copy", lambda warehouse, folder, earlier: None)
    folder = publish(warehouse)
    shown = warehouse.published / "excel" / "marketing.xlsx"
    assert shown.resolve() == (folder / "excel" / "marketing.xlsx").resolve()
    assert shown.read_text(encoding="utf-8") == "old"
    shown.write_text("new", encoding="utf-8")
    assert (old / "marketing.xlsx").read_text(encoding="utf-8") == "old"


class FakeRefresh:
    refresh_no = 2


def test_the_site_holds_the_workbooks_also_when_built_again(
    company: Warehouse, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = edited(company, tmp_path)
    excel(warehouse, settings)
    files = tmp_path / "shell"
    files.mkdir()
    (files / "blocks.json").write_text('{"blocks": []}')
    monkeypatch.setattr(report_module, "shell", lambda *_: Shell(files, [], []))
    monkeypatch.setattr(report_module, "write_data", lambda *_: [])
    for _ in range(2):
        site = report_module.report(warehouse, settings)
        for name in FILES:
            here = site / "excel" / f"{name}.xlsx"
            assert here.read_bytes() == (warehouse.published / "excel" / here.name).read_bytes()


def test_the_site_is_built_though_the_workbooks_fail(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def fail(*_: object) -> None:
        done.append("excel")
        raise ExcelFailed("no space left")

    monkeypatch.setattr(refresh_module, "_steps", lambda *_: None)
    monkeypatch.setattr(refresh_module, "excel", fail)
    monkeypatch.setattr(refresh_module, "report", lambda *_: done.append("report"))
    warehouse = Warehouse(tmp_path)
    with pytest.raises(ExcelFailed):
        refresh_module.refresh(warehouse, settings, lambda: None, lambda text: None)  # type: ignore[arg-type,return-value]
    assert done == ["excel", "report"]
    run = warehouse.run_file.read_text(encoding="utf-8")
    assert '"status": "published"' in run
    assert '"exit_code": 5' in run


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), RuntimeError("odd"), OSError(28, "full")])
def test_what_breaks_off_after_publication_is_no_failed_publication(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    def stop(*_: object) -> None:
        raise raised

    monkeypatch.setattr(refresh_module, "_steps", lambda *_: None)
    monkeypatch.setattr(refresh_module, "excel", stop)
    warehouse = Warehouse(tmp_path)
    with pytest.raises(ReportFailed, match="when the data were published"):
        refresh_module.refresh(warehouse, settings, lambda: None, lambda text: None)  # type: ignore[arg-type,return-value]
    run = json.loads(warehouse.run_file.read_text(encoding="utf-8"))
    assert (run["status"], run["exit_code"], run["failed_step"]) == ("published", 5, "excel")
    assert run["summary"][0].startswith("published, exit code 5: the data are published")


def test_command_has_a_period_and_exit_codes(
    company: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(warehouse: Warehouse, *arguments: str) -> int:
        monkeypatch.setenv("WAREHOUSE_DIR", str(warehouse.directory))
        monkeypatch.setattr(sys, "argv", ["pipelines", "excel", *arguments])
        return main()

    assert run(Warehouse(tmp_path / "empty")) == 5
    assert "nothing is published" in capsys.readouterr().err
    warehouse = edited(company, tmp_path)
    assert run(warehouse, "--start", "2026-04-01", "--end", "2026-03-01") == 2
    assert "before it starts" in capsys.readouterr().err
    assert not (warehouse.published / "excel").exists()
    assert run(warehouse, "--start", "2026-02-01", "--end", "2026-02-28") == 0
    book = read(warehouse.published / "excel")["sales_dynamics"]
    assert book.line("Описание", "Период")[1] == "01.02.2026 – 28.02.2026"
    assert book.line("Показатели", "Поступило лидов")[1] == 2


def test_a_period_that_ends_before_it_starts_is_refused(
    company: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="before it starts"):
        excel(edited(company, tmp_path), settings, dt.date(2026, 4, 1))


# The reference month, opened and recalculated by LibreOffice


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Warehouse:
    """The portal of the reference month, published with its workbooks."""
    folder = tmp_path_factory.mktemp("reference")
    generate(folder / "portal", leads=3000, reference_month=True)
    warehouse = Warehouse(folder / "data")
    with serve(folder / "portal") as portal:
        complete(warehouse, extract(Client(portal.webhook_url), warehouse, settings).refresh_no)
    run_models(warehouse.directory, settings.dbt_vars())
    publish(warehouse)
    excel(warehouse, settings)
    return warehouse


@pytest.fixture(scope="module", params=["as written", "LibreOffice"])
def books(
    reference: Warehouse, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Workbook]:
    """The workbooks as written, and as LibreOffice reads, recalculates and saves them."""
    folder = reference.published / "excel"
    if request.param == "as written":
        return read(folder)
    if SOFFICE is None:
        pytest.skip("LibreOffice is missing: apt install libreoffice-calc")
    opened = tmp_path_factory.mktemp("opened")
    subprocess.run(
        [
            *(SOFFICE, f"-env:UserInstallation=file://{opened}/profile", "--headless"),
            *("--convert-to", "xlsx", "--outdir", str(opened)),
            *(str(folder / f"{name}.xlsx") for name in FILES),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return read(opened)


@pytest.fixture(scope="module")
def sql(reference: Warehouse) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """Asks the published file; amounts and counts come as the cells have them."""
    with duckdb.connect(str(reference.published / "crm.duckdb"), read_only=True) as connection:
        yield lambda text: [tuple(map(cell, row)) for row in connection.execute(text).fetchall()]


Books = dict[str, Workbook]
Sql = Callable[[str], list[tuple[Any, ...]]]
MARCH = "month(metric_time__month) = 3 and year(metric_time__month) = 2026"


def close(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(approx(value) if isinstance(value, float) else value for value in row)


def same(rows: list[dict[Any, Any]], expected: list[tuple[Any, ...]], *columns: str) -> None:
    """Compares columns of a table with the rows of a query, in any order."""
    found = [tuple(row[name] for name in columns) for row in rows]
    assert len(found) == len(expected)

    def key(row: tuple[Any, ...]) -> list[tuple[bool, str]]:
        return [
            (value is None, f"{value:.6f}" if isinstance(value, float) else str(value))
            for value in row
        ]

    for one, other in zip(sorted(found, key=key), sorted(expected, key=key), strict=True):
        assert one == close(other)


def split(rows: list[dict[Any, Any]]) -> tuple[list[dict[Any, Any]], dict[Any, Any]]:
    """Rows, and the total at their end."""
    assert next(iter(rows[-1].values())) == RU["total"]
    return rows[:-1], rows[-1]


def test_the_reference_month_is_known_by_heart(books: Books) -> None:
    line = books["sales_dynamics"].line
    leads = RU["leads_of_period"]
    assert line("Показатели", "Поступило лидов", leads)[1] == 1398
    junk = line("Показатели", "Некачественные", leads)
    assert (junk[1], round(junk[2] * 100, 1)) == (896, 64.1)
    quality = line("Показатели", "Качественные, от созданных в периоде", leads)
    assert (quality[1], round(quality[2] * 100, 1)) == (253, 18.1)
    assert line("Показатели", "Лиды в работе", leads)[1] == 249
    assert line("Показатели", "Время обработки, дней, в среднем", leads)[1] == approx(5)
    pipelines_ = books["sales_dynamics"].table("Показатели", "Воронка", RU["by_pipeline"])
    sales = next(row for row in pipelines_ if row["Воронка"] == "Продажи")
    assert (sales["Создано сделок"], sales["Забытые сделки"]) == (373, 15)
    step = line("Показатели", "С продажей", SALES_FUNNEL)
    assert step[1:4] == [0, 0, 0]
    assert (step[4], round(step[5] * 100, 2), round(step[6] * 100, 2)) == (11, 0.79, 4.35)
    source = books["marketing"].table("Источники", "Источник")[-1]
    assert (source["Поступило лидов"], source["Лиды с продажей за период"]) == (1398, 11)


def test_figures_are_those_of_the_semantic_layer(books: Books, sql: Sql) -> None:
    """Every metric that the sheet shows and the view has: March, and February beside it."""
    labels: dict[Any, Any] = {
        (f"{label}, ₽" if value_format == "amount" else label): name
        for name, label, value_format in sql(
            "select metric_name, label_ru, value_format from marts.dim_metrics"
        )
    }
    columns = {name for (name, *_) in sql("describe metrics.sales_dynamics")}
    compared = 0
    for row in books["sales_dynamics"].sheets["Показатели"]:
        if row[0] == SALES_FUNNEL:
            break
        name = labels.get(row[0])
        if name not in columns:
            continue
        values = sql(
            f"select {name} from metrics.sales_dynamics"
            " where metric_time__month >= date '2026-02-01' order by metric_time__month desc"
        )
        # How the records of a month stand now is not compared with those of another, but where it
        # is known when they came to stand so: February on its last day, as March is not over.
        came = ("leads_received", "leads_first_time", "leads_repeat", "deals_created")
        at_age = {"leads_junk": "is_junk", "leads_quality_cohort": "is_quality"}
        before = close(values[1]) if name in came or name.endswith("_period") else (None,)
        if name in at_age:
            ((by_then,),) = sql(
                f"select count(*) from marts.fct_leads where is_counted and {at_age[name]}"
                " and date_trunc('month', created_date) = date '2026-02-01'"
                " and outcome_at < timestamptz '2026-03-01 00:00:00+03'"
            )
            before = (by_then,)
        assert ((row[1],), (row[3],)) == (close(values[0]), before), name
        compared += 1
    assert compared == 45


def test_months_are_those_of_the_marts(books: Books, sql: Sql) -> None:
    rows, total = split(books["sales_dynamics"].table("По месяцам", "Месяц"))
    expected = sql(
        """
        with months as (
            select created_month as month from marts.fct_leads
            union
            select created_month from marts.fct_deals
        )
        select month,
            (select count(*) from marts.fct_leads where is_counted and created_month = month),
            (select count(*) from marts.fct_leads
            where is_counted and is_junk and created_month = month),
            (select count(*) from marts.fct_deals where is_counted and created_month = month),
            (select count(*) from marts.fct_deals
            where is_counted and date_trunc('month', sold_date) = month),
            (select coalesce(sum(base_amount), 0) from marts.fct_deals
            where is_counted and date_trunc('month', sold_date) = month)
        from months
        """
    )
    columns = (
        *("Месяц", "Поступило лидов", "Некачественные", "Создано сделок", "Продажи за период"),
        "Сумма продаж за период, ₽",
    )
    same(rows, expected, *columns)
    (whole,) = sql(
        "select sum(base_amount), sum(base_amount) / count(base_amount) from marts.fct_deals"
        " where is_counted and is_sale and sold_date is not null"
    )
    amounts = (total["Сумма продаж за период, ₽"], total["Средний чек за период, ₽"])
    assert amounts == close(whole)
    rows, total = split(books["marketing"].table("По месяцам", "Месяц"))
    expected = sql(
        """
        select created_month, count(*), count(*) filter (where has_deal) / count(*),
            sum(sales_amount), sum(sales_amount) / count(*)
        from marts.fct_leads where is_counted group by created_month
        """
    )
    columns = (
        *("Месяц", "Поступило лидов", "Конверсия в сделку, от созданных в периоде"),
        "Сумма продаж лидов, от созданных в периоде, ₽",
        "Выручка с лида, от созданных в периоде, ₽",
    )
    same(rows, expected, *columns)
    ((rate,),) = sql(
        "select count(*) filter (where has_sale) / count(*) from marts.fct_leads where is_counted"
    )
    assert total["Конверсия в продажу, от созданных в периоде"] == approx(rate)


def test_stages_are_those_of_the_semantic_layer(books: Books, sql: Sql) -> None:
    rows = books["sales_dynamics"].table("Этапы", "Что")
    for entity, view, group in (
        ("Лиды", "lead_stages", "null"),
        ("Сделки", "deal_stages", "stage__pipeline_name"),
    ):
        expected = sql(
            f"""
            select {group}, stage__stage_name, sum(visited),
                sum(visited) / nullif(sum(stage_items), 0),
                sum(visitors_forwarded) / nullif(sum(visited), 0), sum(dropped),
                sum(dropped_amount), sum(visitors_dropped) / nullif(sum(visited), 0),
                sum(stage_days_total) / nullif(sum(stage_visits_finished), 0)
            from metrics.{view} where {MARCH} group by all
            """
        )
        columns = (
            *("Воронка", "Этап", "Прошло через этап", "Конверсия на этапе", "Дальше этапа"),
            *("Отвал", "Отвал, сумма, ₽", "Отвал, доля"),
            "Средний цикл на этапе, дней, в среднем",
        )
        same([row for row in rows if row["Что"] == entity], expected, *columns)


def test_matrices_of_managers_are_those_of_the_marts(books: Books, sql: Sql) -> None:
    book = books["sales_dynamics"]
    for title, fact, pipeline, measure in (
        ("Лиды: поступило лидов", "fct_leads", "null", "count(*)"),
        ("Сделки: создано сделок", "fct_deals", "pipeline_name", "count(*)"),
        ("Сделки: создано сделок, сумма, ₽", "fct_deals", "pipeline_name", "sum(base_amount)"),
    ):
        created = "is_counted and created_month = date '2026-03-01'"
        expected = sql(
            f"select {pipeline}, stage_name, manager_name, {measure} from marts.{fact}"
            f" where {created} group by all"
        )
        # The first heading of a table of leads stands over empty cells.
        sheet = book.sheets["Менеджеры"]
        at = next(number for number, row in enumerate(sheet) if row[0] == title)
        heading = sheet[at + 1]
        found = []
        sums: dict[Any, float] = {}
        for row in sheet[at + 2 :]:
            if row[1] is None:
                break
            for manager, value in zip(heading[3:], row[3:], strict=True):
                if value is not None:
                    found.append((row[0], row[1], manager, value))
                    sums[manager] = sums.get(manager, 0) + value
            assert row[2] == approx(sum(value for value in row[3:] if value is not None))
        known = [row for row in expected if row[3] is not None]
        assert sorted(found, key=str) == [close(row) for row in sorted(known, key=str)]
        total = next(row for row in sheet[at + 2 :] if row[0] == RU["total"])
        assert total[2] == approx(sum(sums.values()))
        assert [value or 0 for value in total[3:]] == [
            approx(sums.get(manager, 0)) for manager in heading[3:]
        ]


def test_days_on_stage_are_those_of_the_semantic_layer(books: Books, sql: Sql) -> None:
    expected = sql(
        f"""
        select stage__stage_name, lead__manager_name, sum(days_standing_total) / sum(standing_now)
        from metrics.lead_stages where {MARCH} group by all having sum(standing_now) > 0
        """
    )
    assert len(expected) > 30
    for book in books.values():
        sheet = book.sheets["Менеджеры"]
        at = next(n for n, row in enumerate(sheet) if row[0] == RU["entity.lead"] + DAYS)
        heading = sheet[at + 1]
        stage = heading.index("Этап")
        body = sheet[
            at + 2 : next(n for n, row in enumerate(sheet) if n > at + 2 and not row[stage])
        ]
        found = [
            (row[stage], manager, value)
            for row in body
            for manager, value in zip(heading[stage + 2 :], row[stage + 2 :], strict=True)
            if value is not None
        ]
        assert sorted(found) == [close(row) for row in sorted(expected)]


def test_transitions_are_those_of_the_semantic_layer(books: Books, sql: Sql) -> None:
    expected = sql(
        f"""
        select
            case stage__entity when 'lead' then 'Лиды' else 'Сделки' end, stage__pipeline_name,
            stage__stage_name, stage__next_stage_name, stage__next_pipeline_name, sum(transitions),
            case when stage__is_back_move then 'да' else 'нет' end
        from metrics.stage_transitions where {MARCH} group by all
        """
    )
    rows = books["sales_dynamics"].table("Переходы", "Что")
    columns = ("Что", "Воронка", "Этап", "Следующий этап", "Воронка следующего этапа")
    same(rows, expected, *columns, "Переходы", "Назад")


def test_what_needs_attention_adds_up_to_what_is_in_work(books: Books, sql: Sql) -> None:
    book = books["sales_dynamics"]
    rows, total = split(book.table("Забытые и без дел", "Менеджер"))
    for name in (
        *("Лиды в работе", "Забытые лиды", "Лиды без дел", "Сделки в работе"),
        *("Потенциальная сумма, ₽", "Забытые сделки", "Сделки без дел"),
    ):
        assert total[name] == approx(book.line("Показатели", name, RU["stock"])[1]), name
        assert total[name] == approx(sum(row[name] or 0 for row in rows)), name
    for name, fact in (("Лиды без активности", "leads"), ("Сделки без активности", "deals")):
        expected = sql(
            f"select manager_name, count(*) from marts.fct_{fact}"
            " where is_counted and is_idle group by all"
        )
        same([row for row in rows if row[name]], expected, "Менеджер", name)
        assert total[name] == sum(row[1] for row in expected) > 0
    expected = sql(
        """
        select manager_name, count(*), sum(base_amount) from marts.fct_deals
        where is_counted and is_forgotten group by all
        """
    )
    forgotten = [row for row in rows if row["Забытые сделки"]]
    same(forgotten, expected, "Менеджер", "Забытые сделки", "Забытые сделки, сумма, ₽")


def test_closing_is_that_of_the_marts(books: Books, sql: Sql) -> None:
    rows, total = split(books["sales_dynamics"].table("Закрытие", "Дней до закрытия"))
    columns = (
        *("Дней до закрытия", "Закрытые сделки, от созданных в периоде"),
        *("Закрытые сделки за период", "Сумма продаж за период, ₽"),
    )
    expected = sql(
        """
        select
            case when floor(days_to_close) <= 7 then '0–7' when floor(days_to_close) <= 30
                then '8–30' when floor(days_to_close) <= 90 then '31–90' else '91+' end,
            count(*) filter (where created_month = date '2026-03-01'),
            count(*) filter (where greatest(sold_date, failed_date) >= date '2026-03-01'),
            coalesce(sum(base_amount) filter (where sold_date >= date '2026-03-01'), 0)
        from marts.fct_deals where is_counted and (is_sale or is_failed) group by all
        """
    )
    same(rows, expected, *columns)
    assert total["Закрытые сделки за период"] == sum(row[2] for row in expected)


def test_lists_are_those_of_the_marts(books: Books, sql: Sql) -> None:
    expected = sql(
        """
        select deal_id, title, stage_name, manager_name, pipeline_name, lead_source_name, age_days,
            idle_days, next_activity_date, case when is_forgotten then 'да' else 'нет' end,
            base_amount, created_date, sold_date
        from marts.fct_deals
        where is_counted and (is_in_work or created_date >= date '2026-03-01'
            or sold_date >= date '2026-03-01' or failed_date >= date '2026-03-01')
        """
    )
    columns = (
        *("№", "Название", "Этап", "Менеджер", "Воронка", "Источник лида", "Длительность, дней"),
        *("Без активности, дней", "Следующее дело", "Забытые", "Сумма, ₽", "Создание", "Продажа"),
    )
    same(books["sales_dynamics"].table("Сделки", "№"), expected, *columns)
    expected = sql(
        """
        select lead_id, title, stage_name, source_name, utm_campaign, manager_name, city, age_days,
            next_activity_date, case when is_forgotten then 'да' else 'нет' end, sales_amount,
            potential_amount, created_date
        from marts.fct_leads
        where is_counted and (is_in_work or created_date >= date '2026-03-01')
        """
    )
    columns = (
        *("№", "Название", "Этап", "Источник", "Кампания", "Менеджер", "Город"),
        *("Длительность, дней", "Следующее дело", "Забытые", "Сумма продаж, ₽"),
        *("Потенциальная сумма, ₽", "Создание"),
    )
    same(books["marketing"].table("Лиды", "№"), expected, *columns)


def test_sources_are_those_of_the_semantic_layer(books: Books, sql: Sql) -> None:
    rows, total = split(books["marketing"].table("Источники", "Источник"))
    names = [
        "leads_received",
        "leads_junk",
        "leads_new",
        "leads_in_progress",
        "leads_in_work",
        "leads_quality_cohort",
        "lead_to_quality_rate_cohort",
        "leads_with_deal_cohort",
        "lead_to_deal_rate_cohort",
        "leads_with_sale_cohort",
        "lead_to_sale_rate_cohort",
        "sales_amount_of_leads_cohort",
        "revenue_per_lead_cohort",
        "leads_with_deal_period",
        "lead_to_deal_rate_period",
        "leads_with_sale_period",
        "lead_to_sale_rate_period",
        "sales_amount_of_leads_period",
        "revenue_per_lead_period",
    ]
    labels = dict(
        sql(
            "select metric_name, label_ru || case value_format when 'amount' then ', ₽' else ''"
            " end from marts.dim_metrics"
        )
    )
    columns = [labels[name] for name in names]
    view = f"from metrics.marketing where {MARCH} and lead__source_name is not null"
    # Every amount of this company is known: what has none is the sum of nothing.
    selected = ", ".join(names).replace(
        "sales_amount_of_leads_period", "coalesce(sales_amount_of_leads_period, 0)"
    )
    expected = sql(f"select lead__source_name, {selected} {view}")
    shown = {row["Источник"] for row in rows}
    same(rows, [row for row in expected if row[0] in shown], "Источник", *columns)
    # What is not shown has no lead, deal or sale in the month.
    assert all(not any(row[1:]) for row in expected if row[0] not in shown)
    (sums,) = sql(
        "select sum(leads_received), sum(leads_with_sale_period), sum(leads_with_sale_period)"
        f" / sum(leads_received), sum(sales_amount_of_leads_period) / sum(leads_received) {view}"
    )
    assert tuple(
        total[labels[name]]
        for name in (
            *("leads_received", "leads_with_sale_period", "lead_to_sale_rate_period"),
            "revenue_per_lead_period",
        )
    ) == close(sums)
    potential = sql(
        "select source_name, sum(potential_amount) from marts.fct_leads"
        " where is_counted and created_month = date '2026-03-01' group by all"
    )
    received = [row for row in rows if row["Поступило лидов"]]
    same(received, potential, "Источник", "Потенциал этих лидов, ₽")


def test_matrices_by_source_are_those_of_the_marts(books: Books, sql: Sql) -> None:
    rows, total = split(books["marketing"].table("Источник × месяц", "Источник"))
    expected = sql(
        "select source_name, created_month, sum(potential_amount) from marts.fct_leads"
        " where is_counted group by all"
    )
    found = [
        {"source": row["Источник"], "month": month, "amount": value}
        for row in rows
        for month, value in row.items()
        if isinstance(month, dt.date) and value is not None
    ]
    same(found, expected, "source", "month", "amount")
    assert total["Всего"] == approx(sum(row[2] for row in expected))
    rows, total = split(books["marketing"].table("Этапы по источникам", "Источник"))
    expected = sql(
        f"""
        select lead__source_name, stage__stage_name, sum(visited) / sum(stage_items)
        from metrics.lead_stages where {MARCH} group by all having sum(stage_items) > 0
        """
    )
    found = [
        {"source": row["Источник"], "stage": stage, "share": value}
        for row in rows
        for stage, value in row.items()
        if stage not in ("Источник", "Поступило лидов")
    ]
    same(found, expected, "source", "stage", "share")
    whole = dict(
        sql(
            "select stage__stage_name, sum(visited) / sum(stage_items) from metrics.lead_stages"
            f" where {MARCH} group by all having sum(stage_items) > 0"
        )
    )
    assert {stage: total[stage] for stage in whole} == approx(whole)


def test_utm_labels_are_those_of_the_semantic_layer(books: Books, sql: Sql) -> None:
    rows, total = split(books["marketing"].table("UTM", "Метка"))
    for label, column in (
        ("Кампания", "utm_campaign"),
        ("Источник", "utm_source"),
        ("Канал", "utm_medium"),
        ("Объявление", "utm_content"),
        ("Ключевое слово", "utm_term"),
    ):
        expected = sql(
            f"""
            select coalesce(lead__{column}, 'без метки'), sum(leads_received), sum(leads_new),
                sum(leads_in_progress), sum(leads_in_work),
                sum(leads_quality_cohort) / sum(leads_received),
                sum(leads_with_deal_cohort) / sum(leads_received),
                sum(sales_amount_of_leads_cohort)
            from metrics.marketing_campaigns where {MARCH}
            group by all having sum(leads_received) > 0
            """
        )
        columns = (
            *("Значение", "Поступило лидов", "Новые лиды", "Взяты в работу", "Лиды в работе"),
            "Конверсия в качественные, от созданных в периоде",
            "Конверсия в сделку, от созданных в периоде",
            "Сумма продаж лидов, от созданных в периоде, ₽",
        )
        same([row for row in rows if row["Метка"] == label], expected, *columns)
        assert total["Поступило лидов"] == sum(row[1] for row in expected) == 1398


def test_money_by_source_is_that_of_the_marts(books: Books, sql: Sql) -> None:
    rows, total = split(books["marketing"].table("Деньги по источнику", "Источник лида"))
    expected = sql(
        """
        with created as (
            select lead_source_name, count(*) as deals, sum(base_amount) filter (is_in_work) as open
            from marts.fct_deals where is_counted and created_month = date '2026-03-01'
            group by all
        ),
        sold as (
            select lead_source_name, count(*) as sales, sum(base_amount) as amount
            from marts.fct_deals where is_counted and sold_date >= date '2026-03-01' group by all
        )
        select lead_source_name, coalesce(deals, 0), coalesce(open, 0), coalesce(sales, 0),
            coalesce(amount, 0)
        from created full join sold using (lead_source_name)
        """
    )
    columns = (
        *("Источник лида", "Создано сделок", "Потенциальная сумма, ₽", "Продажи за период"),
        "Сумма продаж за период, ₽",
    )
    same(rows, expected, *columns)
    assert total["Сумма продаж за период, ₽"] == approx(sum(row[4] or 0 for row in expected))
    # Rows without a lead that counts stand at the end.
    assert [row["Источник лида"] for row in rows[-2:]] == ["без лида", "лид удалён"]


def test_stock_is_whatever_is_in_work(books: Books, sql: Sql) -> None:
    line, stock = books["sales_dynamics"].line, RU["stock"]
    ((forgotten, open_amount),) = sql(
        "select count(*) filter (where is_forgotten), sum(base_amount) filter (where is_in_work)"
        " from marts.fct_deals where is_counted"
    )
    assert line("Показатели", "Забытые сделки", stock)[1] == forgotten
    # The imported deals stand there until their stage is named.
    assert line("Показатели", "Потенциальная сумма, ₽", stock)[1] == approx(open_amount)
    assert open_amount > 176_000_000

"""Spend files: what is read of them, what is refused, and what becomes of files that change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines import spend as spend_module
from pipelines.bitrix24.client import Client
from pipelines.bitrix24.doctor import examine
from pipelines.bitrix24.extract import extract
from pipelines.check import check
from pipelines.compact import compact
from pipelines.errors import SpendFileError
from pipelines.settings import Settings
from pipelines.spend import read_spend
from pipelines.warehouse import Warehouse
from scripts.demo_portal import Portal, serve
from tests.support.plain_refresh import plain_refresh
from tests.support.raw_tables import query
from tests.support.small_portal import lead, write_portal

METRICA = "spend: [{path: 'spend/*.csv', format: metrica}]"
PLAIN = """
spend:
  - path: "spend/*.csv"
    format: plain
    columns: {date: День, cost: "Расход (руб.)", utm_campaign: Кампания, clicks: Клики}
    vat: 22
    currency: RUB
"""
MARCH_1, MARCH_2, MARCH_31 = (dt.date(2026, 3, day) for day in (1, 2, 31))

Write = Callable[..., Settings]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the settings file."""
    (tmp_path / "settings" / "spend").mkdir(parents=True)
    return tmp_path / "settings"


@pytest.fixture
def write(folder: Path) -> Write:
    """Writes the settings and files of the folder `spend`, and loads the settings."""

    def written(settings: str, files: Mapping[str, str | bytes]) -> Settings:
        (folder / "settings.yml").write_text(settings, encoding="utf-8")
        for name, content in files.items():
            (folder / "spend" / name).write_bytes(
                content.encode() if isinstance(content, str) else content
            )
        return Settings.load(folder / "settings.yml")

    return written


def told(settings: Settings) -> list[str]:
    """The lines of the error."""
    with pytest.raises(SpendFileError) as caught:
        read_spend(settings)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def given(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that hold something."""
    return {name: value for name, value in row.items() if value is not None}


def test_the_form_of_metrica(write: Write) -> None:
    text = (
        "Date,UTMSource,UTMMedium,UTMCampaign,UTMTerm,UTMContent,Expenses,Currency,Clicks\n"
        "2026-03-01,vk,cpc,novosely,окна,banner_1,1500.5,USD,40\n"
        "2026-03-01/2026-03-31,2gis,,,,,25000,,\n"
        '2026-03-02,vk,cpc,"a, b; c",,,0.000001,rub,0\n'
    )
    rows = read_spend(write(METRICA, {"march.csv": text}))
    assert [given(row) for row in rows] == [
        {
            "file": "spend/march.csv",
            "line_number": 2,
            "date_from": MARCH_1,
            "date_to": MARCH_1,
            "utm_source": "vk",
            "utm_medium": "cpc",
            "utm_campaign": "novosely",
            "utm_term": "окна",
            "utm_content": "banner_1",
            "cost": Decimal("1500.5"),
            "currency_code": "USD",
            "clicks": 40,
        },
        {
            "file": "spend/march.csv",
            "line_number": 3,
            "date_from": MARCH_1,
            "date_to": MARCH_31,
            "utm_source": "2gis",
            "cost": Decimal(25000),
        },
        {
            "file": "spend/march.csv",
            "line_number": 4,
            "date_from": MARCH_2,
            "date_to": MARCH_2,
            "utm_source": "vk",
            "utm_medium": "cpc",
            "utm_campaign": "a, b; c",
            "cost": Decimal("0.000001"),
            "currency_code": "RUB",
            "clicks": 0,
        },
    ]


def test_a_traffic_source_takes_the_place_of_a_utm_source(write: Write) -> None:
    text = (
        "Date,TrafficSource,TrafficSourceDetail,UTMSource,Expenses\n"
        "2026-03-01,messenger,telegram,,10\n"
        "2026-03-01,,,vk,20\n"
    )
    rows = read_spend(write(METRICA, {"a.csv": text}))
    assert [(row["utm_source"], row["cost"]) for row in rows] == [("messenger", 10), ("vk", 20)]
    text = "Date,TrafficSource,UTMSource,Expenses\n2026-03-01,ad,vk,1\n2026-03-01,,,1\n"
    assert told(write(METRICA, {"a.csv": text})) == [
        "spend/a.csv, line 2: needs either UTMSource or TrafficSource",
        "spend/a.csv, line 3: needs either UTMSource or TrafficSource",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_forms_of_writing(write: Write, encoding: str, separator: str, end: str) -> None:
    lines = [
        ["Date", "UTMSource", "Expenses"],
        ["2026-03-01", "Тёплая Чёрная пятница", '"1 234,5"'],
        ["", "", ""],
        ["01.03.2026 - 31.03.2026", '"Окна ""Рехау"""', "7.25"],
    ]
    content = end.join(separator.join(cells) for cells in lines).encode(encoding)
    rows = read_spend(write(METRICA, {"a.csv": content}))
    assert [
        (row["line_number"], row["date_from"], row["date_to"], row["utm_source"], row["cost"])
        for row in rows
    ] == [
        (2, MARCH_1, MARCH_1, "Тёплая Чёрная пятница", Decimal("1234.5")),
        (4, MARCH_1, MARCH_31, 'Окна "Рехау"', Decimal("7.25")),
    ]


def test_a_report_of_direct_is_a_plain_file(write: Write) -> None:
    """Its title and its total are no rows of spend; a campaign may be called as a total."""
    report = (
        '"Отчёт за 01.03.2026 - 02.03.2026"\r\n'
        "\r\n"
        '"Кампания";"№ кампании";"День";"Клики";"Расход (руб.)"\r\n'
        '"Итоговая скидка {campaign_id}";"7";"01.03.2026";"1\u00a0204";"12\u00a0345,67"\r\n'
        '"brand";"8";"02.03.2026";"-";"0,00"\r\n'
        '"Всего с 01.03.2026 по 02.03.2026";"";"";"1204";"12345,67"\r\n'
    )
    api = (
        '"Расходы (2026-03-01 - 2026-03-31)"\n'
        "День\tКампания\tКлики\tРасход (руб.)\n"
        '2026-03-31\tбренд "Дом"\t3\t99.5\n'
        "Total rows: 1\n"
    )
    rows = read_spend(write(PLAIN, {"a.csv": report.encode("cp1251"), "b.csv": api}))
    common = {"currency_code": "RUB", "vat_percent": Decimal(22)}
    assert [given(row) for row in rows] == [
        {
            "file": "spend/a.csv",
            "line_number": 4,
            "date_from": MARCH_1,
            "date_to": MARCH_1,
            "utm_campaign": "Итоговая скидка {campaign_id}",
            "cost": Decimal("12345.67"),
            "clicks": 1204,
            **common,
        },
        {
            "file": "spend/a.csv",
            "line_number": 5,
            "date_from": MARCH_2,
            "date_to": MARCH_2,
            "utm_campaign": "brand",
            "cost": Decimal(0),
            **common,
        },
        {
            "file": "spend/b.csv",
            "line_number": 3,
            "date_from": MARCH_31,
            "date_to": MARCH_31,
            "utm_campaign": 'бренд "Дом"',
            "cost": Decimal("99.5"),
            "clicks": 3,
            **common,
        },
    ]


def test_every_column_of_a_plain_file_may_be_named(write: Write) -> None:
    names = ("date", "cost", "utm_source", "utm_medium", "utm_campaign", "utm_content")
    names = (*names, "utm_term", "source", "currency", "clicks")
    columns = ", ".join(f"{name}: c{place}" for place, name in enumerate(names))
    settings = f"spend: [{{path: spend/a.csv, format: plain, columns: {{{columns}}}}}]"
    header = ",".join(f"C{place}" for place in range(11))
    rows = read_spend(
        write(settings, {"a.csv": f"{header}\n2026-03-01,5,s,m,c,o,t,UC_VK,eur,9,not read\n"})
    )
    assert [given(row) for row in rows] == [
        {
            "file": "spend/a.csv",
            "line_number": 2,
            "date_from": MARCH_1,
            "date_to": MARCH_1,
            "utm_source": "s",
            "utm_medium": "m",
            "utm_campaign": "c",
            "utm_content": "o",
            "utm_term": "t",
            "source_code": "UC_VK",
            "cost": Decimal(5),
            "currency_code": "EUR",
            "clicks": 9,
        }
    ]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("31/03/2026,vk,1,,", "Date is '31/03/2026': write a day as 2026-03-31 or 31.03.2026, a"),
        ("2026-02-29,vk,1,,", "Date is '2026-02-29': there is no such day"),
        (",vk,1,,", "Date is '': write a day"),
        ("2026-03-02/2026-03-01,vk,1,,", "a range ends after it begins and has at most 366 days"),
        ("2026-03-01/2062-03-31,vk,1,,", "a range ends after it begins and has at most 366 days"),
        ("2028-01-01/2029-01-01,vk,1,,", "has at most 366 days"),
        ("1999-12-31,vk,1,,", "from 2000 to 2099"),
        ("2100-01-01,vk,1,,", "from 2000 to 2099"),
        ("2026-03-01,vk,,,", "Expenses is '': write an amount as 1234.50"),
        ("2026-03-01,vk,-5,,", "Expenses is '-5': write an amount as 1234.50"),
        ("2026-03-01,vk,5 ₽,,", "Expenses is '5 ₽': write an amount"),
        ("2026-03-01,vk,12 34,,", "Expenses is '12 34': write an amount"),
        ("2026-03-01,vk,1e3,,", "Expenses is '1e3': write an amount"),
        ('2026-03-01,vk,"1,234.50",,', "Expenses is '1,234.50': write an amount"),
        ('2026-03-01,vk,"1,234",,', "Expenses is '1,234': 1234 or 1.234? Write 1234.00 if the for"),
        ("2026-03-01,vk,1000000000000,,", "Expenses is '1000000000000': that is too much"),
        ("2026-03-01,vk,1,руб.,", "Currency is 'руб.': write the code of a currency, as RUB"),
        ("2026-03-01,vk,1,,1.5", "Clicks is '1.5': write a whole number"),
        ("2026-03-01,vk,1,,1000000000000", "Clicks is '1000000000000': write a whole number"),
        (f"2026-03-01,vk,{'x' * 60},,", f"Expenses is '{'x' * 60}': write an amount"),
        (f"2026-03-01,vk,{'x' * 61},,", f"Expenses is '{'x' * 60}…': write an amount"),
        ("2026-03-01,vk,1,,many", "Clicks is 'many': write a whole number"),
        ("2026-03-01,,1,,", "needs either UTMSource or TrafficSource"),
        ("2026-03-01,vk,1", "3 cells, 5 columns; put texts that hold a separator in quotes"),
        ("2026-03-01,vk,1,5,,7", "6 cells, 5 columns"),
        ("Итого,,5,,", "Date is 'Итого': write a day"),
        ('2026-03-01,"vk,1,,', "not CSV (unexpected end of data): close its quotes"),
        ('2026-03-01,"v"k,1,,', "not CSV ("),
    ],
)
def test_a_row_that_cannot_be_read_is_told_with_its_line(
    write: Write, cells: str, message: str
) -> None:
    text = f"Date,UTMSource,Expenses,Currency,Clicks\n2026-03-01,vk,1,,\n\n{cells}\n"
    # The last line is not told: a quote that is not closed swallows it.
    (line,) = told(write(METRICA, {"a.csv": text}))
    assert line.startswith("spend/a.csv, line 4: ")
    assert message in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "spend/a.csv: no column Date, Expenses; it has ''"),
        ("Date,UTMSource,Expense\n", "no column Expenses; it has 'Date, UTMSource, Expense'"),
        ("Date;Expenses\n2026-03-01;1\n", "no column UTMSource or TrafficSource: add one"),
        (
            "Date,UTMSource,Expenses,UTMCampain\n",
            "UTMCampain is no column of Metrica's form; did you mean UTMCampaign?",
        ),
        ("Date,UTMSource,Expenses,date\n", "the column Date is there twice: remove one"),
        (b"PK\x03\x04...", "spend/a.csv is a workbook or a text in UTF-16: save it as CSV"),
        ("Date,UTMSource,Expenses\n".encode("utf-16"), "is a workbook or a text in UTF-16"),
        # A byte of a text in UTF-8 is lost; it is not Windows-1251 all of a sudden.
        (
            "Date,UTMSource,Expenses\n2026-03-01,Тёплый дом,1\n".encode().replace(b"\xbf", b""),
            "spend/a.csv, line 2: a letter is damaged",
        ),
        (
            "\nDate,UTMSource,Expenses\n2026-03-01,Тёплый,1\n".encode().replace(b"\xbf", b""),
            "spend/a.csv, line 3: a letter is damaged",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    write: Write, content: str | bytes, message: str
) -> None:
    (line,) = told(write(METRICA, {"a.csv": content}))
    assert message in line


def test_a_plain_file_lacks_no_column_that_is_named(write: Write) -> None:
    (line,) = told(write(PLAIN, {"a.csv": "День;Кампания;Расход (руб.)\n01.03.2026;brand;1\n"}))
    assert line == (
        "spend/a.csv: no column Клики; it has 'День, Кампания, Расход (руб.)': correct the file or"
        " the setting `columns`"
    )


def test_days_from_2000_to_2099_and_whole_leap_years_may_be_named(write: Write) -> None:
    text = "Date,UTMSource,Expenses\n2000-01-01,vk,1\n2099-12-31,vk,1\n2028-01-01/2028-12-31,vk,1\n"
    days = [
        (row["date_from"], row["date_to"]) for row in read_spend(write(METRICA, {"a.csv": text}))
    ]
    assert days == [
        (dt.date(2000, 1, 1), dt.date(2000, 1, 1)),
        (dt.date(2099, 12, 31), dt.date(2099, 12, 31)),
        (dt.date(2028, 1, 1), dt.date(2028, 12, 31)),
    ]


def test_the_head_may_stand_below_twenty_lines_and_not_below_more(write: Write) -> None:
    head = "Date,UTMSource,Expenses\n2026-03-01,vk,10\n"
    (row,) = read_spend(write(METRICA, {"a.csv": "Отчёт\n" * 20 + head}))
    assert (row["line_number"], row["cost"]) == (22, 10)
    (line,) = told(write(METRICA, {"a.csv": "Отчёт\n" * 21 + head}))
    assert line.startswith("spend/a.csv: no column Date, Expenses; it has 'Отчёт'")


def test_of_lines_that_lack_a_column_the_first_is_shown(write: Write) -> None:
    text = "Date,UTMSource,Cost\nDate,UTMSource,Price\n"
    (line,) = told(write(METRICA, {"a.csv": text}))
    assert "no column Expenses; it has 'Date, UTMSource, Cost'" in line


def test_separators_at_the_end_of_the_head_are_no_columns(write: Write) -> None:
    (row,) = read_spend(write(METRICA, {"a.csv": "Date,UTMSource,Expenses,,\n2026-03-01,vk,10\n"}))
    assert row["cost"] == 10


def test_all_that_is_wrong_is_told_at_once(write: Write) -> None:
    wrong = "Date,UTMSource,Expenses\n" + "soon,vk,1\n" * 7
    lines = told(write(METRICA, {"a.csv": wrong, "b.csv": "", "c.csv": wrong}))
    assert len(lines) == 11
    assert lines[6:9] == [
        "spend/a.csv, line 8: Date is 'soon': write a day as 2026-03-31 or 31.03.2026, a range as"
        " 2026-03-01/2026-03-31",
        "spend/b.csv: no column Date, Expenses; it has '': correct the file",
        "spend/c.csv, line 2: Date is 'soon': write a day as 2026-03-31 or 31.03.2026, a range as"
        " 2026-03-01/2026-03-31",
    ]
    assert lines[10] == "… and 5 more"


@pytest.mark.parametrize(("wrong", "last"), [(10, "spend/a.csv, line 11: "), (11, "… and 1 more")])
def test_ten_errors_are_told_and_the_number_of_others(write: Write, wrong: int, last: str) -> None:
    lines = told(write(METRICA, {"a.csv": "Date,UTMSource,Expenses\n" + "soon,vk,1\n" * wrong}))
    assert len(lines) == wrong
    assert lines[-1].startswith(last)


def test_a_total_of_a_plain_file_has_its_name_first_and_no_day(write: Write) -> None:
    head = "Кампания;Клики;Расход (руб.);День\n"
    totals = ";Итого;5\nВсего\nИтого;1;5;\n"
    rows = read_spend(write(PLAIN, {"a.csv": f"{head}brand;1;5;01.03.2026\n{totals}"}))
    assert [row["line_number"] for row in rows] == [2]
    (line,) = told(write(PLAIN, {"a.csv": f"{head}brand;1;5;вчера\n{totals}"}))
    assert line.startswith("spend/a.csv, line 2: День is 'вчера': write a day")


GOOD = "Date,UTMSource,Expenses\n2026-03-01,vk,10\n2026-03-02,vk,20\n"


def test_a_path_that_fits_no_file_is_an_error(write: Write, folder: Path) -> None:
    (line,) = told(write(METRICA, {"march.txt": GOOD, ".march.csv": GOOD}))
    assert line.startswith("setting spend.0.path = 'spend/*.csv': no file fits it")
    (folder / "spend" / "gone.csv").symlink_to(folder / "lost.csv")
    (line,) = told(Settings.load(folder / "settings.yml"))
    assert line.startswith("spend/gone.csv cannot be read (No such file or directory)")
    (line,) = told(write("spend: [{path: 'spend/**csv', format: metrica}]", {}))
    assert line.startswith("setting spend.0.path = 'spend/**csv': Invalid pattern")


def test_files_are_found_in_folders_and_named_as_the_settings_see_them(
    write: Write, folder: Path
) -> None:
    (folder / "spend" / "2026").mkdir()
    (folder / "spend" / "folder.csv").mkdir()
    (folder / "spend" / "2026" / "a.csv").write_text(GOOD, encoding="utf-8")
    (folder.parent / "b.csv").write_text(GOOD, encoding="utf-8")
    paths = "spend: [{path: 'spend/**/*.csv', format: metrica}, {path: ../b.csv, format: metrica}]"
    rows = read_spend(write(paths, {}))
    assert [row["file"] for row in rows] == ["spend/2026/a.csv"] * 2 + ["../b.csv"] * 2


def test_a_file_counts_once(write: Write, folder: Path) -> None:
    paths = "spend: [{path: 'spend/*.csv', format: metrica}, {path: link.csv, format: metrica}]"
    (folder / "link.csv").symlink_to(folder / "spend" / "a.csv")
    assert told(write(paths, {"a.csv": GOOD})) == [
        "link.csv and spend/a.csv in the setting spend are one file, whose rows would count twice:"
        " name it once"
    ]


def test_a_file_that_changes_while_it_is_read_is_refused(
    write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = write(METRICA, {"a.csv": GOOD, "b.csv": GOOD})
    decoded = spend_module._decoded

    def appended(name: str, content: bytes) -> str:
        with (folder / "spend" / "a.csv").open("a", encoding="utf-8") as file:
            file.write("2026-03-03,vk,30\n")
        return decoded(name, content)

    monkeypatch.setattr(spend_module, "_decoded", appended)
    assert told(settings) == [
        "spend/a.csv was changed while it was read: run again once it is written"
    ]


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with serve(write_portal(tmp_path / "portal", leads=[lead(1)])) as running:
        yield running


def read(portal: Portal, warehouse: Warehouse, settings: Settings) -> tuple[int, int, int]:
    """An extraction and its checks: rows of spend read, appended and living."""
    with plain_refresh():
        summary = extract(Client(portal.webhook_url), warehouse, settings)
        check(warehouse, settings)
    counts = summary.counts["ad_costs"]
    assert (counts.portal_total, counts.requests) == (None, 0)
    return counts.rows_read, counts.rows_appended, counts.rows_living


def spent(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Living rows: file, line, cost."""
    rows = warehouse.latest_versions(
        "ad_costs", ["file", "line_number", "cost"], ["file", "line_number"]
    )
    assert rows is not None
    return sorted(rows.rows())


def test_a_file_that_was_changed_shortened_or_removed_gives_what_it_says_now(
    portal: Portal, tmp_path: Path, write: Write, folder: Path
) -> None:
    warehouse = Warehouse(tmp_path / "data")
    assert read(portal, warehouse, Settings.load()) == (0, 0, 0)
    long = "Date,UTMSource,Expenses\n" + "2026-03-01,vk,5\n" * 40
    settings = write(METRICA, {"a.csv": GOOD, "long.csv": long})
    assert read(portal, warehouse, settings) == (42, 42, 42)
    assert read(portal, warehouse, settings) == (42, 0, 42)

    # All of the long file but two lines, more than a half of the rows, is gone: no drop to accept.
    short = "Date,UTMSource,Expenses\n2026-03-01,vk,5\n2026-03-01,vk,6\n"
    settings = write(METRICA, {"long.csv": short})
    assert read(portal, warehouse, settings) == (4, 39, 4)
    (folder / "spend" / "a.csv").unlink()
    assert read(portal, warehouse, settings) == (2, 2, 2)
    assert spent(warehouse) == [("spend/long.csv", 2, 5), ("spend/long.csv", 3, 6)]

    compact(warehouse)
    assert query(warehouse.directory, "select count(*) from raw.ad_costs") == [(4,)]
    assert spent(warehouse) == [("spend/long.csv", 2, 5), ("spend/long.csv", 3, 6)]
    assert read(portal, warehouse, settings) == (2, 0, 2)


def test_wrong_files_are_told_before_the_first_request(
    portal: Portal, tmp_path: Path, write: Write
) -> None:
    warehouse = Warehouse(tmp_path / "data")
    with pytest.raises(SpendFileError, match=r"spend/a\.csv, line 2: Expenses is 'ten'"):
        extract(
            Client(portal.webhook_url),
            warehouse,
            write(METRICA, {"a.csv": "Date,UTMSource,Expenses\n2026-03-01,vk,ten\n"}),
        )
    assert portal.requests == 0
    assert not warehouse.database.exists()


def test_the_doctor_tells_what_the_files_say(portal: Portal, tmp_path: Path, write: Write) -> None:
    def found(settings: Settings) -> list[tuple[str, str, int]]:
        findings = examine(Client(portal.webhook_url), Warehouse(tmp_path / "data"), settings)
        return [
            (finding.level, finding.text, finding.exit_code)
            for finding in findings
            if "spend" in finding.text
        ]

    dollars = (
        "Date,UTMSource,Expenses,Currency\n2026-03-01/2026-03-31,vk,1000.5,USD\n2026-02-28,vk,7,\n"
    )
    assert found(write(METRICA, {"a.csv": GOOD, "b.csv": dollars})) == [
        (
            "ok",
            "spend/a.csv: 2 rows of spend from 2026-03-01 to 2026-03-02, 30.00 in the base currency"
            " without VAT",
            1,
        ),
        (
            "ok",
            "spend/b.csv: 2 rows of spend from 2026-02-28 to 2026-03-31, 1,000.50 USD, 7.00 in the"
            " base currency without VAT",
            1,
        ),
    ]
    (problem,) = found(write(METRICA, {"a.csv": ""}))
    assert problem == (
        "problem",
        "spend/a.csv: no column Date, Expenses; it has '': correct the file",
        2,
    )
    assert found(Settings.load()) == []

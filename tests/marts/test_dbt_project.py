"""The dbt project on a small portal laid out by hand, on an empty one, and its own conventions."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from pipelines.build import build
from pipelines.compiled import FILES, PARTS, digest
from pipelines.errors import ChecksFailed
from pipelines.settings import DBT_PROJECT, Settings
from pipelines.warehouse import Warehouse
from tests.support import compiled_models
from tests.support.compiled_models import build_models, run_models
from tests.support.equal_tables import differing_tables
from tests.support.raw_portal import REFRESHES, lay_out_portal
from tests.support.raw_tables import create_raw_tables, insert_rows, query

CONFIGURED: dict[str, Any] = {
    "sales_pipelines": [0],
    "paid_stages": ["UC_PAID"],
    "lead_stage_outcomes": {"IN_PROCESS": "quality"},
    "legacy_rules": [{"entity": "lead", "originator_ids": ["1C"]}],
    "repeat_means": "sale",
    "attribution": "customer",
    "user_fields": ["UF_CRM_KIND"],
}
# What the pipeline knows of the relations; none of those that dbt has made meanwhile.
NOTED = "select count(*) from duckdb_tables() where schema_name = 'build'"
LAYERS = ("staging", "intermediate", "marts", "quality")
# What a publication says of a month, and what deals take from their leads, is read off the marts;
# what has aged is told by the marts of the last build and the raw rows of now.
READ_BY_INTERMEDIATE = {
    "int_statements__changed": {"marts"},
    "int_statements__current": {"marts"},
    "int_deals__attributed": {"marts"},
    "int_items__ageing": {"marts", "source"},
}


def dbt(warehouse: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run dbt on a warehouse folder; its target and logs stay in that folder."""
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("dbt")),
            "--no-use-colors",
            command,
            "--target-path",
            str(warehouse / "target"),
            "--log-path",
            str(warehouse / "logs"),
            *arguments,
        ],
        cwd=DBT_PROJECT,
        # A session timezone far from the portal's: no day may move.
        env={
            **os.environ,
            "WAREHOUSE_DIR": str(warehouse),
            "DBT_PROFILES_DIR": str(DBT_PROJECT),
            "TZ": "America/New_York",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Warehouse folder of the small portal, built with the default settings and unit tests."""
    warehouse = tmp_path_factory.mktemp("portal")
    lay_out_portal(warehouse)
    run_models(warehouse)
    assert query(warehouse, NOTED) == [(2,)]
    done = dbt(warehouse, "build")
    assert done.returncode == 0, done.stdout
    assert query(warehouse, NOTED) == [(0,)]
    return warehouse


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same portal with the settings that its users would give."""
    warehouse = tmp_path_factory.mktemp("configured")
    lay_out_portal(warehouse)
    run_models(warehouse, CONFIGURED, with_tests=True)
    return warehouse


def test_compiled_models_leave_what_dbt_leaves(portal: Path, tmp_path: Path) -> None:
    """All relations of the build with their columns and rows, and all data tests."""
    lay_out_portal(tmp_path)
    results = build_models(tmp_path, {})
    manifest = json.loads((portal / "target" / "manifest.json").read_text(encoding="utf-8"))
    nodes = {key for key in manifest["nodes"] if not key.startswith("operation.")}
    assert {one["unique_id"] for one in results} == nodes
    assert {one["status"] for one in results} == {"success", "pass"}
    with duckdb.connect() as connection:
        for name, folder in (("ours", tmp_path), ("dbts", portal)):
            connection.execute(f"attach '{folder / 'warehouse.duckdb'}' as {name} (read_only)")
        ours, dbts = (
            connection.execute(
                "select schema_name, table_name, column_index, column_name, data_type, is_nullable"
                " from duckdb_columns()"
                f" where database_name = '{name}' and schema_name <> 'build' order by all"
            ).fetchall()
            for name in ("ours", "dbts")
        )
        assert ours == dbts
        tables = {f"{schema}.{name}" for schema, name, *_ in dbts}
        assert tables > {"marts.fct_leads", "quality.issues", "staging.stg_bitrix24__contacts"}
    assert not differing_tables(tmp_path / "warehouse.duckdb", portal / "warehouse.duckdb")


def test_settings_change_the_sql_of_models_and_of_tests_that_name_one(configured: Path) -> None:
    """Of others the tests take the SQL that they have under other settings."""
    told = json.loads((configured / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    sql = {key: node["compiled_code"] for key, node in told["nodes"].items() if "test." in key}
    assert sql and compiled_models.compile_whole(DBT_PROJECT, CONFIGURED).items() >= sql.items()


def test_what_dbt_compiled_runs_again_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def counted(command: list[str], *arguments: Any) -> subprocess.CompletedProcess[str]:
        started.append(command)
        return compiled_models.dbt(command, *arguments)

    monkeypatch.setattr("pipelines.build.run_process", counted)
    monkeypatch.setattr(Settings, "must_erase", lambda *_: False)
    lay_out_portal(tmp_path)
    warehouse, settings = Warehouse(tmp_path), Settings.load()
    stages = "select stage_name from marts.dim_stages where entity = 'lead' and stage_id = 'NEW'"
    results = build(warehouse, settings)
    assert query(tmp_path, stages) == [("Новый",)] and len(started) == 1
    with warehouse.connect(read_only=False) as connection:
        connection.execute("update raw.statuses set name = 'Свежий' where status_id = 'NEW'")
    assert build(warehouse, settings) == results and len(started) == 1
    assert query(tmp_path, stages) == [("Свежий",)]
    changed = Settings.model_validate({**settings.model_dump(), "repeat_means": "sale"})
    build(warehouse, changed)
    assert len(started) == 2
    with warehouse.connect(read_only=False) as connection:
        connection.execute(
            "insert into raw.statuses select * replace (-1 as id) from raw.statuses"
            " where status_id = 'NEW'"
        )
    with pytest.raises(ChecksFailed):
        build(warehouse, changed)
    assert len(started) == 3 and warehouse.unfinished_build.exists()


@pytest.mark.parametrize("change", ["macros/labels.sql", "models/new.yml", "dbt_project.yml"])
def test_a_change_of_the_project_is_compiled_again(tmp_path: Path, change: str) -> None:
    project = tmp_path / "dbt_project"
    for part in (*PARTS, *FILES):
        copy = shutil.copytree if (DBT_PROJECT / part).is_dir() else shutil.copy
        project.mkdir(exist_ok=True)
        copy(DBT_PROJECT / part, project / part)
    assert digest({}, project) == digest({})
    assert digest({"repeat_means": "sale"}, project) != digest({})
    with (project / change).open("a", encoding="utf-8") as file:
        file.write("\n")
    assert digest({}, project) != digest({})


def test_settings_in_force_are_published(portal: Path, configured: Path) -> None:
    extraction = {
        "refresh_overlap_minutes",
        "full_read_every_days",
        "max_deleted_share",
        "notify_deleted_records",
        "max_drop_share",
    }
    sql = "select setting_name, setting_value from quality.settings"
    defaults, given = dict(query(portal, sql)), dict(query(configured, sql))
    described = set(Settings.model_fields) - extraction - {"timestamp_type"}
    assert set(defaults) == described | {"base_currency"}
    assert defaults["sales_pipelines"] is None
    assert defaults["forgotten_lead_days"] == given["forgotten_lead_days"] == "3"
    assert (defaults["repeat_means"], given["repeat_means"]) == ("deal", "sale")
    assert given["legacy_rules"] == "entity: lead; originator_ids: 1C"
    assert given["lead_stage_outcomes"] == "В обработке (IN_PROCESS): quality"


def test_leads_have_their_outcomes(portal: Path) -> None:
    rows = query(
        portal,
        """
        select lead_id, outcome, is_new, is_forgotten, has_planned_activity, stage_name,
            source_name, manager_name, created_date
        from marts.fct_leads order by lead_id
        """,
    )
    day = dt.date
    web, none = "Сайт", "без источника"
    assert rows == [
        (1, "in_work", True, True, False, "Новый", web, "Анна Иванова", day(2026, 3, 10)),
        (
            2,
            "in_work",
            False,
            False,
            True,
            "В обработке",
            none,
            "пользователь 99",
            day(2026, 3, 10),
        ),
        (
            3,
            "quality",
            False,
            False,
            False,
            "Качественный",
            web,
            "без ответственного",
            day(2026, 3, 1),
        ),
        (
            4,
            "junk",
            False,
            False,
            False,
            "Некачественный",
            web,
            "без ответственного",
            day(2026, 3, 2),
        ),
        (
            5,
            "in_work",
            False,
            False,
            False,
            "удалённый этап (UC_GONE)",
            "удалённый источник (77)",
            "без ответственного",
            day(2026, 3, 3),
        ),
        (
            8,
            "quality",
            False,
            False,
            False,
            "Качественный",
            web,
            "без ответственного",
            day(2026, 1, 31),
        ),
        (9, "in_work", True, False, False, "Новый", web, "без ответственного", day(2026, 3, 31)),
    ]


def test_leads_have_the_days_and_money_of_their_deals(portal: Path) -> None:
    rows = query(
        portal,
        """
        select lead_id, quality_date, outcome_at_source, processing_days, first_deal_date,
            first_sold_date, deals_count, sales_count, sales_amount, potential_amount, city
        from marts.fct_leads where is_quality order by lead_id
        """,
    )
    day = dt.date
    assert rows == [
        # 100 USD at the rate of 20 March (90) and 300 RUB of the service pipeline.
        (
            3,
            day(2026, 3, 6),
            "history",
            5.0,
            day(2026, 3, 7),
            day(2026, 3, 12),
            3,
            2,
            Decimal("9300.00"),
            Decimal("5000.00"),
            "Тверь",
        ),
        (
            8,
            day(2026, 2, 1),
            "date_closed",
            1.0,
            day(2026, 3, 9),
            day(2026, 3, 16),
            1,
            1,
            Decimal("700.00"),
            Decimal("0.00"),
            None,
        ),
    ]


def test_deals_have_their_states_and_days(portal: Path) -> None:
    rows = query(
        portal,
        """
        select deal_id, state, sold_date, sold_at_source, failed_date, base_amount, lead_link,
            lead_source_name, customer_kind, is_forgotten
        from marts.fct_deals order by deal_id
        """,
    )
    day, rub = dt.date, Decimal
    assert rows == [
        # Won on the 15th, reopened, won again on the 20th.
        (
            101,
            "sale",
            day(2026, 3, 20),
            "history",
            None,
            rub("9000.00"),
            "direct",
            "Сайт",
            "new",
            False,
        ),
        (102, "in_work", None, None, None, rub("5000.00"), "direct", "Сайт", "repeat", False),
        (
            103,
            "sale",
            day(2026, 3, 15),
            "history",
            None,
            rub("1000.00"),
            "deleted",
            "лид удалён",
            "unknown",
            False,
        ),
        (
            104,
            "sale",
            day(2026, 3, 16),
            "moved_time",
            None,
            rub("700.00"),
            "direct",
            "Сайт",
            "repeat",
            False,
        ),
        (105, "in_work", None, None, None, rub("176000000.00"), "none", "без лида", "new", True),
        (
            107,
            "failed",
            None,
            None,
            day(2026, 3, 2),
            rub("0.00"),
            "none",
            "без лида",
            "unknown",
            False,
        ),
        (
            108,
            "sale",
            day(2026, 3, 12),
            "close_date",
            None,
            rub("300.00"),
            "direct",
            "Сайт",
            "unknown",
            False,
        ),
        (109, "in_work", None, None, None, None, "none", "без лида", "unknown", False),
    ]


def test_visits_follow_history_and_the_last_move(portal: Path) -> None:
    rows = query(
        portal,
        """
        select item_id, visit_number, stage_name, days, is_current, is_drop, is_forwarded,
            is_back_move
        from marts.fct_stage_visits where item_id in (4, 101, 107)
        order by item_id, visit_number
        """,
    )
    assert rows == [
        (4, 1, "Новый", 1.0, False, False, True, False),
        (4, 2, "В обработке", 2.0, False, True, False, False),
        (4, 3, "Некачественный", None, True, False, False, False),
        (101, 1, "Новая", 8.0, False, False, True, False),
        (101, 2, "Оплачено", None, False, False, True, True),
        (101, 3, "Договор", 4.0, False, False, True, False),
        (101, 4, "Оплачено", None, True, False, False, False),
        (107, 1, "Новая", 1.5, False, True, False, False),
        (107, 2, "Провал", None, True, False, False, False),
    ]


def test_completeness_is_of_the_last_completed_refresh(portal: Path) -> None:
    rows = query(
        portal,
        "select entity, refresh_no, portal_total, rows_living, rows_missing "
        "from quality.load_completeness",
    )
    assert rows == [("leads", 2, 9, 8, 1)]


def test_dates_run_from_the_first_year_to_the_end_of_this(portal: Path) -> None:
    rows = query(
        portal,
        """
        select min(date_day), max(date_day), count(*),
            max(week_start) filter (where date_day = date '2026-03-31'),
            max(day_of_week) filter (where date_day = date '2026-03-31'),
            max(quarter_start) filter (where date_day = date '2026-06-30'),
            count(*) filter (where not is_future)
        from marts.dim_dates
        """,
    )
    day = dt.date
    assert rows == [
        (day(2026, 1, 1), day(2026, 12, 31), 365, day(2026, 3, 30), 2, day(2026, 4, 1), 90)
    ]


def test_settings_change_what_counts(configured: Path) -> None:
    sales = query(
        configured,
        """
        select deal_id, sold_date, base_amount, lead_id, lead_link, lead_source_name, is_counted,
            customer_kind
        from marts.fct_deals where is_sale order by deal_id
        """,
    )
    day, rub = dt.date, Decimal
    assert sales == [
        (101, day(2026, 3, 20), rub("9000.00"), 3, "direct", "Сайт", True, "new"),
        (103, day(2026, 3, 15), rub("1000.00"), None, "deleted", "лид удалён", True, "unknown"),
        # Its lead is legacy; its customer bought on 2 February.
        (104, day(2026, 3, 16), rub("700.00"), 8, "direct", "лид импортирован", True, "repeat"),
        # Paid by the setting, on the day on which it entered the stage.
        (105, day(2026, 2, 2), rub("176000000.00"), None, "none", "без лида", True, "new"),
        (108, day(2026, 3, 12), rub("300.00"), 3, "direct", "Сайт", False, "unknown"),
    ]
    leads = query(
        configured,
        """
        select lead_id, outcome, outcome_at_source, is_counted, sales_count, sales_amount
        from marts.fct_leads where is_quality order by lead_id
        """,
    )
    assert leads == [
        # Quality by the setting, but neither history nor a close date says since when.
        (2, "quality", "none", True, 0, Decimal("0.00")),
        (3, "quality", "history", True, 1, Decimal("9000.00")),
        (8, "quality", "date_closed", False, 1, Decimal("700.00")),
    ]


def test_the_bridge_tells_our_count_from_the_portals(configured: Path) -> None:
    rows = query(
        configured,
        """
        select entity, item_id, bridge_kind, portal_state, our_state, created_date,
            portal_closed_date, deleted_date, crm_url is not null
        from marts.fct_portal_bridge order by entity desc, item_id
        """,
    )

    def day(month: int, number: int) -> dt.date:
        return dt.date(2026, month, number)

    counted, won = "counted", "success"
    assert rows == [
        ("lead", 1, counted, "in_work", "in_work", day(3, 10), None, None, True),
        # Quality by the setting alone.
        ("lead", 2, counted, "in_work", "quality", day(3, 10), None, None, True),
        ("lead", 3, counted, won, "quality", day(3, 1), day(3, 6), None, True),
        ("lead", 4, counted, "failed", "junk", day(3, 2), day(3, 5), None, True),
        ("lead", 5, counted, "in_work", "in_work", day(3, 3), None, None, True),
        ("lead", 6, "deleted", "in_work", None, day(3, 3), None, day(3, 31), False),
        ("lead", 8, "legacy", won, None, day(1, 31), day(2, 1), None, True),
        ("lead", 9, counted, "in_work", "in_work", day(3, 31), None, None, True),
        # Won, reopened, won again.
        ("deal", 101, counted, won, "sale", day(3, 7), day(3, 20), None, True),
        ("deal", 102, counted, "in_work", "in_work", day(3, 8), None, None, True),
        ("deal", 103, counted, won, "sale", day(3, 9), day(3, 15), None, True),
        ("deal", 104, counted, won, "sale", day(3, 9), day(3, 16), None, True),
        # Paid by the setting: the portal has it in work since January.
        ("deal", 105, counted, "in_work", "sale", day(1, 31), None, None, True),
        ("deal", 106, "template", won, None, day(3, 9), None, None, True),
        ("deal", 107, counted, "failed", "failed", day(3, 1), day(3, 2), None, True),
        ("deal", 108, "other_pipeline", won, None, day(3, 10), day(3, 12), None, True),
        ("deal", 109, counted, "in_work", "in_work", day(3, 30), None, None, True),
    ]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # Ours; backlog, imports, other pipelines; the portal's. Deal 105 is open since January.
        ("2026-03-01", "2026-03-31", {"lead": (6, 0, 0, 0, 6), "deal": (6, 1, 0, 1, 8)}),
        # Lead 8 was closed on the first day, which is the day before the next period.
        ("2026-02-01", "2026-02-28", {"lead": (0, 0, 1, 0, 1), "deal": (0, 1, 0, 0, 1)}),
        ("2026-02-02", "2026-02-28", {"lead": (0, 0, 0, 0, 0), "deal": (0, 1, 0, 0, 1)}),
        # The same for lead 3; lead 5 is open since then. Deal 101 was created on the last day.
        ("2026-03-06", "2026-03-07", {"lead": (0, 2, 0, 0, 2), "deal": (1, 1, 0, 0, 2)}),
        ("2026-03-07", "2026-03-08", {"lead": (0, 1, 0, 0, 1), "deal": (2, 1, 0, 0, 3)}),
    ],
)
def test_the_bridge_of_a_period(
    configured: Path, start: str, end: str, expected: dict[str, tuple[int, ...]]
) -> None:
    rows = query(
        configured,
        f"""
        with bridge as (
            select *,
                bridge_kind in ('counted', 'legacy', 'other_pipeline')
                and created_date <= date '{end}'
                and (portal_closed_date is null or portal_closed_date >= date '{start}')
                    as is_in_portal
            from marts.fct_portal_bridge
        )

        select entity,
            count_if(bridge_kind = 'counted' and created_date between '{start}' and '{end}'),
            count_if(is_in_portal and bridge_kind = 'counted' and created_date < '{start}'),
            count_if(is_in_portal and bridge_kind = 'legacy'),
            count_if(is_in_portal and bridge_kind = 'other_pipeline'),
            count_if(is_in_portal)
        from bridge group by entity
        """,
    )
    assert {entity: counts for entity, *counts in rows} == {
        entity: list(counts) for entity, counts in expected.items()
    }


def test_user_fields_of_the_settings_are_decoded(configured: Path) -> None:
    rows = query(
        configured,
        "select entity, item_id, field_label, field_value from marts.fct_user_field_values",
    )
    assert rows == [("lead", 1, "Вид", "Опт")]


def test_settings_that_name_nothing_are_errors(tmp_path: Path) -> None:
    lay_out_portal(tmp_path)
    settings = {"paid_stages": ["UC_PAID", "UC_TYPO"], "user_fields": ["UF_CRM_TYPO"]}
    failures = [one for one in build_models(tmp_path, settings) if one["status"] == "fail"]
    assert [(one["unique_id"].split(".")[2], one["failures"]) for one in failures] == [
        ("assert_settings_name_what_the_portal_has", 2)
    ]


@pytest.mark.parametrize("rule", [{}, {"stage": ["NEW"]}])
def test_legacy_rules_that_say_nothing_are_errors(tmp_path: Path, rule: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="legacy_rules: "):
        build_models(tmp_path, {"legacy_rules": [rule]})


@pytest.mark.parametrize("crm_mode", [1, 2])
def test_a_portal_without_items_builds(tmp_path: Path, crm_mode: int) -> None:
    file = tmp_path / "warehouse.duckdb"
    create_raw_tables(file)
    insert_rows(file, "refreshes", [REFRESHES[1] | {"crm_mode": crm_mode}])
    if crm_mode == 2:  # The simple mode knows deals only.
        insert_rows(
            file,
            "deals",
            [{"id": 1, "stage_id": "WON", "stage_semantic_id": "S", "opportunity": 10}],
        )
    run_models(tmp_path, with_tests=True)
    leads = query(tmp_path, "select count(*) from marts.fct_leads")
    deals = query(tmp_path, "select count(*) from marts.fct_deals where is_sale")
    assert (leads, deals) == ([(0,)], [(crm_mode - 1,)])


@pytest.fixture(scope="module")
def manifest(portal: Path) -> dict[str, Any]:
    """dbt's own graph of the project."""
    content: dict[str, Any] = json.loads((portal / "target" / "manifest.json").read_text("utf-8"))
    return content


@pytest.fixture(scope="module")
def models(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {i: n for i, n in manifest["nodes"].items() if n["resource_type"] == "model"}


def _layer(model: dict[str, Any]) -> str:
    return str(model["fqn"][1])


def test_models_are_named_for_their_layer(models: dict[str, dict[str, Any]]) -> None:
    patterns = {
        "staging": r"stg_(bitrix24|spend|statements)__[a-z_]+",
        "intermediate": r"int_[a-z]+(_[a-z]+)*__[a-z_]+",
        "marts": r"(fct|dim)_[a-z_]+",
        "quality": r"[a-z_]+",
    }
    wrong = [
        model["name"]
        for model in models.values()
        if not re.fullmatch(patterns[_layer(model)], model["name"])
        or model["schema"] != _layer(model)
    ]
    assert wrong == []


def test_models_and_columns_are_described(models: dict[str, dict[str, Any]]) -> None:
    assert [m["name"] for m in models.values() if not m["description"].strip()] == []
    undescribed = [
        f"{model['name']}.{column['name']}"
        for model in models.values()
        for column in model["columns"].values()
        if not column["description"].strip()
    ]
    assert undescribed == []


def test_a_column_is_described_once() -> None:
    """A name of several models refers to `doc()` blocks; no text stands in two places."""
    written: dict[str, list[str]] = {}
    for path in sorted((DBT_PROJECT / "models").rglob("*.yml")):
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        tables = [table for one in content.get("sources", []) for table in one["tables"]]
        for model in (*content.get("models", []), *tables):
            names = [column["name"] for column in model.get("columns", [])]
            assert len(names) == len(set(names)), model["name"]
            for column in model.get("columns", []):
                text = " ".join(column["description"].split())
                written.setdefault(column["name"], []).append(text)
    reference = re.compile(r"\{\{ doc\('(\w+)'\) \}\}")
    assert {
        name: texts
        for name, texts in written.items()
        if len(texts) > 1 and not all(map(reference.fullmatch, texts))
    } == {}
    blocks: dict[str, str] = {}
    for path in sorted((DBT_PROJECT / "models" / "docs").glob("*.md")):
        page = path.read_text(encoding="utf-8")
        for name, text in re.findall(r"{% docs (\w+) %}(.*?){% enddocs %}", page, re.DOTALL):
            blocks[name] = " ".join(text.split())
    found = [text for texts in written.values() for text in texts]
    assert {match[1] for text in found if (match := reference.fullmatch(text))} == blocks.keys()
    inline = [text for text in found if not reference.fullmatch(text)]
    counts = Counter([*inline, *blocks.values()])
    assert [text for text, count in counts.items() if count > 1] == []


def test_grain_of_the_file_is_grain_of_the_yaml(models: dict[str, dict[str, Any]]) -> None:
    wrong = []
    for model in models.values():
        found = re.search(r"^-- (Grain: .+)$", model["raw_code"], flags=re.MULTILINE)
        if not found or found[1] not in " ".join(model["description"].split()):
            wrong.append(model["name"])
    assert wrong == []


def test_every_model_has_a_test_of_its_grain(
    manifest: dict[str, Any], models: dict[str, dict[str, Any]]
) -> None:
    tested = {
        node["attached_node"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and (node.get("test_metadata") or {}).get("name") in ("unique", "unique_combination")
    }
    assert sorted(models[i]["name"] for i in models.keys() - tested) == []


def test_layers_read_only_what_lies_below(models: dict[str, dict[str, Any]]) -> None:
    below = {
        "staging": {"source"},
        "intermediate": {"staging", "intermediate"},
        "marts": {"staging", "intermediate", "marts"},
        "quality": set(LAYERS),
    }
    wrong = []
    for model in models.values():
        for parent in model["depends_on"]["nodes"]:
            layer = "source" if parent.startswith("source.") else _layer(models[parent])
            if layer in READ_BY_INTERMEDIATE.get(model["name"], ()):
                continue
            if layer not in below[_layer(model)]:
                wrong.append(f"{model['name']} reads {parent}")
    assert wrong == []


def test_what_is_published_is_contracted(models: dict[str, dict[str, Any]]) -> None:
    published = [m for m in models.values() if _layer(m) in ("marts", "quality")]
    assert len(published) >= 20
    # Six rows for each lead: made when they are asked for.
    assert [m["name"] for m in published if m["config"]["materialized"] != "table"] == [
        "fct_lead_ages"
    ]
    # The columns of these two are those that the setting user_fields names.
    assert [m["name"] for m in published if not m["contract"]["enforced"]] == [
        "dim_deal_user_fields",
        "dim_lead_user_fields",
    ]


def test_every_kind_of_issue_is_looked_for(manifest: dict[str, Any]) -> None:
    """A macro of macros/issues that issues.sql forgets would find nothing, and say so nowhere."""
    macros = {
        name
        for name, macro in manifest["macros"].items()
        if macro["original_file_path"].startswith("macros/issues/")
    }
    assert len(macros) >= 29
    used = manifest["nodes"]["model.bitrix24_analytics.issues"]["depends_on"]["macros"]
    assert macros - {*used} == set()


def test_no_model_reads_the_clock(models: dict[str, dict[str, Any]]) -> None:
    clocks = re.compile(r"current_(timestamp|date)|\bnow\(|get_current|\btoday\(", re.IGNORECASE)
    assert [m["name"] for m in models.values() if clocks.search(m["raw_code"])] == []

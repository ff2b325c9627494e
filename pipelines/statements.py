"""Statements: what each publication said of finished months, record by record.

They are kept in the warehouse, in schema `statements`, which only grows: a row per record and
figure of which a publication said something new or else. A build compares its figures with the last
statement (`int_statements__changed`), and `quality.restatements` shows what differs. What the build
found is put beside the published file, and noted in the warehouse once that is published: by the
publication itself or, if that was stopped there, by the next build. So what was never published is
never noted, and nothing is noted twice.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import duckdb

from pipelines.environment import ROOT
from pipelines.errors import PipelineError
from pipelines.fingerprint import hash_files
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse

log = logging.getLogger(__name__)

# Settings that decide which month, source and amount a lead or deal stands for.
FIGURE_SETTINGS = {
    "portal_timezone",
    "sales_pipelines",
    "paid_stages",
    "lead_stage_outcomes",
    "attribution",
    "legacy_rules",
    "include_legacy",
}
# What computes the figures from the portal's answers.
CODE = ("pipelines/bitrix24/**/*.py", "dbt_project/macros/**/*.sql", "dbt_project/models/**/*.sql")
TABLES = """
create schema if not exists statements;
create table if not exists statements.publications (
    publication_no bigint,
    token varchar,
    is_published boolean,
    refresh_no bigint,
    as_of timestamptz,
    stated_until date,
    settings varchar,
    code varchar,
    changed_settings varchar,
    is_upgraded boolean
);
create table if not exists statements.changes (
    publication_no bigint,
    metric_name varchar,
    record_id bigint,
    before_month date,
    before_source_kind varchar,
    before_source_id varchar,
    before_amount decimal(20, 2),
    after_month date,
    after_source_kind varchar,
    after_source_id varchar,
    after_amount decimal(20, 2),
    reason varchar
);
"""


def begin_statement(warehouse: Warehouse, settings: Settings) -> None:
    """Numbers the publication that a build is for, in place of an earlier one that never came.

    It speaks of the months that were over at `as_of`; of none while older records are not loaded.
    """
    note_statement(warehouse)
    refresh = warehouse.last_refreshes()[0]
    day = refresh.as_of.astimezone(ZoneInfo(settings.portal_timezone)).date()
    with warehouse.connect(read_only=False) as connection:
        connection.execute(TABLES)
        before = connection.execute(
            "select publication_no, settings, code from statements.publications"
            " where is_published order by publication_no desc limit 1"
        ).fetchall()
        ((currency,),) = connection.execute(
            "select any_value(base_currency) from raw.refreshes where completed and refresh_no = ?",
            [refresh.refresh_no],
        ).fetchall()
        told = settings.model_dump(mode="json", include=FIGURE_SETTINGS)
        told["base_currency"] = currency
        code = _code()
        number, settings_before, code_before = before[0] if before else (0, None, code)
        old = json.loads(settings_before) if settings_before else told
        connection.begin()
        connection.execute("delete from statements.publications where not is_published")
        connection.execute(
            "insert into statements.publications values ($no, $token, false, $refresh, $as_of,"
            " $until, $settings, $code, $changed, $upgraded)",
            {
                "no": number + 1,
                "token": uuid4().hex,
                "refresh": refresh.refresh_no,
                "as_of": refresh.as_of,
                "until": None if refresh.history_from else day.replace(day=1),
                "settings": json.dumps(told, ensure_ascii=False),
                "code": code,
                "changed": ", ".join(name for name in told if told[name] != old.get(name)),
                "upgraded": code != code_before,
            },
        )
        connection.commit()


def copy_statement(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Puts what the build found beside the published file; nothing if it is noted already.

    Args:
        connection: Has the warehouse attached as `warehouse`.
        folder: Of the publication.
    """
    pending = connection.execute(
        "select token from warehouse.statements.publications where not is_published"
    ).fetchall()
    for (token,) in pending:
        connection.execute(
            "copy (select * exclude (publication_no)"
            f" from warehouse.intermediate.int_statements__changed) to '{_file(folder, token)}'"
            " (format parquet, compression zstd)"
        )


def note_statement(warehouse: Warehouse) -> None:
    """Notes what the present publication says, if it is not noted yet.

    That of another copy of the warehouse has another token, and is left alone.
    """
    folder = warehouse.published / "current"
    if not any(folder.glob(_file(folder, "*").name)):
        return
    with warehouse.connect(read_only=False) as connection:
        connection.execute(TABLES)
        connection.begin()
        for number, token in connection.execute(
            "select publication_no, token from statements.publications where not is_published"
        ).fetchall():
            if (file := _file(folder, token)).exists():
                connection.execute(
                    "insert into statements.changes by name"
                    f" select *, {number} as publication_no from '{file}'"
                )
                connection.execute("update statements.publications set is_published = true")
        connection.commit()


def note_published(warehouse: Warehouse) -> None:
    """The same at the end of a publication, which stands whether or not that can be noted."""
    try:
        note_statement(warehouse)
    except (duckdb.Error, PipelineError) as error:
        log.warning("what is published could not be noted; the next build does it: %s", error)


def _file(folder: Path, token: str) -> Path:
    return folder / f"statement-{token}.parquet"


def _code() -> str:
    """Of the files that compute the figures."""
    return hash_files(ROOT, (path for pattern in CODE for path in ROOT.glob(pattern)))

"""The tables of a site: which columns they have, and how their rows lie in the file."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from pipelines.site.database import write_tables

# Every other lead is in work; of a day there are two.
PUBLISHED = """
create schema marts;
create schema quality;
create table marts.fct_leads as
select
    i as lead_id,
    'lead ' || i as title,
    'manager ' || i % 3 as manager_name,
    i % 2 = 0 as is_in_work,
    timestamptz '2026-03-01 22:30:00+00' - (i // 2) * interval 1 day as created_at,
    date '2026-03-02' - cast(i // 2 as integer) as created_date
from range(20) as rows(i);
create table marts.fct_deals as select i as deal_id, 'deal ' || i as title from range(3) as rows(i);
create table marts.fct_stage_reach as
select
    i as item_id,
    date '2026-03-01' + cast(i % 5 as integer) as item_created_date,
    'stage ' || i % 3 as stage_id,
    case when i % 2 = 0 then 'stage ' || i % 4 end as next_stage_id,
    i % 7 = 0 as is_visited,
    i * 1.5 as finished_days
from range(200) as rows(i);
create table quality.refreshes as select timestamptz '2026-03-02 00:00:00+00' as as_of;
"""
METRIC = "select count(*) from (\n    select * from marts.fct_leads\n    where [[where leads]]\n)"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    file = tmp_path / "crm.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(PUBLISHED)
    return file


def written(published: Path, *sqls: str) -> duckdb.DuckDBPyConnection:
    """The tables that a site has for some SQL."""
    file = published.with_name("site.duckdb")
    write_tables(published, file, sqls, "Europe/Moscow")
    return duckdb.connect(str(file), read_only=True)


def columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    rows = connection.execute(
        "select column_name from duckdb_columns() where table_name = ? order by column_index",
        [table],
    ).fetchall()
    return [name for (name,) in rows]


def test_a_table_has_the_columns_that_are_named(published: Path) -> None:
    """In the order of the SQL: figures first, then what only lists show. Others are left out."""
    listed = "select title, lead_id, created_at from marts.fct_leads order by created_date"
    with written(published, f"{METRIC} group by manager_name, created_date", listed) as site:
        assert columns(site, "fct_leads") == [
            *("manager_name", "created_date"),
            *("lead_id", "title", "created_at"),
        ]
        assert columns(site, "fct_deals") == []
        assert columns(site, "refreshes") == []


def test_all_columns_are_those_of_the_mart(published: Path) -> None:
    with written(published, "select * from marts.fct_leads") as site:
        assert columns(site, "fct_leads") == [
            *("lead_id", "title", "manager_name", "is_in_work", "created_at", "created_date"),
        ]


def test_a_table_may_be_only_counted(published: Path) -> None:
    with written(published, "select count(*) from marts.fct_deals") as site:
        assert columns(site, "fct_deals") == ["deal_id"]
        assert site.execute("select count(*) from marts.fct_deals").fetchall() == [(3,)]


def test_instants_are_the_clock_of_the_portal(published: Path) -> None:
    with written(published, "select lead_id, created_at from marts.fct_leads") as site:
        rows = site.execute("select created_at from marts.fct_leads where lead_id = 0").fetchall()
    assert rows == [(dt.datetime(2026, 3, 2, 1, 30),)]


def test_amounts_are_as_narrow_as_their_values(published: Path) -> None:
    """A column with one amount of 19 digits stays wide; each amount is as it was."""
    most, more = "9999999999999999.99", "-10000000000000000.00"
    with duckdb.connect(str(published)) as connection:
        connection.execute(
            "create or replace table marts.fct_deals as"
            " select deal_id, cast(amount as decimal(20, 2)) as amount,"
            " cast(other as decimal(38, 2)) as other_amount, cast(null as decimal(20, 3)) as none,"
            " cast(deal_id as decimal(9, 1)) as small"
            f" from (values (1, '{most}', '{more}'), (2, null, '0.10')) t(deal_id, amount, other)"
        )
    names = "deal_id, amount, other_amount, none, small"
    with written(published, f"select {names} from marts.fct_deals") as site:
        rows = site.execute(f"select {names} from marts.fct_deals order by all").fetchall()
        types = [row[1] for row in site.execute("describe marts.fct_deals").fetchall()]
    wide = Decimal(more), Decimal("0.10")
    assert rows == [(1, Decimal(most), wide[0], None, 1), (2, None, wide[1], None, 2)]
    assert types == [
        *("INTEGER", "DECIMAL(18,2)", "DECIMAL(38,2)", "DECIMAL(18,3)", "DECIMAL(9,1)"),
    ]


def test_rows_that_are_read_together_stand_together(published: Path) -> None:
    """Those in work, then the others, each by day; leads 0 and 1 are of the last day."""
    with written(published, "select lead_id from marts.fct_leads") as site:
        rows = site.execute("select lead_id from marts.fct_leads").fetchall()
    assert [lead for (lead,) in rows] == [*range(18, -1, -2), *range(19, 0, -2)]


def test_the_file_is_made_for_reading_parts_of_it(published: Path) -> None:
    """The layout is of the file: small blocks, and row groups of four times the usual size."""
    with duckdb.connect(str(published)) as connection:
        connection.execute(
            "create or replace table marts.fct_deals as"
            " select i as deal_id, hash(i) as code from range(300_000) as rows(i)"
        )
    with written(published, "select deal_id, code from marts.fct_deals") as site:
        ((block_size,),) = site.execute("select block_size from pragma_database_size()").fetchall()
        ((row_groups,),) = site.execute(
            "select count(distinct row_group_id) from pragma_storage_info('marts.fct_deals')"
        ).fetchall()
    assert (block_size, row_groups) == (65_536, 1)


def test_stages_are_kept_by_their_kind(published: Path) -> None:
    """The view has the rows of the mart."""
    names = "item_id, item_created_date, stage_id, next_stage_id, is_visited, finished_days"
    with duckdb.connect(str(published)) as connection:
        mart = connection.execute(f"select {names} from marts.fct_stage_reach").fetchall()
    kinds = {row[2:5] for row in mart}
    with written(published, f"select {names} from marts.fct_stage_reach") as site:
        view = site.execute(f"select {names} from marts.fct_stage_reach").fetchall()
        ((count,),) = site.execute("select count(*) from marts.fct_stage_reach_kinds").fetchall()
        assert columns(site, "fct_stage_reach_rows") == [
            *("item_id", "item_created_date", "finished_days", "kind"),
        ]
    assert sorted(view) == sorted(mart)
    assert count == len(kinds)


# A lead and a deal in turns, each of two rows.
REACHED = """
create or replace table marts.fct_stage_reach as
select
    case when i % 2 = 0 then 'lead' else 'deal' end as entity,
    i as item_id,
    2 * i + i % 2 as item_key,
    case when i % 2 = 0 then i end as lead_id,
    case when i % 2 = 1 then i end as deal_id,
    'stage ' || k as stage_id
from range(50) as items(i), range(2) as stages(k)
"""


@pytest.mark.parametrize("is_other", [False, True], ids=["follows", "one row is other"])
def test_what_follows_from_other_columns_is_not_kept(published: Path, is_other: bool) -> None:
    """The view has it all the same; a column that in one row is other than it would be is kept."""
    names = "entity, item_id, item_key, lead_id, deal_id, stage_id"
    with duckdb.connect(str(published)) as connection:
        connection.execute(REACHED)
        if is_other:
            connection.execute(
                "update marts.fct_stage_reach set lead_id = null"
                " where item_id = 4 and stage_id = 'stage 1'"
            )
        mart = connection.execute(f"select {names} from marts.fct_stage_reach").fetchall()
    with written(published, f"select {names} from marts.fct_stage_reach") as site:
        view = site.execute(f"select {names} from marts.fct_stage_reach").fetchall()
        kept = columns(site, "fct_stage_reach_rows")
    assert sorted(map(str, view)) == sorted(map(str, mart))
    assert kept == ["item_key", *(["lead_id"] if is_other else []), "kind"]
